//! The node's one binary: commands and the agent loop.
fn main() {}
