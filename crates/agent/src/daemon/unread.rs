//! A gate of the loop's own. Nothing restarts the machine by a configuration that a person has replaced: the new one
//! may have another strategy, another window or a lock server, and the loop reads it only between two effects.

use twinroot_ports::{GateAnswer, Outcome, RebootGate};

use super::Desk;

/// Held while a new configuration waits to be read; else what the other gates say.
#[derive(Debug)]
pub struct Unread<'a> {
    desk: &'a Desk,
    gates: &'a dyn RebootGate,
}

impl<'a> Unread<'a> {
    /// In front of these gates.
    #[must_use]
    pub fn before(gates: &'a dyn RebootGate, desk: &'a Desk) -> Self {
        Self { desk, gates }
    }
}

impl RebootGate for Unread<'_> {
    fn ask(&self) -> Outcome<GateAnswer> {
        if self.desk.reload_waits() {
            return Ok(GateAnswer::Held {
                by: String::from("a new configuration, which is read first"),
            });
        }
        self.gates.ask()
    }

    fn steady(&self) -> Outcome<()> {
        self.gates.steady()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Woken;
    use super::*;

    #[derive(Debug)]
    struct Open;

    impl RebootGate for Open {
        fn ask(&self) -> Outcome<GateAnswer> {
            Ok(GateAnswer::Open)
        }
    }

    #[test]
    fn no_restart_by_a_configuration_that_was_replaced() {
        let desk = Desk::default();
        let gate = Unread::before(&Open, &desk);
        assert_eq!(gate.ask().unwrap(), GateAnswer::Open);
        desk.reload();
        let GateAnswer::Held { by } = gate.ask().unwrap() else {
            panic!("it would restart by the old configuration");
        };
        assert!(by.contains("configuration"), "{by}");
        // The loop takes it up, and asks again under the new one.
        assert!(matches!(desk.wait(Duration::ZERO), Woken::Reload));
        assert_eq!(gate.ask().unwrap(), GateAnswer::Open);
    }
}
