//! A FleetLock server lets so many nodes of a group restart at a time
//! (<https://coreos.github.io/zincati/development/fleetlock/protocol/>): `POST /v1/pre-reboot` takes a
//! place, `POST /v1/steady-state` gives it back. Both can be repeated. A server that is down, or that
//! says anything but a clear yes, holds the restart: it delays the update and never loses it.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::Client;
use serde::{Deserialize, Serialize};
use twinroot_core::config::Fleetlock as Settings;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{GateAnswer, Outcome, RebootGate};
use twinroot_trust::digest::Digest;

use crate::fail::io_failure;

/// How long the server may take: it looks into a small table.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most of an answer that is read; an error has a kind and a sentence.
const ANSWER: u64 = 4096;
/// Mixed into the id, so that the machine id itself, which is to be kept confidential
/// (`machine-id(5)`), never leaves the node.
const PURPOSE: &str = "twinroot fleetlock ";

/// The lock server, as one node sees it.
#[derive(Debug)]
pub struct FleetLock {
    /// Or why there is none: a machine without certificates delays its restarts, it does not end its agent.
    client: Result<Client, String>,
    base: String,
    group: String,
    id: String,
}

/// The body of both requests.
#[derive(Debug, Serialize)]
struct Body<'a> {
    client_params: Params<'a>,
}

#[derive(Debug, Serialize)]
struct Params<'a> {
    id: &'a str,
    group: &'a str,
}

/// What a server answers where it says no.
#[derive(Debug, Deserialize)]
struct Refusal {
    kind: String,
    value: String,
}

impl FleetLock {
    /// The server that the settings name, for the machine with this id file.
    ///
    /// # Errors
    /// `file-io` without a machine id.
    pub fn open(settings: &Settings, machine_id: &Path) -> Outcome<Self> {
        let id = std::fs::read_to_string(machine_id)
            .map_err(|error| io_failure(Code::FileIo, machine_id, "read", &error))?;
        crate::fetch::install_tls_provider();
        let mut builder = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if settings.url.starts_with("http://") {
            // No authorities for plain http, as in `fetch`.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build();
        let client = client.map_err(|error| {
            let cause = crate::fetch::error_chain(&error);
            format!("cannot be spoken to: {cause}")
        });
        let digest = Digest::of(format!("{PURPOSE}{}", id.trim()).as_bytes()).to_string();
        Ok(Self {
            client,
            base: settings.url.trim_end_matches('/').to_owned(),
            group: settings.group.to_string(),
            id: digest[..32].to_owned(),
        })
    }

    /// Whether the server says yes, and else why not.
    fn post(&self, verb: &str) -> Result<(), String> {
        let body = Body {
            client_params: Params {
                id: &self.id,
                group: &self.group,
            },
        };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let response = client
            .post(format!("{}/v1/{verb}", self.base))
            .header("fleet-lock-protocol", "true")
            .header("content-type", "application/json")
            .body(body)
            .send()
            .map_err(|error| format!("cannot be reached: {}", error.without_url()))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        let mut answer = Vec::new();
        // What cannot be read only makes the reason shorter.
        let _ = response.take(ANSWER).read_to_end(&mut answer);
        Err(match serde_json::from_slice::<Refusal>(&answer) {
            Ok(refusal) => plain(&format!("{}: {}", refusal.kind, refusal.value)),
            Err(_) => format!("answers with status {status}"),
        })
    }
}

/// A server's words must not break a line or fill a screen.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl RebootGate for FleetLock {
    fn ask(&self) -> Outcome<GateAnswer> {
        Ok(match self.post("pre-reboot") {
            Ok(()) => GateAnswer::Open,
            Err(why) => GateAnswer::Held {
                by: format!("the lock server {} ({why})", self.base),
            },
        })
    }

    fn steady(&self) -> Outcome<()> {
        self.post("steady-state").map_err(|why| {
            Failure::new(Code::Unreachable, format!("lock server {}", self.base), why)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A server with so many places, or with one answer to everything.
    struct Server {
        url: String,
        holders: Arc<Mutex<BTreeSet<String>>>,
    }

    fn serve(places: usize, always: Option<&'static str>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let holders = Arc::new(Mutex::new(BTreeSet::new()));
        let shared = holders.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), places, always, &shared);
            }
        });
        Server { url, holders }
    }

    fn answer(
        mut stream: TcpStream,
        places: usize,
        always: Option<&str>,
        holders: &Mutex<BTreeSet<String>>,
    ) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            head.push(line.trim().to_ascii_lowercase());
            line.clear();
        }
        let length = head.iter().find_map(|l| l.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let text = match always {
            Some(text) => text.to_owned(),
            None => decide(&head, &body, places, holders),
        };
        stream.write_all(text.as_bytes()).unwrap();
    }

    fn decide(
        head: &[String],
        body: &[u8],
        places: usize,
        holders: &Mutex<BTreeSet<String>>,
    ) -> String {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap();
        let id = json["client_params"]["id"].as_str().unwrap().to_owned();
        assert_eq!(json["client_params"]["group"], "workers");
        assert!(
            head.contains(&"fleet-lock-protocol: true".to_owned()),
            "{head:?}"
        );
        let mut holders = holders.lock().unwrap();
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        if head[0].starts_with("post /v1/steady-state ") {
            holders.remove(&id);
            return good;
        }
        assert!(head[0].starts_with("post /v1/pre-reboot "), "{head:?}");
        if holders.contains(&id) || holders.len() < places {
            holders.insert(id);
            return good;
        }
        let no = "{\"kind\": \"all_slots_full\", \"value\": \"1 of 1\nplaces are taken\"}"
            .replace('\n', " ");
        format!(
            "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{no}",
            no.len()
        )
    }

    fn node(server: &str, id: &str) -> FleetLock {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("machine-id");
        std::fs::File::create(&file)
            .unwrap()
            .write_all(id.as_bytes())
            .unwrap();
        let settings = Settings {
            url: server.to_owned(),
            group: "workers".parse().unwrap(),
        };
        FleetLock::open(&settings, &file).unwrap()
    }

    #[test]
    fn one_node_at_a_time_restarts_and_gives_its_place_back_when_steady() {
        let server = serve(1, None);
        let (a, b) = (node(&server.url, "aaaa\n"), node(&server.url, "bbbb\n"));
        assert_eq!(a.ask().unwrap(), GateAnswer::Open);
        assert_eq!(
            a.ask().unwrap(),
            GateAnswer::Open,
            "asking again keeps the place"
        );
        let GateAnswer::Held { by } = b.ask().unwrap() else {
            panic!("the place is taken");
        };
        assert!(
            by.contains("all_slots_full: 1 of 1 places are taken"),
            "{by}"
        );
        a.steady().unwrap();
        a.steady().unwrap();
        assert_eq!(b.ask().unwrap(), GateAnswer::Open);
        assert_eq!(server.holders.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_machine_id_itself_never_leaves_the_node() {
        let server = serve(1, None);
        node(&server.url, "0123456789abcdef0123456789abcdef\n")
            .ask()
            .unwrap();
        let holders = server.holders.lock().unwrap();
        let id = holders.first().unwrap();
        assert!(id.len() == 32 && !id.contains("0123456789abcdef"), "{id}");
    }

    #[test]
    fn whatever_is_no_clear_yes_holds() {
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK",
            "",
            "nonsense\r\n\r\n",
        ] {
            let lying = serve(1, Some(answer));
            let lock = node(&lying.url, "a");
            assert!(
                matches!(lock.ask().unwrap(), GateAnswer::Held { .. }),
                "{answer:?}"
            );
            assert!(lock.steady().is_err(), "{answer:?}");
        }
        let nobody = node("http://127.0.0.1:1/", "a");
        assert!(matches!(nobody.ask().unwrap(), GateAnswer::Held { .. }));
    }

    #[test]
    fn a_machine_that_cannot_speak_to_the_server_waits_and_says_why() {
        let mut node = node("https://locks.example", "aaaa");
        node.client = Err(String::from("cannot be spoken to: no certificates"));
        let GateAnswer::Held { by } = node.ask().unwrap() else {
            panic!("a server that was never asked has given a place");
        };
        assert!(
            by.contains("locks.example") && by.contains("no certificates"),
            "{by}"
        );
        assert!(node.steady().is_err());
    }
}
