//! Commands around the program itself: server, manual pages, completions.

use clap::CommandFactory;
use serde_json::json;
use twinroot_publish::error::{Error, Result};
use twinroot_publish::files::{self, Disk};
use twinroot_publish::layout::Layout;
use twinroot_publish::serve::Server;
use twinroot_publish::settings::Settings;

use super::Context;
use super::args::{Args, CompletionsArgs, ManArgs, ServeArgs};
use super::output::{Output, say};

/// Serves until the process is ended. Takes no lock: publishing goes on beside it.
pub(super) fn serve(context: &Context, args: &ServeArgs) -> Result<Output> {
    let layout = Layout::new(&context.common.repository);
    Settings::load(&layout)?;
    let root = layout.published();
    let server =
        Server::start(&root, &args.addr).map_err(|cause| Error::io("serve", &root, cause))?;
    let (metadata, targets) = (server.metadata_url(), server.targets_url());
    if context.common.json {
        say(&json!({ "url": server.url(), "metadata": metadata, "targets": targets }).to_string());
    } else {
        say(&format!(
            "serving {}\n  metadata {metadata}\n  targets  {targets}",
            root.display()
        ));
    }
    server.wait();
    Ok(Output::new("", &json!({})))
}

pub(super) fn man(args: &ManArgs) -> Result<Output> {
    files::create_dirs(&Disk, &args.dir)?;
    let written = |cause| Error::io("write manual pages into", &args.dir, cause);
    clap_mangen::generate_to(Args::command(), &args.dir).map_err(written)?;
    let pages = files::list(&args.dir)?;
    let words = format!("{} manual pages in {}", pages.len(), args.dir.display());
    Ok(Output::new(words, &json!({ "pages": pages })))
}

pub(super) fn completions(args: &CompletionsArgs) -> Output {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Args::command(),
        "twinroot-publish",
        &mut script,
    );
    let script = String::from_utf8_lossy(&script).into_owned();
    Output::new(script.clone(), &json!({ "script": script }))
}
