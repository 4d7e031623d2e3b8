//! `twinroot repo`, the plain TUF client, before repositories that were not made here and before
//! attacks, over files and over a web server that misbehaves. The program itself is run.
// Shared within this test program only.
#![allow(clippy::unwrap_used, unreachable_pub, missing_debug_implementations)]

mod attacks;
mod foreign;
mod outputs;
mod support;
