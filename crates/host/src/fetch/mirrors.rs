//! Several mirrors as one source. A mirror can fail, lie or be slow; it can never end the search
//! (TUF, 'malicious mirrors'), and it chooses nothing: all serve the same signed files.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;
use twinroot_core::error::{Category, Code, Failure};
use twinroot_ports::{Fault, Fetch, Outcome};

use super::{DirFetch, HttpFetch, HttpOptions, Traffic};

/// One place that has the whole repository.
#[derive(Debug)]
pub enum Source {
    /// A web server.
    Http(HttpFetch),
    /// A directory.
    Dir(DirFetch),
}

impl Source {
    /// Opens a source by its two URLs (`http:`, `https:` or `file:`).
    ///
    /// # Errors
    /// `url-invalid` for anything else, and where the two are of different kinds.
    pub fn open(metadata: &str, targets: &str, options: &HttpOptions) -> Outcome<Self> {
        match (local(metadata)?, local(targets)?) {
            (Some(metadata), Some(targets)) => Ok(Self::Dir(DirFetch::new(
                Path::new(&metadata),
                Path::new(&targets),
            ))),
            (None, None) => HttpFetch::new(metadata, targets, options.clone()).map(Self::Http),
            _ => Err(Failure::new(
                Code::UrlInvalid,
                targets,
                format!("is of another kind than {metadata}"),
            )),
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> &dyn Fetch {
        match self {
            Self::Http(http) => http,
            Self::Dir(dir) => dir,
        }
    }

    /// Streams a whole target of at most `limit` bytes, for servers that know no ranges; `false`
    /// where there is none.
    ///
    /// # Errors
    /// As [`Fetch::target`], and what the sink says.
    pub fn stream(
        &self,
        path: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<bool> {
        match self {
            Self::Http(http) => http.stream(path, limit, sink),
            Self::Dir(dir) => dir.stream(path, limit, sink),
        }
    }

    fn traffic(&self) -> Traffic {
        match self {
            Self::Http(http) => http.traffic(),
            Self::Dir(dir) => dir.traffic(),
        }
    }
}

/// The path of a `file:` URL, `None` for another scheme.
fn local(text: &str) -> Outcome<Option<std::path::PathBuf>> {
    let invalid = |cause: String| Failure::new(Code::UrlInvalid, text, cause);
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    match url.scheme() {
        "file" => url
            .to_file_path()
            .map(Some)
            .map_err(|()| invalid(String::from("names no local directory"))),
        "http" | "https" => Ok(None),
        other => Err(invalid(format!(
            "the scheme {other} is not known; use https, http or file"
        ))),
    }
}

/// Opens all mirrors, given as pairs of metadata and targets URL, the preferred one first.
///
/// # Errors
/// `config-missing` without any; `url-invalid`.
pub fn open(urls: &[(String, String)], options: &HttpOptions) -> Outcome<Mirrors> {
    let sources = urls
        .iter()
        .map(|(metadata, targets)| Source::open(metadata, targets, options));
    Mirrors::new(sources.collect::<Outcome<Vec<_>>>()?)
}

/// A whole file, or that there is none.
type Whole = Outcome<Option<Vec<u8>>>;

/// The mirrors, tried from the one that worked last.
#[derive(Debug)]
pub struct Mirrors {
    sources: Vec<Source>,
    first: Arc<AtomicUsize>,
}

impl Mirrors {
    /// At least one source.
    ///
    /// # Errors
    /// `config-missing` without any.
    pub fn new(sources: Vec<Source>) -> Outcome<Self> {
        if sources.is_empty() {
            return Err(Failure::new(
                Code::ConfigMissing,
                "repository",
                "no URL is configured",
            ));
        }
        Ok(Self {
            sources,
            first: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// Bytes and requests of all mirrors together.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.sources
            .iter()
            .map(Source::traffic)
            .fold(Traffic::default(), |sum, one| Traffic {
                bytes: sum.bytes + one.bytes,
                requests: sum.requests + one.requests,
            })
    }

    /// The mirrors with their positions, from the one that worked last.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &dyn Fetch)> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.sources.len());
        (0..count).map(move |n| {
            let position = (first + n) % count;
            (position, self.sources[position].port())
        })
    }

    /// Any mirror that has the file wins. 'There is none' counts where no mirror has it and at least
    /// one said so: a dead mirror must not hold up the living, and expiry bounds what one that hides
    /// files can do.
    fn whole(&self, get: &dyn Fn(&dyn Fetch) -> Whole) -> Whole {
        let (mut absent, mut failed) = (false, None);
        for (position, mirror) in self.in_turn() {
            match get(mirror) {
                Ok(Some(bytes)) => {
                    self.first.store(position, Ordering::Relaxed);
                    return Ok(Some(bytes));
                }
                Ok(None) => absent = true,
                Err(failure) if !another_may_help(&failure) => return Err(failure),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        match failed {
            Some(failure) if !absent => Err(failure),
            _ => Ok(None),
        }
    }
}

impl Mirrors {
    /// Asks each mirror once for what is left up to `end`. `None` where it has come; else the first
    /// failure, a transfer that broke off before the others.
    fn round(
        &self,
        path: &str,
        reached: &mut u64,
        end: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<Option<Failure>> {
        let mut failed: Option<Failure> = None;
        for (position, mirror) in self.in_turn() {
            let mut refused_by_sink = false;
            let outcome = mirror.range(path, *reached..end, &mut |piece| {
                sink(piece).inspect_err(|_| refused_by_sink = true)?;
                *reached += piece.len() as u64;
                Ok(())
            });
            match outcome {
                Ok(()) => {
                    self.first.store(position, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(failure) if refused_by_sink || !another_may_help(&failure) => {
                    return Err(failure);
                }
                Err(failure) => {
                    let broke_off = |f: &Failure| f.code == Code::Truncated;
                    failed = match failed {
                        Some(first) if broke_off(&first) || !broke_off(&failure) => Some(first),
                        _ => Some(failure),
                    };
                }
            }
        }
        let none = || Failure::new(Code::Internal, path, "no mirror was asked");
        Ok(Some(failed.unwrap_or_else(none)))
    }
}

/// What a round over the mirrors has to bring to be worth another one: a proxy that cuts connections at
/// some size is lived with, while the number of requests stays far below that of a chunked protocol.
const WORTH: u64 = 1 << 20;
/// So many rounds in a row may bring less, as the last one of a small file does.
const POOR_ROUNDS: u32 = 2;

/// A refused name or request is refused by every mirror.
fn another_may_help(failure: &Failure) -> bool {
    failure.category() != Category::Input
}

impl Fetch for Mirrors {
    fn metadata(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&|mirror| mirror.metadata(name, limit))
    }

    fn target(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&|mirror| mirror.target(path, limit))
    }

    /// A mirror that breaks off is followed by the next one from the byte reached: the pieces are
    /// of one file named by its digest, and the digest judges the whole. Once all have been asked, the
    /// first is again, as long as connections bring something before they break.
    fn range(
        &self,
        path: &str,
        wanted: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()> {
        let mut reached = wanted.start;
        let mut poor = 0;
        loop {
            let before = reached;
            let Some(failed) = self.round(path, &mut reached, wanted.end, sink)? else {
                return Ok(());
            };
            let came = reached - before;
            poor = if came >= WORTH { 0 } else { poor + 1 };
            if failed.code != Code::Truncated || came == 0 || poor > POOR_ROUNDS {
                return Err(failed);
            }
        }
    }

    fn distrust(&self) -> bool {
        let next = |first| Some((first + 1) % self.sources.len());
        // The closure always gives a value, so the update cannot fail.
        let _ = self
            .first
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        self.sources.len() > 1
    }
}
