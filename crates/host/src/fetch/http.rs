//! A repository on a web server.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, LOCATION, RANGE,
};
use reqwest::{StatusCode, Url};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Fault, Fetch, Outcome};

use super::client::{HttpOptions, authorization, client, error_chain};
use super::meter::{Counter, Meter, Traffic};
use super::name;
use super::range::{self, Answer};
use crate::fail::fault_failure;

/// Bytes asked of the connection at once: small beside a segment, large beside a packet.
const PIECE: usize = 64 * 1024;

/// One mirror: a metadata URL and a targets URL.
#[derive(Debug)]
pub struct HttpFetch {
    client: Client,
    metadata: String,
    targets: String,
    options: Box<HttpOptions>,
    authorization: Option<HeaderValue>,
    counter: Arc<Counter>,
}

impl HttpFetch {
    /// A mirror with its two base URLs, `http` or `https`.
    ///
    /// # Errors
    /// `url-invalid`; `tls-failed` where the authorities are no certificates.
    pub fn new(metadata: &str, targets: &str, options: HttpOptions) -> Outcome<Self> {
        let client = client(&options, &[metadata, targets])?;
        Ok(Self {
            client,
            authorization: authorization(&options)?,
            metadata: base(metadata)?,
            targets: base(targets)?,
            options: Box::new(options),
            counter: Arc::new(Counter::default()),
        })
    }

    /// Body bytes and requests so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counter.read()
    }

    fn get(&self, url: &str, range: Option<&Range<u64>>) -> Outcome<Response> {
        let mut request = self.client.get(url).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = &self.authorization {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(range) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        self.counter.request();
        let response = request
            .send()
            .map_err(|error| request_failure(url, &error))?;
        // Redirects that may be followed have been; one to a scheme that is no HTTP comes back as it is.
        if matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            let to = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let cause = format!("redirect to '{}'", to.unwrap_or("nowhere").escape_debug());
            return Err(Failure::new(Code::RedirectRefused, url, cause));
        }
        let encoding = response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|value| value != "identity") {
            let cause = "the answer is compressed, which nobody asked for";
            return Err(Failure::new(Code::HttpStatus, url, cause));
        }
        Ok(response)
    }

    /// A whole file of at most `limit` bytes; `None` for 404.
    fn whole(&self, url: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let there = self.whole_into(url, limit, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(there.then_some(bytes))
    }

    /// The same in pieces; `false` for 404.
    fn whole_into(
        &self,
        url: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<bool> {
        let response = self.get(url, None)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(false),
            StatusCode::FORBIDDEN if self.options.forbidden_is_missing => return Ok(false),
            status => {
                return Err(Failure::new(
                    Code::HttpStatus,
                    url,
                    format!("status {status}"),
                ));
            }
        }
        let announced = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > limit) {
            return Err(endless(url, limit));
        }
        self.pour(response, url, limit, sink)?;
        Ok(true)
    }

    /// Streams a whole target; `false` where the server has none.
    pub(super) fn stream(
        &self,
        path: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<bool> {
        self.whole_into(&url(&self.targets, path)?, limit, sink)
    }

    /// Takes the range out of a whole file that came in its place. What lies before it is thrown away, and
    /// what lies behind it is not waited for.
    fn cut_out(
        &self,
        response: Response,
        url: &str,
        wanted: &Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()> {
        let mut at = 0;
        let mut end = None;
        let poured = self.pour(response, url, u64::MAX, &mut |piece| {
            let part = range::overlap(at, piece, wanted);
            at += piece.len() as u64;
            if !part.is_empty() {
                sink(part)?;
            }
            if at >= wanted.end {
                // Not a fault of anybody: it only ends the transfer.
                end = Some(());
                return Err(Fault::network("the range is complete"));
            }
            Ok(())
        });
        match (poured, end) {
            (_, Some(())) => Ok(()),
            (Err(failure), None) => Err(failure),
            (Ok(received), None) => {
                let cause = format!("ended after {received} bytes, before the end of the range");
                Err(Failure::new(Code::Truncated, url, cause))
            }
        }
    }

    /// Moves the body into `sink`, at most `limit` bytes of it; the byte after that ends it.
    fn pour(
        &self,
        mut response: Response,
        url: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<u64> {
        let mut meter = Meter::new(self.options.minimum);
        let mut piece = vec![0; PIECE];
        let mut received = 0_u64;
        loop {
            #[expect(
                clippy::disallowed_methods,
                reason = "a duration of waiting, not a point in time"
            )]
            let start = Instant::now();
            let count = response
                .read(&mut piece)
                .map_err(|error| body_failure(url, received, &error))?;
            let waited = start.elapsed();
            if count == 0 {
                return Ok(received);
            }
            self.counter.bytes(count as u64);
            received += count as u64;
            if received > limit {
                return Err(endless(url, limit));
            }
            if let Some(pace) = &self.options.pace {
                pace.wait(count as u64);
            }
            meter.note(waited, count as u64).map_err(|rate| {
                let least = self.options.minimum.bytes_per_second;
                Failure::new(
                    Code::TooSlow,
                    url,
                    format!("{rate} bytes a second, at least {least} are due"),
                )
            })?;
            sink(&piece[..count]).map_err(|fault| fault_failure(url, &fault))?;
        }
    }
}

impl Fetch for HttpFetch {
    fn metadata(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&url(&self.metadata, name)?, limit)
    }

    fn target(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&url(&self.targets, path)?, limit)
    }

    fn range(
        &self,
        path: &str,
        wanted: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let url = url(&self.targets, path)?;
        let response = self.get(&url, Some(&wanted))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(Failure::new(
                Code::NotOnServer,
                url,
                "the server does not have it",
            ));
        }
        if status.is_client_error() && status != StatusCode::RANGE_NOT_SATISFIABLE
            || status.is_server_error()
        {
            return Err(Failure::new(
                Code::HttpStatus,
                url,
                format!("status {status}"),
            ));
        }
        let answer = range::check(status, response.headers(), &wanted)
            .map_err(|cause| Failure::new(Code::WrongRange, &*url, cause))?;
        if answer == Answer::WholeFile {
            return self.cut_out(response, &url, &wanted, sink);
        }
        let length = wanted.end - wanted.start;
        let received = self.pour(response, &url, length, sink)?;
        if received < length {
            let cause = format!("ended after {received} of {length} bytes of the range");
            return Err(Failure::new(Code::Truncated, url, cause));
        }
        Ok(())
    }
}

/// A base URL always ends in a slash, so that names are added below it and replace nothing.
fn base(text: &str) -> Outcome<String> {
    let invalid = |cause: &str| Failure::new(Code::UrlInvalid, text, cause);
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("is neither http nor https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a base URL has neither query nor fragment"));
    }
    let mut base = String::from(url.as_str());
    if !base.ends_with('/') {
        base.push('/');
    }
    Ok(base)
}

fn url(base: &str, file: &str) -> Outcome<String> {
    name::check(file)?;
    Ok(format!("{base}{}", name::quoted(file)))
}

fn endless(url: &str, limit: u64) -> Failure {
    Failure::new(
        Code::EndlessData,
        url,
        format!("more than the {limit} bytes that may come"),
    )
}

fn request_failure(url: &str, error: &reqwest::Error) -> Failure {
    let text = error_chain(error);
    let code = if error.is_redirect() {
        Code::RedirectRefused
    } else if error.is_timeout() {
        Code::TimedOut
    } else if error.is_builder() {
        Code::UrlInvalid
    } else if caused_by_tls(error) {
        Code::TlsFailed
    } else {
        Code::Unreachable
    };
    Failure::new(code, url, text)
}

fn caused_by_tls(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<rustls::Error>() {
            return true;
        }
        // What an I/O error wraps is not its source but itself: its source is that of what it wraps. And an
        // I/O error may wrap another one.
        source = match inner.downcast_ref::<std::io::Error>() {
            Some(io) => io
                .get_ref()
                .map(|wrapped| wrapped as &(dyn std::error::Error + 'static)),
            None => inner.source(),
        };
    }
    false
}

fn body_failure(url: &str, received: u64, error: &std::io::Error) -> Failure {
    let timed_out = error.kind() == std::io::ErrorKind::TimedOut
        || error
            .get_ref()
            .and_then(|e| e.downcast_ref::<reqwest::Error>())
            .is_some_and(reqwest::Error::is_timeout);
    let code = if timed_out {
        Code::TimedOut
    } else {
        Code::Truncated
    };
    Failure::new(
        code,
        url,
        format!("after {received} bytes: {}", error_chain(error)),
    )
}
