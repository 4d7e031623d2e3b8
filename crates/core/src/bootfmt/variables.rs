//! EFI variables of the Boot Loader Interface, as efivarfs shows them.
//!
//! Source: <https://systemd.io/BOOT_LOADER_INTERFACE>. The initramfs and the agent read and write the
//! same ones.

use alloc::string::String;
use alloc::vec::Vec;

/// Pin: the entry that is taken whatever its version. Survives reboots.
pub const DEFAULT: &str = "LoaderEntryDefault";
/// The entry for the next boot alone; the loader deletes it.
pub const ONE_SHOT: &str = "LoaderEntryOneShot";
/// The entry that was booted. Written by the loader.
pub const SELECTED: &str = "LoaderEntrySelected";
/// Name and version of the loader. Written by the loader.
pub const INFO: &str = "LoaderInfo";
/// UUID of the partition that the loader was started from. Written by the loader or the stub.
pub const PART_UUID: &str = "LoaderDevicePartUUID";
/// Path of the counted entry that was booted, with its counter after this start. Written by the
/// loader, on counted boots only.
pub const COUNT_PATH: &str = "LoaderBootCountPath";

/// Vendor id of the Boot Loader Interface, which all of the above carry.
pub const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Where efivarfs is mounted.
pub const FOLDER: &str = "/sys/firmware/efi/efivars";
/// A value that is longer is not read: entry ids are file names of 255 UTF-16 units.
pub const LARGEST: u64 = 4096;
/// Non-volatile, boot service access, runtime access: what the interface asks for.
const ATTRIBUTES: u32 = 7;

/// The file name of a variable in efivarfs.
#[must_use]
pub fn file_name(variable: &str) -> String {
    alloc::format!("{variable}-{VENDOR}")
}

/// A text as it is written: attributes, then UTF-16 with a NUL at the end.
#[must_use]
pub fn encode(value: &str) -> Vec<u8> {
    let text = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    ATTRIBUTES.to_le_bytes().into_iter().chain(text).collect()
}

/// A text as it is read: four bytes of attributes, then UTF-16 with a NUL at the end, which some
/// loaders leave out. Nothing for anything that is no text.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<String> {
    let text = bytes.get(4..)?;
    if text.len() % 2 != 0 {
        return None;
    }
    let units = text
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn variables_are_read_as_the_firmware_writes_them() {
        let mut raw = vec![7, 0, 0, 0];
        raw.extend("os_1.0.efi".bytes().flat_map(|byte| [byte, 0]));
        assert_eq!(decode(&raw).as_deref(), Some("os_1.0.efi"));
        raw.extend([0, 0]);
        assert_eq!(decode(&raw).as_deref(), Some("os_1.0.efi"));
        assert_eq!(encode("os_1.0.efi"), raw);
        for bad in [
            &[][..],
            &[7, 0, 0],
            &[7, 0, 0, 0, 65],
            &[7, 0, 0, 0, 0, 0xD8],
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
