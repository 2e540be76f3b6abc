//! `hopwire replay`: a recording in, its calls sent to another endpoint, and what came out differently.

mod arguments;
mod outcome;
mod report;
mod target;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::blobs::{Blobs, Store, Wanted, folder_of};
use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::recorded::read_nearest;
use crate::decode::http1::{Config, Retain};
use crate::model::{Exchange, Untrusted};
use crate::replay::send::{End, Sending, run as send};
use crate::replay::{Held, Journal, Permissions, Plan, refused_copies};
use crate::rules::Verdict;
use crate::s3::sigv4::Signer;
use crate::s3::{Domains, Operation};
use crate::session::redact::Redactor;

pub(super) use arguments::Arguments;
use outcome::Collect;
use target::Endpoint;

/// A folder of the recorded bodies that is removed at the end.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        // It is a folder that this run made. Where it cannot be removed nothing more can be done.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What was recorded.
struct Recording {
    exchanges: Vec<Exchange>,
    verdict: Verdict,
    blobs: Blobs,
    _spool: Option<Spool>,
}

/// Plans, checks, sends, compares and reports.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let endpoint = Endpoint::parse(&arguments.to, arguments.style)?;
    let rules = arguments.rules()?;
    let recording = read(arguments)?;
    let plan = plan(arguments, &recording)?;
    check(arguments, &endpoint, &recording, &plan, &rules)?;
    if arguments.dry_run {
        return report::plan(arguments, &endpoint, &plan, &rules);
    }
    let result = arguments.result_name();
    let journal_name = format!("{result}.journal");
    let identity = identity(arguments, &plan);
    let journal = resume(arguments, &journal_name, &identity)?;
    let mut skip: HashSet<usize> = journal.done.iter().chain(&journal.unknown).copied().collect();
    if arguments.resend_unknown {
        skip.retain(|step| !journal.unknown.contains(step));
    }
    let store = Store::create(&folder_of(Path::new(&result)), Wanted { secrets: false, flows: Vec::new() })
        .map_err(|error| unwritable(error, &result))?;
    let config = Config { observe: Some(store.observe()), retain: |_| Retain::All, ..Config::default() };
    let collect = collect(arguments, &endpoint, &plan, [&result, &journal_name], &identity, skip.is_empty())?;
    let sending = Sending {
        plan: plan.clone(),
        domains: Domains::new(arguments.reading.domain.clone()),
        target: endpoint.target.clone(),
        door: endpoint.door(arguments)?,
        rules,
        blobs: Some(Blobs::new(recording.blobs.folder().to_owned())),
        signer: signer(arguments, &plan)?,
        connections: arguments.connections,
        config: Arc::new(config),
        clock_offset: arguments.clock_offset,
        first_flow: journal.done.len() as u64 * 2 + journal.unknown.len() as u64,
        skip,
    };
    let (end, collect) = send(sending, journal.ids.clone(), collect).map_err(|error| unwritable(error, &result))?;
    if let Some(error) = store.take_failure() {
        say(format_args!("warning: some bodies were not kept: {error}"));
    }
    let done = collect.finish().map_err(|error| unwritable(error, &result))?;
    let exit = report::result(arguments, &endpoint, &plan, &done, &journal, &recording.verdict, &result)?;
    Ok(conclude(end, exit, &journal_name))
}

/// Opens the session of the result and the journal: anew, or to go on.
fn collect(
    arguments: &Arguments,
    endpoint: &Endpoint,
    plan: &Plan,
    [result, journal]: [&str; 2],
    identity: &str,
    is_new: bool,
) -> Result<Collect, Failure> {
    let open = |name: &str| {
        if is_new {
            // Where there is none, there is nothing to remove.
            let _ = fs::remove_file(name);
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(name).map_err(|error| unwritable(error, name))
    };
    let (session, mut journal_file) = (open(result)?, open(journal)?);
    if is_new {
        Journal::write_plan(&mut journal_file, identity).map_err(|error| unwritable(error, journal))?;
    }
    let domains = Domains::new(arguments.reading.domain.clone());
    let live = vec![endpoint.target.authority.clone()];
    let count = plan.sent().count();
    Ok(Collect::new(redactor(arguments)?, [session, journal_file], domains, live, count, arguments.quiet))
}

/// The exit, and what to do next where the replay did not end.
fn conclude(end: End, exit: Exit, journal: &str) -> Exit {
    let journal_text = Untrusted::text(journal);
    match end {
        End::Complete => {
            // It was needed to go on only.
            let _ = fs::remove_file(journal);
            exit
        }
        End::Interrupted => {
            say(format_args!("interrupted; go on with --resume (journal: {journal_text})"));
            Exit::Interrupted
        }
        End::Unreachable => {
            say(format_args!("the target cannot be reached; go on with --resume (journal: {journal_text})"));
            Exit::Findings
        }
    }
}

fn unwritable(error: io::Error, name: &str) -> Failure {
    Failure::unwritable(error, format!("cannot write {}", Untrusted::text(name)))
}

/// Reads the recording; bodies of captures go to a folder that is removed at the end.
fn read(arguments: &Arguments) -> Result<Recording, Failure> {
    let file = &arguments.file;
    let is_session = Path::new(file).extension().is_some_and(|suffix| suffix == "jsonl" || suffix == "ndjson");
    let (blobs, spool, observe) = if is_session {
        (Blobs::beside(Path::new(file)), None, None)
    } else {
        let folder = std::env::temp_dir().join(format!("hopwire-replay-{}", std::process::id()));
        let store = Store::create(&folder, Wanted { secrets: true, flows: Vec::new() })
            .map_err(|error| Failure::unwritable(error, format!("cannot write bodies to {}", folder.display())))?;
        (Blobs::new(folder.clone()), Some(Spool(folder)), Some(store.observe()))
    };
    let make = |call: &crate::s3::Call<'_>, _: &str| Some(call.exchange.clone());
    let (exchanges, ran) = read_nearest(std::slice::from_ref(file), &arguments.reading, observe, make)?;
    if exchanges.is_empty() {
        return Err(Failure::not_judged(
            format!("{} holds no decoded S3 call", Untrusted::text(file)),
            "give the key log of one end with --keylog FILE, or check the file with `hopwire analyze`",
        ));
    }
    Ok(Recording { exchanges, verdict: ran.summary.verdict, blobs, _spool: spool })
}

fn plan(arguments: &Arguments, recording: &Recording) -> Result<Plan, Failure> {
    let domains = Domains::new(arguments.reading.domain.clone());
    let permissions = Permissions { writes: arguments.allow_writes, subresources: arguments.force_subresources };
    let made = if arguments.send_refused { refused_copies(&recording.exchanges, &domains) } else { Vec::new() };
    if arguments.send_refused && made.is_empty() {
        return Err(Failure::usage(
            "the recording shows no request that its client refused to send",
            "leave out --send-refused; `hopwire analyze` says what the recording shows",
        ));
    }
    let mut plan = Plan::new(recording.exchanges.clone(), made, &domains, permissions, arguments.speed);
    if !arguments.only.is_empty() {
        for name in &arguments.only {
            if Operation::of_name(name).is_none() {
                return Err(Failure::usage(
                    format!("{} is no operation of S3", Untrusted::text(name)),
                    "write it as in PutObject",
                ));
            }
        }
        for step in plan.steps.iter_mut().filter(|step| !arguments.only.iter().any(|name| name == step.operation.name())) {
            step.held = Some(Held::NotReplayable("not among the operations of --only"));
        }
    }
    if let Some(rate) = arguments.rate {
        plan.at_rate(rate);
    }
    Ok(plan)
}

/// Refuses what would write without the word for it, or leak a key.
fn check(
    arguments: &Arguments,
    endpoint: &Endpoint,
    recording: &Recording,
    plan: &Plan,
    rules: &crate::replay::Rules,
) -> Result<(), Failure> {
    if arguments.send_refused && !arguments.allow_writes {
        return Err(Failure::refused(
            anyhow::anyhow!("--send-refused sends a COPY, which writes"),
            "give --allow-writes and --bucket-map OLD=NEW to send it to a bucket of its own",
        ));
    }
    let domains = Domains::new(arguments.reading.domain.clone());
    let writes = plan.sent().filter(|step| crate::s3::Call::read(&step.exchange, &domains).is_some_and(|call| call.is_write()));
    let unmapped = writes.filter_map(|step| {
        let call = crate::s3::Call::read(&step.exchange, &domains)?;
        let bucket = String::from_utf8_lossy(call.address.bucket.as_deref()?).into_owned();
        (!rules.buckets.iter().any(|(old, _)| *old == bucket)).then_some(bucket)
    });
    let unmapped: HashSet<String> = unmapped.collect();
    let writes_at_all =
        plan.sent().any(|step| crate::s3::Call::read(&step.exchange, &domains).is_some_and(|call| call.is_write()));
    if let Some(bucket) = unmapped.iter().min().filter(|_| !arguments.original_buckets) {
        return Err(Failure::refused(
            anyhow::anyhow!("the replay would write to the bucket {}, which is the recorded one", Untrusted::text(bucket)),
            format!(
                "give --bucket-map {}=NEW, or --original-buckets if that bucket of the target is meant",
                Untrusted::text(bucket)
            ),
        ));
    }
    let host = endpoint.target.authority.to_ascii_lowercase();
    let is_recorded = recording
        .exchanges
        .iter()
        .any(|exchange| exchange.request.headers.find("host").is_some_and(|have| have.eq_ignore_ascii_case(host.as_bytes())));
    let is_public =
        host.split(':').next().is_some_and(|name| name.ends_with("amazonaws.com") || name.ends_with("amazonaws.com.cn"));
    let is_confirmed = arguments.confirm_target.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&host));
    if writes_at_all && (is_recorded || is_public) && !is_confirmed {
        let what = if is_public { "a public store" } else { "the store that was recorded" };
        return Err(Failure::refused(
            anyhow::anyhow!("the replay would write to {host}, {what}"),
            format!("give --confirm-target {host} if that is meant"),
        ));
    }
    let leaks = plan.sent().filter_map(|step| {
        let call = crate::s3::Call::read(&step.exchange, &domains)?;
        let content = crate::replay::Content::Missing;
        match crate::replay::rewrite(&call, &endpoint.target, rules, &crate::replay::Ids::default(), content) {
            Err(Held::CustomerKeyOverHttp) => Some(step.operation.name()),
            _ => None,
        }
    });
    if let Some(operation) = leaks.into_iter().next() {
        return Err(Failure::refused(
            anyhow::anyhow!("{operation} would send a customer key (SSE-C) over http"),
            "use an https target, --sse drop, or --force-sse-c-over-http",
        ));
    }
    Ok(())
}

fn signer(arguments: &Arguments, plan: &Plan) -> Result<Option<Signer>, Failure> {
    if arguments.anonymous || plan.sent().next().is_none() {
        return Ok(None);
    }
    let profile = arguments.profile()?;
    let region = arguments.region.clone().or(profile.region).unwrap_or_else(|| "us-east-1".to_owned());
    Ok(Some(Signer::new(profile.credential, &region)))
}

/// What a journal belongs to: the recording, the target and the number of steps.
fn identity(arguments: &Arguments, plan: &Plan) -> String {
    format!("{} to {} with {} steps", arguments.file, arguments.to, plan.steps.len())
}

fn resume(arguments: &Arguments, name: &str, identity: &str) -> Result<Journal, Failure> {
    let is_there = Path::new(name).exists();
    if !arguments.resume {
        if is_there && !arguments.force {
            return Err(Failure::usage(
                format!("{} is there: an earlier replay did not end", Untrusted::text(name)),
                "go on with --resume, or begin anew with --force",
            ));
        }
        return Ok(Journal::default());
    }
    if !is_there {
        return Err(Failure::usage(
            format!("{} is not there: there is nothing to go on with", Untrusted::text(name)),
            "leave out --resume",
        ));
    }
    let unreadable = |error: anyhow::Error| {
        Failure::unreadable(error, format!("cannot read the journal {}", Untrusted::text(name)), "begin anew with --force")
    };
    let file = File::open(name).map_err(|error| unreadable(error.into()))?;
    let journal = Journal::read(BufReader::new(file)).map_err(|error| unreadable(error.into()))?;
    if journal.plan.as_deref() != Some(identity) {
        return Err(Failure::usage(
            "the journal belongs to another replay",
            "give the same file, target and options as before, or begin anew with --force",
        ));
    }
    Ok(journal)
}

fn redactor(arguments: &Arguments) -> Result<Redactor, Failure> {
    if arguments.show_secrets {
        return Ok(Redactor::showing_secrets());
    }
    let mut salt = [0; 32];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| Failure::unreadable(anyhow::anyhow!("the system gives none"), "cannot get random numbers", "try again"))?;
    Ok(Redactor::new(salt))
}

/// Whether somebody looks at stderr.
fn is_watched(quiet: bool) -> bool {
    !quiet && io::stderr().is_terminal()
}

/// Prints on stdout; a reader that went away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::unwritable(error, "cannot write to stdout"))
}
