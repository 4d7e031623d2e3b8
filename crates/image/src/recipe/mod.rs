//! The recipe: everything that is decided about an image, as data.
//!
//! What differs from the distribution has a reason and a date by which somebody looks at it again; a
//! recipe without them is refused, so that deviations stay few and known.

mod merge;
mod model;

use twinroot_core::error::{Code, Failure};

pub use merge::Variant;
pub use model::{
    Archive, Base, Boot, Budget, Deviation, Format, Ids, Modules, Overlay, Product, Prune, Recipe,
    Size, Sizes, Units,
};

use crate::Outcome;

/// The only schema of recipes so far.
const SCHEMA: u32 = 1;

impl Recipe {
    /// Reads a recipe; `name` is for messages.
    ///
    /// # Errors
    /// `config-syntax` for what is no recipe, `config-value` for one that is incomplete: an overlay or
    /// deviation without reason or date, a name twice, a salt that is none.
    pub fn parse(name: &str, text: &str) -> Outcome<Self> {
        let recipe: Recipe = toml::from_str(text).map_err(|error| {
            Failure::new(
                Code::ConfigSyntax,
                name,
                error.to_string().trim().to_owned(),
            )
        })?;
        recipe
            .check()
            .map_err(|cause| Failure::new(Code::ConfigValue, name, cause))?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!(
                "it has schema {}, this program knows {SCHEMA}",
                self.schema
            ));
        }
        self.salt_bytes()?;
        let mut names = std::collections::BTreeSet::new();
        let variants = self
            .variant
            .iter()
            .map(|(name, variant)| (name.as_str(), variant));
        let common = [("", &self.common)];
        for (variant, part) in common.into_iter().chain(variants) {
            for overlay in &part.overlay {
                overlay.check(variant)?;
                if !names.insert(&overlay.name) {
                    return Err(format!("overlay {} is there twice", overlay.name));
                }
            }
            for deviation in &part.deviation {
                deviation.check(variant)?;
            }
        }
        Ok(())
    }

    /// The product's salt. One salt for all its releases: equal blocks then have equal hashes, and a
    /// node finds what it can reuse in the hash tree that it has (DESIGN section 7).
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn salt_bytes(&self) -> Result<Vec<u8>, String> {
        let wrong = || "product.salt is not 64 hex digits".to_owned();
        let digest: twinroot_trust::digest::Digest =
            self.product.salt.parse().map_err(|_| wrong())?;
        Ok(digest.as_bytes().to_vec())
    }
}

/// What an overlay and a deviation have to say for themselves.
fn check_account(
    what: &str,
    reason: &str,
    review_by: &str,
    upstream: Option<&str>,
) -> Result<(), String> {
    // Two words are no reason; whoever reads the list must be able to judge it.
    if reason.split_whitespace().count() < 3 {
        return Err(format!(
            "{what} has no reason that says anything: {reason:?}"
        ));
    }
    if !is_date(review_by) {
        return Err(format!(
            "{what}: review-by is {review_by:?}, not a date like 2027-06-30"
        ));
    }
    match upstream {
        Some(link) if !link.starts_with("https://") => {
            Err(format!("{what}: upstream is {link:?}, not a link"))
        }
        _ => Ok(()),
    }
}

fn is_date(text: &str) -> bool {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let number =
        |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok());
    text.len() == 10
        && shape
        && matches!(number(5..7), Some(1..=12))
        && matches!(number(8..10), Some(1..=31))
}

#[cfg(test)]
mod tests;
