//! Checks over the network: does something answer, and with what.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use twinroot_core::health::Outcome as Ended;

use super::Answer;

/// Something accepts connections at `host:port`.
pub(super) fn tcp(address: &str, timeout: Duration) -> Answer {
    let addresses = match address.to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(error) => return (Ended::Unreachable, format!("{address}: {error}")),
    };
    let mut last = format!("{address}: has no address");
    for socket in addresses {
        match TcpStream::connect_timeout(&socket, timeout) {
            Ok(_) => return (Ended::Passed, format!("{socket} accepts connections")),
            Err(error) => last = format!("{socket}: {error}"),
        }
    }
    (Ended::Unreachable, last)
}

/// A GET of `url` answers with `status`. Redirects are not followed: they are an answer.
pub(super) fn http(url: &str, status: u16, timeout: Duration) -> Answer {
    match get(url, timeout) {
        Err(answer) => answer,
        Ok(response) => {
            let found = response.status().as_u16();
            let ended = if found == status {
                Ended::Passed
            } else {
                Ended::Failed
            };
            (ended, format!("{url} answers {found}"))
        }
    }
}

/// The first `limit` bytes of what `url` answers.
pub(super) fn text(url: &str, limit: u64, timeout: Duration) -> Result<String, Answer> {
    let response = get(url, timeout)?;
    if !response.status().is_success() {
        return Err((
            Ended::Failed,
            format!("{url} answers {}", response.status().as_u16()),
        ));
    }
    let mut bytes = Vec::new();
    let read = response.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| (Ended::Failed, format!("{url}: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn get(url: &str, timeout: Duration) -> Result<Response, Answer> {
    // No proxy (a health endpoint is asked directly), no authorities for plain http, as in `fetch`.
    crate::fetch::install_tls_provider();
    let mut builder = Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if url.starts_with("http://") {
        builder = builder.tls_certs_only([]);
    }
    let client = builder
        .build()
        .map_err(|error| (Ended::NotRun, format!("{url}: {error}")))?;
    client.get(url).send().map_err(|error| {
        let ended = if error.is_builder() {
            Ended::NotRun
        } else {
            Ended::Unreachable
        };
        (
            ended,
            format!("{url}: {}", crate::fetch::error_chain(&error)),
        )
    })
}
