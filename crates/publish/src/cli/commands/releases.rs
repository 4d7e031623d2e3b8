//! `add`, `promote`, `status`, `release`, `refresh`, `check`.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use twinroot_core::error::Code;
use twinroot_payload::encode::Params;
use twinroot_publish::add::{AddPlan, Added};
use twinroot_publish::check::{self, Weight};
use twinroot_publish::error::{Error, Result};
use twinroot_publish::release::{Report, Selection};
use twinroot_trust::manifest::{Kind, Requires, Severity};
use twinroot_trust::policy::Schedule;

use crate::cli::Context;
use crate::cli::args::{AddArgs, ImageKind, PromoteArgs, ReleaseArgs, Urgency};
use crate::cli::output::Output;

pub(in crate::cli) fn add(context: &Context, args: &AddArgs) -> Result<Output> {
    let mut repository = context.repository()?;
    let plan = plan(args)?;
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} segments, {eta} left")
        .expect("the template is fixed and correct");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(250));
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let added = repository.add(&plan, &progress, context.now());
    bar.finish_and_clear();
    let added = added?;
    repository.note(
        "add",
        &format!("{} {}", plan.channel, plan.version),
        None,
        context.now(),
    )?;
    Ok(Output::new(in_words(&plan, &added), &added))
}

fn in_words(plan: &AddPlan, added: &Added) -> String {
    let deltas: String = added
        .deltas
        .iter()
        .map(|delta| {
            let (from, kind) = (&delta.from, delta.kind);
            let kept = if delta.published {
                ""
            } else {
                ": does not pay, not published"
            };
            let (bytes, instead) = (delta.bytes, delta.instead_of);
            format!("\n  {kind} from {from}: delta of {bytes} bytes instead of {instead}{kept}")
        })
        .collect();
    format!(
        "added {} to {}: release {}\n  root hash {}\n  payload {} of {} bytes{deltas}\ndrafted {}: `sign {}`, then `release`",
        plan.version,
        plan.channel,
        added.release,
        added.root_hash,
        added.payload_bytes,
        added.image_bytes,
        added.draft,
        added.draft,
    )
}

fn plan(args: &AddArgs) -> Result<AddPlan> {
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let schedule = match args.wave.is_empty() {
        true => Schedule::at_once(),
        false => Schedule::new(args.wave.clone()).map_err(|why| Error::argument("--wave", why))?,
    };
    let requires = Requires {
        from: args.from.clone(),
        cpu: args.cpu.clone(),
        ..Requires::default()
    };
    Ok(AddPlan {
        kind: match args.kind {
            ImageKind::Root => Kind::Root,
            ImageKind::Usr => Kind::Usr,
        },
        tree: args.verity.clone(),
        salt: args.salt.as_ref().map(|salt| salt.0.clone()),
        summary: args.summary.clone(),
        severity: match args.severity {
            Urgency::Routine => Severity::Routine,
            Urgency::Security => Severity::Security,
            Urgency::Critical => Severity::Critical,
        },
        requires,
        revokes_below: args.revokes_below.clone(),
        supported_until: args.supported_until,
        probation: args.health,
        earliest: args.earliest,
        schedule,
        components: args.component.iter().cloned().collect::<BTreeMap<_, _>>(),
        sbom: args.sbom.clone(),
        params: Params {
            level: args.level,
            ..Params::default()
        },
        delta_from: args.delta_from,
        delta_level: args.delta_level,
        threads,
        ..AddPlan::new(&args.channel, args.version.clone(), &args.root, &args.uki)
    })
}

pub(in crate::cli) fn promote(context: &Context, args: &PromoteArgs) -> Result<Output> {
    let mut repository = context.repository()?;
    let draft = repository.promote(&args.from, &args.to, &args.version, context.now())?;
    repository.note(
        "promote",
        &format!("{} {} -> {}", args.version, args.from, args.to),
        None,
        context.now(),
    )?;
    let words = format!(
        "{} is drafted for {} too: `sign {draft}`, then `release`",
        args.version, args.to
    );
    Ok(Output::new(words, &json!({ "draft": draft })))
}

pub(in crate::cli) fn status(context: &Context) -> Result<Output> {
    let status = context.repository()?.status()?;
    Ok(Output::new(status.to_string(), &status))
}

pub(in crate::cli) fn release(context: &Context, args: &ReleaseArgs) -> Result<Output> {
    let mut repository = context.repository()?;
    let selection = Selection {
        roles: args.role.clone(),
        accept_gap: args.accept_gap,
    };
    let report = repository.release(&selection, &context.ring()?, context.now())?;
    repository.note("release", &roles(&report), None, context.now())?;
    Ok(Output::new(report_in_words(&report), &report))
}

pub(in crate::cli) fn refresh(context: &Context) -> Result<Output> {
    let mut repository = context.repository()?;
    let report = repository.refresh(&context.ring()?, context.now())?;
    repository.note("refresh", &roles(&report), None, context.now())?;
    Ok(Output::new(report_in_words(&report), &report))
}

fn roles(report: &Report) -> String {
    let published: Vec<String> = report
        .published
        .iter()
        .map(|(role, version)| format!("{role} {version}"))
        .collect();
    published.join(", ")
}

pub(super) fn report_in_words(report: &Report) -> String {
    let mut words = format!(
        "published {}\nclients refuse it from {}: `refresh` before",
        roles(report),
        report.expires
    );
    for draft in &report.waiting {
        words += &format!("\nstill a draft: {} {}", draft.role, draft.version);
    }
    words
}

pub(in crate::cli) fn check(context: &Context) -> Result<Output> {
    let problems = check::check(&context.common.repository, context.now())?;
    let faults = problems
        .iter()
        .filter(|problem| problem.weight == Weight::Fault)
        .count();
    let mut words = String::new();
    for problem in &problems {
        words += &format!("{problem}\n");
    }
    words += &match problems.len() {
        0 => "no problems".to_owned(),
        all => format!("{faults} faults, {} warnings", all - faults),
    };
    let output = Output::new(words, &json!({ "problems": problems }));
    Ok(if faults > 0 {
        output.failing(Code::CheckFailed)
    } else {
        output
    })
}
