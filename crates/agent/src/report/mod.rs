//! What an update tells people and programs: status, why, plan, verify. Reads, never acts.
