//! The HTTP client: options, TLS, proxy. Which protocol is spoken, 1.1 or 2, the server chooses (ALPN).

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::header::HeaderValue;
use reqwest::{Certificate, Identity, Proxy};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use super::meter::MinimumThroughput;
use super::pace::Pace;
use super::redirect;

/// Bytes by which the node shows who it is: no log and no archive may show them.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps them.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to speak HTTP. No proxy variable of the environment is looked at.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may say nothing: before the headers, and between two pieces.
    pub idle_timeout: Duration,
    /// What a transfer must bring at the least.
    pub minimum: MinimumThroughput,
    /// The proxy for every request, if any.
    pub proxy: Option<String>,
    /// PEM certificates of private authorities. Where there are some, no other authority counts.
    pub authorities: Option<Vec<u8>>,
    /// Certificates and key by which the node shows who it is (mTLS), as PEM.
    pub identity: Option<Secret>,
    /// A token that goes with each request, and with none that a redirect leads to another server.
    pub bearer: Option<Secret>,
    /// Take 403 for 'there is no such file', as some object stores answer it.
    pub forbidden_is_missing: bool,
    /// What all transfers together may take. Clones share it, so that mirrors and workers do too.
    pub pace: Option<Arc<Pace>>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            minimum: MinimumThroughput::default(),
            proxy: None,
            authorities: None,
            identity: None,
            bearer: None,
            forbidden_is_missing: false,
            pace: None,
        }
    }
}

/// How long a connection that nobody uses is kept. Requests of one update follow each other within
/// moments; between two looks an hour apart neither node nor server should hold one.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// TLS by rustls over ring, chosen here and nowhere else.
pub(crate) fn install_tls_provider() {
    static PROVIDER: Once = Once::new();
    // A program that has installed one already keeps it, which is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

pub(crate) fn client(options: &HttpOptions, urls: &[&str]) -> Outcome<Client> {
    install_tls_provider();
    let agent = concat!("twinroot/", env!("CARGO_PKG_VERSION"));
    let invalid = |error: &dyn std::fmt::Display| {
        Failure::new(Code::TlsFailed, urls.join(", "), error.to_string())
    };
    let mut builder = Client::builder()
        .user_agent(agent)
        .connect_timeout(options.connect_timeout)
        // In the blocking client this bounds each wait (headers, one read), not the whole transfer.
        .timeout(options.idle_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .redirect(redirect::policy())
        .referer(false)
        .no_proxy();
    if let Some(proxy) = &options.proxy {
        let parsed = Proxy::all(proxy.as_str());
        builder = builder
            .proxy(parsed.map_err(|e| Failure::new(Code::UrlInvalid, proxy, error_chain(&e)))?);
    }
    if let Some(pem) = &options.authorities {
        let authorities =
            Certificate::from_pem_bundle(pem).map_err(|e| invalid(&error_chain(&e)))?;
        builder = builder.tls_certs_only(authorities);
    } else if urls.iter().all(|url| url.starts_with("http://")) {
        // Without TLS no authority is needed; a machine without a certificate store still works.
        // A redirect to https then fails, it is never believed.
        builder = builder.tls_certs_only([]);
    }
    if let Some(pem) = &options.identity {
        let identity = Identity::from_pem(pem.bytes()).map_err(|e| invalid(&error_chain(&e)))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|e| invalid(&error_chain(&e)))
}

/// The header that carries the token, marked so that no log prints it. It goes with single requests and is
/// no default of the client: what follows a redirect to another server goes without it.
pub(super) fn authorization(options: &HttpOptions) -> Outcome<Option<HeaderValue>> {
    let Some(token) = &options.bearer else {
        return Ok(None);
    };
    let refuse = || {
        Failure::new(
            Code::ConfigValue,
            "repository.bearer-file",
            "holds no token",
        )
        .with_remedy("write the token, in plain characters and nothing else, into the file")
    };
    let token = std::str::from_utf8(token.bytes())
        .map_err(|_| refuse())?
        .trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse());
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| refuse())?;
    header.set_sensitive(true);
    Ok(Some(header))
}

/// The innermost reason says most: reqwest's own message is 'error sending request'.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
