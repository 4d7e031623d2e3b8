//! A good TLS server that speaks HTTP/2, with an authority made for the test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use twinroot_core::error::Code;
use twinroot_ports::Fetch;
use twinroot_ports::contract::fetch::{CONTENT, fetch_contract};

use super::{HttpFetch, HttpOptions, Secret, collect, install_tls_provider, patient};

/// Serves the contract's files for as long as the test's process lives.
struct TlsServer {
    address: SocketAddr,
    /// PEM of the authority that vouches for it.
    authority: String,
    /// The protocol of each connection, as both sides agreed on it.
    protocols: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// A server whose certificate is for `name`.
    fn start(name: &str) -> Self {
        Self::wanting(name, None)
    }

    /// The same, which speaks only to clients that this authority (PEM) vouches for.
    fn wanting(name: &str, clients: Option<&str>) -> Self {
        install_tls_provider();
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(pem) => ServerConfig::builder().with_client_cert_verifier(vouched_for_by(pem)),
        };
        let mut config = config
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let protocols = Arc::new(Mutex::new(Vec::new()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            authority,
            protocols: Arc::clone(&protocols),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(accept(listener, acceptor, protocols));
        });
        server
    }

    fn fetch(&self, authorities: Option<&str>) -> HttpFetch {
        self.fetch_as(authorities, None)
    }

    fn fetch_as(&self, authorities: Option<&str>, identity: Option<&str>) -> HttpFetch {
        let url = format!("https://{}/repo", self.address);
        let options = HttpOptions {
            authorities: authorities.map(|pem| pem.as_bytes().to_vec()),
            identity: identity.map(|pem| Secret::new(pem.as_bytes().to_vec())),
            ..patient()
        };
        HttpFetch::new(&url, &url, options).unwrap()
    }
}

fn vouched_for_by(pem: &str) -> Arc<dyn rustls::server::danger::ClientCertVerifier> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap()
}

/// An authority for clients (PEM), and a certificate with its key that it vouches for (PEM).
fn client() -> (String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["node".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    (
        authority,
        format!("{}\n{}", leaf.pem(), key.serialize_pem()),
    )
}

#[test]
fn a_node_shows_its_certificate_to_a_server_that_wants_one() {
    let (authority, node) = client();
    let (_, stranger) = client();
    let server = TlsServer::wanting("127.0.0.1", Some(&authority));
    let ask = |identity| {
        let source = server.fetch_as(Some(&server.authority), identity);
        source.metadata(CONTENT[0].0, 1 << 20)
    };
    assert_eq!(ask(Some(&node)).unwrap().unwrap(), CONTENT[0].1);
    for refused in [None, Some(stranger.as_str())] {
        assert!(ask(refused).is_err(), "{refused:?}");
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    protocols: Arc<Mutex<Vec<String>>>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let local = tokio::task::LocalSet::new();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, protocols) = (acceptor.clone(), Arc::clone(&protocols));
            // What a client refuses is not the server's to judge.
            tokio::task::spawn_local(async move { drop(talk(stream, acceptor, protocols).await) });
        }
    };
    local.run_until(accepting).await;
}

async fn talk(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    protocols: Arc<Mutex<Vec<String>>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let stream = acceptor.accept(stream).await?;
    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
    protocols
        .lock()
        .unwrap()
        .push(String::from_utf8_lossy(agreed).into_owned());
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let (status, range, body) = answer(&request);
        let mut response = http::Response::builder().status(status);
        if let Some(range) = range {
            response = response.header("content-range", range);
        }
        response = response.header("content-length", body.len());
        let mut stream = respond.send_response(response.body(())?, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::from_static(body), true)?;
        }
    }
    Ok(())
}

/// Status, content range and body for a request.
fn answer(request: &http::Request<h2::RecvStream>) -> (u16, Option<String>, &'static [u8]) {
    let file = request
        .uri()
        .path()
        .strip_prefix("/repo/")
        .unwrap_or_default();
    let Some((_, content)) = CONTENT.iter().find(|(name, _)| *name == file) else {
        return (404, None, b"none");
    };
    let Some(range) = request.headers().get("range") else {
        return (200, None, content);
    };
    let range = &range.to_str().unwrap()["bytes=".len()..];
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    if last >= content.len() {
        return (416, None, b"");
    }
    let named = format!("bytes {first}-{last}/{}", content.len());
    (206, Some(named), &content[first..=last])
}

#[test]
fn a_server_with_a_private_authority_is_believed_and_spoken_to_in_http_2() {
    let server = TlsServer::start("127.0.0.1");
    let source = server.fetch(Some(&server.authority));
    fetch_contract(&source);
    let protocols = server.protocols.lock().unwrap();
    assert!(
        !protocols.is_empty() && protocols.iter().all(|p| p == "h2"),
        "{protocols:?}"
    );
    // Many requests, few connections: that is what the second version is for.
    assert!(
        (protocols.len() as u64) < source.traffic().requests,
        "{protocols:?}"
    );
}

#[test]
fn ranges_come_over_http_2_as_they_were_asked_for() {
    let server = TlsServer::start("127.0.0.1");
    let source = server.fetch(Some(&server.authority));
    assert_eq!(
        collect(&source, 100..1100).unwrap(),
        &CONTENT[0].1[100..1100]
    );
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let server = TlsServer::start("mirror.example");
    let refusal = server
        .fetch(Some(&server.authority))
        .metadata("timestamp.json", 100)
        .unwrap_err();
    assert_eq!(refusal.code, Code::TlsFailed, "{refusal}");
    assert!(
        server.protocols.lock().unwrap().is_empty(),
        "nothing was said to it"
    );
}

#[test]
fn another_authority_does_not_vouch_for_it() {
    let (server, other) = (TlsServer::start("127.0.0.1"), TlsServer::start("127.0.0.1"));
    let refusal = server
        .fetch(Some(&other.authority))
        .metadata("timestamp.json", 100)
        .unwrap_err();
    assert_eq!(refusal.code, Code::TlsFailed, "{refusal}");
}

#[test]
fn an_authority_that_is_no_certificate_is_refused_at_once() {
    let server = TlsServer::start("127.0.0.1");
    let url = format!("https://{}/repo", server.address);
    let options = HttpOptions {
        authorities: Some(
            b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n".to_vec(),
        ),
        ..patient()
    };
    assert_eq!(
        HttpFetch::new(&url, &url, options).unwrap_err().code,
        Code::TlsFailed
    );
}
