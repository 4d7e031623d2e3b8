//! The picture: bytes to fetch against memory to apply, both logarithmic.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use super::row::Row;

const SIZE: (u32, u32) = (960, 600);

/// Draws the rows of one pair that have both figures.
pub fn draw(rows: &[Row], pair: &str, format: &str, file: &Path) -> Result<()> {
    let points = points(rows, pair, format);
    if points.is_empty() {
        return Ok(());
    }
    draw_points(&points, pair, file)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("cannot draw {}", file.display()))
}

/// (tool, MB to fetch, MiB of memory).
fn points<'a>(rows: &'a [Row], pair: &str, format: &str) -> Vec<(&'a str, f64, f64)> {
    rows.iter()
        .filter(|row| row.pair == pair && row.format == format)
        .filter_map(|row| {
            let memory = row.warm.as_ref()?.rss_kib;
            Some((
                row.tool.as_str(),
                super::bars::mega(row.made.bytes),
                mebi(memory),
            ))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
fn mebi(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// A range that holds all values with air around them.
fn around(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (mut least, mut most) = (f64::MAX, f64::MIN);
    for value in values {
        least = least.min(value);
        most = most.max(value);
    }
    // Room for the names at the right.
    least / 1.6..most * 2.4
}

fn draw_points(
    points: &[(&str, f64, f64)],
    pair: &str,
    file: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .caption(
            format!("{pair}: bytes to fetch against memory to apply"),
            ("sans-serif", 20),
        )
        .build_cartesian_2d(
            around(points.iter().map(|point| point.1)).log_scale(),
            around(points.iter().map(|point| point.2)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("bytes to fetch (MB)")
        .y_desc("peak memory while applying (MiB)")
        .draw()?;
    for &(tool, bytes, memory) in points {
        let colour = if tool.starts_with("twinroot") {
            RED
        } else {
            BLUE
        };
        chart.draw_series([Circle::new((bytes, memory), 5, colour.filled())])?;
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        chart.draw_series([
            EmptyElement::at((bytes, memory)) + Text::new(tool.to_owned(), (8, -6), style)
        ])?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::row::tests::row;

    #[test]
    fn every_tool_with_both_figures_stands_in_the_picture() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plot.svg");
        let mut rows = vec![
            row("refresh", "erofs", "bsdiff", 13_160_000),
            row("refresh", "erofs", "twinroot-delta", 11_500_000),
            row("hotfix", "erofs", "casync", 1),
            row("refresh", "erofs", "rauc-block-index", 57_000_000),
        ];
        rows[3].warm = None;
        draw(&rows, "refresh", "erofs", &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.contains("bsdiff") && svg.contains("twinroot-delta"));
        assert!(!svg.contains("casync") && !svg.contains("rauc"));
    }
}
