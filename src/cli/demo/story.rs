//! The story: what is run, what must come out, and how it is told.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;

use crate::analysis::Summary;
use crate::cli::Outcome as Ended;
use crate::cli::demo::record::{ACCESS_KEY, Part, Ran, SECRET, Through, World};
use crate::cli::failure::{Exit, Failure};
use crate::cli::interrupt::Stop;
use crate::cli::{Cli, analyze};
use crate::lab::{Outcome, Program, Step};
use crate::model::Untrusted;
use crate::rules::Outcome as Verdict;

/// One run, and what must come out.
struct Scene {
    name: &'static str,
    title: &'static str,
    part: Part,
    works: bool,
    verdict: Verdict,
    /// The rule of the failure, or else of the verdict.
    rule: Option<&'static str>,
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "direct",
        title: "Spark 3.5 (S3A 3.3, AWS SDK v1), HTTPS straight to the store",
        part: Part { program: Program::S3a33, through: Through::Direct, customer_key: None },
        works: true,
        verdict: Verdict::Clean,
        rule: None,
    },
    Scene {
        name: "https",
        title: "the same through the proxy's HTTPS front",
        part: Part { program: Program::S3a33, through: Through::Https, customer_key: None },
        works: true,
        verdict: Verdict::Clean,
        rule: None,
    },
    Scene {
        name: "http",
        title: "the same through the proxy's HTTP front",
        part: Part { program: Program::S3a33, through: Through::Http, customer_key: None },
        works: false,
        verdict: Verdict::RefusedBeforeTheWire,
        rule: Some("copy-refused-by-client"),
    },
    Scene {
        name: "leak",
        title: "a newer client (S3A 3.4, AWS SDK v2) with SSE-C through the HTTP front",
        part: Part { program: Program::S3a34, through: Through::Http, customer_key: Some(*b"demo customer key of 32 bytes !!") },
        works: true,
        verdict: Verdict::Leaked,
        rule: Some("sse-c-key-in-clear"),
    },
];

/// Runs all scenes.
pub(super) fn run(folder: &Path, force: bool) -> Ended {
    make_folder(folder, force)?;
    let failed = |error: anyhow::Error| {
        Failure::unreadable(error, "the demo could not run", "it needs loopback addresses 127.0.0.1 to 127.0.0.3")
    };
    let world = World::start(&folder.join("ca")).map_err(failed)?;
    print(format_args!("An S3 store, a proxy and a client run in this process, on loopback. Files go to {}.", folder.display()));
    let mut wrong = Vec::new();
    for (number, scene) in SCENES.iter().enumerate() {
        let capture = folder.join(format!("{}.pcapng", scene.name));
        let ran = world.run(&scene.part, &format!("{}/people", scene.name), &capture).map_err(failed)?;
        let summary = judge(folder, scene.name)?;
        tell(number + 1, scene, &ran, &summary);
        wrong.extend(scene.check(&ran, &summary).into_iter().map(|what| format!("{}: {what}", scene.name)));
    }
    wrong.extend(compare(folder)?);
    wrong.extend(prove(folder, &world)?);
    conclude(folder, &world, &wrong)
}

/// What the failing and the working run differ in.
fn compare(folder: &Path) -> Result<Option<String>, Failure> {
    print("\n5. The failing run compared with the working one (hopwire compare http.pcapng https.pcapng)");
    let words = ["compare", "http.pcapng", "https.pcapng", "--prefix-map", "http=https"];
    let text = run_self(folder, &words, "comparison.txt")?;
    show(&text, COMPARED_LINES);
    Ok((!text.contains("CopyObject")).then(|| "compare: it does not name the CopyObject that is missing".to_owned()))
}

/// The failing run is sent to the HTTPS front, and after it the request that the client refused.
fn prove(folder: &Path, world: &World) -> Result<Option<String>, Failure> {
    let front = world.https_front();
    print(format_args!(
        "\n6. The proof: the failing run again, over HTTPS, with the request that the client refused\n   (hopwire replay http.pcapng --to https://{front} --send-refused)"
    ));
    let credentials = folder.join("credentials");
    let text = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET}\n");
    write_private(&credentials, &text)?;
    let to = format!("https://{front}");
    let target = front.to_string();
    let words = [
        "replay",
        "http.pcapng",
        "--to",
        &to,
        "--send-refused",
        "--allow-writes",
        "--original-buckets",
        "--confirm-target",
        &target,
        "--prefix-map",
        "http=proof",
        "--credentials",
        "./credentials",
        "--cacert",
        "ca/ca.crt",
        "--speed",
        "max",
        "-o",
        "proof.jsonl",
    ];
    let text = run_self(folder, &words, "proof.txt")?;
    show(&text, PROOF_LINES);
    let copies =
        world.store().trace().iter().filter(|call| call.operation == "CopyObject" && call.target.contains("/proof/")).count();
    Ok((copies == 0).then(|| "replay: the refused COPY did not reach the store".to_owned()))
}

/// Runs this program in the folder, and keeps what it prints there.
fn run_self(folder: &Path, words: &[&str], file: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::unreadable(error, format!("cannot run hopwire {}", words.join(" ")), "run it by hand in the folder")
    };
    let program = std::env::current_exe().map_err(failed)?;
    let done = Command::new(program).args(words).current_dir(folder).env("NO_COLOR", "1").output().map_err(failed)?;
    let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&done.stderr).into_owned();
    }
    write_private(&folder.join(file), &text)?;
    Ok(text)
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let unwritable = |error| Failure::unwritable(error, format!("cannot write {}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(unwritable)?;
    file.write_all(text.as_bytes()).map_err(unwritable)
}

/// The first lines of a text.
fn show(text: &str, lines: usize) {
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(lines) {
        print(format_args!("   {}", Untrusted::text(line)));
    }
}

/// The folder must be new: nobody's files are replaced without being asked.
fn make_folder(folder: &Path, force: bool) -> Result<(), Failure> {
    let unwritable = |error| Failure::unwritable(error, format!("cannot make {}", folder.display()));
    if folder.exists() {
        let is_ours = folder.join("ca/ca.crt").exists();
        if !(force && is_ours) {
            let help =
                if is_ours { "give --force to replace it, or another folder with -o" } else { "name another folder with -o" };
            return Err(Failure::usage(format!("{} is there already", folder.display()), help));
        }
        fs::remove_dir_all(folder).map_err(unwritable)?;
    }
    fs::create_dir_all(folder).map_err(unwritable)
}

/// Analyzes a capture, and writes its reports.
fn judge(folder: &Path, name: &str) -> Result<Summary, Failure> {
    let path = |suffix: &str| folder.join(format!("{name}.{suffix}")).display().to_string();
    for suffix in ["html", "json"] {
        summary_of(&[path("pcapng"), "-o".to_owned(), path(suffix), "-q".to_owned()])?;
    }
    summary_of(&[path("pcapng"), "-o".to_owned(), path("txt"), "-q".to_owned(), "--format".to_owned(), "table".to_owned()])
}

fn summary_of(arguments: &[String]) -> Result<Summary, Failure> {
    let words = ["hopwire", "analyze"].into_iter().map(str::to_owned).chain(arguments.iter().cloned());
    let parsed = Cli::try_parse_from(words).map_err(|error| Failure::usage(error, "this is an error of hopwire demo"))?;
    match parsed.command {
        crate::cli::Command::Analyze(arguments) => analyze::summarize(&arguments, &Stop::default()),
        _ => Err(Failure::usage("no analysis", "this is an error of hopwire demo")),
    }
}

fn tell(number: usize, scene: &Scene, ran: &Ran, summary: &Summary) {
    print(format_args!("\n{number}. {}", scene.title));
    match &ran.outcome {
        Outcome::Works(files) => {
            print(format_args!("   the job works: {} calls, {files} files committed and read back", ran.calls));
        }
        Outcome::Fails { step, reason } => {
            let step = match step {
                Step::Setup => "while it made its folder",
                Step::Write => "while it wrote",
                Step::Commit => "at its commit",
                Step::Read => "while it read",
            };
            print(format_args!("   the job fails {step}: {reason}"));
        }
    }
    let verdict = &summary.verdict;
    print(format_args!("   hopwire: {}", verdict.outcome.label().to_uppercase()));
    let message = verdict.failure.as_ref().map_or(&verdict.message, |failure| &failure.message);
    for line in wrapped(message, 100) {
        print(format_args!("     {}", Untrusted::text(&line)));
    }
}

impl Scene {
    /// What did not come out as it must.
    fn check(&self, ran: &Ran, summary: &Summary) -> Vec<String> {
        let mut wrong = Vec::new();
        if matches!(ran.outcome, Outcome::Works(_)) != self.works {
            wrong.push(format!("the job ended with {:?}", ran.outcome));
        }
        let verdict = &summary.verdict;
        if verdict.outcome != self.verdict {
            wrong.push(format!("the verdict is {}, not {}", verdict.outcome.label(), self.verdict.label()));
        }
        if let Some(rule) = self.rule
            && summary.findings.iter().all(|finding| finding.rule.name != rule)
        {
            wrong.push(format!("{rule} was not reported"));
        }
        if summary.completeness.exchanges < ran.calls as u64 {
            wrong.push(format!("{} of {} calls were decoded", summary.completeness.exchanges, ran.calls));
        }
        wrong
    }
}

fn conclude(folder: &Path, world: &World, wrong: &[String]) -> Ended {
    let refused = world.store().trace().iter().filter(|call| call.status >= 400 && call.status != 404).count();
    print(format_args!(
        "\nThe store served {} requests and refused {refused}: what failed in test 3 never reached it.",
        world.store().trace().len()
    ));
    if !wrong.is_empty() {
        for what in wrong {
            print(format_args!("NOT AS IT MUST BE: {what}"));
        }
        return Ok(Exit::Findings);
    }
    let http = folder.join("http.pcapng");
    print(format_args!(
        "\nAll came out as they must. Next:\n  hopwire analyze {0} -v            the failing run in full\n  open {1}                        the same as a page\n  wireshark {0}                     the frames that the report names",
        http.display(),
        PathBuf::from(folder).join("http.html").display()
    ));
    Ok(Exit::Done)
}

/// The words of a text in lines of at most so many characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full =
            lines.last().is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// What is shown of the comparison and of the replay; all of it is in the folder.
const COMPARED_LINES: usize = 8;
const PROOF_LINES: usize = 14;

/// A line on stdout. A reader that went away does not stop the demo.
fn print(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
