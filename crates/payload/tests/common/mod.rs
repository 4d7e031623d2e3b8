//! What several tests share: seeded images, a disk in memory that can be cut, a counting source,
//! and one way of applying a payload.
#![allow(dead_code, unreachable_pub)] // each test file uses its part of this module

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use twinroot_payload::Result;
use twinroot_payload::encode::{Encoded, History, Params, encode_full};
use twinroot_payload::finish::Goal;
use twinroot_payload::index::{Expect, Index, load};
use twinroot_payload::io::{CodedSource, Fault, FaultKind, ReadAt, WriteAt};
use twinroot_payload::reuse::{Base, ReuseTable, TABLE_BYTES};
use twinroot_payload::stage::{Report, Slot, Supply, in_turn, write_slot};
use twinroot_payload::verity::{BLOCK, TreeLeaves, TreeShape};

pub const SALT: &[u8] = &[0x5a; 32];

/// One step of splitmix64: the tests' only source of content.
pub fn mix(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The block called `name`: 0 is zeroes, odd names compress well, even ones do not.
pub fn block(name: u64) -> Vec<u8> {
    if name == 0 {
        return vec![0; BLOCK];
    }
    let words = (0..BLOCK as u64 / 8).map(|n| if name % 2 == 1 { n / 64 } else { n });
    words
        .flat_map(|n| mix(name.wrapping_mul(1 << 20) + n).to_le_bytes())
        .collect()
}

/// An image of the blocks named.
pub fn image(names: &[u64]) -> Vec<u8> {
    names.iter().flat_map(|name| block(*name)).collect()
}

pub fn params(segment_blocks: u32) -> Params {
    Params {
        segment_blocks,
        level: 3,
        ..Params::default()
    }
}

/// A payload in memory with what the manifest would say of it.
#[derive(Clone)]
pub struct Payload {
    pub file: Vec<u8>,
    pub encoded: Encoded,
    pub image_bytes: u64,
}

pub fn encode(image: &[u8], previous: Option<&History>, params: &Params) -> Payload {
    let mut file = Vec::new();
    let encoded = encode_full(&image, SALT, previous, params, &mut |at, bytes| {
        let end = at as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[at as usize..end].copy_from_slice(bytes);
        Ok(())
    })
    .expect("the image can be coded");
    Payload {
        file,
        encoded,
        image_bytes: image.len() as u64,
    }
}

impl Payload {
    pub fn expect(&self) -> Expect {
        Expect {
            image_bytes: self.image_bytes,
            root_hash: self.encoded.root_hash,
            file_bytes: self.encoded.file_bytes,
        }
    }

    pub fn index_bytes(&self, source: &dyn CodedSource) -> Result<Vec<u8>> {
        load(source, self.encoded.index_bytes, &self.encoded.index_digest)
    }

    pub fn goal(&self) -> Goal<'static> {
        let shape = TreeShape::for_size(self.image_bytes).expect("the image was coded");
        Goal {
            shape,
            salt: SALT,
            root_hash: self.encoded.root_hash,
        }
    }
}

/// How a disk ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The program dies; what it wrote stays.
    Kill,
    /// The power fails; of what was not flushed each sector stays or not, as the seed has it.
    Power(u64),
}

/// Operations that are left before the end, shared by all disks and sources of a machine.
pub struct Budget(AtomicI64);

impl Budget {
    pub fn endless() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }

    pub fn of(operations: i64) -> Self {
        Self(AtomicI64::new(operations))
    }

    pub fn spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }

    fn spend(&self) -> std::result::Result<(), Fault> {
        if self.0.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.0.store(-1, Ordering::Relaxed);
            return Err(Fault::new(FaultKind::Cancelled, "the machine is gone"));
        }
        Ok(())
    }
}

const SECTOR: usize = 512;

struct Content {
    /// As the program sees it.
    now: Vec<u8>,
    /// As it was at the last flush.
    flushed: Vec<u8>,
}

/// A disk in memory. Writes and flushes spend the budget.
pub struct Disk<'a> {
    content: Mutex<Content>,
    budget: &'a Budget,
    /// Bytes written.
    pub written: AtomicU64,
}

impl<'a> Disk<'a> {
    pub fn new(bytes: Vec<u8>, budget: &'a Budget) -> Self {
        let content = Mutex::new(Content {
            flushed: bytes.clone(),
            now: bytes,
        });
        Self {
            content,
            budget,
            written: AtomicU64::new(0),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.content.lock().unwrap().now.clone()
    }

    /// What is on the disk after the end.
    pub fn after(self, cut: Cut) -> Vec<u8> {
        let Content { now, mut flushed } = self.content.into_inner().unwrap();
        match cut {
            Cut::Kill => now,
            Cut::Power(seed) => {
                for (n, sector) in now.chunks(SECTOR).enumerate() {
                    if mix(seed.wrapping_add(n as u64)) & 1 == 0 {
                        flushed[n * SECTOR..n * SECTOR + sector.len()].copy_from_slice(sector);
                    }
                }
                flushed
            }
        }
    }
}

impl ReadAt for Disk<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::result::Result<(), Fault> {
        self.content.lock().unwrap().now.read_at(offset, buf)
    }

    fn len(&self) -> std::result::Result<u64, Fault> {
        Ok(self.content.lock().unwrap().now.len() as u64)
    }
}

impl WriteAt for Disk<'_> {
    fn write_at(&self, offset: u64, buf: &[u8]) -> std::result::Result<(), Fault> {
        self.budget.spend()?;
        let mut content = self.content.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + buf.len());
        if end > content.now.len() {
            return Err(Fault::past_end(offset, buf.len(), content.now.len() as u64));
        }
        content.now[start..end].copy_from_slice(buf);
        self.written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> std::result::Result<(), Fault> {
        self.budget.spend()?;
        let mut content = self.content.lock().unwrap();
        content.flushed = content.now.clone();
        Ok(())
    }
}

/// A payload file that counts what it sends. Each fetch spends the budget.
pub struct Server<'a> {
    pub file: &'a [u8],
    pub budget: &'a Budget,
    pub sent: AtomicU64,
}

impl<'a> Server<'a> {
    pub fn new(file: &'a [u8], budget: &'a Budget) -> Self {
        Self {
            file,
            budget,
            sent: AtomicU64::new(0),
        }
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl CodedSource for Server<'_> {
    fn fetch(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> std::result::Result<(), Fault>,
    ) -> std::result::Result<(), Fault> {
        self.budget.spend()?;
        let bytes = &self.file[range.start as usize..range.end as usize];
        // In small pieces, so that what a kill leaves unsent is not counted.
        bytes.chunks(512).try_for_each(|piece| {
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            take(piece)
        })
    }
}

/// The tree partition of an image.
pub fn tree_of(image: &[u8], salt: &[u8]) -> Vec<u8> {
    let budget = Budget::endless();
    let shape = TreeShape::for_size(image.len() as u64).unwrap();
    let disk = Disk::new(vec![0; shape.partition_bytes() as usize], &budget);
    let root_hash = twinroot_payload::verity::root_of(&image, &shape, salt).unwrap();
    let goal = Goal {
        shape,
        salt,
        root_hash,
    };
    let proof = twinroot_payload::finish::prove(&goal, &image, &disk, &mut |_| Ok(())).unwrap();
    proof
        .into_result(&goal)
        .unwrap()
        .check_tree(&disk)
        .unwrap()
        .seal(&disk)
        .unwrap();
    disk.bytes()
}

/// A booted slot that blocks may come from.
#[derive(Clone, Copy)]
pub enum From<'a> {
    Nothing,
    /// Image and its tree under the target's salt.
    Tree(&'a [u8], &'a [u8]),
    /// An image whose tree has another salt.
    Hashed(&'a [u8]),
}

/// Writes a payload's image to a slot, on one thread.
pub fn apply(
    payload: &Payload,
    from: From<'_>,
    source: &dyn CodedSource,
    data: &Disk<'_>,
    tree: &Disk<'_>,
) -> Result<Report> {
    let bytes = payload.index_bytes(source)?;
    let index = Index::open(&bytes, &payload.expect())?;
    let holder: &[u8];
    let stored: &[u8];
    let base = match from {
        From::Nothing => None,
        From::Tree(image, tree) => {
            (holder, stored) = (image, tree);
            let shape = TreeShape::for_size(image.len() as u64)?;
            Some(Base::with_tree(&holder, TreeLeaves::new(&stored, shape)))
        }
        From::Hashed(image) => {
            holder = image;
            Some(Base::to_hash(&holder, (image.len() / BLOCK) as u64, SALT))
        }
    };
    let table = base.map(|base| ReuseTable::build(base, &index, TABLE_BYTES));
    let supply = Supply {
        index: &index,
        table: table.as_ref(),
        source,
    };
    let slot = Slot {
        data,
        data_medium: data,
        tree,
        tree_medium: tree,
    };
    write_slot(&payload.goal(), &slot, &supply, &mut in_turn, &mut |_| {
        Ok(())
    })
}

/// An empty slot for a payload's image: data and tree.
pub fn empty_slot<'a>(payload: &Payload, budget: &'a Budget) -> (Disk<'a>, Disk<'a>) {
    let tree = payload.goal().shape.partition_bytes() as usize;
    (
        Disk::new(vec![0xee; payload.image_bytes as usize], budget),
        Disk::new(vec![0xee; tree], budget),
    )
}
