//! A repository in memory, with the faults that a repository, a mirror or a network can have.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};
use std::ops::Range;
use std::sync::Arc;

/// Files by path, below the metadata URL and below the targets URL.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Metadata files.
    pub metadata: BTreeMap<String, Arc<[u8]>>,
    /// Targets and payload files.
    pub targets: BTreeMap<String, Arc<[u8]>>,
}

impl Repository {
    /// A short name for this content, for hashing worlds.
    #[must_use]
    pub fn mark(&self) -> u64 {
        use std::hash::Hasher;
        let mut hasher = DefaultHasher::new();
        (&self.metadata, &self.targets).hash(&mut hasher);
        hasher.finish()
    }
}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceFault {
    /// It is not there.
    Missing,
    /// It ends after so many bytes.
    Truncated(u64),
    /// The byte at this position has other bits.
    Flipped(u64),
    /// The connection breaks.
    Unreachable,
}

/// The repository that the machine sees now, what it will see later, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Source {
    now: Arc<Repository>,
    mark: u64,
    /// Contents that come to be seen after so many more fetches, first come first: a withdrawal in
    /// the middle of staging.
    later: Vec<(u64, Arc<Repository>)>,
    fetches: u64,
    /// Faults by path; a path that ends in `*` stands for all that begin so.
    pub faults: BTreeMap<String, SourceFault>,
    /// Bytes handed out.
    pub bytes: u64,
}

impl Source {
    /// A source that shows `repository`.
    #[must_use]
    pub fn new(repository: Arc<Repository>) -> Self {
        let mark = repository.mark();
        let (later, faults) = (Vec::new(), BTreeMap::new());
        Self {
            now: repository,
            mark,
            later,
            fetches: 0,
            faults,
            bytes: 0,
        }
    }

    /// Shows another repository from now on.
    pub fn show(&mut self, repository: Arc<Repository>) {
        self.mark = repository.mark();
        self.now = repository;
    }

    /// Shows another repository after `fetches` more fetches.
    pub fn show_after(&mut self, fetches: u64, repository: Arc<Repository>) {
        self.later.push((self.fetches + fetches, repository));
    }

    /// A whole file, `None` where there is none; `Err` with a cause where it cannot be had.
    pub(crate) fn fetch(&mut self, metadata: bool, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.fetches += 1;
        while self.later.first().is_some_and(|(at, _)| *at < self.fetches) {
            let (_, repository) = self.later.remove(0);
            self.show(repository);
        }
        let files = if metadata {
            &self.now.metadata
        } else {
            &self.now.targets
        };
        let Some(bytes) = files.get(path) else {
            return Ok(None);
        };
        let mut bytes = bytes.to_vec();
        match self.fault(path) {
            None => {}
            Some(SourceFault::Missing) => return Ok(None),
            Some(SourceFault::Unreachable) => return Err("the connection broke".to_owned()),
            Some(SourceFault::Truncated(at)) => bytes.truncate(*at as usize),
            Some(SourceFault::Flipped(at)) => {
                if let Some(byte) = bytes.get_mut(*at as usize) {
                    *byte ^= 0x20;
                }
            }
        }
        Ok(Some(bytes))
    }

    /// A range of a target.
    pub(crate) fn range(
        &mut self,
        path: &str,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(bytes) = self.fetch(false, path)? else {
            return Ok(None);
        };
        let have = bytes.len() as u64;
        let (start, end) = (range.start.min(have), range.end.min(have));
        self.bytes += end.saturating_sub(start);
        if end < range.end {
            return Err(format!("it ends at {have}, before the range asked for"));
        }
        Ok(Some(bytes[start as usize..end as usize].to_vec()))
    }

    fn fault(&self, path: &str) -> Option<&SourceFault> {
        let hit = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => pattern == path,
        };
        self.faults
            .iter()
            .find(|(pattern, _)| hit(pattern))
            .map(|(_, fault)| fault)
    }

    pub(crate) fn fingerprint(&self, hasher: &mut DefaultHasher) {
        (self.mark, &self.faults).hash(hasher);
        for (_, repository) in &self.later {
            repository.mark().hash(hasher);
        }
    }
}
