//! Which kernel modules are needed and in which order they load, from `modules.dep`.

use std::collections::{BTreeMap, BTreeSet};

use twinroot_core::error::{Code, Failure};

use crate::Outcome;

/// What `depmod` and the kernel's build say of modules.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Path of each module by its name.
    paths: BTreeMap<String, String>,
    /// What each path needs, in the order of `modules.dep`: what loads first stands last.
    needs: BTreeMap<String, Vec<String>>,
    /// Names of what the kernel has built in.
    built_in: BTreeSet<String>,
}

impl Graph {
    /// Reads `modules.dep` and `modules.builtin`.
    #[must_use]
    pub fn parse(dependencies: &str, built_in: &str) -> Self {
        let mut graph = Graph {
            built_in: built_in.lines().map(name_of).collect(),
            ..Graph::default()
        };
        for line in dependencies.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            graph.paths.insert(name_of(path), path.to_owned());
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            graph.needs.insert(path.to_owned(), needs);
        }
        graph
    }

    /// Paths of the modules named, each behind what it needs, none twice. What the kernel has built in
    /// needs no loading.
    ///
    /// # Errors
    /// `config-value` for a name that the kernel does not know: a driver that is silently left out
    /// shows as a machine that does not find its disk.
    pub fn in_load_order(&self, wanted: &[String]) -> Outcome<Vec<String>> {
        let mut order: Vec<String> = Vec::new();
        for word in wanted {
            let name = name_of(word);
            if self.built_in.contains(&name) {
                continue;
            }
            let path = self.paths.get(&name).ok_or_else(|| {
                Failure::new(
                    Code::ConfigValue,
                    format!("module {word}"),
                    "the kernel has no such module",
                )
            })?;
            let before = self.needs.get(path).into_iter().flatten().rev();
            for path in before.chain([path]) {
                if !order.contains(path) {
                    order.push(path.clone());
                }
            }
        }
        Ok(order)
    }

    /// Paths of what `keep` names (modules, or folders with a slash at the end) with all they need.
    ///
    /// # Errors
    /// As [`Graph::in_load_order`]; also for a folder without modules.
    pub fn kept(&self, keep: &[String]) -> Outcome<BTreeSet<String>> {
        let mut kept = BTreeSet::new();
        for word in keep {
            let names: Vec<String> = match word.ends_with('/') {
                false => vec![word.clone()],
                true => {
                    let within = |path: &&String| path.starts_with(word.as_str());
                    self.paths
                        .values()
                        .filter(within)
                        .map(|path| name_of(path))
                        .collect()
                }
            };
            if names.is_empty() {
                return Err(Failure::new(
                    Code::ConfigValue,
                    format!("modules {word}"),
                    "the kernel has none there",
                ));
            }
            kept.extend(self.in_load_order(&names)?);
        }
        Ok(kept)
    }
}

/// A module's name: the file's without its endings; `-` and `_` are the same to the kernel.
#[must_use]
pub fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.trim().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz kernel/drivers/md/dm-mod.ko.xz kernel/drivers/dax/dax.ko.xz\n\
        kernel/drivers/md/dm-bufio.ko.xz: kernel/drivers/md/dm-mod.ko.xz kernel/drivers/dax/dax.ko.xz\n\
        kernel/drivers/md/dm-mod.ko.xz: kernel/drivers/dax/dax.ko.xz\n\
        kernel/drivers/dax/dax.ko.xz:\n\
        kernel/fs/erofs/erofs.ko.xz:\n";

    fn graph() -> Graph {
        Graph::parse(DEP, "kernel/fs/ext4/ext4.ko\n")
    }

    fn words(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_a_module_needs_loads_before_it_and_once() {
        let order = graph()
            .in_load_order(&words(&["erofs", "dm_verity", "dm-mod"]))
            .unwrap();
        let names: Vec<String> = order.iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["erofs", "dax", "dm_mod", "dm_bufio", "dm_verity"]);
    }

    #[test]
    fn what_the_kernel_has_built_in_is_not_loaded() {
        assert_eq!(
            graph().in_load_order(&words(&["ext4"])).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_module_that_the_kernel_lacks_is_refused_by_name() {
        let failure = graph().in_load_order(&words(&["i6300esb"])).unwrap_err();
        assert!(
            failure.to_string().starts_with("module i6300esb"),
            "{failure}"
        );
    }

    #[test]
    fn a_folder_keeps_its_modules_and_what_they_need_elsewhere() {
        let kept = graph().kept(&words(&["kernel/drivers/md/"])).unwrap();
        assert!(kept.contains("kernel/drivers/dax/dax.ko.xz"));
        assert_eq!(kept.len(), 4);
        assert!(graph().kept(&words(&["kernel/none/"])).is_err());
    }
}
