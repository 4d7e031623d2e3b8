//! Pages of `docs/` that are printed from the code, so that they cannot age. `lab pages` writes them, a
//! test compares them.

use std::fmt::Write;

use twinroot_core::error::{Category, Code, Retry};
use twinroot_core::update::table;

/// Every such page: path below the workspace, and its content.
#[must_use]
pub fn all() -> [(&'static str, String); 5] {
    [
        ("docs/state-machine.md", state_machine()),
        ("docs/errors.md", errors()),
        ("docs/why.md", why()),
        ("docs/openapi.json", crate::openapi::document()),
        (
            "systemd/catalog/twinroot.catalog",
            twinroot_core::journal::catalog(),
        ),
    ]
}

fn state_machine() -> String {
    format!(
        "# The state machine\n\n\
         Printed from the code by `cargo run -p twinroot-tests --bin lab -- pages`; a test holds it to the code.\n\n\
         `core::update::step` takes the state, the records, the facts about the machine, an event, the time and\n\
         the policy, and returns the next state and the effects. It is pure and total. `agent::perform`\n\
         carries out the effects in order. `Persist` stands before any effect that changes disk or loader, and\n\
         there is at most one such effect in a transition. After a start `recover` looks at the machine first and\n\
         at what is written down second.\n\n{}",
        table::markdown()
    )
}

fn errors() -> String {
    let mut text = String::from(
        "# Refusals and failures\n\n\
         Printed from the code by `cargo run -p twinroot-tests --bin lab -- pages`; a test holds it to the code.\n\n\
         Every refusal carries one of these codes. A code keeps its meaning for ever; messages around it may\n\
         change. The category says who can do something about it and decides the exit code of `twinroot` and\n\
         `twinroot-publish` (`twinroot repo` alone knows only 0 and 1).\n",
    );
    for category in Category::ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {category} (exit code {})\n\n",
            category.exit_code()
        );
        text.push_str("| code | again | what a person can do |\n|---|---|---|\n");
        for code in Code::ALL.iter().filter(|code| code.category() == category) {
            let _ = writeln!(
                text,
                "| `{code}` | {} | {} |",
                again(code.retry()),
                code.remedy()
            );
        }
    }
    text
}

fn why() -> String {
    format!(
        "# Why nothing happens\n\n\
         Printed from the code by `cargo run -p twinroot-tests --bin lab -- pages`; a test holds it to the code.\n\n\
         `twinroot why`, `GET /v1/why`, the metric `twinroot_waits_for` and the status line of the service name\n\
         one of these codes for every update that waits. A code keeps its meaning for ever; sentences may change.\n\n{}",
        twinroot_core::why::table::markdown()
    )
}

fn again(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Backoff => "after a growing pause",
        Retry::NextCheck => "at the next check",
        Retry::Operator => "after a person has acted",
    }
}
