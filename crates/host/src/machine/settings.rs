//! Reads configuration fragments from their folders; what they mean, `core::config` says.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use twinroot_core::config::{Layer, Origins, Settings, Source, read};
use twinroot_core::error::Code;
use twinroot_ports::Outcome;

use crate::fail::io_failure;
use crate::fetch::{HttpOptions, MinimumThroughput, Mirrors, Pace, open};

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
    let minimum = MinimumThroughput {
        bytes_per_second: repository.min_throughput,
        ..MinimumThroughput::default()
    };
    let authorities = repository
        .ca
        .as_ref()
        .map(|path| {
            let path = Path::new(path);
            std::fs::read(path)
                .map_err(|error| io_failure(Code::ConfigUnreadable, path, "read", &error))
        })
        .transpose()?;
    open(
        &urls,
        &HttpOptions {
            minimum,
            proxy: repository.proxy.clone(),
            authorities,
            forbidden_is_missing: repository.forbidden_is_missing,
            pace: repository
                .rate_limit
                .and_then(NonZeroU64::new)
                .map(|rate| Arc::new(Pace::new(rate))),
            ..HttpOptions::default()
        },
    )
}
