//! A small web server for a published repository: for trying out, for tests and benchmarks.
//!
//! A repository is static files, so any web server does; this one saves installing one, counts
//! what it sends, and can be told to misbehave ([`faults`]). One thread a connection, no TLS, no
//! listings: it is not made for the open network.

pub mod faults;
mod http;
mod respond;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use faults::Fault;

/// A connection on which nothing comes for this long is closed, so that idle clients do not keep
/// threads. Web servers commonly wait 60 to 75 seconds; half of it is ample on a loopback.
const IDLE: Duration = Duration::from_secs(30);

/// One answered request, for tests that ask what was really fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The path asked for, without the query.
    pub path: String,
    /// The status sent.
    pub status: u16,
    /// The range asked for, as first and last byte, where one was honoured.
    pub range: Option<(u64, u64)>,
    /// Bytes of body that left.
    pub bytes: u64,
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    stopping: AtomicBool,
    requests: AtomicU64,
    bytes: AtomicU64,
    log: Mutex<Vec<Served>>,
    faults: Mutex<Vec<Fault>>,
    open: Mutex<Vec<(u64, TcpStream)>>,
}

impl Server {
    /// Serves the files below `root` at `address` (`127.0.0.1:0` lets the system choose a port).
    ///
    /// # Errors
    /// When the address cannot be bound or the directory is not there.
    pub fn start(root: &Path, address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let shared = Arc::new(Shared {
            root: root.canonicalize()?,
            stopping: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            log: Mutex::default(),
            faults: Mutex::default(),
            open: Mutex::default(),
        });
        let address = listener.local_addr()?;
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// `http://ADDRESS:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where the metadata is, when the server's root is a published `repo` directory.
    pub fn metadata_url(&self) -> String {
        format!("{}metadata/", self.url())
    }

    /// Where targets and payloads are, when the server's root is a published `repo` directory.
    pub fn targets_url(&self) -> String {
        format!("{}targets/", self.url())
    }

    /// Requests answered since the start or the last [`Server::forget`].
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Bytes of body sent since the start or the last [`Server::forget`].
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Every answered request in order.
    pub fn log(&self) -> Vec<Served> {
        lock(&self.shared.log).clone()
    }

    /// Sets all counters back and empties the log.
    pub fn forget(&self) {
        self.shared.requests.store(0, Ordering::SeqCst);
        self.shared.bytes.store(0, Ordering::SeqCst);
        lock(&self.shared.log).clear();
    }

    /// Misbehaves from now on as told; an empty list behaves again.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        *lock(&self.shared.faults) = faults;
    }

    /// Waits until the server ends, which it does only by failing or by a signal to the process.
    pub fn wait(mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            // A panic of the acceptor has been printed by the runtime; there is nothing to add.
            drop(acceptor.join());
        }
    }

    /// Closes the port and every connection, and waits for the acceptor to end.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for (_, stream) in lock(&self.shared.open).drain(..) {
            // Fails only when the client was quicker.
            drop(stream.shutdown(Shutdown::Both));
        }
        if let Some(acceptor) = self.acceptor.take() {
            // `accept` has no time-out: a connection of our own wakes it to see the flag.
            drop(TcpStream::connect(self.address));
            drop(acceptor.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (id, stream) in (0u64..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(handle) = stream.try_clone() {
            lock(&shared.open).push((id, handle));
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // The client hung up or sent nonsense: its own affair, the next request is another's.
            drop(converse(&stream, &shared));
            lock(&shared.open).retain(|(open, _)| *open != id);
        });
    }
}

/// Answers the requests of one connection until either side has had enough.
fn converse(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = io::BufReader::new(stream);
    while !shared.stopping.load(Ordering::SeqCst) {
        let Some(request) = http::read_request(&mut reader)? else {
            return Ok(());
        };
        let fault = faults::take(&mut lock(&shared.faults), &request.path);
        let mut counted = Counted {
            stream,
            shared,
            sent: 0,
        };
        let answered = respond::respond(&request, &shared.root, fault.as_ref(), &mut counted);
        let (status, range, keep) = answered?;
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let (path, bytes) = (request.path, counted.sent);
        lock(&shared.log).push(Served {
            path,
            status,
            range,
            bytes,
        });
        if !keep {
            stream.shutdown(Shutdown::Both)?;
            return Ok(());
        }
    }
    Ok(())
}

/// Where answers go: the head uncounted, the body counted as it leaves, so that a client that
/// hangs up half-way still shows what it took.
struct Counted<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    sent: u64,
}

impl Counted<'_> {
    fn head(&mut self, head: &str) -> io::Result<()> {
        io::Write::write_all(&mut self.stream, head.as_bytes())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.stream, bytes)?;
        self.sent += bytes.len() as u64;
        self.shared
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }
}

/// A poisoned lock means that another connection's thread panicked; its data are counters and
/// lists that are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
