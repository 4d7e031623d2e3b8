//! What is seen of a node from outside, and in words.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where a node stands, for those who watch.
pub(crate) fn in_words(status: &Result<Value>) -> String {
    match status {
        Ok(refused) if refused.get("error").is_some() => format!("no status: {refused}"),
        Ok(status) => {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let failure = match &status["last-failure"] {
                Value::Null => String::new(),
                failure => format!("; last failure: {failure}"),
            };
            format!(
                "{} runs, {}: {}{failure}",
                word(&status["booted"]["release"]["version"]),
                word(&status["phase"]),
                word(&status["sentence"])
            )
        }
        Err(error) => format!("no status: {error:#}"),
    }
}

/// What a kernel enforces for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforced {
    /// Root hash in the kernel's own table.
    pub root_hash: String,
    /// Names of the partitions under it.
    pub partitions: [String; 2],
    /// Version that the image says of itself.
    pub version: String,
}

impl Enforced {
    /// Asks the guest's kernel, by tools that are not ours.
    pub(crate) const SCRIPT: &str = "set -- $(awk '$5 == \"/\" {print $3}' /proc/self/mountinfo | tail -n 1)\n\
         name=$(cat /sys/dev/block/$1/dm/name)\n\
         dmsetup table \"$name\"\n\
         for slave in /sys/dev/block/$1/slaves/*; do\n\
         sed -n 's/^PARTNAME=//p' \"$slave/uevent\"; done\n\
         . /usr/lib/os-release; echo \"$IMAGE_VERSION\"";

    /// Reads what the script says.
    ///
    /// # Errors
    /// When the root is not one dm-verity mapping over two partitions.
    pub(crate) fn parse(said: &str) -> Result<Self> {
        let lines: Vec<&str> = said.lines().collect();
        let [table, data, tree, version] = lines.as_slice() else {
            bail!("the guest's root is not one dm-verity mapping over two partitions: {said}");
        };
        // 0 <sectors> verity <version> <data> <tree> <4096> <4096> <blocks> <start> sha256 <root> <salt>
        let words: Vec<&str> = table.split_whitespace().collect();
        ensure!(
            words.get(2) == Some(&"verity"),
            "the table of / is {table}, not verity"
        );
        Ok(Self {
            root_hash: (*words.get(11).context("a short verity table")?).to_owned(),
            partitions: [(*data).to_owned(), (*tree).to_owned()],
            version: (*version).to_owned(),
        })
    }
}
