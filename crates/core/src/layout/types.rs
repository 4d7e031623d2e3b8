//! Partition types of the Discoverable Partitions Specification.

use super::Guid;

/// EFI system partition.
pub const ESP: Guid = Guid::from_number(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// Variable data, `/var`.
pub const VAR: Guid = Guid::from_number(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);

/// Architecture of the system on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// arm64.
    Arm64,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// The whole root.
    Root,
    /// `/usr` only.
    Usr,
}

/// Types of a slot's data partition and of its tree partition.
#[must_use]
pub const fn slot_types(holds: Holds, architecture: Architecture) -> (Guid, Guid) {
    let (data, tree) = match (holds, architecture) {
        (Holds::Root, Architecture::X86_64) => (
            0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
            0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5,
        ),
        (Holds::Root, Architecture::Arm64) => (
            0xb921b045_1df0_41c3_af44_4c6f280d3fae,
            0xdf3300ce_d69f_4c92_978c_9bfb0f38d820,
        ),
        (Holds::Usr, Architecture::X86_64) => (
            0x8484680c_9521_48c6_9c11_b0720656f69e,
            0x77ff5f63_e7b6_4633_acf4_1565b864c0e6,
        ),
        (Holds::Usr, Architecture::Arm64) => (
            0xb0e01050_ee5f_4390_949a_9101b17104e9,
            0x6e11a4e7_fbca_4ded_b9e9_e1a512bb664e,
        ),
    };
    (Guid::from_number(data), Guid::from_number(tree))
}
