//! A wire between a node and a web server that counts what goes over it, both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// The wire; its threads end with the connections that they serve.
#[derive(Debug)]
pub struct Wire {
    here: SocketAddr,
    carried: Arc<AtomicU64>,
}

impl Wire {
    /// To the server of that URL.
    pub fn to(url: &str) -> Result<Self> {
        let there: SocketAddr = authority(url)?
            .parse()
            .context("the server has no address")?;
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let wire = Self {
            here: listener.local_addr().context("the wire has no address")?,
            carried: Arc::default(),
        };
        let carried = wire.carried.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let carried = carried.clone();
                std::thread::spawn(move || join(&stream, there, &carried));
            }
        });
        Ok(wire)
    }

    /// The URL with the wire's address in it.
    pub fn in_place_of(&self, url: &str) -> Result<String> {
        Ok(url.replacen(authority(url)?, &self.here.to_string(), 1))
    }

    /// Bytes since the last call, both ways.
    pub fn carried(&self) -> u64 {
        self.carried.swap(0, Ordering::SeqCst)
    }
}

fn authority(url: &str) -> Result<&str> {
    let rest = url
        .strip_prefix("http://")
        .context("the URL is not plain HTTP")?;
    Ok(rest.split('/').next().unwrap_or(rest))
}

/// Carries both directions until either end closes.
fn join(near: &TcpStream, there: SocketAddr, carried: &Arc<AtomicU64>) {
    let Ok(far) = TcpStream::connect(there) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| carry(near, &far, carried));
        carry(&far, near, carried);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, carried: &AtomicU64) {
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        // Counted before it is sent: whoever has it may ask for the count at once.
        carried.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    // The other direction ends by that too; it may have ended already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_carried_and_counted_once() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metadata/", server.local_addr().unwrap());
        let wire = Wire::to(&url).unwrap();
        let near = wire.in_place_of(&url).unwrap();
        assert!(near.ends_with("/metadata/") && near != url, "{near}");
        let mut client = TcpStream::connect(authority(&near).unwrap()).unwrap();
        let (mut far, _) = server.accept().unwrap();
        client.write_all(b"hello").unwrap();
        let mut five = [0; 5];
        far.read_exact(&mut five).unwrap();
        far.write_all(b"ho").unwrap();
        client.read_exact(&mut five[..2]).unwrap();
        assert_eq!(
            (&five[..2], wire.carried(), wire.carried()),
            (&b"ho"[..], 7, 0)
        );
    }
}
