//! `./x api-test`: judges from elsewhere on the local API: a validator of OpenAPI documents, and a fuzzer
//! that makes requests from the document and looks at what the running agent answers.
//!
//! The agent listens on Unix sockets only. The fuzzer speaks TCP, so a bridge on the loopback carries its
//! bytes to the control socket for as long as this runs; nothing that ships has such a thing.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::idle::Agent;
use crate::bench::node::Node;
use crate::bench::publisher::Publisher;
use crate::programs::{Profile, Programs};
use crate::run;

/// The judges, in the versions with which this was made; pip brings what they need.
const JUDGES: [&str; 2] = ["openapi-spec-validator==0.9.0", "schemathesis==4.32.5"];
/// What is looked at: no answer is the server's fault, and each is one that the document describes.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// The stream of events never ends, so a fuzzer would wait for it for ever; the tests of the daemon read it.
const WITHOUT: &str = "/v1/events";
/// Longest answer in seconds: a request that takes longer than a minute is answered with 202.
const PATIENCE: &str = "90";

/// Options of `./x api-test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Requests that are tried for each operation in each phase
    #[arg(long, default_value_t = 25)]
    examples: u32,
    /// Another number tries other requests
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// Runs both judges.
pub fn run(args: &Args) -> Result<()> {
    let judges = judges()?;
    let document = run::root().join("docs/openapi.json");
    let mut validate = Command::new(judges.join("python"));
    run::show(
        validate
            .args(["-m", "openapi_spec_validator"])
            .arg(&document),
    )?;
    let programs = Programs::build(Profile::Dev)?;
    let scratch = tempfile::TempDir::with_prefix_in("api-", run::target_dir())
        .context("cannot make a folder")?;
    let publisher = Publisher::new(&programs, scratch.path())?;
    let server = publisher.serve()?;
    let machine = scratch.path().join("machine");
    let node = {
        let first = release(&programs, &publisher, scratch.path(), 1)?;
        Node::install(&programs, &machine, &publisher, &first, &server)?
    };
    // Something to stage, activate, pin and deny.
    release(&programs, &publisher, scratch.path(), 2)?;
    // The agent ends with the machine that it restarts; a gate keeps it from that, whatever is asked.
    std::fs::write(machine.join("hold-reboot"), "the API is being tested\n")
        .context("cannot hold the machine")?;
    // The first look comes at any moment within the jitter, and nothing begins before it.
    std::fs::write(
        machine.join("config.d/50-api.toml"),
        "[polling]\njitter = \"0s\"\n",
    )
    .context("cannot write the configuration")?;
    let agent = Agent::start(node.command(&["agent"]), &machine)?;
    agent.ready()?;
    let at = bridge(machine.join("run/control.sock"))?;
    let mut fuzz = Command::new(judges.join("schemathesis"));
    fuzz.current_dir(scratch.path()).arg("run").arg(&document);
    fuzz.args([
        "--url",
        &format!("http://{at}"),
        "--checks",
        CHECKS,
        "--exclude-path",
        WITHOUT,
    ]);
    fuzz.args([
        "--request-timeout",
        PATIENCE,
        "--no-color",
        "--no-shrink",
        "--workers",
        "1",
    ]);
    fuzz.args([
        "--max-examples",
        &args.examples.to_string(),
        "--seed",
        &args.seed.to_string(),
    ]);
    // A run that judges nothing is no pass.
    fuzz.args(["--warnings", "off", "--continue-on-failure"]);
    let fuzzed = run::show(&mut fuzz);
    agent
        .check()
        .context("the agent does not answer any more")?;
    fuzzed
}

fn release(
    programs: &Programs,
    publisher: &Publisher,
    folder: &Path,
    number: u32,
) -> Result<crate::bench::publisher::Release> {
    let image = folder.join(format!("{number}.img"));
    let mut make = programs.lab();
    make.args(["seeded", "--size", &(4 << 20).to_string()]);
    make.args(["--release", &number.to_string(), "--out"]);
    run::capture(make.arg(&image))?;
    publisher.publish(&format!("1.{number}"), &image, 1)
}

/// The folder of the judges' programs: a virtual environment below Cargo's target folder, made once.
fn judges() -> Result<PathBuf> {
    if !run::have("python3") {
        bail!("python3 is not installed; it runs the judges");
    }
    let venv = run::target_dir().join("api-venv");
    let made = venv.join("made");
    let wanted = JUDGES.join("\n");
    if std::fs::read_to_string(&made).is_ok_and(|there| there == wanted) {
        return Ok(venv.join("bin"));
    }
    run::show(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut install = Command::new(venv.join("bin/pip"));
    run::show(
        install
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(JUDGES),
    )?;
    std::fs::write(&made, wanted).context("cannot write down what was installed")?;
    Ok(venv.join("bin"))
}

/// Carries every connection to a port of the loopback on to the socket.
fn bridge(socket: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let at = listener.local_addr().context("the bridge has no address")?;
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let socket = socket.clone();
            // A connection that fails is the fuzzer's to report.
            std::thread::spawn(move || drop(join(&near, &socket)));
        }
    });
    Ok(at)
}

fn join(near: &TcpStream, socket: &Path) -> io::Result<()> {
    let far = UnixStream::connect(socket)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let carried = io::copy(&mut &*near, &mut &far);
            far.shutdown(Shutdown::Write).and(carried.map(drop))
        });
        let carried = io::copy(&mut &far, &mut &*near);
        near.shutdown(Shutdown::Both).and(carried.map(drop))
    })
}
