//! What the image says of itself.

/// What is stamped into an image.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Product name.
    pub product: &'a str,
    /// For people.
    pub title: &'a str,
    /// Variant, where it is one.
    pub variant: Option<&'a str>,
    /// Version of the release.
    pub version: &'a str,
    /// Seconds since 1970; a node running this image believes no earlier time.
    pub built: u64,
    /// The lowest release that a node running this image may run again.
    pub floor: Option<&'a str>,
    /// Release of the distribution, as scanners look it up.
    pub suite: &'a str,
}

/// Debian's release numbers; scanners look up advisories by `ID` and `VERSION_ID`.
const SUITES: [(&str, &str); 2] = [("bookworm", "12"), ("trixie", "13")];

/// The `os-release` of the image, also a section of its UKI.
///
/// `ID` stays the distribution's, since its advisories are those that apply; `IMAGE_ID` is what the
/// loader sorts by and what the node compares releases with.
#[must_use]
pub fn os_release(stamp: &Stamp<'_>) -> String {
    let Stamp {
        product,
        title,
        version,
        built,
        suite,
        ..
    } = stamp;
    let mut text = format!("NAME=\"{title}\"\nPRETTY_NAME=\"{title} {version}\"\nID=debian\n");
    if let Some((_, number)) = SUITES.iter().find(|(name, _)| name == suite) {
        text.push_str(&format!(
            "VERSION_ID=\"{number}\"\nVERSION_CODENAME={suite}\n"
        ));
    }
    text.push_str(&format!("IMAGE_ID={product}\nIMAGE_VERSION={version}\n"));
    if let Some(variant) = stamp.variant {
        text.push_str(&format!("VARIANT_ID={variant}\n"));
    }
    text.push_str(&format!("TWINROOT_BUILT={built}\n"));
    if let Some(floor) = stamp.floor {
        text.push_str(&format!("TWINROOT_FLOOR={floor}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use twinroot_core::bootfmt::pe::OsRelease;

    use super::*;

    #[test]
    fn the_node_and_the_loader_read_what_was_stamped() {
        let stamp = Stamp {
            product: "container-host",
            title: "twinroot container host",
            variant: Some("test"),
            version: "2026.11.2",
            built: 1_700_000_000,
            floor: Some("2026.8.0"),
            suite: "trixie",
        };
        let read = OsRelease::parse(&os_release(&stamp));
        assert_eq!(
            (read.sort_key(), read.version()),
            ("container-host", "2026.11.2")
        );
        assert_eq!(read.get("TWINROOT_BUILT"), Some("1700000000"));
        assert_eq!(read.get("TWINROOT_FLOOR"), Some("2026.8.0"));
        assert_eq!(read.get("VARIANT_ID"), Some("test"));
        assert_eq!(read.get("VERSION_ID"), Some("13"));
        let plain = os_release(&Stamp {
            variant: None,
            floor: None,
            ..stamp
        });
        assert!(!plain.contains("VARIANT_ID") && !plain.contains("TWINROOT_FLOOR"));
    }
}
