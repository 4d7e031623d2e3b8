//! The loop: event, decide, persist, perform.
