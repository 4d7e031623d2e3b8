//! The command line: arguments in, library calls, words or JSON out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::SectorSize;
use twinroot_image::Outcome;
use twinroot_image::build::{self, Description, names};
use twinroot_image::content::Content;
use twinroot_image::output::{Progress, megabytes};
use twinroot_image::recipe::{Recipe, Size};
use twinroot_image::tree::Sources;
use twinroot_image::{check, diff, disk, export, install, sbom, secure_boot};

#[derive(Debug, Parser)]
#[command(
    name = "twinroot-image",
    about = "Builds the reference container host into slot image, UKI and disk image",
    arg_required_else_help = true
)]
struct Cli {
    /// Print no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a release: root image, hash tree, UKI
    Build(Box<BuildArgs>),
    /// Make a disk image with a built release in slot A
    Disk(DiskArgs),
    /// Install a built release on a disk of this machine
    Install(InstallArgs),
    /// Export the root for containers, pods and WSL
    Export {
        /// Folder of a build
        image: PathBuf,
        /// A folder in the OCI image layout, or one tar file
        #[arg(long, value_enum)]
        format: Format,
        /// Folder or file to make
        #[arg(long)]
        out: PathBuf,
    },
    /// Make Secure Boot keys: platform key, key exchange key, signing key, and what enrols them
    Keys {
        /// Folder to make them in
        folder: PathBuf,
        /// Name in their certificates
        #[arg(long, default_value = "container-host")]
        name: String,
    },
    /// Sign boot image and loader of a build for Secure Boot
    Sign {
        /// Folder of a build
        image: PathBuf,
        /// Private key, PEM
        #[arg(long)]
        key: PathBuf,
        /// Its certificate, PEM
        #[arg(long)]
        cert: PathBuf,
    },
    /// Judge a built image: what it needs is there, nothing is open, later releases still fit
    Check(CheckArgs),
    /// List what differs from the distribution, with reasons and dates
    Deviations(RecipeArgs),
    /// Print the list of packages of a built image, as SPDX 2.2 JSON
    Sbom {
        /// Folder of a build
        image: PathBuf,
    },
    /// Say what changed between two builds: packages, files, bytes
    Diff {
        /// Folder of the older build
        before: PathBuf,
        /// Folder of the newer build
        after: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Oci,
    Tar,
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Folder of a build
    image: PathBuf,
    /// The disk, a whole one
    #[arg(long, value_name = "DISK")]
    to: PathBuf,
    /// Lose what is on it
    #[arg(long)]
    force: bool,
    /// What this host chooses at its first boot
    #[arg(long, value_name = "FILE")]
    provision: Option<PathBuf>,
    /// Folder of Secure Boot keys (`keys`) that the loader enrols at the first start in setup mode
    #[arg(long, value_name = "FOLDER")]
    enrol: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RecipeArgs {
    /// The recipe
    #[arg(long, default_value = "rootfs/container-host.toml")]
    recipe: PathBuf,
    /// Variant of the recipe [default: what ships]
    #[arg(long)]
    variant: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Folder of a build
    image: PathBuf,
    /// The recipe
    #[arg(long, default_value = "rootfs/container-host.toml")]
    recipe: PathBuf,
    /// It is to be released: refuse what is for tests only
    #[arg(long)]
    release: bool,
    /// Folder of the build of the release before
    #[arg(long, value_name = "FOLDER")]
    previous: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The recipe
    #[arg(long, default_value = "rootfs/container-host.toml")]
    recipe: PathBuf,
    /// Variant of the recipe [default: what ships]
    #[arg(long)]
    variant: Option<String>,
    /// Version of the release
    #[arg(
        long = "image-version",
        visible_alias = "version-id",
        value_name = "VERSION"
    )]
    version: String,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Time of the build in Unix seconds [default: date of the packages]
    #[arg(long, value_name = "SECONDS")]
    built: Option<u64>,
    /// Lowest release that a node may run after this one
    #[arg(long, value_name = "VERSION")]
    floor: Option<String>,
    /// A program of the project, as NAME=PATH; repeat for more
    #[arg(long = "program", value_name = "NAME=PATH")]
    programs: Vec<String>,
    /// The static program of the initramfs
    #[arg(long)]
    init: PathBuf,
    /// The publisher's first root.json, which becomes the trust anchor
    #[arg(long)]
    anchor: Option<PathBuf>,
    /// Folder with configuration of the image, as in /usr/lib/twinroot/config.d
    #[arg(long)]
    config: Vec<PathBuf>,
    /// One more tree to lay over; only for variants that are not for release
    #[arg(long)]
    overlay: Vec<PathBuf>,
    /// One more word of the command line; only for variants that are not for release
    #[arg(long)]
    cmdline: Vec<String>,
    /// Budget of the root image in place of the recipe's, as in 90MB: for programs that are not release builds;
    /// only for variants that are not for release
    #[arg(long, value_name = "SIZE")]
    root_budget: Option<Size>,
    /// Folder of the project, for what the recipe copies
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// Folder where packages are kept
    #[arg(long, default_value = "target/image-cache")]
    cache: PathBuf,
    /// Get packages anew, since the archive has moved on
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Args)]
struct DiskArgs {
    /// Folder of a build
    image: PathBuf,
    /// File to make
    #[arg(long)]
    out: PathBuf,
    /// Size of the state partition, as in 2GiB [default: the recipe's]
    #[arg(long)]
    state: Option<Size>,
    /// Bytes of a sector
    #[arg(long, default_value = "512")]
    sector: u64,
    /// What this host chooses at its first boot
    #[arg(long, value_name = "FILE")]
    provision: Option<PathBuf>,
    /// Folder of Secure Boot keys (`keys`) that the loader enrols at the first start in setup mode
    #[arg(long, value_name = "FOLDER")]
    enrol: Option<PathBuf>,
    /// Folder that becomes the first content of /var
    #[arg(long, value_name = "FOLDER")]
    var: Option<PathBuf>,
}

/// Reads the command line, does what it says, reports.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let progress = Progress::new(cli.quiet || cli.json);
    let done = match &cli.command {
        Command::Build(args) => order(args).and_then(|order| {
            let description = build::run(&order, &progress)?;
            say_built(&description, &order, &progress, cli.json);
            Ok(())
        }),
        Command::Disk(args) => disk(args, &progress, cli.json),
        Command::Install(args) => install_to(args, &progress),
        Command::Export { image, format, out } => {
            let kind = match format {
                Format::Oci => export::Kind::Oci,
                Format::Tar => export::Kind::Tar,
            };
            export::run(image, kind, out, &progress)
        }
        Command::Keys { folder, name } => secure_boot::make_keys(folder, name),
        Command::Sign { image, key, cert } => secure_boot::sign(image, key, cert),
        Command::Check(args) => check(args),
        Command::Deviations(args) => deviations(args),
        Command::Sbom { image } => sbom(image),
        Command::Diff { before, after } => {
            diff::run(before, after).map(|difference| match cli.json {
                true => println!(
                    "{}",
                    serde_json::to_string_pretty(&difference).unwrap_or_default()
                ),
                false => print!("{}", difference.text()),
            })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress.end();
            eprintln!("twinroot-image: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn order(args: &BuildArgs) -> Outcome<build::Order> {
    let program = |text: &String| {
        let (name, path) = text.split_once('=').ok_or_else(|| {
            Failure::new(
                Code::BadRequest,
                format!("--program {text}"),
                "is not NAME=PATH",
            )
        })?;
        Ok((name.to_owned(), PathBuf::from(path)))
    };
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| {
            Failure::new(Code::FileIo, path.display().to_string(), error.to_string())
        })
    };
    Ok(build::Order {
        recipe: args.recipe.clone(),
        variant: args.variant.clone(),
        version: args.version.clone(),
        built: args.built,
        floor: args.floor.clone(),
        sources: Sources {
            rootfs: args.recipe.parent().map(PathBuf::from).unwrap_or_default(),
            project: args.project.clone(),
            programs: args.programs.iter().map(program).collect::<Outcome<_>>()?,
            overlays: args.overlay.clone(),
            anchor: args.anchor.clone(),
            config: args.config.clone(),
        },
        init: args.init.clone(),
        cmdline: args.cmdline.clone(),
        root_budget: args.root_budget,
        cache: absolute(&args.cache)?,
        refresh: args.refresh,
        out: absolute(&args.out)?,
    })
}

fn say_built(description: &Description, order: &build::Order, progress: &Progress, json: bool) {
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(description).unwrap_or_default()
        );
        return;
    }
    let bytes = &description.bytes;
    println!(
        "{} {}{} in {}",
        description.product,
        description.version,
        description
            .variant
            .as_ref()
            .map(|name| format!(" ({name})"))
            .unwrap_or_default(),
        order.out.display()
    );
    println!("root hash   {}", description.root_hash);
    println!(
        "root image  {:>10}   {}",
        megabytes(bytes.root),
        names::ROOT
    );
    println!("boot image  {:>10}   {}", megabytes(bytes.uki), names::UKI);
    println!("initramfs   {:>10}", megabytes(bytes.initramfs));
    println!(
        "modules     {:>10}   of kernel {}",
        megabytes(bytes.modules),
        description.kernel
    );
    println!("packages    {:>10}", description.packages.len());
    if let Some(value) = description.pcr11.get("boot image") {
        println!("PCR 11      {value}   when the boot image has started");
    }
    println!("took        {:>8.1} s", progress.seconds());
}

fn disk(args: &DiskArgs, progress: &Progress, json: bool) -> Outcome<()> {
    let order = disk::Order {
        content: Content {
            image: args.image.clone(),
            provision: args.provision.clone(),
            enrol: args.enrol.clone(),
            var: args.var.clone(),
        },
        out: args.out.clone(),
        state: args.state.map(|Size(bytes)| bytes),
        sector: SectorSize::from_bytes("--sector", args.sector)?,
    };
    let description = disk::make(&order, progress)?;
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&description).unwrap_or_default()
        );
    } else {
        println!(
            "{} with {} {} in slot A",
            args.out.display(),
            description.product,
            description.version
        );
    }
    Ok(())
}

fn install_to(args: &InstallArgs, progress: &Progress) -> Outcome<()> {
    let order = install::Order {
        disk: args.to.clone(),
        content: Content {
            image: args.image.clone(),
            provision: args.provision.clone(),
            enrol: args.enrol.clone(),
            var: None,
        },
        force: args.force,
    };
    let description = install::run(&order, progress)?;
    println!(
        "{} with {} {} in slot A; restart from it",
        args.to.display(),
        description.product,
        description.version
    );
    Ok(())
}

fn check(args: &CheckArgs) -> Outcome<()> {
    let order = check::Order {
        image: args.image.clone(),
        recipe: args.recipe.clone(),
        release: args.release,
        previous: args.previous.clone(),
    };
    let report = check::run(&order)?;
    for line in &report.looked_at {
        println!("{line}");
    }
    for finding in &report.findings {
        println!("{}: {}; {}", finding.rule, finding.subject, finding.remedy);
    }
    match report.findings.len() {
        0 => Ok(()),
        number => {
            let cause = format!("{number} findings");
            Err(Failure::new(
                Code::CheckFailed,
                args.image.display().to_string(),
                cause,
            ))
        }
    }
}

fn deviations(args: &RecipeArgs) -> Outcome<()> {
    let name = args.recipe.display().to_string();
    let text = std::fs::read_to_string(&args.recipe)
        .map_err(|error| Failure::new(Code::FileIo, &name, error.to_string()))?;
    let part = Recipe::parse(&name, &text)?
        .choose(args.variant.as_deref())?
        .part;
    let overlays = part.overlay.iter().map(|o| {
        (
            format!("overlay {}", o.name),
            &o.reason,
            &o.upstream,
            &o.review_by,
        )
    });
    let others = part
        .deviation
        .iter()
        .map(|d| (d.what.clone(), &d.reason, &d.upstream, &d.review_by));
    let today = today();
    let mut overdue = 0;
    for (what, reason, upstream, review_by) in overlays.chain(others) {
        println!("{what}\n    why     {reason}");
        if let Some(link) = upstream {
            println!("    see     {link}");
        }
        // Both are YYYY-MM-DD, which the recipe's reader has checked: they sort as text.
        let due = review_by.as_str() < today.as_str();
        overdue += u32::from(due);
        let mark = if due { "  OVERDUE" } else { "" };
        println!("    review  {review_by}{mark}");
    }
    if overdue > 0 {
        println!(
            "{overdue} are overdue: look at each, and move the date or take the deviation out"
        );
    }
    Ok(())
}

/// The date of today, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "a list for people is no image: what is overdue depends on the day"
)]
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let text = twinroot_trust::time::UnixTime(seconds as i64).to_string();
    text.chars().take("YYYY-MM-DD".len()).collect()
}

fn sbom(image: &std::path::Path) -> Outcome<()> {
    let description = build::read_description(image)?;
    let about = sbom::About {
        product: &description.product,
        version: &description.version,
        built: description.built,
        suite: &description.suite,
    };
    print!("{}", sbom::document(&about, &description.packages));
    Ok(())
}
