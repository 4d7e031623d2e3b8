//! Measures bytes, time and memory on two image files (to be written).

fn main() {}
