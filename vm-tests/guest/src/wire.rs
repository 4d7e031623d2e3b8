//! What the host and the guest's command server say to each other, over a virtio serial port.
//!
//! One JSON document a line. Each request has an id that no other request of the connection has, and
//! its answer repeats it: whatever an earlier boot left half-said in the port is a line that parses
//! as nothing or answers a question that nobody waits for.

use serde::{Deserialize, Serialize};

/// Name of the port, as the guest finds it below `/sys/class/virtio-ports`.
pub const PORT: &str = "org.twinroot.vm";
/// Bytes of a file that one request carries: a virtio serial port passes them through buffers of a
/// page, so larger ones gain nothing.
pub const CHUNK: usize = 48 << 10;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host.
    pub id: u64,
    /// What is wanted.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Who is there: answered with [`Said::Here`].
    Hello,
    /// Run a program to its end.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Bytes of a file from an offset, at most [`CHUNK`].
    Get {
        /// The file.
        path: String,
        /// First byte.
        offset: u64,
    },
    /// Bytes of a file, written at an offset; offset 0 makes the file anew.
    Put {
        /// The file.
        path: String,
        /// First byte.
        offset: u64,
        /// Base64.
        bytes: String,
    },
    /// Set the wall clock.
    SetClock {
        /// Seconds since 1970.
        seconds: i64,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Id of the request.
    pub id: u64,
    /// What came of it.
    pub said: Said,
}

/// What can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// The server of this boot.
    Here {
        /// The kernel's id of this boot.
        boot_id: String,
    },
    /// A program ended.
    Ended {
        /// Exit code; 128 and the signal where a signal ended it.
        code: i32,
        /// Base64.
        stdout: String,
        /// Base64.
        stderr: String,
    },
    /// Bytes of a file; fewer than [`CHUNK`] at its end.
    Bytes {
        /// Base64.
        bytes: String,
    },
    /// Done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        cause: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_single_lines_that_read_back() {
        let request = Request {
            id: 7,
            ask: Ask::Run {
                argv: vec!["sh".into(), "-c".into(), "a\nb".into()],
            },
        };
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        // The tail of a line that an earlier boot was cut off in says nothing.
        assert!(serde_json::from_str::<Request>(&line[5..]).is_err());
    }
}
