//! The simulated source of releases.

use std::ops::Range;

use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::Fault;
use twinroot_ports::{Fetch, Outcome};

use crate::plant::Plant;
use crate::world::World;

impl World {
    fn whole(&self, metadata: bool, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        check(path)?;
        let answer = self.effect("fetch: file", |m| m.source.fetch(metadata, path));
        let unreachable = |cause| Failure::new(Code::Unreachable, path, cause);
        let Some(bytes) = answer.map_err(unreachable)? else {
            return Ok(None);
        };
        if bytes.len() as u64 > limit {
            let cause = format!("more than the {limit} bytes that it may have");
            return Err(Failure::new(Code::EndlessData, path, cause));
        }
        Ok(Some(bytes))
    }
}

/// A name that would leave the source is refused before anybody is asked.
fn check(path: &str) -> Outcome<()> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if path.split('/').all(plain) {
        return Ok(());
    }
    let cause = "it is no relative path of plain parts";
    Err(Failure::new(Code::NameRefused, path, cause))
}

impl Fetch for World {
    fn metadata(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(true, name, limit)
    }

    fn target(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(false, path, limit)
    }

    fn range(
        &self,
        path: &str,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()> {
        check(path)?;
        let answer = self.effect("fetch: range", |m| m.source.range(path, range));
        let answer = answer.map_err(|cause| Failure::new(Code::Truncated, path, cause))?;
        let missing = || Failure::new(Code::NotOnServer, path, "there is no such file");
        let mut bytes = answer.ok_or_else(missing)?;
        if self.planted(Plant::ShortRange) {
            bytes.truncate(bytes.len() / 2);
        }
        // Pieces of an odd size, as a network has them.
        for piece in bytes.chunks(1000) {
            sink(piece).map_err(|fault| Failure::new(Code::DiskIo, path, fault.message))?;
        }
        Ok(())
    }
}
