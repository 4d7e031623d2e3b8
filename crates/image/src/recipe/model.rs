//! What may stand in a recipe.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::check_account;

/// A whole recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    pub(super) schema: u32,
    /// What the image is.
    pub product: Product,
    /// The distribution that it is made of.
    pub base: Base,
    /// What every variant has.
    #[serde(default)]
    pub common: Part,
    /// Variants by name. The image that ships has none.
    #[serde(default)]
    pub variant: BTreeMap<String, Part>,
}

/// What the image is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Product {
    /// Product name, as manifests and nodes spell it.
    pub name: String,
    /// For people.
    pub title: String,
    /// Architecture, as manifests spell it.
    pub architecture: String,
    /// Salt of every hash tree of the product, 64 hex digits.
    pub(super) salt: String,
    /// How the root image is stored.
    #[serde(default)]
    pub format: Format,
}

/// How the root image is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// EROFS without compression: transport compression is the payload's (DESIGN section 7).
    #[default]
    Erofs,
    /// EROFS with lz4hc: a smaller slot, larger updates.
    ErofsLz4hc,
}

/// The distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Base {
    /// Which adapter gets its packages; `debian` so far.
    pub kind: String,
    /// Its name for that adapter, as in `trixie`.
    pub suite: String,
    /// Archives and what is taken from each.
    pub archive: Vec<Archive>,
    /// The package that depends on the kernel to use.
    pub kernel: String,
    /// Packages that the build needs files of (stub, loader, tools) and that are not installed.
    pub build: Vec<String>,
}

/// One archive of a distribution. Where it lies, this machine's package manager knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Archive {
    /// Last part of its address, as in `debian-security`.
    pub name: String,
    /// Suites taken from it.
    pub suites: Vec<String>,
}

/// What the common part and each variant can say. A variant adds to the common part.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Part {
    /// The variant weakens the host or eases tests: `check` refuses it as a release.
    pub not_for_release: bool,
    /// Packages to install.
    pub packages: Vec<String>,
    /// Kernel command line and what the initramfs loads.
    pub boot: Boot,
    /// Kernel modules of the root.
    pub modules: Modules,
    /// What is taken out again.
    pub prune: Prune,
    /// Fixed numbers of users and groups.
    pub ids: Ids,
    /// Which units run.
    pub units: Units,
    /// Programs of the project and where they go.
    pub programs: BTreeMap<String, String>,
    /// Programs of the project that the image may lack.
    pub optional_programs: BTreeMap<String, String>,
    /// Folders of the project outside of `rootfs/`, and where they go.
    pub copy: BTreeMap<String, String>,
    /// Trees laid over the packages.
    pub overlay: Vec<Overlay>,
    /// Overlays of the common part that the variant leaves out.
    pub without_overlays: Vec<String>,
    /// Other things that differ from the distribution.
    pub deviation: Vec<Deviation>,
    /// Sizes of partitions.
    pub sizes: Sizes,
    /// What may not be passed.
    pub budget: Budget,
    /// Files that may be setuid or setgid.
    pub setuid: Vec<String>,
}

/// Command line and early modules.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Boot {
    /// Words of the kernel command line, behind `roothash=`.
    pub cmdline: Vec<String>,
    /// Modules that the initramfs loads, with what they need, in this order.
    pub modules: Vec<String>,
}

/// Kernel modules of the root.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Modules {
    /// Names, and folders of the kernel's tree (with a slash at the end).
    pub keep: Vec<String>,
}

/// What is taken out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Prune {
    /// Whole packages, with every file that no other package has.
    pub packages: Vec<String>,
    /// Paths; `*` matches within one name.
    pub paths: Vec<String>,
}

/// Fixed numbers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ids {
    /// Users that packages make.
    pub users: BTreeMap<String, u32>,
    /// Groups that packages make.
    pub groups: BTreeMap<String, u32>,
}

/// Which units run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Units {
    /// Enabled, from `/usr`.
    pub enable: Vec<String>,
    /// Masked, from `/usr`.
    pub mask: Vec<String>,
}

/// A tree laid over the packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Overlay {
    /// Folder below `rootfs/overlay/`.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// Where it is being made unnecessary.
    pub upstream: Option<String>,
    /// When somebody looks at it again.
    pub review_by: String,
}

/// Another thing that differs from the distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Deviation {
    /// What differs.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Where it is being made unnecessary.
    pub upstream: Option<String>,
    /// When somebody looks at it again.
    pub review_by: String,
}

impl Overlay {
    pub(super) fn check(&self, variant: &str) -> Result<(), String> {
        let what = format!("overlay {}{}", self.name, of_variant(variant));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || !self.name.bytes().all(plain) {
            return Err(format!("{what}: its name is no name of a folder"));
        }
        check_account(
            &what,
            &self.reason,
            &self.review_by,
            self.upstream.as_deref(),
        )
    }
}

impl Deviation {
    pub(super) fn check(&self, variant: &str) -> Result<(), String> {
        let what = format!("deviation {:?}{}", self.what, of_variant(variant));
        check_account(
            &what,
            &self.reason,
            &self.review_by,
            self.upstream.as_deref(),
        )
    }
}

fn of_variant(variant: &str) -> String {
    match variant {
        "" => String::new(),
        name => format!(" of variant {name}"),
    }
}

/// Sizes of partitions; a variant's value counts before the common one.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Sizes {
    /// EFI system partition.
    pub esp: Option<Size>,
    /// Each slot's data partition.
    pub slot: Option<Size>,
    /// The state partition, at least.
    pub state: Option<Size>,
}

/// What may not be passed.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Budget {
    /// Root image.
    pub root: Option<Size>,
    /// Boot image.
    pub uki: Option<Size>,
    /// Initramfs, as stored.
    pub initramfs: Option<Size>,
    /// Kernel modules of the root.
    pub modules: Option<Size>,
}

/// Bytes; in text a number and one of `KiB`, `MiB`, `GiB`, or `MB` where a budget is decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
];

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (digits, unit) = UNITS
                .iter()
                .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
            digits.trim_end().parse::<u64>().ok()?.checked_mul(unit)
        };
        parse()
            .map(Size)
            .ok_or_else(|| format!("{text:?} is no size like 512MiB"))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
