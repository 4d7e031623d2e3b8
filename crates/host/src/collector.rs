//! The `Collector` port: signed reports are posted to the URL that the owner names, over the same proxy
//! and with the same authorities as the repository. A collector that is away loses nothing: reports
//! wait in the node's records.

use std::io::Read;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::Client;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Collector, Outcome, Receipt};

use crate::fetch::HttpOptions;

/// How long a collector may take: it puts a few KiB away.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most of an answer that is read, for the reason of a refusal.
const ANSWER: u64 = 512;
/// Media type of a DSSE envelope in JSON (in-toto's registration for such envelopes).
const MEDIA_TYPE: &str = "application/vnd.in-toto+json";

/// Posts to one URL.
#[derive(Debug)]
pub struct HttpCollector {
    client: Client,
    url: String,
}

/// Nobody is told.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl HttpCollector {
    /// For this URL.
    ///
    /// # Errors
    /// `url-invalid` or `tls-failed` for what cannot be spoken to at all.
    pub fn open(url: &str, options: &HttpOptions) -> Outcome<Self> {
        let options = HttpOptions {
            // What lets this node into the repository is nobody else's to see.
            identity: None,
            bearer: None,
            connect_timeout: TIMEOUT,
            idle_timeout: TIMEOUT,
            ..options.clone()
        };
        Ok(Self {
            client: crate::fetch::client(&options, &[url])?,
            url: url.to_owned(),
        })
    }
}

impl Collector for HttpCollector {
    fn wanted(&self) -> bool {
        true
    }

    fn send(&self, report: &[u8]) -> Outcome<Receipt> {
        let failed = |code, cause: String| Failure::new(code, self.url.clone(), cause);
        let request = self.client.post(&self.url).body(report.to_vec());
        let response = request
            .header("content-type", MEDIA_TYPE)
            .send()
            .map_err(|e| {
                failed(
                    Code::Unreachable,
                    crate::fetch::error_chain(&e.without_url()),
                )
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok(Receipt::Taken);
        }
        let mut answer = Vec::new();
        // What cannot be read only makes the reason shorter.
        let _ = response.take(ANSWER).read_to_end(&mut answer);
        let said: String = String::from_utf8_lossy(&answer)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        let cause = format!("it answers with status {status}: {said}");
        if is_about_this_report(status) {
            return Ok(Receipt::Refused { why: cause });
        }
        Err(failed(Code::HttpStatus, cause))
    }
}

/// Statuses that say that this very report will never be taken. All others may be about the way
/// there, a key that is not known yet or a server that is being set up.
fn is_about_this_report(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

impl Collector for Nobody {
    fn wanted(&self) -> bool {
        false
    }

    fn send(&self, _report: &[u8]) -> Outcome<Receipt> {
        let cause = "no collector is configured";
        Err(Failure::new(Code::Unreachable, "report.url", cause))
    }
}
