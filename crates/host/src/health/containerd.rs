//! containerd's own answer to the question whether it serves.
//!
//! It is one call of the gRPC health protocol (`grpc.health.v1.Health/Check`, which containerd has had
//! since 1.0) over its Unix socket. gRPC is an HTTP/2 request with a length before each message, and
//! HTTP/2 is there, since the fetching client brings it along. The two messages of the protocol are no
//! bytes and two bytes: a library for them would be the larger part.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request};
use tokio::net::UnixStream;
use twinroot_core::health::Outcome as Ended;

use super::Answer;

/// The method, with a host that nobody looks up.
const CHECK: &str = "http://localhost/grpc.health.v1.Health/Check";
/// An uncompressed message of no bytes: `HealthCheckRequest` for the server as a whole.
const QUESTION: &[u8] = &[0, 0, 0, 0, 0];
/// An uncompressed message of two bytes: `HealthCheckResponse`, whose first field is a number...
const ANSWER: &[u8] = &[0, 0, 0, 0, 2, 0x08];
/// ... that is 1 for SERVING.
const SERVING: u8 = 1;
/// No answer of this protocol is longer; what is, is another's.
const LONGEST: usize = 64;

/// Asks the server behind `socket`.
pub(super) fn serves(socket: &str, timeout: Duration) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return (Ended::NotRun, format!("{socket}: {error}")),
    };
    let asked = runtime.block_on(async { tokio::time::timeout(timeout, ask(socket)).await });
    match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err((ended, cause))) => (ended, format!("{socket}: {cause}")),
        Err(_) => (Ended::Failed, format!("{socket}: no answer in {timeout:?}")),
    }
}

/// What went wrong on the way, in words.
type Wrong = (Ended, String);

fn broken(error: &h2::Error) -> Wrong {
    (Ended::Failed, format!("it does not speak gRPC: {error}"))
}

async fn ask(socket: &str) -> Result<Answer, Wrong> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| (Ended::Unreachable, error.to_string()))?;
    let (client, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| broken(&error))?;
    // Moves the bytes of the call; it ends with the runtime, and what it has to say the call says too.
    let carrier = tokio::spawn(async move {
        let _ = connection.await;
    });
    let answer = call(client).await;
    carrier.abort();
    answer.map(|(ended, text)| (ended, format!("{socket} {text}")))
}

async fn call(client: h2::client::SendRequest<Bytes>) -> Result<Answer, Wrong> {
    let request = Request::post(CHECK)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| (Ended::NotRun, error.to_string()))?;
    let mut client = client.ready().await.map_err(|error| broken(&error))?;
    let (response, mut body) = client
        .send_request(request, false)
        .map_err(|error| broken(&error))?;
    body.send_data(Bytes::from_static(QUESTION), true)
        .map_err(|error| broken(&error))?;
    let response = response.await.map_err(|error| broken(&error))?;
    if response.status() != 200 {
        let cause = format!("it answers with HTTP status {}", response.status().as_u16());
        return Err((Ended::Failed, cause));
    }
    // A call that fails may have its status in the head and no body.
    refused(response.headers())?;
    let mut body = response.into_body();
    let message = message(&mut body).await?;
    let trailers = trailers(&mut body).await?;
    refused(&trailers)?;
    Ok(judge(&message))
}

/// Fails where `grpc-status` is there and is not 0 (OK).
fn refused(headers: &HeaderMap) -> Result<(), Wrong> {
    let text = |name: &str| {
        let value = headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match text("grpc-status").as_deref() {
        None | Some("0") => Ok(()),
        // UNIMPLEMENTED
        Some("12") => Err((
            Ended::Failed,
            String::from("it has no health service (its plugin io.containerd.grpc.v1.healthcheck)"),
        )),
        Some(status) => {
            let said = text("grpc-message").unwrap_or_default();
            Err((Ended::Failed, format!("gRPC status {status}: {said}")))
        }
    }
}

async fn message(body: &mut RecvStream) -> Result<Vec<u8>, Wrong> {
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| broken(&error))?;
        message.extend_from_slice(&piece);
        if message.len() > LONGEST {
            let cause = "its answer is longer than any of the health protocol";
            return Err((Ended::Failed, String::from(cause)));
        }
    }
    Ok(message)
}

async fn trailers(body: &mut RecvStream) -> Result<HeaderMap, Wrong> {
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    let missing = || (Ended::Failed, String::from("its answer breaks off"));
    trailers.ok_or_else(missing)
}

fn judge(message: &[u8]) -> Answer {
    match message.strip_prefix(ANSWER) {
        Some([SERVING]) => (Ended::Passed, String::from("says that it serves")),
        Some([2]) => (Ended::Failed, String::from("says that it does not serve")),
        // No field at all is its default, 0 (UNKNOWN).
        _ => (
            Ended::Failed,
            String::from("does not say whether it serves"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use http::Response;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(20);

    /// What the server behind the socket does with a call.
    #[derive(Clone, Copy)]
    struct Does {
        status: &'static str,
        in_head: bool,
        body: &'static [u8],
    }

    const SERVES: Does = Does {
        status: "0",
        in_head: false,
        body: &[0, 0, 0, 0, 2, 8, 1],
    };

    fn listening(home: &Path) -> (UnixListener, PathBuf) {
        let socket = home.join("containerd.sock");
        (UnixListener::bind(&socket).unwrap(), socket)
    }

    /// A gRPC server that answers one call; gives the path that was asked for.
    fn server(listener: UnixListener, does: Does) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (request, mut respond) = connection.accept().await.unwrap().unwrap();
                let asked = request.uri().path().to_owned();
                let response = Response::builder().header("content-type", "application/grpc");
                if does.in_head {
                    let response = response.header("grpc-status", does.status);
                    respond
                        .send_response(response.body(()).unwrap(), true)
                        .unwrap();
                } else {
                    let response = response.body(()).unwrap();
                    let mut body = respond.send_response(response, false).unwrap();
                    body.send_data(Bytes::from_static(does.body), false)
                        .unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", does.status.parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
                // Until the client has what it came for and leaves.
                while let Some(Ok(_)) = connection.accept().await {}
                asked
            })
        })
    }

    fn answer(does: Does) -> Answer {
        let home = tempfile::tempdir().unwrap();
        let (listener, socket) = listening(home.path());
        let served = server(listener, does);
        let answer = serves(socket.to_str().unwrap(), PATIENT);
        assert_eq!(served.join().unwrap(), "/grpc.health.v1.Health/Check");
        answer
    }

    #[test]
    fn a_server_that_says_that_it_serves_passes() {
        let (ended, detail) = answer(SERVES);
        assert_eq!(ended, Ended::Passed, "{detail}");
    }

    #[test]
    fn no_other_answer_passes() {
        for (body, said) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "does not serve"),
            (&[0, 0, 0, 0, 0], "does not say"),
            (&[0, 0, 0, 0, 2, 8, 3], "does not say"),
            (&[1, 0, 0, 0, 2, 8, 1], "does not say"),
            (&[], "does not say"),
            (&[0; 100], "longer than any"),
        ] {
            let (ended, detail) = answer(Does { body, ..SERVES });
            assert_eq!(ended, Ended::Failed, "{detail}");
            assert!(detail.contains(said), "{detail}");
        }
    }

    #[test]
    fn a_call_that_is_refused_does_not_pass_whatever_its_body_says() {
        for (status, in_head, said) in [
            ("12", true, "healthcheck"),
            ("12", false, "healthcheck"),
            ("14", false, "status 14"),
        ] {
            let (ended, detail) = answer(Does {
                status,
                in_head,
                ..SERVES
            });
            assert_eq!(ended, Ended::Failed, "{detail}");
            assert!(detail.contains(said), "{detail}");
        }
    }

    #[test]
    fn a_server_of_another_kind_does_not_pass() {
        let home = tempfile::tempdir().unwrap();
        let (listener, socket) = listening(home.path());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 64]);
            // The client may have turned away already.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        });
        let (ended, detail) = serves(socket.to_str().unwrap(), PATIENT);
        assert_eq!(ended, Ended::Failed, "{detail}");
        assert!(detail.contains("does not speak gRPC"), "{detail}");
        served.join().unwrap();
    }

    #[test]
    fn one_that_accepts_and_never_answers_fails_in_its_time_and_one_that_is_away_at_once() {
        let home = tempfile::tempdir().unwrap();
        let (listener, socket) = listening(home.path());
        let path = socket.to_str().unwrap();
        // The kernel accepts for it.
        let (ended, detail) = serves(path, Duration::from_millis(300));
        assert_eq!(ended, Ended::Failed, "{detail}");
        assert!(detail.contains("no answer"), "{detail}");
        drop(listener);
        assert_eq!(serves(path, PATIENT).0, Ended::Unreachable);
        assert_eq!(serves("/no/such/socket", PATIENT).0, Ended::Unreachable);
    }
}
