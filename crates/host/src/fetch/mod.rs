//! The `Fetch` port: a repository over HTTP, in a directory (also a bundle on a stick), and a list
//! of mirrors of either kind.
//!
//! Nothing that comes from here is believed; `trust` and `payload` check every byte. What this room
//! owes is bounds: of bytes, of time, of redirects, and of where a name may lead.

mod client;
mod dir;
mod http;
mod meter;
mod mirrors;
mod name;
mod pace;
mod range;
mod redirect;

pub use client::{HttpOptions, Secret};
pub(crate) use client::{client, error_chain, install_tls_provider};
pub use dir::DirFetch;
pub use http::HttpFetch;
pub use meter::{MinimumThroughput, Traffic};
pub use mirrors::{Mirrors, Source, open};
pub use pace::Pace;

#[cfg(test)]
mod tests;
