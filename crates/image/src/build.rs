//! From a recipe to the files of a release.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinroot_core::error::{Code, Failure};
use twinroot_payload::verity::{TreeShape, hex};
use twinroot_trust::digest::Digest;

use crate::Outcome;
use crate::base::{Packages, Request};
use crate::output::{Progress, megabytes};
use crate::recipe::{Budget, Recipe, Size, Sizes, Variant};
use crate::tree::{Package, Sources, Stamp, Wanted};
use crate::{boot, files, initramfs, slot, tree};

/// Names of the files of a built release.
pub mod names {
    /// What it is; written last.
    pub const DESCRIPTION: &str = "image.json";
    /// The root image.
    pub const ROOT: &str = "root.img";
    /// Its hash tree.
    pub const TREE: &str = "root.verity";
    /// The boot image.
    pub const UKI: &str = "uki.efi";
    /// The initramfs that is in it.
    pub const INITRAMFS: &str = "initramfs.cpio";
    /// The loader of the same packages.
    pub const LOADER: &str = "loader.efi";
}

/// What is to be built.
#[derive(Debug)]
pub struct Order {
    /// The recipe's file.
    pub recipe: PathBuf,
    /// The variant; what ships has none.
    pub variant: Option<String>,
    /// Version of the release.
    pub version: String,
    /// Time of the build in Unix seconds; the date of the packages where it is not given.
    pub built: Option<u64>,
    /// Lowest release that may run after this one.
    pub floor: Option<String>,
    /// What is laid over the packages.
    pub sources: Sources,
    /// The program of the initramfs.
    pub init: PathBuf,
    /// More words of the command line, for variants that are not for release.
    pub cmdline: Vec<String>,
    /// Budget of the root image in place of the recipe's, for variants that are not for release.
    pub root_budget: Option<Size>,
    /// Where packages are kept.
    pub cache: PathBuf,
    /// Get packages anew.
    pub refresh: bool,
    /// Folder of the results.
    pub out: PathBuf,
}

/// What a built release is, as `image.json` says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// 1.
    pub schema: u32,
    /// Product name.
    pub product: String,
    /// Variant; what ships has none.
    pub variant: Option<String>,
    /// Version.
    pub version: String,
    /// Architecture.
    pub architecture: String,
    /// Release of the distribution.
    pub suite: String,
    /// Time of the build in Unix seconds.
    pub built: u64,
    /// It is for tests: `check` refuses it as a release.
    pub not_for_release: bool,
    /// Root hash.
    pub root_hash: Digest,
    /// Salt of the hash tree, hex.
    pub salt: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The kernel command line.
    pub cmdline: String,
    /// SHA-256 of the unsigned UKI.
    pub uki_sha256: Digest,
    /// SHA-256 of the certificate (DER) that boot image and loader are signed with.
    pub signed_with: Option<Digest>,
    /// What a TPM's register 11 (bank SHA-256) has by each phase of a start of this boot image.
    pub pcr11: std::collections::BTreeMap<String, String>,
    /// Bytes of what was made.
    pub bytes: Bytes,
    /// Bytes of the partitions of its disk.
    pub partitions: Partitions,
    /// Digest of what decided about the packages.
    pub packages_key: String,
    /// Packages.
    pub packages: Vec<Package>,
}

/// Bytes of what was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bytes {
    /// Root image.
    pub root: u64,
    /// Boot image.
    pub uki: u64,
    /// Initramfs as stored.
    pub initramfs: u64,
    /// Kernel modules of the root.
    pub modules: u64,
}

/// Bytes of the partitions of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Partitions {
    /// EFI system partition.
    pub esp: u64,
    /// Each slot's data partition.
    pub slot: u64,
    /// Each slot's tree partition.
    pub tree: u64,
    /// The state partition, at least.
    pub state: u64,
}

/// Builds.
///
/// # Errors
/// What is missing, wrong or too large, by name.
pub fn run(order: &Order, progress: &Progress) -> Outcome<Description> {
    let name = order.recipe.display().to_string();
    let recipe = Recipe::parse(&name, &files::read_text(&order.recipe)?)?;
    let variant = recipe.choose(order.variant.as_deref())?;
    check_order(order, &variant)?;
    let packages = Packages::get(
        &Request {
            base: &recipe.base,
            packages: &variant.part.packages,
            cache: &order.cache,
            refresh: order.refresh,
        },
        progress,
    )?;
    let built = order.built.map_or_else(|| packages.dated(), Ok)?;
    let stamp = Stamp {
        product: &recipe.product.name,
        title: &recipe.product.title,
        variant: variant.name.as_deref(),
        version: &order.version,
        built,
        floor: order.floor.as_deref(),
        suite: &recipe.base.suite,
    };
    files::make_folder(&order.out)?;
    for name in [
        names::DESCRIPTION,
        "unsigned-uki.efi",
        "unsigned-loader.efi",
    ] {
        files::remove(&order.out.join(name))?;
    }
    let work = tempfile::tempdir_in(&order.out)
        .map_err(|error| files::failed(&order.out, "use", &error))?;
    progress.step("tree");
    let wanted = Wanted {
        recipe: &recipe,
        variant: &variant,
        packages: &packages,
        sources: &order.sources,
        stamp: &stamp,
    };
    let tree = tree::make(&work.path().join("tree"), &wanted)?;
    let made = Made {
        order,
        recipe: &recipe,
        variant: &variant,
        packages: &packages,
        stamp: &stamp,
    };
    let description = made.artefacts(&tree, progress)?;
    let budget = Budget {
        root: order.root_budget.or(variant.part.budget.root),
        ..variant.part.budget
    };
    check_budget(&description.bytes, &budget)?;
    write_description(&order.out, &description)?;
    progress.end();
    Ok(description)
}

fn check_order(order: &Order, variant: &Variant) -> Outcome<()> {
    if order
        .version
        .parse::<twinroot_trust::version::Version>()
        .is_err()
    {
        return Err(Failure::new(
            Code::BadRequest,
            &order.version,
            "is no version",
        ));
    }
    let only_tests = [
        (!order.cmdline.is_empty(), "--cmdline"),
        (!order.sources.overlays.is_empty(), "--overlay"),
        (order.root_budget.is_some(), "--root-budget"),
    ];
    for (given, option) in only_tests {
        if given && !variant.part.not_for_release {
            let cause = "what ships is decided by the recipe alone";
            return Err(Failure::new(Code::BadRequest, option, cause).with_remedy(
                "put it into the recipe, with a reason; or build a variant that is not for release",
            ));
        }
    }
    Ok(())
}

/// What the artefacts are made of.
struct Made<'a> {
    order: &'a Order,
    recipe: &'a Recipe,
    variant: &'a Variant,
    packages: &'a Packages,
    stamp: &'a Stamp<'a>,
}

impl Made<'_> {
    fn artefacts(&self, tree: &tree::Tree, progress: &Progress) -> Outcome<Description> {
        let out = &self.order.out;
        let pool = self.packages.pool();
        let salt = self
            .recipe
            .salt_bytes()
            .map_err(|cause| Failure::new(Code::ConfigValue, "product.salt", cause))?;
        progress.step("root image");
        let root = out.join(names::ROOT);
        let root_bytes = slot::image(
            &pool,
            &tree.root,
            self.stamp.built,
            self.recipe.product.format,
            &root,
        )?;
        progress.step("hash tree");
        let root_hash = slot::hash_tree(&root, &salt, &out.join(names::TREE))?;
        progress.step("initramfs and boot image");
        let archive = initramfs::make(&self.order.init, &pool, &self.variant.part.boot.modules)?;
        files::write(&out.join(names::INITRAMFS), &archive)?;
        let words: Vec<String> = self
            .variant
            .part
            .boot
            .cmdline
            .iter()
            .chain(&self.order.cmdline)
            .cloned()
            .collect();
        let os_release = tree::os_release(self.stamp);
        let uki = boot::uki(&boot::Parts {
            pool: &pool,
            kernel: &tree.kernel,
            os_release: &os_release,
            root_hash: &root_hash,
            cmdline: &words,
            initramfs: &archive,
        })?;
        files::write(&out.join(names::UKI), &uki)?;
        files::write(&out.join(names::LOADER), files::read(&boot::loader(&pool))?)?;
        Ok(Description {
            schema: 1,
            product: self.recipe.product.name.clone(),
            variant: self.variant.name.clone(),
            version: self.order.version.clone(),
            architecture: self.recipe.product.architecture.clone(),
            suite: self.stamp.suite.to_owned(),
            built: self.stamp.built,
            not_for_release: self.variant.part.not_for_release,
            root_hash,
            salt: hex(&salt),
            kernel: tree.kernel.clone(),
            cmdline: boot::cmdline(&root_hash, &words)?,
            uki_sha256: Digest::of(&uki),
            signed_with: None,
            pcr11: crate::pcr::predict(names::UKI, &uki)?
                .into_iter()
                .map(|(phase, value)| (phase.to_owned(), value))
                .collect(),
            bytes: Bytes {
                root: root_bytes,
                uki: uki.len() as u64,
                initramfs: archive.len() as u64,
                modules: tree.modules,
            },
            partitions: partitions(&self.variant.part.sizes)?,
            packages_key: self.packages.key.clone(),
            packages: tree.packages.clone(),
        })
    }
}

/// Sizes of the disk's partitions; the tree's follows from the slot's.
fn partitions(sizes: &Sizes) -> Outcome<Partitions> {
    const MIB: u64 = 1 << 20;
    let slot = Sizes::needed(sizes.slot, "slot")?.next_multiple_of(MIB);
    let shape = TreeShape::for_size(slot)
        .map_err(|error| Failure::from_code(error.code(), "sizes.slot", error.to_string()))?;
    Ok(Partitions {
        esp: Sizes::needed(sizes.esp, "esp")?,
        slot,
        tree: shape.partition_bytes().next_multiple_of(MIB),
        state: Sizes::needed(sizes.state, "state")?,
    })
}

/// Refuses what is larger than the recipe allows.
fn check_budget(bytes: &Bytes, budget: &Budget) -> Outcome<()> {
    let lines = [
        ("root", bytes.root, budget.root),
        ("uki", bytes.uki, budget.uki),
        ("initramfs", bytes.initramfs, budget.initramfs),
        ("modules", bytes.modules, budget.modules),
    ];
    for (what, found, allowed) in lines {
        if let Some(Size(allowed)) = allowed
            && found > allowed
        {
            let cause = format!(
                "it has {}, the budget is {}",
                megabytes(found),
                megabytes(allowed)
            );
            return Err(
                Failure::new(Code::CheckFailed, format!("budget.{what}"), cause)
                    .with_remedy("prune more, or raise the budget with a reason"),
            );
        }
    }
    Ok(())
}

/// Writes down what a folder of results holds.
///
/// # Errors
/// `file-io`, `disk-full`.
pub fn write_description(dir: &Path, description: &Description) -> Outcome<()> {
    let text = serde_json::to_string_pretty(description)
        .map_err(|error| Failure::new(Code::Internal, names::DESCRIPTION, error.to_string()))?;
    files::write(&dir.join(names::DESCRIPTION), text + "\n")
}

/// Reads what a folder of results holds.
///
/// # Errors
/// `input-file-invalid` where it holds no whole build.
pub fn read_description(dir: &Path) -> Outcome<Description> {
    let path = dir.join(names::DESCRIPTION);
    let invalid =
        |cause: String| Failure::new(Code::InputFileInvalid, path.display().to_string(), cause);
    let text = std::fs::read_to_string(&path).map_err(|error| invalid(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_its_budget_is_refused() {
        let bytes = Bytes {
            root: 320_000_001,
            uki: 1,
            initramfs: 1,
            modules: 1,
        };
        let budget = Budget {
            root: Some(Size(320_000_000)),
            ..Budget::default()
        };
        let failure = check_budget(&bytes, &budget).unwrap_err();
        assert!(failure.to_string().contains("budget.root"), "{failure}");
        assert!(
            check_budget(
                &Bytes {
                    root: 320_000_000,
                    ..bytes
                },
                &budget
            )
            .is_ok()
        );
    }

    #[test]
    fn the_tree_partition_holds_the_tree_of_a_full_slot() {
        let size = |mib: u64| Some(Size(mib << 20));
        let made = partitions(&Sizes {
            esp: size(64),
            slot: size(512),
            state: size(64),
        })
        .unwrap();
        // 131072 blocks: 1024 + 8 + 1 hash blocks and the superblock, rounded up to whole MiB.
        assert_eq!(made.tree, 5 << 20);
    }
}
