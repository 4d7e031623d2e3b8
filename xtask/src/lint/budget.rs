//! Size budget of files and functions, measured on the syntax tree, tests left out.
//!
//! Why sizes at all: in this field the update flow grows into one function of several hundred lines
//! wherever nobody watches. Pleasant code bases measured for CONTRIBUTING.md sit at p95 of 500 lines a
//! file and 50 a function; the hard limits are where a reader loses the thread.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines of a file, tests left out, that 95 of 100 files keep to.
pub const FILE_P95: usize = 500;
/// Lines of a file that none may pass.
pub const FILE_HARD: usize = 800;
/// Lines of a function that 95 of 100 functions keep to.
pub const FUNCTION_P95: usize = 50;
/// Lines of a function that none may pass.
pub const FUNCTION_HARD: usize = 80;

/// Files and functions allowed over the hard limit: (path, `path::function` or whole file, reason).
pub const EXCEPTIONS: &[(&str, &str)] = &[];

/// A file or function with its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Path below the workspace; for functions followed by `::name`.
    pub name: String,
    /// Lines, from signature to closing brace; for files without `#[cfg(test)]` items.
    pub lines: usize,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Production files.
    pub files: Vec<Size>,
    /// Functions in them.
    pub functions: Vec<Size>,
}

impl Sizes {
    /// One line with the figures.
    pub fn summary(&self) -> String {
        let figures = |sizes: &[Size]| {
            let max = sizes.iter().map(|size| size.lines).max().unwrap_or(0);
            format!(
                "median {}, p95 {}, max {max}",
                percentile(sizes, 50),
                percentile(sizes, 95)
            )
        };
        format!(
            "{} files ({} lines; {}), {} functions ({})",
            self.files.len(),
            self.files.iter().map(|file| file.lines).sum::<usize>(),
            figures(&self.files),
            self.functions.len(),
            figures(&self.functions)
        )
    }
}

/// The length that `percent` of the sizes do not exceed (nearest rank).
fn percentile(sizes: &[Size], percent: usize) -> usize {
    let mut lines: Vec<usize> = sizes.iter().map(|size| size.lines).collect();
    lines.sort_unstable();
    let rank = (lines.len() * percent).div_ceil(100);
    lines.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Everything over the budget, as one line each.
pub fn violations(sizes: &Sizes) -> Vec<String> {
    judge(sizes, EXCEPTIONS)
}

fn judge(sizes: &Sizes, exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let groups = [
        ("files", &sizes.files, FILE_P95, FILE_HARD),
        ("functions", &sizes.functions, FUNCTION_P95, FUNCTION_HARD),
    ];
    for (what, group, p95, hard) in groups {
        let excepted = |size: &&Size| exceptions.iter().any(|(name, _)| *name == size.name);
        for size in group
            .iter()
            .filter(|size| size.lines > hard)
            .filter(|size| !excepted(size))
        {
            found.push(format!(
                "budget: {} has {} lines, the limit is {hard}",
                size.name, size.lines
            ));
        }
        if percentile(group, 95) > p95 {
            found.push(format!(
                "budget: p95 of {what} is {} lines, the budget is {p95}",
                percentile(group, 95)
            ));
        }
    }
    for (name, _) in exceptions {
        let over = |size: &&Size, hard| size.name == *name && size.lines > hard;
        let used = sizes.files.iter().any(|size| over(&size, FILE_HARD))
            || sizes
                .functions
                .iter()
                .any(|size| over(&size, FUNCTION_HARD));
        if !used {
            found.push(format!(
                "budget: the exception for {name} is not needed any more; remove it"
            ));
        }
    }
    found
}

/// Measures every production source file of the workspace at `root`.
pub fn measure(root: &Path) -> Result<Sizes> {
    let mut sources = Vec::new();
    for folder in ["crates", "xtask", "tests/src", "vm-tests"] {
        collect(&root.join(folder), &mut sources)?;
    }
    sources.sort();
    let mut sizes = Sizes::default();
    let mut test_files = BTreeSet::new();
    let mut measured = Vec::new();
    for source in sources {
        let text = std::fs::read_to_string(&source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        let measure =
            measure_text(&text).with_context(|| format!("cannot parse {}", source.display()))?;
        for module in &measure.test_modules {
            test_files.extend(module_files(&source, module));
        }
        measured.push((source, measure));
    }
    for (source, measure) in measured {
        if test_files.iter().any(|test| source.starts_with(test)) {
            continue;
        }
        let name = source
            .strip_prefix(root)
            .unwrap_or(&source)
            .display()
            .to_string();
        let function = |size: Size| Size {
            name: format!("{name}::{}", size.name),
            lines: size.lines,
        };
        sizes
            .functions
            .extend(measure.functions.into_iter().map(function));
        sizes.files.push(Size {
            name,
            lines: measure.lines,
        });
    }
    Ok(sizes)
}

/// Rust sources below `folder`, test folders left out.
fn collect(folder: &Path, sources: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            // `tests` below a package is integration tests; `src/tests` may be a module of programs.
            let skipped = ["target", "benches", "examples", "fuzz"].contains(&name.as_str())
                || (name == "tests" && !folder.ends_with("src"));
            if !skipped {
                collect(&path, sources)?;
            }
        } else if name.ends_with(".rs") {
            sources.push(path);
        }
    }
    Ok(())
}

/// Where `#[cfg(test)] mod name;` in `source` may keep its file or folder.
fn module_files(source: &Path, module: &str) -> [PathBuf; 2] {
    let stem = source.file_stem().unwrap_or_default();
    let parent = source.parent().unwrap_or(Path::new(""));
    let folder = match stem.to_str() {
        Some("lib" | "main" | "mod") => parent.to_owned(),
        _ => parent.join(stem),
    };
    [folder.join(format!("{module}.rs")), folder.join(module)]
}

/// One file's figures.
#[derive(Debug, Default)]
struct Measure {
    lines: usize,
    functions: Vec<Size>,
    test_modules: Vec<String>,
}

fn measure_text(text: &str) -> Result<Measure> {
    let file = syn::parse_file(text)?;
    let mut measure = Measure {
        lines: text.lines().count(),
        ..Measure::default()
    };
    if file.attrs.iter().any(is_test) {
        return Ok(Measure::default());
    }
    measure.visit_file(&file);
    Ok(measure)
}

impl Measure {
    fn function(&mut self, name: &syn::Ident, signature: proc_macro2::Span, block: &syn::Block) {
        let lines = block.span().end().line + 1 - signature.start().line;
        self.functions.push(Size {
            name: name.to_string(),
            lines,
        });
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
            return;
        }
        let span = item.span();
        self.lines = self
            .lines
            .saturating_sub(span.end().line + 1 - span.start().line);
        if let syn::Item::Mod(module) = item {
            self.test_modules.push(module.ident.to_string());
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, item.sig.span(), block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]` or `#[test]`; `cfg(any(test, …))` is production code in some build and counts.
fn is_test(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(name: &str, lines: usize) -> Size {
        Size {
            name: name.into(),
            lines,
        }
    }

    #[test]
    fn a_planted_long_function_is_found_and_named() {
        let body = "    let _ = 1;\n".repeat(FUNCTION_HARD);
        let measure = measure_text(&format!(
            "impl A {{\nfn long() {{\n{body}}}\n}}\nfn short() {{}}\n"
        ))
        .unwrap();
        assert_eq!(
            measure.functions,
            vec![size("long", FUNCTION_HARD + 2), size("short", 1)]
        );
        let sizes = Sizes {
            functions: measure.functions,
            files: vec![],
        };
        let found = violations(&sizes);
        assert!(
            found.iter().any(|line| line.contains("long has 82 lines")),
            "{found:?}"
        );
    }

    #[test]
    fn lines_of_test_modules_do_not_count() {
        let text = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n";
        let measure = measure_text(text).unwrap();
        assert_eq!(measure.lines, 2);
        assert_eq!(measure.functions, vec![size("a", 2)]);
        assert_eq!(measure.test_modules, vec!["tests"]);
    }

    #[test]
    fn a_file_of_a_test_module_is_found_beside_its_parent() {
        let files = module_files(Path::new("src/update.rs"), "cases");
        assert_eq!(
            files,
            [
                PathBuf::from("src/update/cases.rs"),
                PathBuf::from("src/update/cases")
            ]
        );
        assert_eq!(
            module_files(Path::new("src/lib.rs"), "cases")[0],
            PathBuf::from("src/cases.rs")
        );
    }

    #[test]
    fn a_planted_long_file_is_found_and_an_exception_must_be_needed() {
        let sizes = Sizes {
            files: vec![size("a.rs", FILE_HARD + 1), size("b.rs", 10)],
            functions: vec![],
        };
        assert!(
            judge(&sizes, &[])
                .iter()
                .any(|line| line.starts_with("budget: a.rs has 801 lines"))
        );
        let found = judge(&sizes, &[("a.rs", "a table"), ("b.rs", "was long once")]);
        assert!(
            !found.iter().any(|line| line.starts_with("budget: a.rs")),
            "{found:?}"
        );
        assert!(
            found
                .iter()
                .any(|line| line.contains("exception for b.rs is not needed")),
            "{found:?}"
        );
    }

    #[test]
    fn a_p95_over_the_budget_is_a_violation() {
        let functions = (0..100)
            .map(|n| size("f", if n < 94 { 5 } else { 60 }))
            .collect();
        let found = judge(
            &Sizes {
                files: vec![],
                functions,
            },
            &[],
        );
        assert_eq!(
            found,
            vec!["budget: p95 of functions is 60 lines, the budget is 50"]
        );
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let sizes: Vec<Size> = (1..=20).map(|n| size("f", n)).collect();
        assert_eq!((percentile(&sizes, 50), percentile(&sizes, 95)), (10, 19));
        assert_eq!(percentile(&[], 95), 0);
    }
}
