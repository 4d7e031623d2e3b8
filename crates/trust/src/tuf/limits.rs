//! Bounds on what a repository can make a client do.

/// Most bytes of each role and most steps of each walk. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub root: u64,
    pub timestamp: u64,
    pub snapshot: u64,
    pub targets: u64,
    /// Root versions fetched in one refresh.
    pub root_rotations: u32,
    /// Delegated roles visited in one search.
    pub delegation_visits: u32,
    /// Roles that one targets document may delegate to.
    pub delegated_roles: usize,
    /// A version that rises by more is reported: the sign of a fast-forward attack.
    pub version_jump: u64,
}

impl Limits {
    /// For a node's own repository: the defaults that other clients use too, so that what our
    /// publisher writes is readable by all of them. A thousand releases need some 300 KiB of
    /// targets; 256 root versions are five years of weekly rotation.
    pub const fn node() -> Self {
        Self {
            root: 512 << 10,
            timestamp: 16 << 10,
            snapshot: 2 << 20,
            targets: 5 << 20,
            root_rotations: 256,
            delegation_visits: 32,
            delegated_roles: 1024,
            version_jump: 1000,
        }
    }

    /// For repositories made elsewhere: timestamps with many signatures, and package indexes of
    /// a hundred thousand targets.
    pub const fn foreign() -> Self {
        let node = Self::node();
        Self {
            timestamp: 64 << 10,
            snapshot: 8 << 20,
            targets: 32 << 20,
            ..node
        }
    }
}
