//! Events of the program as entries of the journal: fields stay fields, and what the catalog knows carries
//! its id.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use twinroot_core::journal;
use twinroot_host::journal::Journal;

/// Sends each event to the journal.
#[derive(Debug)]
pub(crate) struct ToJournal(pub(crate) Journal);

impl<S: Subscriber> Layer<S> for ToJournal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let entry = entry(event.metadata(), fields);
        // Who would be told that the journal is gone?
        let _ = self.0.send(
            entry
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
    }
}

/// Names and values of an event.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{value:?}");
        self.0.push((field.name(), text));
    }
}

fn entry(metadata: &tracing::Metadata<'_>, fields: Fields) -> Vec<(String, String)> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut entry = vec![
        own("PRIORITY", priority(*metadata.level())),
        own("SYSLOG_IDENTIFIER", "twinroot"),
        own("TWINROOT_TARGET", metadata.target()),
    ];
    let what = fields.0.iter().find(|(name, _)| *name == "what");
    if let Some(id) = what.and_then(|(_, what)| journal::id_of(what)) {
        entry.push(own("MESSAGE_ID", id));
    }
    let named = |(name, value): (&str, String)| match name {
        "message" => (String::from("MESSAGE"), value),
        name => (format!("TWINROOT_{name}"), value),
    };
    entry.extend(fields.0.into_iter().map(named));
    entry
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    use super::*;

    /// Keeps what would be sent.
    struct Kept(Arc<Mutex<Vec<(String, String)>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            *self.0.lock().unwrap() = entry(event.metadata(), fields);
        }
    }

    #[test]
    fn an_event_of_the_catalog_carries_its_id_and_its_fields() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(kept.clone()));
        let value = |name: &str| {
            let entry = kept.lock().unwrap();
            entry
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
        };
        let _here = subscriber.set_default();
        let version = Some("1.1");
        tracing::info!(what = "committed", version, "{}", "it held for 5m");
        assert_eq!(value("MESSAGE_ID").as_deref(), journal::id_of("committed"));
        assert_eq!(value("MESSAGE").as_deref(), Some("it held for 5m"));
        assert_eq!(value("TWINROOT_version").as_deref(), Some("1.1"));
        assert_eq!(value("PRIORITY").as_deref(), Some("6"));
        tracing::warn!(what = "ignored", "nothing");
        assert_eq!(value("MESSAGE_ID"), None);
    }
}
