//! Answers in words. What is printed is what the JSON says; nothing is added here.

mod lists;
mod plan;
mod status;

pub(crate) use lists::{config, drift, health, history, verify, why};
pub(crate) use plan::{check, plan};
pub(crate) use status::{done, status};

use twinroot_core::wire::ReleaseRef;

/// A line with a name in a fixed column.
fn row(text: &mut String, name: &str, value: impl AsRef<str>) {
    text.push_str(&format!("{name:<11} {}\n", value.as_ref()));
}

/// A release for people: version and the first digits of its root hash.
fn release(release: &ReleaseRef) -> String {
    match &release.root_hash {
        // 12 digits are enough to compare by eye; the JSON has all.
        Some(root) => format!("{} ({}…)", release.version, &root.to_string()[..12]),
        None => release.version.clone(),
    }
}
