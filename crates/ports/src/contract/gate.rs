//! The promises of [`RebootGate`].

use crate::{GateAnswer, RebootGate};

/// Checks a gate that is open. `hold` makes it held for a reason, or lets go of it.
///
/// # Panics
/// With the promise that is broken.
pub fn gate_contract(gate: &dyn RebootGate, hold: &mut dyn FnMut(Option<&str>)) {
    assert_eq!(
        gate.ask().expect("can be asked"),
        GateAnswer::Open,
        "nobody holds it"
    );
    hold(Some("draining pods\nsecond line"));
    for _ in 0..2 {
        let GateAnswer::Held { by } = gate.ask().expect("can be asked") else {
            panic!("a held gate stays held, however often it is asked");
        };
        assert!(
            by.contains("draining pods"),
            "the reason reaches whoever asks why: {by}"
        );
        assert!(!by.contains('\n'), "a reason is one line: {by}");
    }
    hold(None);
    assert_eq!(
        gate.ask().expect("can be asked"),
        GateAnswer::Open,
        "whoever held it let go"
    );
}
