//! Checks as the files in `health.d` define them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::time::Seconds;

use crate::config::line_of;
use crate::error::{Code, Failure};

/// How long one run of a check may take, where its definition does not say: a service that needs
/// longer to say that it is alive is not alive for those who wait for it.
const TIMEOUT: Seconds = Seconds(5);
/// Pause between two runs, where the definition does not say.
const PERIOD: Seconds = Seconds(10);
/// Longest time that one run may be given: three of them fit between a start and the deadline of a trial
/// by default, and whoever looks on waits no longer for a check that hangs.
const LONGEST_TIMEOUT: Seconds = Seconds(300);
/// Longest pause between two runs: a check that is looked at less than hourly says nothing in a probation.
const LONGEST_PERIOD: Seconds = Seconds(3600);
/// Most successes in a row: at the shortest period more than a quarter of an hour.
const MOST_SUCCESSES: u32 = 1000;
/// Successes in a row until a check counts as passed, where the definition does not say: two, so
/// that a service which crashes after its first answer is seen.
const SUCCESSES: u32 = 2;
/// Where containerd listens on every distribution that we know.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// The kubelet's own health endpoint at its default port.
const KUBELET: &str = "http://127.0.0.1:10248/healthz";

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// A systemd unit is active.
    Unit {
        /// Its name.
        unit: String,
    },
    /// An HTTP GET answers with a status.
    Http {
        /// The URL.
        url: String,
        /// The status that is good.
        status: u16,
    },
    /// Something accepts TCP connections.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A program ends with 0.
    Exec {
        /// Absolute path and arguments.
        command: Vec<String>,
    },
    /// containerd says that it serves.
    Containerd {
        /// Its socket.
        socket: String,
    },
    /// The kubelet says that it is healthy.
    Kubelet {
        /// Its health endpoint.
        url: String,
    },
    /// A number of a Prometheus endpoint keeps within bounds.
    Metric {
        /// The endpoint.
        url: String,
        /// The metric, with labels if it needs them.
        metric: String,
        /// Lower bound, inclusive.
        at_least: Option<i64>,
        /// Upper bound, inclusive.
        at_most: Option<i64>,
    },
}

/// Who wants a check to hold. The checks of both count, and neither can remove the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Author {
    /// The publisher: the check is part of the image.
    Publisher,
    /// Whoever owns the node: the check lies below `/etc`.
    Owner,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name; unique on a node.
    pub name: String,
    /// Who wants it.
    pub by: Author,
    /// What it looks at.
    #[serde(flatten)]
    pub kind: Kind,
    /// It must pass; a wanted check is only reported.
    pub required: bool,
    /// It looks beyond this machine, so that its failure may be somebody else's.
    pub remote: bool,
    /// How long one run may take.
    pub timeout: Seconds,
    /// Pause between two runs.
    pub period: Seconds,
    /// Successes in a row until it has passed.
    pub successes: u32,
}

/// What stands in a file: everything optional, so that a missing key is told from a wrong one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    check: Vec<Fragment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fragment {
    name: String,
    kind: String,
    level: Option<Level>,
    scope: Option<Scope>,
    timeout: Option<Seconds>,
    period: Option<Seconds>,
    successes: Option<u32>,
    unit: Option<String>,
    url: Option<String>,
    status: Option<u16>,
    address: Option<String>,
    command: Option<Vec<String>>,
    socket: Option<String>,
    metric: Option<String>,
    at_least: Option<i64>,
    at_most: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Required,
    Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scope {
    Local,
    Remote,
}

/// Reads the checks of one file.
///
/// # Errors
/// `health-check-invalid`, naming file, line or check: a check that cannot be read must not be taken
/// for one that passes, so that one bad definition refuses the file.
pub fn read_checks(by: Author, path: &str, text: &str) -> Result<Vec<Check>, Failure> {
    let file: File = toml::from_str(text).map_err(|error| {
        let subject = format!("{path}:{}", line_of(text, error.span()));
        Failure::new(
            Code::HealthCheckInvalid,
            subject,
            error.message().to_string(),
        )
    })?;
    let mut checks: Vec<Check> = Vec::new();
    for fragment in file.check {
        let subject = format!("{path}, check {}", fragment.name);
        let check = fragment
            .into_check(by)
            .map_err(|cause| Failure::new(Code::HealthCheckInvalid, subject.clone(), cause))?;
        if checks.iter().any(|other| other.name == check.name) {
            let cause = "there are two checks of this name";
            return Err(Failure::new(Code::HealthCheckInvalid, subject, cause));
        }
        checks.push(check);
    }
    Ok(checks)
}

/// Keys that belong to some kinds only, with whether they are set.
type Given = [(&'static str, bool); 8];

impl Fragment {
    fn into_check(self, by: Author) -> Result<Check, String> {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(named) {
            return Err("the name must be 1 to 64 letters, digits, '-', '_' or '.'".into());
        }
        let (timeout, period) = (
            self.timeout.unwrap_or(TIMEOUT),
            self.period.unwrap_or(PERIOD),
        );
        let successes = self.successes.unwrap_or(SUCCESSES);
        if timeout.0 == 0 || period.0 == 0 || successes == 0 {
            return Err("timeout, period and successes must be more than nothing".into());
        }
        if timeout > LONGEST_TIMEOUT || period > LONGEST_PERIOD || successes > MOST_SUCCESSES {
            return Err(format!(
                "at most {LONGEST_TIMEOUT} of timeout, {LONGEST_PERIOD} of period and \
                 {MOST_SUCCESSES} successes are allowed"
            ));
        }
        let (name, level, scope) = (self.name.clone(), self.level, self.scope);
        Ok(Check {
            name,
            by,
            kind: self.into_kind()?,
            required: level != Some(Level::Wanted),
            remote: scope == Some(Scope::Remote),
            timeout,
            period,
            successes,
        })
    }

    fn given(&self) -> Given {
        [
            ("unit", self.unit.is_some()),
            ("url", self.url.is_some()),
            ("status", self.status.is_some()),
            ("address", self.address.is_some()),
            ("command", self.command.is_some()),
            ("socket", self.socket.is_some()),
            ("metric", self.metric.is_some()),
            (
                "at-least or at-most",
                self.at_least.is_some() || self.at_most.is_some(),
            ),
        ]
    }

    fn into_kind(self) -> Result<Kind, String> {
        let given = self.given();
        let kind = self.kind.clone();
        let only =
            |allowed: &[&str]| match given.iter().find(|(k, set)| *set && !allowed.contains(k)) {
                Some((key, _)) => Err(format!("a check of kind {kind} has no key {key}")),
                None => Ok(()),
            };
        let missing = |key: &str| format!("a check of kind {kind} needs the key {key}");
        match kind.as_str() {
            "unit" => {
                only(&["unit"])?;
                Ok(Kind::Unit {
                    unit: self.unit.ok_or_else(|| missing("unit"))?,
                })
            }
            "http" => {
                only(&["url", "status"])?;
                let status = self.status.unwrap_or(200);
                Ok(Kind::Http {
                    url: self.url.ok_or_else(|| missing("url"))?,
                    status,
                })
            }
            "tcp" => {
                only(&["address"])?;
                Ok(Kind::Tcp {
                    address: self.address.ok_or_else(|| missing("address"))?,
                })
            }
            "exec" => {
                only(&["command"])?;
                let command = self.command.ok_or_else(|| missing("command"))?;
                match command.first() {
                    Some(program) if program.starts_with('/') => Ok(Kind::Exec { command }),
                    _ => Err("command must begin with an absolute path".into()),
                }
            }
            "containerd" => {
                only(&["socket"])?;
                let socket = self.socket.unwrap_or_else(|| CONTAINERD.into());
                Ok(Kind::Containerd { socket })
            }
            "kubelet" => {
                only(&["url"])?;
                Ok(Kind::Kubelet {
                    url: self.url.unwrap_or_else(|| KUBELET.into()),
                })
            }
            "metric" => {
                only(&["url", "metric", "at-least or at-most"])?;
                if self.at_least.is_none() && self.at_most.is_none() {
                    return Err(missing("at-least or at-most"));
                }
                Ok(Kind::Metric {
                    url: self.url.ok_or_else(|| missing("url"))?,
                    metric: self.metric.ok_or_else(|| missing("metric"))?,
                    at_least: self.at_least,
                    at_most: self.at_most,
                })
            }
            _ => Err(format!("there is no kind {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_read_with_their_defaults() {
        let text = r#"
            [[check]]
            name = "containerd"
            kind = "containerd"

            [[check]]
            name = "registry"
            kind = "http"
            url = "https://registry.example/v2/"
            status = 401
            level = "wanted"
            scope = "remote"
            timeout = "3s"
            period = "1m"
            successes = 5
        "#;
        let checks = read_checks(Author::Publisher, "health.d/10.toml", text).expect("they read");
        assert_eq!(
            checks[0].kind,
            Kind::Containerd {
                socket: CONTAINERD.into()
            }
        );
        assert!(checks[0].required && !checks[0].remote);
        assert_eq!((checks[0].timeout, checks[0].successes), (Seconds(5), 2));
        let url = "https://registry.example/v2/".into();
        assert_eq!(checks[1].kind, Kind::Http { url, status: 401 });
        assert!(!checks[1].required && checks[1].remote);
        assert_eq!((checks[1].period, checks[1].successes), (Seconds(60), 5));
    }

    #[test]
    fn a_definition_that_is_wrong_is_refused_with_its_place() {
        for (text, place, cause) in [
            (
                "[[check]]\nname = \"a\"\nkind = \"unit\"",
                "check a",
                "needs the key unit",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"unti\"",
                "check a",
                "no kind unti",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"tcp\"\naddress = \"h:1\"\nurl = \"x\"",
                "check a",
                "has no key url",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"exec\"\ncommand = [\"true\"]",
                "check a",
                "absolute",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"kubelet\"\nsuccesses = 0",
                "check a",
                "more than",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"kubelet\"\ntimeout = \"6m\"",
                "check a",
                "at most 5m",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"kubelet\"\ntimout = \"1s\"",
                ":4",
                "timout",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"kubelet\"\ntimeout = \"1\"",
                ":4",
                "duration",
            ),
            ("[[check]]\nkind = \"kubelet\"", ":1", "name"),
            (
                "[[check]]\nname = \"../a\"\nkind = \"kubelet\"",
                "check ../a",
                "letters",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"metric\"\nurl = \"u\"\nmetric = \"m\"",
                "check a",
                "at-least or at-most",
            ),
            (
                "[[check]]\nname = \"a\"\nkind = \"kubelet\"\n[[check]]\nname = \"a\"\nkind = \"kubelet\"",
                "check a",
                "two checks",
            ),
            ("nonsense", ":1", ""),
        ] {
            let failure = read_checks(Author::Owner, "health.d/x.toml", text).expect_err(text);
            assert_eq!(failure.code, Code::HealthCheckInvalid);
            assert!(
                failure.subject.ends_with(place),
                "{text}: {}",
                failure.subject
            );
            assert!(failure.cause.contains(cause), "{text}: {}", failure.cause);
        }
    }
}
