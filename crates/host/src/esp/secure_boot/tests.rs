use std::io::Write;

use super::*;

const PLAIN: &[u8] = include_bytes!("fixtures/plain.efi");
const SIGNED: &[u8] = include_bytes!("fixtures/signed.efi");
const BY_LEAF: &[u8] = include_bytes!("fixtures/by-leaf.efi");
const KNOWN: &[u8] = include_bytes!("fixtures/known.der");
const OTHER: &[u8] = include_bytes!("fixtures/other.der");

fn list(certificates: &[&[u8]]) -> SignatureLists {
    SignatureLists {
        certificates: certificates.iter().map(|one| one.to_vec()).collect(),
        images: Vec::new(),
    }
}

fn code(keys: &Keys, image: &[u8]) -> Option<Code> {
    keys.check("image", &image)
        .err()
        .map(|failure| failure.code)
}

#[test]
fn an_image_is_accepted_by_the_firmwares_own_key_or_one_that_it_has_signed() {
    let keys = Keys {
        accepted: list(&[OTHER, KNOWN]),
        ..Keys::default()
    };
    keys.check("signed.efi", &SIGNED).unwrap();
    keys.check("by-leaf.efi", &BY_LEAF).unwrap();
}

#[test]
fn unsigned_foreign_and_revoked_images_are_refused_by_name() {
    let accepted = list(&[KNOWN]);
    let keys = Keys {
        accepted: accepted.clone(),
        ..Keys::default()
    };
    assert_eq!(code(&keys, PLAIN), Some(Code::UkiUnsigned));
    let foreign = Keys {
        accepted: list(&[OTHER]),
        ..Keys::default()
    };
    assert_eq!(code(&foreign, SIGNED), Some(Code::UkiSignerUnknown));
    assert_eq!(code(&Keys::default(), SIGNED), Some(Code::UkiSignerUnknown));
    let revoked = Keys {
        accepted,
        refused: list(&[KNOWN]),
    };
    for image in [SIGNED, BY_LEAF] {
        assert_eq!(code(&revoked, image), Some(Code::UkiSignerUnknown));
    }
}

#[test]
fn an_image_may_be_accepted_and_revoked_by_its_own_hash() {
    let ranges = pe::signed("image", &SIGNED).unwrap().ranges;
    let images = vec![hash("image", &SIGNED, &ranges).unwrap()];
    let by_hash = SignatureLists {
        certificates: Vec::new(),
        images,
    };
    let accepting = Keys {
        accepted: by_hash.clone(),
        ..Keys::default()
    };
    assert_eq!(code(&accepting, SIGNED), None);
    let refusing = Keys {
        accepted: list(&[KNOWN]),
        refused: by_hash,
    };
    assert_eq!(code(&refusing, SIGNED), Some(Code::UkiSignerUnknown));
}

#[test]
fn no_byte_of_a_signed_image_can_be_changed() {
    let keys = Keys {
        accepted: list(&[KNOWN]),
        ..Keys::default()
    };
    let signed = pe::signed("image", &SIGNED).unwrap();
    // Every 37th byte of what is signed: a prime, so that all offsets within a field are met.
    for at in signed.ranges.into_iter().flatten().step_by(37) {
        let mut image = SIGNED.to_vec();
        image[at as usize] ^= 1;
        assert!(keys.check("image", &image).is_err(), "byte {at}");
    }
}

#[test]
fn where_the_firmware_does_not_check_nothing_is_checked_here_and_damaged_lists_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let put = |name: &str, vendor: &str, content: &[u8]| {
        let path = home.path().join(format!("{name}-{vendor}"));
        let mut file = std::fs::File::create(path).unwrap();
        file.write_all(&[&[7, 0, 0, 0], content].concat()).unwrap();
    };
    assert_eq!(Keys::read(home.path()).unwrap(), None);
    put("SecureBoot", GLOBAL, &[0]);
    assert_eq!(Keys::read(home.path()).unwrap(), None);
    put("SecureBoot", GLOBAL, &[1]);
    assert_eq!(Keys::read(home.path()).unwrap(), Some(Keys::default()));
    put("db", SECURITY, &[1, 2, 3]);
    let refused = Keys::read(home.path()).unwrap_err();
    assert_eq!(refused.code, Code::BootVariable);
}
