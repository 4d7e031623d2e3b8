//! Slots, and the two roles a slot can have. [`BootedSlot`] and [`InactiveSlot`] are made from boot
//! facts only (see [`crate::facts`]): no configuration, saved file or request can name the slot that
//! is going to be written, so the booted one cannot be written by mistake.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The name of one complete set of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    /// Slot A.
    A,
    /// Slot B.
    B,
}

impl SlotName {
    /// Both slots, in the order in which they are printed.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Position in arrays that hold something for each slot.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// One partition of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The image itself.
    Data,
    /// Its hash tree.
    Tree,
}

/// The slot that runs. It is read, never written: no port takes it as a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootedSlot {
    name: SlotName,
}

impl BootedSlot {
    /// Only [`crate::facts`] calls this, with what the kernel said.
    pub(crate) const fn from_boot_facts(name: SlotName) -> Self {
        Self { name }
    }

    /// Which slot it is.
    #[must_use]
    pub const fn name(&self) -> SlotName {
        self.name
    }
}

/// The slot that does not run: the only thing a writer can be opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InactiveSlot {
    name: SlotName,
}

impl InactiveSlot {
    /// Only [`crate::facts`] calls this, with the other slot of what the kernel said.
    pub(crate) const fn from_boot_facts(name: SlotName) -> Self {
        Self { name }
    }

    /// Which slot it is.
    #[must_use]
    pub const fn name(&self) -> SlotName {
        self.name
    }
}
