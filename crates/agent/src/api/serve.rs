//! Accepts connections within bounds: so many at once, so long for a head, so long in all.

use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use twinroot_ports::{Code, Failure, Outcome};

use super::handlers::{By, router};
use super::{Gatekeeper, Office, Peer};

/// Connections of a socket that are served at once; more wait in the kernel's queue. A node has a
/// collector, a bridge and a few people.
pub(super) const CONNECTIONS: usize = 32;
/// How long a request's head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may live. A listener to events comes back.
pub(super) const LIFE: Duration = Duration::from_secs(3600);
/// How long answers in hand may take to be written once the program ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after the kernel refused to accept (no file descriptors): it does not get better by haste.
pub(super) const BREATH: Duration = Duration::from_millis(200);

/// The sockets, already bound.
#[derive(Debug)]
pub struct Sockets {
    /// For whoever may look.
    pub read: StdListener,
    /// For whoever may act.
    pub control: StdListener,
}

/// Serves both sockets on a runtime of its own, in this thread, until the desk closes.
///
/// # Errors
/// Where the runtime or a socket cannot be set up.
pub fn serve(sockets: Sockets, office: Office, gatekeeper: Arc<dyn Gatekeeper>) -> Outcome<()> {
    let failed = |e: std::io::Error| Failure::new(Code::Internal, "the local API", e.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let read = listener(sockets.read).map_err(failed)?;
        let control = listener(sockets.control).map_err(failed)?;
        tokio::join!(
            accept(read, office.clone(), None),
            accept(control, office, Some(gatekeeper))
        );
        Ok(())
    })
}

fn listener(socket: StdListener) -> std::io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

async fn accept(socket: UnixListener, office: Office, gate: Option<Arc<dyn Gatekeeper>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut closing = office.desk.closing();
    let routes = router(office, gate.is_some());
    let mut served = JoinSet::new();
    loop {
        while served.try_join_next().is_some() {}
        // A place is taken before a connection is, so that a flood stays in the kernel's queue.
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, socket.accept().await)
        };
        let (place, stream) = tokio::select! {
            (Ok(place), accepted) = accepted => (place, accepted),
            () = closed(&mut closing) => break,
            else => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (routes, gate, closing) = (routes.clone(), gate.clone(), closing.clone());
        served.spawn(async move {
            let served = connection(stream, routes, gate.as_deref(), closing);
            // How it ended concerns nobody but the peer.
            let _ = tokio::time::timeout(LIFE, served).await;
            drop(place);
        });
    }
    let rest = async { while served.join_next().await.is_some() {} };
    // A listener to events never ends by itself; it is cut off.
    let _ = tokio::time::timeout(FAREWELL, rest).await;
}

/// Waits until the desk closes, or is gone.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn connection(
    stream: UnixStream,
    routes: axum::Router,
    gate: Option<&dyn Gatekeeper>,
    closing: watch::Receiver<bool>,
) {
    let routes = match gate.map(|gate| admitted(&stream, gate)) {
        None => routes,
        Some(Ok(by)) => routes.layer(Extension(By(by))),
        Some(Err(failure)) => {
            tracing::warn!(code = %failure.code, "{failure}");
            refusing(failure)
        }
    };
    talk(stream, routes, closing).await;
}

/// HTTP on one connection, until its peer or the program ends it.
pub(super) async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    routes: axum::Router,
    mut closing: watch::Receiver<bool>,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closed(&mut closing) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

fn admitted(stream: &UnixStream, gate: &dyn Gatekeeper) -> Outcome<String> {
    let cred = stream.peer_cred().map_err(|e| {
        Failure::new(
            Code::NotPermitted,
            "the peer",
            format!("the kernel does not name it: {e}"),
        )
    })?;
    gate.admit(&Peer {
        pid: cred.pid(),
        uid: cred.uid(),
        gid: cred.gid(),
    })
}

/// Says no to whatever is asked on this connection.
fn refusing(failure: Failure) -> axum::Router {
    axum::Router::new().fallback(move || {
        let failure = failure.clone();
        async move { super::answer::bad(failure) }
    })
}
