//! Reads configuration fragments from their folders; what they mean, `core::config` says.

use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use twinroot_core::config::{Layer, Origins, Settings, Source, read};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Collector, Outcome};

use crate::collector::{HttpCollector, Nobody};
use crate::fail::io_failure;
use crate::fetch::{HttpOptions, MinimumThroughput, Mirrors, Pace, Secret, open};

/// Reads the `.toml` files of each folder.
pub(super) fn load(folders: &[(Layer, &Path)]) -> Outcome<(Settings, Origins)> {
    let mut sources = Vec::new();
    for (layer, folder) in folders {
        let failed =
            |error: std::io::Error| io_failure(Code::ConfigUnreadable, folder, "list", &error);
        let listed = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            listed => listed.map_err(failed)?,
        };
        for entry in listed {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|error| io_failure(Code::ConfigUnreadable, &path, "read", &error))?;
            sources.push(Source {
                layer: *layer,
                path: path.display().to_string(),
                text,
            });
        }
    }
    read(&sources)
}

/// The source of releases that the settings name: the repository first, then its mirrors, which hold
/// the same below `metadata/` and `targets/`.
pub(super) fn source(settings: &Settings) -> Outcome<Mirrors> {
    let repository = &settings.repository;
    let mut urls = vec![(
        repository.metadata_url.clone(),
        repository.targets_url.clone(),
    )];
    for mirror in &repository.mirrors {
        let base = mirror.trim_end_matches('/');
        urls.push((format!("{base}/metadata"), format!("{base}/targets")));
    }
    open(&urls, &options(settings)?)
}

/// Where reports go, over the same way as everything that comes.
pub(super) fn collector(settings: &Settings) -> Outcome<Box<dyn Collector>> {
    Ok(match &settings.report.url {
        None => Box::new(Nobody),
        Some(url) => Box::new(HttpCollector::open(url, &options(settings)?)?),
    })
}

fn options(settings: &Settings) -> Outcome<HttpOptions> {
    let repository = &settings.repository;
    let minimum = MinimumThroughput {
        bytes_per_second: repository.min_throughput,
        ..MinimumThroughput::default()
    };
    let bytes = |path: &Option<String>| path.as_ref().map(|path| whole(path)).transpose();
    let secret = |path: &Option<String>| path.as_ref().map(|path| secret(path)).transpose();
    // Certificate and key in one, as the TLS library takes them.
    let mut identity = bytes(&repository.client_cert)?;
    if let (Some(pem), Some(key)) = (&mut identity, secret(&repository.client_key)?) {
        pem.push(b'\n');
        pem.extend_from_slice(&key);
    }
    Ok(HttpOptions {
        minimum,
        proxy: repository.proxy.clone(),
        authorities: bytes(&repository.ca)?,
        identity: identity.map(Secret::new),
        bearer: secret(&repository.bearer_file)?.map(Secret::new),
        forbidden_is_missing: repository.forbidden_is_missing,
        pace: repository
            .rate_limit
            .and_then(NonZeroU64::new)
            .map(|rate| Arc::new(Pace::new(rate))),
        ..HttpOptions::default()
    })
}

fn whole(path: &str) -> Outcome<Vec<u8>> {
    let path = Path::new(path);
    std::fs::read(path).map_err(|error| io_failure(Code::ConfigUnreadable, path, "read", &error))
}

/// A file that only its owner and group may read: a token that every program on the node can read is
/// none.
fn secret(path: &str) -> Outcome<Vec<u8>> {
    let bytes = whole(path)?;
    let meta = std::fs::metadata(path)
        .map_err(|error| io_failure(Code::ConfigUnreadable, Path::new(path), "look at", &error))?;
    if meta.permissions().mode() & 0o007 != 0 {
        let cause = "everybody on this host may read it";
        return Err(Failure::new(Code::ConfigValue, path, cause)
            .with_remedy("take the rights of others away: chmod o= on the file"));
    }
    Ok(bytes)
}
