//! The value that a TPM's register 11 has after a boot image was started, computed beforehand, so that a
//! machine's report can be compared with what was published.
//!
//! systemd-stub measures each section of the image that it knows, name and content, in an order of its
//! own (UKI specification, "PCR 11"; `src/fundamental/uki.h` of systemd 257). Later the running system
//! adds a word for each phase of its start.

use sha2::{Digest as _, Sha256};
use twinroot_core::bootfmt::pe;

use crate::Outcome;

/// Sections in the order in which they are measured. `.pcrsig` holds signatures over the result and is not.
const MEASURED: [&str; 13] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey", ".profile", ".dtbauto", ".hwids",
];

/// Phases of a start, each with the words that have been added by then. Our initramfs adds none, so that
/// what the distribution's adds (`enter-initrd`, `leave-initrd`) is missing here.
pub const PHASES: [(&str, &[&str]); 3] = [
    ("boot image", &[]),
    ("sysinit", &["sysinit"]),
    ("ready", &["sysinit", "ready"]),
];

/// A register of a TPM's SHA-256 bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register([u8; 32]);

impl Register {
    fn extend(&mut self, measured: &[u8]) {
        let digest = Sha256::digest(measured);
        self.0 = Sha256::new()
            .chain_update(self.0)
            .chain_update(digest)
            .finalize()
            .into();
    }
}

/// The register's value in each of [`PHASES`], as hex.
///
/// # Errors
/// `uki-invalid`.
pub fn predict(name: &str, uki: &[u8]) -> Outcome<Vec<(&'static str, String)>> {
    let sections = pe::sections(name, uki)?;
    let mut register = Register([0; 32]);
    for wanted in MEASURED {
        let Some(section) = sections.iter().find(|section| section.name == wanted) else {
            continue;
        };
        // The name is measured with the NUL at its end.
        register.extend(&[wanted.as_bytes(), &[0]].concat());
        register.extend(section.data);
    }
    let value = |words: &[&str]| {
        let mut register = register;
        words
            .iter()
            .for_each(|word| register.extend(word.as_bytes()));
        twinroot_payload::verity::hex(&register.0)
    };
    Ok(PHASES
        .iter()
        .map(|(phase, words)| (*phase, value(words)))
        .collect())
}

#[cfg(test)]
mod tests {
    use twinroot_core::bootfmt::pe::{Machine, build_uki};

    use super::*;

    #[test]
    fn sections_count_by_name_and_content_and_in_the_stubs_order() {
        let uki =
            |sections: &[(&str, &[u8])]| build_uki("uki", None, Machine::X86_64, sections).unwrap();
        let value =
            |sections: &[(&str, &[u8])]| predict("uki", &uki(sections)).unwrap()[0].1.clone();
        let one = value(&[(".osrel", b"a"), (".linux", b"k")]);
        assert_eq!(one, value(&[(".linux", b"k"), (".osrel", b"a")]));
        assert_ne!(one, value(&[(".osrel", b"k"), (".linux", b"a")]));
        assert_eq!(
            one,
            value(&[(".osrel", b"a"), (".pcrsig", b"x"), (".linux", b"k")])
        );
    }

    #[test]
    fn a_register_is_extended_as_a_tpm_does() {
        // printf of 32 zero bytes and sha256("x") through sha256sum.
        let mut register = Register([0; 32]);
        register.extend(b"x");
        let expected = "7f85193790de75e46b70bfec3614098f47332a6993dabac6e38ad35f47df5da4";
        assert_eq!(twinroot_payload::verity::hex(&register.0), expected);
    }
}
