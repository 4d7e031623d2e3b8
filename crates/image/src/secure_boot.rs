//! Secure Boot: keys, signatures over what firmware starts, and the variables that enrol the keys.
//!
//! Private keys lie in files here; a publisher with a hardware module signs the same files with its own
//! tool and puts them in place of `uki.efi` and `loader.efi`.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use twinroot_core::error::{Code, Failure};
use twinroot_trust::digest::Digest;

use crate::Outcome;
use crate::build::{names, read_description, write_description};
use crate::files;
use crate::tool::Tool;

/// Platform key, key exchange key, and the key that signs what is started (UEFI 2.10, section 32.3).
const KEYS: [(&str, &str); 3] = [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")];

/// Twenty years: firmware does not look at the dates, people do.
const DAYS: &str = "7300";

/// Makes the three keys in a folder, each with certificate and with the signed variable that enrols it.
///
/// # Errors
/// `key-exists`, `tool-missing`, `tool-failed`.
pub fn make_keys(folder: &Path, product: &str) -> Outcome<()> {
    files::make_folder(folder)?;
    for (name, _) in KEYS {
        let key = folder.join(format!("{name}.key"));
        if key.exists() {
            let cause = "exists already; a key is never overwritten";
            return Err(Failure::new(
                Code::KeyExists,
                key.display().to_string(),
                cause,
            ));
        }
    }
    for (name, _) in KEYS {
        let key = folder.join(format!("{name}.key"));
        // Made before it is filled, so that it is never readable for others.
        files::write_mode(&key, "", 0o600)?;
        Tool::new("openssl")
            .args([
                "req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-days", DAYS,
            ])
            .args(["-subj", &format!("/CN={product} {name}/"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(folder.join(format!("{name}.pem")))
            .run()?;
    }
    for (name, signer) in KEYS {
        let variable = enrolment(folder, name, signer)?;
        files::write(&folder.join(format!("{name}.auth")), variable)?;
    }
    Ok(())
}

/// Signs boot image and loader of a build; a signature that was there goes. The unsigned boot image stays
/// beside it, since it is what is reproducible.
///
/// # Errors
/// `tool-missing`, `tool-failed`, `key-missing`.
pub fn sign(image: &Path, key: &Path, certificate: &Path) -> Outcome<()> {
    for path in [key, certificate] {
        if !path.is_file() {
            return Err(Failure::new(
                Code::KeyMissing,
                path.display().to_string(),
                "is no file",
            ));
        }
    }
    let mut description = read_description(image)?;
    for name in [names::UKI, names::LOADER] {
        let unsigned = image.join(format!("unsigned-{name}"));
        if !unsigned.is_file() {
            files::write(&unsigned, files::read(&image.join(name))?)?;
        }
        let signed = image.join(format!("{name}.part"));
        Tool::new("sbsign")
            .arg("--key")
            .arg(key)
            .arg("--cert")
            .arg(certificate)
            .arg("--output")
            .arg(&signed)
            .arg(&unsigned)
            .run()?;
        Tool::new("sbverify")
            .arg("--cert")
            .arg(certificate)
            .arg(&signed)
            .run()?;
        files::rename(&signed, &image.join(name))?;
    }
    description.signed_with = Some(Digest::of(&der(certificate)?));
    write_description(image, &description)
}

fn der(certificate: &Path) -> Outcome<Vec<u8>> {
    Tool::new("openssl")
        .args(["x509", "-outform", "DER", "-in"])
        .arg(certificate)
        .run()
}

/// `EFI_CERT_X509_GUID` a5c059a1-94e4-4aa7-87b5-ab155c2bf072, in the order of bytes that UEFI stores.
const X509: [u8; 16] = guid(
    0xa5c0_59a1,
    0x94e4,
    0x4aa7,
    [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72],
);
/// `EFI_CERT_TYPE_PKCS7_GUID` 4aafd29d-68df-49ee-8aa9-347d375665a7.
const PKCS7: [u8; 16] = guid(
    0x4aaf_d29d,
    0x68df,
    0x49ee,
    [0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7],
);
/// `EFI_GLOBAL_VARIABLE` 8be4df61-93ca-11d2-aa0d-00e098032b8c, the vendor of PK and KEK.
const GLOBAL: [u8; 16] = guid(
    0x8be4_df61,
    0x93ca,
    0x11d2,
    [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c],
);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID` d719b2cb-3d3a-4596-a3bc-dad00e67656f, the vendor of db.
const DATABASE: [u8; 16] = guid(
    0xd719_b2cb,
    0x3d3a,
    0x4596,
    [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f],
);

/// Non-volatile, boot and run time access, time-based authentication (UEFI 2.10, section 8.2).
const ATTRIBUTES: u32 = 0x27;
/// `WIN_CERT_TYPE_EFI_GUID` and the revision that goes with it.
const CERTIFICATE_TYPE: u16 = 0x0ef1;
const CERTIFICATE_REVISION: u16 = 0x0200;

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// `EFI_TIME` 2024-01-01 00:00:00: a variable can be replaced by a later one only, and whoever makes new
/// keys starts from cleared variables.
const TIME: [u8; 16] = [0xe8, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The signed variable that enrols a certificate: time, signature, signature list.
fn enrolment(folder: &Path, name: &str, signer: &str) -> Outcome<Vec<u8>> {
    let certificate = der(&folder.join(format!("{name}.pem")))?;
    let owner: [u8; 16] = {
        let digest: [u8; 32] = Sha256::digest(&certificate).into();
        std::array::from_fn(|at| digest[at])
    };
    let list = signature_list(&certificate, &owner);
    let vendor = if name == "db" { DATABASE } else { GLOBAL };
    let work =
        tempfile::tempdir_in(folder).map_err(|error| files::failed(folder, "use", &error))?;
    let content = work.path().join("content");
    files::write(&content, to_be_signed(name, &vendor, &list))?;
    let signature = Tool::new("openssl")
        .args([
            "cms", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER", "-in",
        ])
        .arg(&content)
        .arg("-signer")
        .arg(folder.join(format!("{signer}.pem")))
        .arg("-inkey")
        .arg(folder.join(format!("{signer}.key")))
        .run()?;
    let signed = signed_data(&signature).ok_or_else(|| {
        Failure::new(
            Code::ToolFailed,
            "openssl cms",
            "its signature is no PKCS #7 message",
        )
    })?;
    Ok(variable(signed, &list))
}

/// An `EFI_SIGNATURE_LIST` with one certificate.
fn signature_list(certificate: &[u8], owner: &[u8; 16]) -> Vec<u8> {
    let entry = 16 + certificate.len() as u32;
    // Type, size of the list, of its header (none) and of an entry; then owner and certificate.
    [
        &X509[..],
        &(28 + entry).to_le_bytes(),
        &0u32.to_le_bytes(),
        &entry.to_le_bytes(),
        owner,
        certificate,
    ]
    .concat()
}

/// What the signature covers: name without NUL, vendor, attributes, time, content.
fn to_be_signed(name: &str, vendor: &[u8; 16], list: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&name[..], vendor, &ATTRIBUTES.to_le_bytes(), &TIME, list].concat()
}

/// An `EFI_VARIABLE_AUTHENTICATION_2` before the content.
fn variable(signed: &[u8], list: &[u8]) -> Vec<u8> {
    let length = 24 + signed.len() as u32;
    [
        &TIME[..],
        &length.to_le_bytes(),
        &CERTIFICATE_REVISION.to_le_bytes(),
        &CERTIFICATE_TYPE.to_le_bytes(),
        &PKCS7,
        signed,
        list,
    ]
    .concat()
}

/// The `SignedData` of a PKCS #7 message, which UEFI wants without the wrapping that names its type:
/// SEQUENCE { OBJECT IDENTIFIER, [0] { SignedData } }.
fn signed_data(message: &[u8]) -> Option<&[u8]> {
    let (0x30, content) = element(message)? else {
        return None;
    };
    let (0x06, identifier) = element(content)? else {
        return None;
    };
    let (0xa0, signed) = element(content.get(2 + identifier.len()..)?)? else {
        return None;
    };
    Some(signed)
}

/// Tag and content of the first element of DER bytes.
fn element(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let digits = bytes.get(2..2 + count)?;
            (
                digits
                    .iter()
                    .fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
                2 + count,
            )
        }
        _ => return None,
    };
    Some((tag, bytes.get(start..start.checked_add(length)?)?))
}

/// Files that make systemd-boot enrol the keys at the first start of a machine in setup mode.
///
/// # Errors
/// `key-missing`.
pub fn enrolment_files(folder: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let file = |(name, _): (&str, &str)| {
        let path = folder.join(format!("{name}.auth"));
        match path.is_file() {
            true => Ok((format!("loader/keys/auto/{name}.auth"), path)),
            false => Err(Failure::new(
                Code::KeyMissing,
                path.display().to_string(),
                "is no file",
            )),
        }
    };
    KEYS.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_list_says_its_sizes() {
        let list = signature_list(&[9; 100], &[1; 16]);
        assert_eq!(list.len(), 28 + 16 + 100);
        assert_eq!(list[..4], [0xa1, 0x59, 0xc0, 0xa5]);
        assert_eq!(u32::from_le_bytes(list[16..20].try_into().unwrap()), 144);
        assert_eq!(u32::from_le_bytes(list[24..28].try_into().unwrap()), 116);
    }

    #[test]
    fn signed_data_is_taken_out_of_its_wrapping() {
        let message = [
            0x30, 0x0a, 0x06, 0x02, 0x2a, 0x03, 0xa0, 0x04, 0x30, 0x02, 0x05, 0x00,
        ];
        assert_eq!(signed_data(&message), Some(&[0x30, 0x02, 0x05, 0x00][..]));
        assert_eq!(signed_data(&message[..11]), None);
        assert_eq!(signed_data(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        match make_keys(dir.path(), "toy") {
            Err(failure) if failure.code == Code::ToolMissing => {
                eprintln!("SKIP {failure}");
                return;
            }
            other => other.unwrap(),
        }
        for name in ["PK", "KEK", "db"] {
            let mode = files::metadata(&dir.path().join(format!("{name}.key")))
                .unwrap()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            let auth = files::read(&dir.path().join(format!("{name}.auth"))).unwrap();
            assert_eq!(auth[..16], TIME);
            // The signature is the inner structure: a SEQUENCE that starts with a version number.
            assert_eq!((auth[40], auth[44]), (0x30, 0x02));
        }
        assert_eq!(
            make_keys(dir.path(), "toy").unwrap_err().code,
            Code::KeyExists
        );
        assert_eq!(enrolment_files(dir.path()).unwrap().len(), 3);
    }
}
