//! What a node tells its journal so that programs can find it: a handful of events, each with an id of its
//! own that never changes (`journalctl MESSAGE_ID=…`) and an entry in the catalog (`journalctl -x`).
//!
//! The word of an event is the `what` of a line of history where there is one.

use alloc::format;
use alloc::string::String;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalEvent {
    /// Its word.
    pub what: &'static str,
    /// Its id: 128 random bits, drawn once (sd-id128(3)).
    pub id: &'static str,
    /// What happened, in a clause.
    pub subject: &'static str,
    /// What a person can do, or that there is nothing to do.
    pub explanation: &'static str,
}

const fn event(
    what: &'static str,
    id: &'static str,
    subject: &'static str,
    explanation: &'static str,
) -> JournalEvent {
    JournalEvent {
        what,
        id,
        subject,
        explanation,
    }
}

/// All of them.
pub const EVENTS: [JournalEvent; 13] = [
    event(
        "staged",
        "1c0fd72f230e466880a179e0c4dec797",
        "A release was written to the other slot and proven",
        "Nothing to do. `twinroot status` says whether and when it will be started.",
    ),
    event(
        "activated",
        "0dcd7cd8e5994b689c88586cde14a9b3",
        "The bootloader will try a release at the next start",
        "Nothing to do. `twinroot why` says what the restart waits for.",
    ),
    event(
        "committed",
        "12503084854240c88dcf5a5a2a5c8466",
        "A release was healthy for the whole probation and is kept",
        "Nothing to do.",
    ),
    event(
        "rolled-back",
        "1fc1b6f7409a42e2a5188d6f133e1ad0",
        "The host goes back to the other slot",
        "`twinroot history` says why. The release that is left is not taken again.",
    ),
    event(
        "denied",
        "df7a657c09404aafab07fd815c706245",
        "A release is remembered as bad",
        "`twinroot history` says which check failed. Withdraw the release if more hosts follow; where it was\n\
         not to blame, `twinroot undeny VERSION`.",
    ),
    event(
        "failed",
        "278fd89c6b8a434abf5b1d24a09512be",
        "A step of an update failed",
        "The message names what failed, on what, and what to do; the code is explained in docs/errors.md.",
    ),
    event(
        "dropped",
        "6a569ddbacbb42879f321c0ceb62c1c9",
        "A release was let go before it was started",
        "It was withdrawn, denied or replaced by a newer one meanwhile. Nothing to do.",
    ),
    event(
        "repaired",
        "fdc9017158ed45d09b5c238b8cfa58ac",
        "A slot that had gone bad was written again",
        "Look at the disk: a slot does not go bad by itself.",
    ),
    event(
        "degraded",
        "550c1a4dacf147ab90d7cdea299bd437",
        "Both slots are unhealthy; the host stays on the one that runs",
        "The cause is outside the image: data, network or hardware. `twinroot status` lists the checks.",
    ),
    event(
        "forced",
        "c48ff757b7214fc38651c57155c4914f",
        "A person asked for an update against the host's memory or schedule",
        "Nothing to do; it is recorded in the history.",
    ),
    event(
        "check-failed",
        "0f49e8f352b24c20ad88cc7535feb995",
        "The repository could not be looked at",
        "The message names what failed. The host asks again after a growing pause.",
    ),
    event(
        "reloaded",
        "c1cfff8fc0454d9ab7e2e81aeb6d8c6f",
        "The configuration was read again",
        "Nothing to do.",
    ),
    event(
        "refused-configuration",
        "b7c87f5f6e2740178ecade874b479f8f",
        "A new configuration is wrong; the old one stays in force",
        "The message names file and line. Correct it and `systemctl reload twinroot-agent`.",
    ),
];

/// The id of an event, by its word.
#[must_use]
pub fn id_of(what: &str) -> Option<&'static str> {
    let found = EVENTS.iter().find(|event| event.what == what);
    found.map(|event| event.id)
}

/// The message catalog, in the form of `journalctl --update-catalog`.
#[must_use]
pub fn catalog() -> String {
    let mut text = String::from(
        "# Printed from the code (crates/core/src/journal.rs) by\n\
         # `cargo run -p twinroot-tests --bin lab -- pages`; a test holds it to the code.\n",
    );
    for event in EVENTS {
        let JournalEvent {
            what,
            id,
            subject,
            explanation,
        } = event;
        text.push_str(&format!(
            "\n-- {id}\nSubject: {subject}\nDefined-By: twinroot\nSupport: man:twinroot(1)\n\n\
             {explanation}\n\nTWINROOT_WHAT={what}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_event_has_a_word_and_an_id_of_its_own() {
        let words: BTreeSet<_> = EVENTS.iter().map(|event| event.what).collect();
        let ids: BTreeSet<_> = EVENTS.iter().map(|event| event.id).collect();
        assert_eq!((words.len(), ids.len()), (EVENTS.len(), EVENTS.len()));
        for event in EVENTS {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            assert!(
                event.id.len() == 32 && event.id.bytes().all(hex),
                "{}",
                event.id
            );
        }
    }
}
