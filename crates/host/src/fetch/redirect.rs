//! Where a redirect may lead.

use std::net::IpAddr;

use reqwest::Url;
use reqwest::redirect::{Attempt, Policy};

/// Enough for http to https to a CDN to its edge; a loop ends here.
const LIMIT: usize = 5;

/// A redirect that is not followed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// The policy of every request.
pub(super) fn policy() -> Policy {
    Policy::custom(
        |attempt: Attempt| match judge(attempt.previous(), attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        },
    )
}

fn judge(previous: &[Url], next: &Url) -> Result<(), Refused> {
    if previous.len() > LIMIT {
        return Err(Refused(format!("more than {LIMIT} redirects")));
    }
    let Some(from) = previous.last() else {
        return Ok(());
    };
    let allowed = match from.scheme() {
        "http" => matches!(next.scheme(), "http" | "https"),
        scheme => next.scheme() == scheme,
    };
    if !allowed {
        let (from, to) = (from.scheme(), next.scheme());
        return Err(Refused(format!("redirect from {from} to {to}")));
    }
    // A server outside must not make the node speak to itself or to a cloud's metadata service.
    if is_local(next) && !previous.first().is_some_and(is_local) {
        return Err(Refused(format!(
            "redirect to the local address {}",
            next.host_str().unwrap_or("?")
        )));
    }
    Ok(())
}

/// Loopback and link-local addresses as they are written; names are not resolved here.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip
                    .to_ipv4_mapped()
                    .is_some_and(|v4| v4.is_loopback() || v4.is_link_local())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(from: &[&str], to: &str) -> bool {
        let previous: Vec<Url> = from.iter().map(|u| Url::parse(u).unwrap()).collect();
        judge(&previous, &Url::parse(to).unwrap()).is_err()
    }

    #[test]
    fn a_redirect_never_leaves_its_class_of_scheme() {
        assert!(!refused(&["https://a.example/"], "https://b.example/"));
        assert!(!refused(&["http://a.example/"], "https://b.example/"));
        assert!(refused(&["https://a.example/"], "http://a.example/"));
        assert!(refused(
            &["http://a.example/", "https://a.example/"],
            "http://a.example/"
        ));
        for to in ["file:///etc/shadow", "ftp://a.example/", "data:,x"] {
            assert!(refused(&["http://a.example/"], to), "{to}");
        }
    }

    #[test]
    fn a_server_outside_cannot_point_the_node_at_itself() {
        for to in [
            "http://127.0.0.1/",
            "http://localhost/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
            "http://[fe80::1]/",
            "http://2130706433/",
        ] {
            assert!(refused(&["http://mirror.example/"], to), "{to}");
        }
        assert!(!refused(
            &["http://127.0.0.1:8080/"],
            "http://127.0.0.1:8081/"
        ));
    }

    #[test]
    fn five_redirects_are_followed_and_the_sixth_is_not() {
        let url = "https://a.example/";
        assert!(!refused(&[url; 5], url));
        assert!(refused(&[url; 6], url));
    }
}
