//! A gate of the loop's own. Nothing restarts the machine by a configuration that a person has replaced: the new one
//! may have another strategy, another window or a lock server, and the loop reads it only between two effects. And
//! nothing restarts it once the agent was told to end: who stops an agent does not expect the machine to go down.

use twinroot_ports::{GateAnswer, Outcome, RebootGate};

use super::Desk;

/// Held while a new configuration waits to be read and when the loop is to end; else what the other gates say.
#[derive(Debug)]
pub struct OwnGate<'a> {
    desk: &'a Desk,
    gates: &'a dyn RebootGate,
}

impl<'a> OwnGate<'a> {
    /// In front of these gates.
    #[must_use]
    pub fn before(gates: &'a dyn RebootGate, desk: &'a Desk) -> Self {
        Self { desk, gates }
    }
}

impl RebootGate for OwnGate<'_> {
    fn ask(&self) -> Outcome<GateAnswer> {
        if self.desk.reload_waits() {
            return Ok(GateAnswer::Held {
                by: String::from("a new configuration, which is read first"),
            });
        }
        if self.desk.stopping() {
            return Ok(GateAnswer::Held {
                by: String::from("the end of the agent, which was asked for"),
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
        let gate = OwnGate::before(&Open, &desk);
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

    #[test]
    fn no_restart_of_the_machine_once_the_agent_was_told_to_end() {
        let desk = Desk::default();
        let gate = OwnGate::before(&Open, &desk);
        desk.stop(Duration::ZERO);
        let GateAnswer::Held { by } = gate.ask().unwrap() else {
            panic!("it would restart the machine");
        };
        assert!(by.contains("end of the agent"), "{by}");
    }
}
