//! Tables on a terminal and in Markdown.

/// Rows of text under a head, printed with aligned columns.
#[derive(Debug, Clone)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with the given column names.
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it should have as many cells as the head has names.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Self {
        self.rows.push(cells.into_iter().collect());
        self
    }

    /// The table as Markdown that also reads well on a terminal: every column as wide as its widest cell.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let mut text = line(&self.head, &widths);
        text.push('|');
        for width in &widths {
            text.push_str(&"-".repeat(width + 2));
            text.push('|');
        }
        text.push('\n');
        for row in &self.rows {
            text.push_str(&line(row, &widths));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.head.len())
            .map(|column| {
                let cells = std::iter::once(&self.head).chain(&self.rows);
                cells
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect()
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::from("|");
    for (column, width) in widths.iter().enumerate() {
        let cell = cells.get(column).map_or("", String::as_str);
        text.push_str(&format!(" {cell:<width$} |"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["a", "long head"]);
        table.row(["wide cell".into(), "1".into()]);
        assert_eq!(
            table.markdown(),
            "| a         | long head |\n|-----------|-----------|\n| wide cell | 1         |\n"
        );
    }
}
