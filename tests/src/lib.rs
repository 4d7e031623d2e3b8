//! Promises that cross rooms, without a VM.
