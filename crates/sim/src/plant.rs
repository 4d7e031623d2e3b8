//! Faults planted into the simulated adapters, to show that the matrix sees what it should see. They
//! are mistakes that a real adapter could have; the adapters of this crate have none of them unless
//! one is chosen here.
//!
//! Only with the feature `planted`, which builds without debug assertions refuse: a planted fault
//! must never be a run-time choice of anything that is shipped.

/// A mistake of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plant {
    /// Flushing a slot's data partition does nothing.
    DataFlush,
    /// Flushing a slot's tree partition does nothing.
    TreeFlush,
    /// A record's temporary file is not fsynced before the rename.
    StoreFileSync,
    /// The folder is not fsynced after the rename.
    StoreFolderSync,
    /// A record is written in place, without a temporary file.
    StoreInPlace,
    /// No sync of the EFI system partition does anything.
    EspSync,
    /// Blessing renames instead of copying.
    BlessByRename,
    /// Blessing removes the counted name before the blessed one exists.
    BlessRemovesFirst,
    /// Arming gives an entry that is there its tries again.
    ArmRefillsTries,
    /// Arming writes the entry as good: without a counter.
    ArmUncounted,
    /// Neither staging nor arming looks at what the boot image has become.
    UkiUnread,
    /// Removing takes everything but the entry named.
    RemoveWrong,
    /// An image is deleted while it still is one.
    DeleteKeepsHead,
    /// Health checks that cannot run pass.
    HealthFailsOpen,
    /// The slot that is opened for writing is the one that runs.
    WrongSlot,
    /// The source hands out whatever was asked for, cut short without an error.
    ShortRange,
    /// Pinning forgets to write.
    PinLost,
    /// Clearing a pin forgets to write.
    UnpinLost,
    /// Nobody counts the starts of a committed system.
    StartsUncounted,
    /// A flush that failed is taken for one that worked.
    FlushErrorSwallowed,
    /// Blessing does nothing where the entry has two names.
    BlessStopsAtTwins,
}

impl Plant {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::DataFlush,
        Self::TreeFlush,
        Self::StoreFileSync,
        Self::StoreFolderSync,
        Self::StoreInPlace,
        Self::EspSync,
        Self::BlessByRename,
        Self::BlessRemovesFirst,
        Self::ArmRefillsTries,
        Self::ArmUncounted,
        Self::UkiUnread,
        Self::RemoveWrong,
        Self::DeleteKeepsHead,
        Self::HealthFailsOpen,
        Self::WrongSlot,
        Self::ShortRange,
        Self::PinLost,
        Self::UnpinLost,
        Self::StartsUncounted,
        Self::FlushErrorSwallowed,
        Self::BlessStopsAtTwins,
    ];
}
