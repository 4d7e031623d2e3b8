//! A client with a store and an output folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use twinroot_publish::fake;
use twinroot_publish::serve::Server;
use twinroot_tests::program;
use twinroot_trust::time::UnixTime;

pub struct Client {
    pub dir: tempfile::TempDir,
    metadata: String,
    targets: String,
}

impl Client {
    pub fn new(metadata: &str, targets: &str) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        Self {
            dir,
            metadata: metadata.into(),
            targets: targets.into(),
        }
    }

    pub fn of(server: &Server) -> Self {
        Self::new(&server.metadata_url(), &server.targets_url())
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Puts the anchor where a client keeps it.
    pub fn trust(self, root: &[u8]) -> Self {
        std::fs::create_dir_all(self.store()).unwrap();
        std::fs::write(self.store().join("root.json"), root).unwrap();
        self
    }

    pub fn refresh(&self, more: &[&str]) -> Answer {
        self.run("refresh", &[], more)
    }

    pub fn fetch(&self, names: &[&str]) -> Answer {
        let out = self.out();
        let out = out.to_str().unwrap();
        self.run(
            "fetch",
            &["--targets-url", &self.targets, "--out", out],
            names,
        )
    }

    fn run(&self, verb: &str, options: &[&str], more: &[&str]) -> Answer {
        let output = Command::new(program("twinroot"))
            .args(["repo", verb, "--metadata-url", &self.metadata, "--store"])
            .arg(self.store())
            .args(options)
            .args(more)
            .output()
            .unwrap();
        Answer(output)
    }

    /// Files of the store with their content; folders hold what is not metadata.
    pub fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.store())
    }
}

/// Plain files directly in a folder.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let plain = entries.filter(|path| path.is_file());
    plain
        .map(|p| {
            (
                p.file_name().unwrap().to_str().unwrap().into(),
                std::fs::read(&p).unwrap(),
            )
        })
        .collect()
}

/// What the program answered.
#[derive(Debug)]
pub struct Answer(pub Output);

impl Answer {
    pub fn is_good(&self) {
        assert_eq!(self.0.status.code(), Some(0), "{}", self.said());
    }

    /// Exit code 1 and one line on standard error that ends with the code.
    pub fn is_refused(&self, code: &str) {
        assert_eq!(self.0.status.code(), Some(1), "{}", self.said());
        let said = self.said();
        let lines: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("twinroot: "))
            .collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].ends_with(&format!("[{code}]")), "{said}");
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

pub const EDGE: &str = "channels/edge/container-host/x86-64/1.0/manifest.toml";

/// A repository of ours that is valid now, with one small release in the channel `edge`.
pub fn present_repo() -> fake::Repo {
    let mut repo = fake::Repo::new(1);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    repo.now = UnixTime(now as i64);
    repo.release(fake::EDGE, "1.0", &fake::image(1, 16));
    repo
}
