//! What may stand in one configuration file.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twinroot_trust::name::Name;
use twinroot_trust::time::Seconds;

use super::settings::Strategy;
use crate::health::RemoteLoss;
use crate::schedule::{Freeze, Window};

/// Declares a table of optional keys.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $name {
            $(
                $(#[$field_doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(super) $field: Option<$kind>,
            )*
        }
    };
}

table! {
    /// One file.
    Fragment {
        identity: IdentityTable,
        repository: RepositoryTable,
        update: UpdateTable,
        polling: PollingTable,
        reboot: RebootTable,
        fleetlock: FleetlockTable,
        api: ApiTable,
        metrics: MetricsTable,
        health: HealthTable,
        report: ReportTable,
        trust: TrustTable,
    }
}

table! {
    /// What the node is. Image only.
    IdentityTable {
        product: Name,
        variant: Name,
        architecture: Name,
    }
}

table! {
    /// Where releases come from.
    RepositoryTable {
        metadata_url: String,
        targets_url: String,
        mirrors: Vec<String>,
        min_throughput: Size,
        rate_limit: Size,
        proxy: String,
        ca: String,
        bearer_file: String,
        client_cert: String,
        client_key: String,
        forbidden_is_missing: bool,
    }
}

table! {
    /// Which releases, and how far by itself.
    UpdateTable {
        channel: Name,
        strategy: Strategy,
        tries: u32,
        attempts: u32,
        workers: u32,
    }
}

table! {
    /// How often it looks.
    PollingTable {
        interval: Seconds,
        jitter: Seconds,
    }
}

table! {
    /// What may postpone a reboot.
    RebootTable {
        gate_file: String,
        max_metadata_age: Seconds,
        windows: Vec<Window>,
        freezes: Vec<Freeze>,
        zone: String,
        stage_lead: Seconds,
        wait_for_users: bool,
        inhibitors: Vec<String>,
    }
}

table! {
    /// The lock server that lets one node of a group restart at a time.
    FleetlockTable {
        url: String,
        group: Name,
    }
}

table! {
    /// Who may use the local API.
    ApiTable {
        other_user_namespaces: bool,
    }
}

table! {
    /// Where figures are given away beside the read socket.
    MetricsTable {
        listen: String,
    }
}

table! {
    /// The times of a probation.
    HealthTable {
        probation: Seconds,
        deadline: Seconds,
        remote_extension: Seconds,
        on_remote_loss: RemoteLoss,
    }
}

table! {
    /// Who is told how updates end.
    ReportTable {
        url: String,
    }
}

table! {
    /// Which keys count. Image only.
    TrustTable {
        p256: bool,
    }
}

/// Bytes. Text form: a number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
        let digits = digits.trim_end_matches(' ');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain {
            digits.parse::<u64>().ok()?
        } else {
            return None;
        };
        number.checked_mul(unit).map(Size)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = UNITS
            .iter()
            .find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("B", 1));
        serializer.collect_str(&format_args!("{}{name}", self.0 / unit))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Size::parse(&text).ok_or_else(|| {
            let rule = "is no size: a number and one of B, KiB, MiB, GiB is required";
            serde::de::Error::custom(format_args!("{text:?} {rule}"))
        })
    }
}
