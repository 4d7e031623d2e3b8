//! The one thing that is asked of a FAT file system itself: whether it was unmounted in good order.
//!
//! Linux sets bit 0 of a byte of the boot sector while the file system is mounted for writing (`struct
//! fat_boot_sector` in `include/uapi/linux/msdos_fs.h`, `state`), and leaves it where it was set before.

/// Bytes of the boot sector that are looked at.
pub const SECTOR: usize = 512;

/// Sectors of one allocation table, 16 bits: zero on FAT32 alone, which has the number elsewhere.
const TABLE_LENGTH: usize = 0x16;
const STATE_FAT16: usize = 0x25;
const STATE_FAT32: usize = 0x41;
const DIRTY: u8 = 1;

/// Whether the file system with this boot sector was mounted for writing and never unmounted.
#[must_use]
pub fn is_unclean(boot_sector: &[u8; SECTOR]) -> bool {
    let fat32 = boot_sector[TABLE_LENGTH..TABLE_LENGTH + 2] == [0, 0];
    let state = if fat32 { STATE_FAT32 } else { STATE_FAT16 };
    boot_sector[state] & DIRTY != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fat_has_its_mark_in_a_place_of_its_own() {
        let mut fat32 = [0; SECTOR];
        let mut fat16 = [0; SECTOR];
        fat16[TABLE_LENGTH] = 64;
        assert!(!is_unclean(&fat32) && !is_unclean(&fat16));
        // What is the mark of the one is something else on the other.
        fat32[0x25] = 1;
        fat16[0x41] = 1;
        assert!(!is_unclean(&fat32) && !is_unclean(&fat16));
        fat32[0x41] = 1;
        fat16[0x25] = 1;
        assert!(is_unclean(&fat32) && is_unclean(&fat16));
    }
}
