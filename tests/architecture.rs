//! Keeps the shape of the sources: who imports whom, who may touch the outside world, how long files and functions are, and
//! that what the documents say of rules and paths is so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and what it may import. `lib.rs` and `main.rs` stand outside.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("capture", &["model"]),
    ("decode", &["model"]),
    ("s3", &["model"]),
    ("session", &["model", "s3"]),
    ("hops", &["model", "s3"]),
    ("blobs", &["model", "decode", "session"]),
    ("rules", &["model", "s3", "session", "hops"]),
    ("analysis", &["model", "s3", "session", "hops", "rules"]),
    ("pipeline", &["model", "capture", "decode", "analysis"]),
    ("open", &["model", "capture", "decode"]),
    ("convert", &["model", "capture", "decode", "session", "s3"]),
    ("compare", &["model", "s3", "session"]),
    ("report", &["model", "s3", "session", "hops", "rules", "compare", "analysis", "capture"]),
    // s3 for the names of operations: experiments are chosen by them.
    ("proxy", &["model", "decode", "session", "blobs", "s3"]),
    ("replay", &["model", "decode", "session", "s3", "blobs"]),
    ("keys", &["model"]),
    ("lab", &["model", "s3", "session", "blobs", "proxy"]),
    (
        "cli",
        &[
            "model", "capture", "decode", "s3", "session", "blobs", "hops", "rules", "analysis", "pipeline", "convert",
            "compare", "report", "proxy", "replay", "keys", "lab",
        ],
    ),
];

/// Words of the outside world, and the files and rooms that may say them.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("std::fs", EDGES),
    ("std::net::Tcp", EDGES),
    ("std::net::Udp", EDGES),
    ("std::os::unix::net", EDGES),
    ("std::process", EDGES),
    ("std::env", EDGES),
    ("std::time::Instant", EDGES),
    ("std::time::SystemTime", EDGES),
    ("Instant::now", EDGES),
    ("SystemTime::now", EDGES),
    ("io::stdin", EDGES),
    ("io::stdout", EDGES),
    ("io::stderr", EDGES),
    ("tokio", EDGES),
    ("println!", EDGES),
    ("eprintln!", EDGES),
    (
        "std::thread",
        &[
            "cli/",
            "main.rs",
            "capture/live.rs",
            "capture/live/",
            "capture/docker.rs",
            "capture/docker/",
            "proxy/",
            "keys/",
            "replay/send.rs",
            "lab/",
            "pipeline/",
            "pipeline.rs",
        ],
    ),
];

const EDGES: &[&str] = &[
    "blobs/",
    "cli/",
    "main.rs",
    "capture/live.rs",
    "capture/live/",
    "capture/docker.rs",
    "capture/docker/",
    "capture/file.rs",
    "capture/interfaces.rs",
    "proxy/",
    "keys/attach.rs",
    "keys/process.rs",
    "keys/tracefs.rs",
    "keys/watch.rs",
    "replay/send.rs",
    "lab/",
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const HEADINGS: [&str; 4] = ["## What it reports", "## Why it matters", "## Example", "## What to do"];

/// A source file without its tests.
struct Source {
    /// Relative to `src/`, with `/`.
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines that hold code, with their numbers: no comments, no blank lines.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()));
        numbered.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut paths = Vec::new();
    files_below(&folder, &mut paths);
    paths.sort();
    let mut test_only = Vec::new();
    let mut sources = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().replace('\\', "/");
        let all: Vec<&str> = text.lines().collect();
        let mut lines: Vec<String> = Vec::new();
        let mut at = 0;
        while at < all.len() {
            if all[at].trim() == "#[cfg(test)]" {
                let item = all[at + 1..]
                    .iter()
                    .position(|line| !line.trim_start().starts_with("#["))
                    .map_or(all.len(), |next| at + 1 + next);
                let word = all.get(item).copied().unwrap_or_default();
                if let Some(module) = word.trim_end_matches(';').split("mod ").nth(1).filter(|_| word.ends_with(';')) {
                    let base = name
                        .strip_suffix("mod.rs")
                        .map_or_else(|| format!("{}/", name.strip_suffix(".rs").unwrap()), str::to_owned);
                    test_only.push(format!("{base}{module}"));
                }
                // The item ends where its indentation closes, or on its own line.
                let indent = word.len() - word.trim_start().len();
                let end = if word.ends_with(';') { item } else { closing(&all, item, indent) };
                lines.extend((at..=end.min(all.len() - 1)).map(|_| String::new()));
                at = end + 1;
                continue;
            }
            lines.push(all[at].to_owned());
            at += 1;
        }
        sources.push(Source { path: name, lines });
    }
    sources.retain(|source| {
        !test_only.iter().any(|path| source.path == format!("{path}.rs") || source.path.starts_with(&format!("{path}/")))
    });
    sources
}

/// The line that closes the item that begins at `start`: a closing bracket at the same indentation.
fn closing(lines: &[&str], start: usize, indent: usize) -> usize {
    if lines[start].ends_with('}') {
        return start;
    }
    let closes = |line: &str| line.len() > indent && line.starts_with(&" ".repeat(indent)) && line[indent..].starts_with('}');
    lines[start + 1..].iter().position(|line| closes(line)).map_or(lines.len() - 1, |next| start + 1 + next)
}

fn complain(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs")) {
        let room = source.room();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
            problems.push(format!("{}: the room {room} is not in the table", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for at in line.match_indices("crate::").map(|(at, word)| at + word.len()) {
                let other: String = line[at..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if !other.is_empty()
                    && other != room
                    && !allowed.contains(&other.as_str())
                    && IMPORTS.iter().any(|(name, _)| *name == other)
                {
                    problems.push(format!("{}:{number}: {room} must not import {other}", source.path));
                }
            }
            for form in ["crate::{", "super::super", "use crate::*"] {
                if line.contains(form) {
                    problems.push(format!("{}:{number}: {form} hides imports; name them one by one from crate::", source.path));
                }
            }
        }
    }
    complain(&problems);
}

#[test]
fn only_edges_touch_the_outside_world() {
    let mut problems = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (word, edges) in OUTSIDE {
                let whole = line.match_indices(word).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '"')
                });
                if whole && !edges.iter().any(|edge| source.path.starts_with(edge)) {
                    problems.push(format!("{}:{number}: {word} belongs to the edges", source.path));
                }
            }
        }
    }
    complain(&problems);
}

#[test]
fn files_and_functions_are_short() {
    let mut problems = Vec::new();
    for source in sources() {
        let count = source.code().count();
        if count > FILE_LINES_MAX {
            problems.push(format!("{}: {count} lines of code, more than {FILE_LINES_MAX}", source.path));
        }
        let lines: Vec<&str> = source.lines.iter().map(String::as_str).collect();
        for (at, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let is_function = trimmed.split("fn ").nth(1).is_some_and(|_| {
                let head = trimmed.split("fn ").next().unwrap();
                head.split_whitespace().all(|word| matches!(word, "const" | "async" | "extern") || word.starts_with("pub"))
            });
            if !is_function || line.ends_with(';') || line.ends_with('}') {
                continue;
            }
            let length = closing(&lines, at, indent) - at + 1;
            if length > FUNCTION_LINES_MAX {
                problems.push(format!(
                    "{}:{}: a function of {length} lines, more than {FUNCTION_LINES_MAX}",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    complain(&problems);
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.lines.first().is_some_and(|line| line.starts_with("//! ")))
        .map(|source| source.path)
        .collect();
    complain(&silent);
}

#[test]
fn every_rule_is_listed_and_named_like_its_file() {
    let mut in_files: Vec<String> = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("rules/")) {
        if source.lines.iter().any(|line| line.starts_with("rule! {")) {
            let path = source.path.trim_start_matches("rules/");
            let file = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap();
            in_files.push(file.replace('_', "-"));
        }
    }
    let mut listed: Vec<_> = hopwire::rules::all().iter().map(|rule| rule.name.to_owned()).collect();
    listed.sort();
    in_files.sort();
    assert!(!listed.is_empty());
    assert_eq!(listed, in_files, "the rules in the list, and those that have a file");
    listed.dedup();
    assert_eq!(listed.len(), in_files.len(), "a name stands for one rule");
}

/// With HOPWIRE_WRITE_DOCS set the pages are written, else they are compared.
#[test]
fn rule_pages_have_their_headings_and_are_current() {
    let folder = root().join("docs/rules");
    let write = std::env::var_os("HOPWIRE_WRITE_DOCS").is_some();
    if write {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut problems = Vec::new();
    for rule in hopwire::rules::all() {
        let text = rule.text();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).map(str::trim).collect();
        if headings != HEADINGS {
            problems.push(format!("{}: its page has the headings {headings:?}, not {HEADINGS:?}", rule.name));
        }
        let page = format!("# {}\n\n{}, since {}\n\n{}\n", rule.name, rule.severity.label(), rule.since, text.trim());
        let path = folder.join(format!("{}.md", rule.name));
        if write {
            fs::write(&path, &page).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(page.as_str()) {
            problems.push(format!(
                "docs/rules/{}.md is not current: run HOPWIRE_WRITE_DOCS=1 cargo test --test architecture",
                rule.name
            ));
        }
    }
    let known = |name: &str| hopwire::rules::all().iter().any(|rule| name == format!("{}.md", rule.name));
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !known(&name) {
            problems.push(format!("docs/rules/{name} is the page of no rule"));
        }
    }
    complain(&problems);
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let quoted: Vec<_> = text.split('`').skip(1).step_by(2).collect();
    let is_path = |word: &&&str| {
        (word.contains('/') || word.ends_with(".rs") || word.ends_with(".md")) && !word.contains([' ', ':', '*', '<', '{', '…'])
    };
    let paths: Vec<_> = quoted.iter().filter(is_path).collect();
    assert!(paths.len() > 10, "the document names the rooms by their paths");
    let missing: Vec<_> = paths
        .into_iter()
        .filter(|path| !root().join(path.trim_end_matches('/')).exists())
        .map(|path| format!("{path} does not exist"))
        .collect();
    complain(&missing);
}
