//! Figures on a loopback port, for a collector that speaks no Unix sockets: `GET /metrics` and nothing else.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use twinroot_ports::{Code, Failure, Outcome};

use super::Office;
use super::handlers::figures;
use super::serve::{BREATH, CONNECTIONS, LIFE, closed, talk};

/// A port on which figures are given away, until it is dropped.
#[derive(Debug)]
pub struct Figures {
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Figures {
    /// Serves them on a runtime and a thread of their own.
    ///
    /// # Errors
    /// Where the thread, its runtime or the listener cannot be set up.
    pub fn serve(listener: StdListener, office: Office) -> Outcome<Self> {
        let failed = |e: std::io::Error| Failure::new(Code::Internal, "the metrics", e.to_string());
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name(String::from("metrics"))
            .spawn(move || {
                if let Err(error) = runtime.block_on(accept(listener, office, ended)) {
                    tracing::error!(%error, "the metrics are not served any more");
                }
            })
            .map_err(failed)?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed; there is nothing to add.
            drop(thread.join());
        }
    }
}

async fn accept(
    listener: StdListener,
    office: Office,
    mut end: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let routes = figures(office);
    let mut served = JoinSet::new();
    loop {
        while served.try_join_next().is_some() {}
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            (Ok(place), accepted) = accepted => (place, accepted),
            () = closed(&mut end) => return Ok(()),
            else => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let (routes, end) = (routes.clone(), end.clone());
        served.spawn(async move {
            // How it ended concerns nobody but the peer.
            let _ = tokio::time::timeout(LIFE, talk(stream, routes, end)).await;
            drop(place);
        });
    }
}
