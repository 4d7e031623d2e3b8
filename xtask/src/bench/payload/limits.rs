//! What the machine itself allows: hashing, decoding and writing the same bytes by the shortest way.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::reference::size_of;
use crate::bench::usage;

/// Each is measured this often and the least is taken: other work on the machine only adds.
const RUNS: usize = 3;

/// The limits for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Size of the image in bytes.
    pub image_bytes: u64,
    /// CPU seconds of `openssl dgst -sha256` over it.
    pub sha256_cpu_s: f64,
    /// CPU seconds of `zstd -d` of its -19 stream; nothing without such a stream.
    pub zstd_cpu_s: Option<f64>,
    /// Wall seconds of writing it with O_DIRECT and one flush.
    pub direct_write_wall_s: f64,
}

/// Measures them; `stream` is the image as one zstd -19 stream.
pub fn measure(image: &Path, stream: Option<&Path>, scratch: &Path) -> Result<Limits> {
    let out = scratch.join("limits.out");
    let of = format!("of={}", out.display());
    let input = format!("if={}", image.display());
    let cpu = |usage: usage::Usage| usage.cpu;
    let sha256 = least(cpu, || {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256"]).arg(image);
        openssl
    })?;
    let zstd = stream
        .map(|stream| {
            least(cpu, || {
                let mut zstd = Command::new("zstd");
                zstd.args(["-d", "-q", "-f"])
                    .arg(stream)
                    .args(["-o", "/dev/null"]);
                zstd
            })
        })
        .transpose()?;
    let write = least(
        |usage| usage.wall,
        || {
            let mut dd = Command::new("dd");
            dd.args([
                &input,
                &of,
                "bs=4M",
                "oflag=direct",
                "conv=fsync",
                "status=none",
            ]);
            dd
        },
    )?;
    std::fs::remove_file(&out).context("cannot remove what dd wrote")?;
    Ok(Limits {
        image_bytes: size_of(image)?,
        sha256_cpu_s: sha256.as_secs_f64(),
        zstd_cpu_s: zstd.map(|cpu| cpu.as_secs_f64()),
        direct_write_wall_s: write.as_secs_f64(),
    })
}

fn least(
    part: impl Fn(usage::Usage) -> Duration,
    command: impl Fn() -> Command,
) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        best = best.min(part(usage::measure(&mut command())?));
    }
    Ok(best)
}

impl Limits {
    /// For docs/benchmarks.json.
    pub fn json(&self) -> Value {
        json!({ "image_bytes": self.image_bytes, "openssl_sha256_cpu_s": self.sha256_cpu_s,
            "zstd_decode_cpu_s": self.zstd_cpu_s, "o_direct_write_wall_s": self.direct_write_wall_s })
    }
}
