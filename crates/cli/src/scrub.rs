//! Takes secrets out of text that leaves the node. Two nets: the very bytes of every secret that the node
//! knows, and what looks like a secret in words that come from elsewhere (a server's answer, a check's
//! output).

/// What stands in a secret's place.
const GONE: &str = "(taken out)";
/// Words behind which a secret stands, if `=` or `:` follows.
const NAMES: [&str; 7] = [
    "password", "passwd", "secret", "token", "api-key", "api_key", "apikey",
];
/// Shortest known secret that is looked for: of shorter ones every text would have some.
const SHORTEST: usize = 6;

/// The text without secrets. `known` are secrets of this node; their line ends do not count.
#[must_use]
pub(crate) fn scrub(text: &str, known: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in known.iter().map(|secret| secret.trim()) {
        if secret.len() >= SHORTEST {
            text = text.replace(secret, GONE);
        }
    }
    let mut lines = Vec::new();
    let mut in_key = false;
    for line in text.split('\n') {
        let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
        in_key |= begins;
        if !in_key {
            lines.push(line_without(line));
        } else if begins {
            lines.push(GONE.to_owned());
        }
        in_key &= !(line.contains("-----END") && line.contains("PRIVATE KEY-----"));
    }
    lines.join("\n")
}

fn line_without(line: &str) -> String {
    let line = without_credentials(line);
    let lower = line.to_ascii_lowercase();
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    for (at, word) in lower
        .match_indices("bearer ")
        .chain(lower.match_indices("basic "))
    {
        cuts.push(word_from(&lower, at + word.len()));
    }
    for name in NAMES {
        for (at, word) in lower.match_indices(name) {
            // In JSON a quote closes the name; and a path to a secret is none.
            let after = lower[at + word.len()..].trim_start_matches(['"', '\\', ' ']);
            let from = lower.len() - after.len();
            if after.starts_with(['=', ':']) {
                cuts.push(word_from(&lower, from + 1));
            }
        }
    }
    cut(&line, cuts)
}

/// From there on the first word, quotes and blanks before it left out.
fn word_from(line: &str, from: usize) -> (usize, usize) {
    let rest = &line[from..];
    let start = from + rest.len() - rest.trim_start_matches([' ', '"', '\\', '\'']).len();
    let length = line[start..]
        .find(|c: char| c.is_whitespace() || "\"'\\,;&}".contains(c))
        .unwrap_or(line.len() - start);
    (start, start + length)
}

/// `scheme://user:password@host` loses what stands before the `@`.
fn without_credentials(line: &str) -> String {
    let mut cuts = Vec::new();
    for (at, mark) in line.match_indices("://") {
        let from = at + mark.len();
        let end = line[from..]
            .find(|c: char| c.is_whitespace() || "/\"'\\".contains(c))
            .map_or(line.len(), |length| from + length);
        if let Some(credentials) = line[from..end].rfind('@') {
            cuts.push((from, from + credentials));
        }
    }
    cut(line, cuts)
}

/// The line with each span replaced. Spans are at character boundaries, and may overlap.
fn cut(line: &str, mut spans: Vec<(usize, usize)>) -> String {
    spans.sort_unstable();
    let mut out = String::new();
    let mut at = 0;
    for (start, end) in spans {
        if start < at || start >= end {
            continue;
        }
        out.push_str(&line[at..start]);
        out.push_str(GONE);
        at = end;
    }
    out.push_str(&line[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_knows_to_be_secret_goes_wherever_it_stands() {
        let known = ["s3cret-token\n".to_owned(), "ab".to_owned()];
        let text = scrub("seen s3cret-token in xs3cret-tokeny, cab", &known);
        assert_eq!(text, "seen (taken out) in x(taken out)y, cab");
    }

    #[test]
    fn what_looks_like_a_secret_goes() {
        for (text, clean) in [
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer (taken out)",
            ),
            ("proxy http://u:p@host/x", "proxy http://(taken out)@host/x"),
            ("PASSWORD=hunter2 next", "PASSWORD=(taken out) next"),
            (
                r#"{"token": "abc", "a": 1}"#,
                r#"{"token": "(taken out)", "a": 1}"#,
            ),
            (
                r#"{\"api-key\":\"abc\"}"#,
                r#"{\"api-key\":\"(taken out)\"}"#,
            ),
            (
                "https://x/?token=abc&b=1",
                "https://x/?token=(taken out)&b=1",
            ),
            (
                "no secret here; a token ring",
                "no secret here; a token ring",
            ),
        ] {
            assert_eq!(scrub(text, &[]), clean);
        }
        let key = "a\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nb";
        assert_eq!(scrub(key, &[]), "a\n(taken out)\nb");
    }

    #[test]
    fn a_key_without_an_end_takes_the_rest_along() {
        assert_eq!(scrub("-----BEGIN EC PRIVATE KEY-----\nMII", &[]), GONE);
    }
}
