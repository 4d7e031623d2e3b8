//! What the rest of the program reads: nothing optional that need not be.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};
use twinroot_trust::name::Name;
use twinroot_trust::time::Seconds;

use super::fragment::{
    Fragment, HealthTable, MetricsTable, PollingTable, ReportTable, RepositoryTable, Size,
    UpdateTable,
};
use super::merge::{Origin, Origins};
use super::reboot::{self, Fleetlock, Reboot};
use crate::error::{Code, Failure};
use crate::health::{RemoteLoss, Rules};

/// Tries of a new boot entry: one may be lost to a power cut, one to a flickering supply.
const TRIES: u32 = 3;
/// Attempts at one release without progress before a person is asked; the same reasoning.
const ATTEMPTS: u32 = 3;
/// Workers that decode: with 2 the node stays within 48 MiB and a small machine is not starved.
const WORKERS: u32 = 2;
/// Time everything must hold before a release is good, where neither node nor manifest says more.
const PROBATION: Seconds = Seconds(5 * 60);
/// Time since boot without a verdict after which the trial has failed: probation, and ten minutes
/// for firmware, image pulls and a kubelet that joins a busy cluster.
const DEADLINE: Seconds = Seconds(15 * 60);
/// How much longer a lost remote endpoint may take: an outage of a registry or load balancer is
/// usually mended within the hour.
const REMOTE_EXTENSION: Seconds = Seconds(3600);
/// How often the node looks: timestamps are signed daily, a security release should arrive sooner.
const INTERVAL: Seconds = Seconds(3600);
/// By how much looks are spread, so that a fleet that starts together does not ask together.
const JITTER: Seconds = Seconds(600);
/// Slowest source that is put up with, in bytes a second over a minute: at 1 KiB/s nothing useful
/// would arrive within a day, so that something is wrong on purpose or by accident.
const MIN_THROUGHPUT: Size = Size(1024);

/// How far the node goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Does nothing by itself; a person checks and applies.
    Manual,
    /// Checks and says what is available.
    CheckOnly,
    /// Stages and leaves activation to a person.
    StagedOnly,
    /// Stages, activates and reboots as soon as the gate allows it.
    Automatic,
    /// As `automatic`, within the windows of `reboot.windows`.
    Windowed,
    /// As `automatic` (within windows, where there are some), once the lock server lets it.
    Fleetlock,
}

impl Strategy {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::CheckOnly => "check-only",
            Self::StagedOnly => "staged-only",
            Self::Automatic => "automatic",
            Self::Windowed => "windowed",
            Self::Fleetlock => "fleetlock",
        }
    }
}

/// What the node is: decides which releases are for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Product.
    pub product: Name,
    /// Variant; a product may have none.
    pub variant: Option<Name>,
    /// Architecture, in the manifest's spelling.
    pub architecture: Name,
}

/// Where releases come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Base URL of the metadata.
    pub metadata_url: String,
    /// Base URL of manifests and payloads.
    pub targets_url: String,
    /// Base URLs that hold the same under `metadata/` and `targets/`, tried in order.
    pub mirrors: Vec<String>,
    /// Slowest source that is put up with, in bytes a second.
    pub min_throughput: u64,
    /// Bytes a second that all transfers together may take; none: as fast as the network is.
    pub rate_limit: Option<u64>,
    /// The proxy for every request. No environment variable is looked at.
    pub proxy: Option<String>,
    /// Path of a PEM file with private authorities. Where it is set, no other authority counts.
    pub ca: Option<String>,
    /// Path of a file with the token that is sent to repository and mirrors (`Authorization: Bearer`).
    pub bearer_file: Option<String>,
    /// Path of a PEM file with the certificate by which the node shows who it is (mTLS).
    pub client_cert: Option<String>,
    /// Path of a PEM file with its key.
    pub client_key: Option<String>,
    /// Take 403 for 'there is no such file', as some object stores answer it.
    pub forbidden_is_missing: bool,
}

/// Which releases, and how far by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The channel.
    pub channel: Name,
    /// How far.
    pub strategy: Strategy,
    /// Tries of a new boot entry.
    pub tries: u32,
    /// Attempts at one release without progress before a person is asked.
    pub attempts: u32,
    /// Threads that decode and write.
    pub workers: u32,
}

/// How often it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// Pause between two checks.
    pub interval: Seconds,
    /// Up to how much is added to each pause.
    pub jitter: Seconds,
}

/// The times of a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Time everything must hold; a manifest may ask for more, never for less.
    pub probation: Seconds,
    /// Time since boot by which there must be a verdict.
    pub deadline: Seconds,
    /// By how much remote checks that do not pass stretch the deadline.
    pub remote_extension: Seconds,
    /// What follows where they are lost all the same.
    pub on_remote_loss: RemoteLoss,
}

/// Seconds that the last round before a verdict may take: the longest time of a check.
const LAST_ROUND: u64 = 300;

impl Health {
    /// The rules by which a trial is judged.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules {
            probation: self.probation,
            deadline: self.deadline,
            remote_extension: self.remote_extension,
            on_remote_loss: self.on_remote_loss,
        }
    }

    /// Time since boot behind which nothing is waited for at all. The verdict itself knows when the
    /// deadline moves for remote checks; this is the line behind its last round.
    #[must_use]
    pub const fn last(&self) -> Seconds {
        let deadline = self.deadline.0.saturating_add(self.remote_extension.0);
        Seconds(deadline.saturating_add(LAST_ROUND))
    }
}

/// Who is told how updates end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Where signed reports are sent; nobody is told where it is not set. They are kept as files in any
    /// case.
    pub url: Option<String>,
}

/// Which keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// P-256 keys count beside ed25519 ones.
    pub p256: bool,
}

/// Who may use the local API, beyond what the sockets' owners and groups say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Api {
    /// Peers outside the host's user namespace may act: root in a container is not root here.
    pub other_user_namespaces: bool,
}

/// Where figures are given away beside the read socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Address and port on the loopback, for a collector that speaks no Unix sockets.
    pub listen: Option<SocketAddr>,
}

/// The configuration of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What the node is.
    pub identity: Identity,
    /// Where releases come from.
    pub repository: Repository,
    /// Which releases, and how far by itself.
    pub update: Update,
    /// How often it looks.
    pub polling: Polling,
    /// What may postpone a reboot.
    pub reboot: Reboot,
    /// The lock server, where the strategy asks one.
    pub fleetlock: Option<Fleetlock>,
    /// Who may use the local API.
    pub api: Api,
    /// Where figures are given away beside the read socket.
    pub metrics: Metrics,
    /// The times of a probation.
    pub health: Health,
    /// Who is told how updates end.
    pub report: Report,
    /// Which keys count.
    pub trust: Trust,
}

impl Settings {
    pub(super) fn from_fragment(fragment: Fragment, origins: &Origins) -> Result<Self, Failure> {
        let Fragment {
            identity,
            repository,
            update,
            polling,
            reboot,
            fleetlock,
            api,
            metrics,
            health,
            report,
            trust,
        } = fragment;
        let identity = identity.unwrap_or_default();
        let settings = Settings {
            identity: Identity {
                product: needed("identity.product", identity.product)?,
                variant: identity.variant,
                architecture: needed("identity.architecture", identity.architecture)?,
            },
            repository: repository_of(repository.unwrap_or_default(), origins)?,
            update: update_of(update.unwrap_or_default(), origins)?,
            polling: polling_of(&polling.unwrap_or_default(), origins)?,
            reboot: reboot::reboot_of(reboot.unwrap_or_default(), origins)?,
            fleetlock: fleetlock
                .map(|table| reboot::fleetlock_of(table, origins))
                .transpose()?,
            api: Api {
                other_user_namespaces: api
                    .unwrap_or_default()
                    .other_user_namespaces
                    .unwrap_or(false),
            },
            metrics: metrics_of(&metrics.unwrap_or_default(), origins)?,
            health: health_of(&health.unwrap_or_default(), origins)?,
            report: report_of(report.unwrap_or_default(), origins)?,
            trust: Trust {
                p256: trust.unwrap_or_default().p256.unwrap_or(false),
            },
        };
        reboot::check_strategy(&settings, origins)?;
        Ok(settings)
    }

    /// Every key with its value as `config show` prints it, in order.
    #[must_use]
    pub fn listing(&self) -> Vec<(String, String)> {
        let Ok(toml::Value::Table(tables)) = toml::Value::try_from(self) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for (table, keys) in tables {
            let toml::Value::Table(keys) = keys else {
                continue;
            };
            for (key, value) in keys {
                lines.push((
                    format!("{table}.{}", key.replace('_', "-")),
                    value.to_string(),
                ));
            }
        }
        lines
    }

    /// Every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.listing().into_iter().map(|(key, _)| key)
    }
}

fn repository_of(table: RepositoryTable, origins: &Origins) -> Result<Repository, Failure> {
    check_credentials(&table, origins)?;
    let metadata_url = needed("repository.metadata-url", table.metadata_url)?;
    let targets_url = needed("repository.targets-url", table.targets_url)?;
    let mirrors = table.mirrors.unwrap_or_default();
    check_url("repository.metadata-url", &metadata_url, origins)?;
    check_url("repository.targets-url", &targets_url, origins)?;
    for mirror in &mirrors {
        check_url("repository.mirrors", mirror, origins)?;
    }
    let Size(min_throughput) = table.min_throughput.unwrap_or(MIN_THROUGHPUT);
    bounded(
        "repository.min-throughput",
        min_throughput,
        1,
        1 << 30,
        origins,
    )?;
    let rate_limit = table.rate_limit.map(|Size(rate)| rate);
    if let Some(rate) = rate_limit {
        // Below the slowest source that is put up with, every transfer would look like a slow one.
        let key = "repository.rate-limit";
        bounded(key, rate, min_throughput, 1 << 40, origins)?;
    }
    if let Some(proxy) = &table.proxy {
        check_proxy("repository.proxy", proxy, origins)?;
    }
    Ok(Repository {
        metadata_url,
        targets_url,
        mirrors,
        min_throughput,
        rate_limit,
        proxy: table.proxy,
        ca: table.ca,
        bearer_file: table.bearer_file,
        client_cert: table.client_cert,
        client_key: table.client_key,
        forbidden_is_missing: table.forbidden_is_missing.unwrap_or(false),
    })
}

/// Files that the node shows or goes by, and what they must not be used for.
fn check_credentials(table: &RepositoryTable, origins: &Origins) -> Result<(), Failure> {
    for (key, path) in [
        ("repository.ca", &table.ca),
        ("repository.bearer-file", &table.bearer_file),
        ("repository.client-cert", &table.client_cert),
        ("repository.client-key", &table.client_key),
    ] {
        if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
            let cause =
                String::from("a full path is needed: the file's folder is not the program's");
            return Err(wrong(key, cause, origins));
        }
    }
    if table.client_cert.is_some() != table.client_key.is_some() {
        let cause = String::from("certificate and key are needed together");
        return Err(wrong("repository.client-cert", cause, origins));
    }
    let urls = [&table.metadata_url, &table.targets_url].into_iter();
    let mirrors = table.mirrors.iter().flatten();
    let open = urls.flatten().chain(mirrors).find(|url| is_overheard(url));
    match open {
        Some(url) if table.bearer_file.is_some() => {
            let cause = format!("the token would go over {url} for everybody to read; use https");
            Err(wrong("repository.bearer-file", cause, origins))
        }
        _ => Ok(()),
    }
}

/// Whether others can read what goes to that URL: plain HTTP to another machine.
fn is_overheard(url: &str) -> bool {
    let loopback = ["127.0.0.1", "[::1]", "localhost"];
    url.strip_prefix("http://").is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or(rest);
        !loopback.iter().any(|host| {
            let port = authority.strip_prefix(host);
            port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
        })
    })
}

fn metrics_of(table: &MetricsTable, origins: &Origins) -> Result<Metrics, Failure> {
    let key = "metrics.listen";
    let listen = table.listen.as_ref().map(|text| {
        let refuse = |rule: &str| wrong(key, format!("{text:?} {rule}"), origins);
        let address: SocketAddr = text
            .parse()
            .map_err(|_| refuse("is no address with a port such as 127.0.0.1:9273"))?;
        // Figures tell which release a node runs; a network would need who-may-read, which this lacks.
        if !address.ip().is_loopback() {
            return Err(refuse("is not on the loopback"));
        }
        Ok(address)
    });
    Ok(Metrics {
        listen: listen.transpose()?,
    })
}

fn update_of(table: UpdateTable, origins: &Origins) -> Result<Update, Failure> {
    let update = Update {
        channel: needed("update.channel", table.channel)?,
        strategy: table.strategy.unwrap_or(Strategy::StagedOnly),
        tries: table.tries.unwrap_or(TRIES),
        attempts: table.attempts.unwrap_or(ATTEMPTS),
        workers: table.workers.unwrap_or(WORKERS),
    };
    bounded("update.tries", update.tries.into(), 1, 10, origins)?;
    bounded("update.attempts", update.attempts.into(), 1, 100, origins)?;
    bounded("update.workers", update.workers.into(), 1, 64, origins)?;
    Ok(update)
}

fn polling_of(table: &PollingTable, origins: &Origins) -> Result<Polling, Failure> {
    let interval = table.interval.unwrap_or(INTERVAL);
    let jitter = table.jitter.unwrap_or(JITTER);
    // Once a minute per node is what a static file server of a fleet bears.
    bounded("polling.interval", interval.0, 60, Seconds::MAX.0, origins)?;
    Ok(Polling { interval, jitter })
}

fn health_of(table: &HealthTable, origins: &Origins) -> Result<Health, Failure> {
    let health = Health {
        probation: table.probation.unwrap_or(PROBATION),
        deadline: table.deadline.unwrap_or(DEADLINE),
        remote_extension: table.remote_extension.unwrap_or(REMOTE_EXTENSION),
        on_remote_loss: table.on_remote_loss.unwrap_or(RemoteLoss::KeepNewSlot),
    };
    if health.deadline <= health.probation {
        let cause = format!(
            "the deadline {} leaves no time for the probation {}",
            health.deadline, health.probation
        );
        return Err(wrong("health.deadline", cause, origins));
    }
    Ok(health)
}

fn report_of(table: ReportTable, origins: &Origins) -> Result<Report, Failure> {
    if let Some(url) = &table.url {
        // A file is no place to post to; reports lie in files already.
        check_proxy("report.url", url, origins)?;
    }
    Ok(Report { url: table.url })
}

pub(super) fn needed<T>(key: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::new(Code::ConfigMissing, key, "no configuration file sets it"))
}

pub(super) fn bounded(
    key: &str,
    value: u64,
    least: u64,
    most: u64,
    origins: &Origins,
) -> Result<(), Failure> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(
        key,
        format!("{value} is not within {least} and {most}"),
        origins,
    ))
}

/// A proxy is asked over HTTP or HTTPS; a file cannot be one.
fn check_proxy(key: &str, url: &str, origins: &Origins) -> Result<(), Failure> {
    if url.starts_with("file:") {
        return Err(wrong(
            key,
            format!("{url:?} is no http or https URL"),
            origins,
        ));
    }
    check_url(key, url, origins)
}

/// Only the scheme and plain characters: whether anything answers there is for the network to say.
pub(super) fn check_url(key: &str, url: &str, origins: &Origins) -> Result<(), Failure> {
    let rest = ["https://", "http://", "file:/"]
        .iter()
        .find_map(|s| url.strip_prefix(s));
    let plain = url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    let whole = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('?'));
    if whole && plain && !url.contains('#') && !url.contains('@') {
        return Ok(());
    }
    Err(wrong(
        key,
        format!("{url:?} is no http, https or file URL without credentials"),
        origins,
    ))
}

pub(super) fn wrong(key: &str, cause: String, origins: &Origins) -> Failure {
    let subject = match origins.get(key) {
        Some(Origin::File(path)) => format!("{path}, {key}"),
        Some(Origin::Default) | None => key.to_string(),
    };
    Failure::new(Code::ConfigValue, subject, cause)
}
