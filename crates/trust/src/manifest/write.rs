//! From [`Manifest`] to TOML: the same text for the same manifest, laid out for people.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::model::*;
use crate::fields::quoted;
use crate::hex;

impl Manifest {
    /// The TOML text that is published. Reading it back gives the same manifest.
    pub fn to_toml(&self) -> String {
        let mut out = Text(String::from("schema = 1\n"));
        self.write_head(&mut out);
        for artefact in &self.artefacts {
            write_artefact(artefact, &mut out);
        }
        self.write_tail(&mut out);
        out.0
    }

    fn write_head(&self, out: &mut Text) {
        out.text("product", self.product.as_str());
        out.maybe(
            "variant",
            self.variant
                .as_ref()
                .map(|variant| quoted(variant.as_str())),
        );
        out.text("version", self.version.as_str());
        out.text("architecture", self.architecture.as_str());
        out.line("released", self.released);
        out.maybe("supported-until", self.supported_until);
        out.text("summary", &self.summary);
        out.text("severity", self.severity.as_str());
        let Requires {
            from,
            cpu,
            firmware,
        } = &self.requires;
        if self.requires != Requires::default() {
            out.table("requires");
            out.maybe("from", from.as_ref().map(|from| quoted(from.as_str())));
            out.maybe("cpu", cpu.as_ref().map(|cpu| quoted(cpu.as_str())));
            out.maybe(
                "firmware",
                firmware.map(|firmware| quoted(firmware.as_str())),
            );
        }
        if let Some(below) = &self.revokes_below {
            out.table("revokes");
            out.text("below", below.as_str());
        }
    }

    fn write_tail(&self, out: &mut Text) {
        if let Some(probation) = self.probation {
            out.table("health");
            out.text("probation", &probation.to_string());
        }
        out.table("rollout-limit");
        out.line("earliest", self.rollout_limit.earliest);
        out.line("waves", self.rollout_limit.schedule.to_toml());
        if !self.state.is_empty() {
            out.table("state");
        }
        for (component, StateFormat { writes, reads }) in &self.state {
            let reads: Vec<_> = reads.iter().map(u32::to_string).collect();
            out.line(
                &key(component),
                format!("{{ writes = {writes}, reads = [{}] }}", reads.join(", ")),
            );
        }
        let Contents { sbom, components } = &self.contents;
        if sbom.is_some() || !components.is_empty() {
            out.table("contents");
        }
        out.maybe(
            "sbom",
            sbom.as_ref().map(|file| {
                format!(
                    "{{ path = {}, size = {}, sha256 = \"{}\" }}",
                    quoted(&file.path),
                    file.size,
                    file.sha256
                )
            }),
        );
        if !components.is_empty() {
            out.table("contents.components");
        }
        for (component, version) in components {
            out.text(&key(component), version);
        }
    }
}

fn write_artefact(artefact: &Artefact, out: &mut Text) {
    out.list_item("artefact");
    out.text("kind", artefact.kind().as_str());
    out.line("size", artefact.size);
    match &artefact.seal {
        Seal::Root(verity) | Seal::Usr(verity) => out.line("verity", verity_table(verity)),
        Seal::Uki(digest) => out.text("sha256", &digest.to_string()),
    }
    out.line(
        "full",
        format!("{{ {} }}", payload_items(&artefact.full).join(", ")),
    );
    for Delta { base, payload } in &artefact.deltas {
        out.list_item("artefact.delta");
        out.text("base", &base.to_string());
        for item in payload_items(payload) {
            out.raw(&item);
        }
    }
}

fn verity_table(verity: &Verity) -> String {
    let salt = hex::encode(&verity.salt);
    let blocks = "algorithm = \"sha256\", data-block = 4096, hash-block = 4096";
    format!(
        "{{ root-hash = \"{}\", salt = \"{salt}\", {blocks} }}",
        verity.root_hash
    )
}

fn payload_items(payload: &Payload) -> Vec<String> {
    let mut items = Vec::new();
    if let Coding::Segments { format, .. } = payload.coding {
        items.push(format!("format = {format}"));
    }
    items.push(format!("path = {}", quoted(&payload.path)));
    items.push(format!("size = {}", payload.size));
    items.push(format!("sha256 = \"{}\"", payload.sha256));
    match payload.coding {
        Coding::Plain => {}
        Coding::Zstd => items.push("compression = \"zstd\"".into()),
        Coding::Segments { index, .. } => {
            items.push(format!(
                "index = {{ size = {}, sha256 = \"{}\" }}",
                index.size, index.sha256
            ));
        }
    }
    items
}

/// A key as it is where it may be bare, else quoted.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) {
        name.into()
    } else {
        quoted(name)
    }
}

/// TOML under construction.
struct Text(String);

impl Text {
    fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn line(&mut self, key: &str, value: impl core::fmt::Display) {
        writeln!(self.0, "{key} = {value}").expect("writing to a String");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(key, quoted(value));
    }

    fn maybe(&mut self, key: &str, value: Option<impl core::fmt::Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn table(&mut self, name: &str) {
        self.raw(&format!("\n[{name}]"));
    }

    fn list_item(&mut self, name: &str) {
        self.raw(&format!("\n[[{name}]]"));
    }
}
