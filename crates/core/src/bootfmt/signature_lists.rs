//! The firmware's lists of keys and hashes: `db`, `dbx` (UEFI specification, 32.4.1, `EFI_SIGNATURE_LIST`).

use alloc::vec::Vec;

use crate::layout::Guid;

/// `EFI_CERT_X509_GUID`: a certificate.
const X509: Guid = Guid::from_number(0xa5c059a1_94e4_4aa7_87b5_ab155c2bf072);
/// `EFI_CERT_SHA256_GUID`: the hash of an image.
const SHA256: Guid = Guid::from_number(0xc1c41626_504c_4092_aca9_41f936934328);
/// Kind, size of the list, size of its header, size of an entry.
const HEADER: usize = 28;
/// Before each entry's content: who put it there.
const OWNER: usize = 16;

/// What a variable holds of the kinds that we judge by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignatureLists {
    /// Certificates, DER.
    pub certificates: Vec<Vec<u8>>,
    /// Hashes of images.
    pub images: Vec<[u8; 32]>,
}

impl SignatureLists {
    /// Reads the lists, without the attributes that efivarfs puts before them. Nothing where they
    /// contradict themselves: half a list of keys is no list.
    #[must_use]
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut lists = Self::default();
        while !bytes.is_empty() {
            let size = |at: usize| -> Option<usize> {
                let word = bytes.get(at..at + 4)?;
                usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
            };
            let kind = Guid::from_disk(bytes.get(..16)?.try_into().ok()?);
            let (whole, header, entry) = (size(16)?, size(20)?, size(24)?);
            let list = bytes.get(..whole).filter(|_| whole > HEADER)?;
            let entries = list.get(HEADER.checked_add(header)?..)?;
            if entry <= OWNER || entries.len() % entry != 0 {
                return None;
            }
            for entry in entries.chunks_exact(entry) {
                lists.add(kind, &entry[OWNER..]);
            }
            bytes = &bytes[whole..];
        }
        Some(lists)
    }

    fn add(&mut self, kind: Guid, content: &[u8]) {
        if kind == X509 {
            self.certificates.push(content.to_vec());
        } else if kind == SHA256
            && let Ok(hash) = content.try_into()
        {
            self.images.push(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn list(kind: Guid, entries: &[&[u8]]) -> Vec<u8> {
        let entry = OWNER + entries[0].len();
        let whole = HEADER + entry * entries.len();
        let mut bytes = kind.to_disk().to_vec();
        for size in [whole, 0, entry] {
            bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
        }
        for content in entries {
            bytes.extend([9; OWNER]);
            bytes.extend(*content);
        }
        bytes
    }

    #[test]
    fn certificates_and_hashes_are_read_and_other_kinds_left_out() {
        let other = Guid::from_number(5);
        let bytes = [
            list(X509, &[b"a certificate"]),
            list(other, &[b"of another kind"]),
            list(SHA256, &[&[1; 32], &[2; 32]]),
        ]
        .concat();
        let read = SignatureLists::read(&bytes).unwrap();
        assert_eq!(read.certificates, [b"a certificate".to_vec()]);
        assert_eq!(read.images, [[1; 32], [2; 32]]);
        assert_eq!(SignatureLists::read(&[]), Some(SignatureLists::default()));
    }

    #[test]
    fn half_a_list_is_no_list() {
        let whole = list(X509, &[b"a certificate"]);
        for end in 1..whole.len() {
            assert_eq!(SignatureLists::read(&whole[..end]), None, "{end}");
        }
        let mut zero = whole.clone();
        zero[24..28].copy_from_slice(&[0; 4]);
        assert_eq!(SignatureLists::read(&zero), None);
        let mut endless = vec![0; HEADER];
        endless[16..20].copy_from_slice(&28_u32.to_le_bytes());
        assert_eq!(SignatureLists::read(&endless), None);
    }
}
