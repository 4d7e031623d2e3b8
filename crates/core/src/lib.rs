//! Every decision: update state machine, recovery, policy, error table, wire types.
