//! Keeps the shape of the sources: who imports whom, who may touch the outside world, how long files and functions are, and
//! that what the documents say of rules and paths is so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that meets the unexpected shall fail")]

use std::fs;
use std::path::{Path, PathBuf};

/// Words of the outside world, and the row of the table of edges that says who may use them.
const OUTSIDE: &[(&str, &str)] = &[
    ("std::fs", "files"),
    ("std::net::Tcp", "files"),
    ("std::net::Udp", "files"),
    ("std::os::unix::net", "files"),
    ("std::process", "files"),
    ("std::env", "files"),
    ("std::time::Instant", "files"),
    ("std::time::SystemTime", "files"),
    ("Instant::now", "files"),
    ("SystemTime::now", "files"),
    ("io::stdin", "files"),
    ("io::stdout", "files"),
    ("io::stderr", "files"),
    ("tokio", "files"),
    ("println!", "files"),
    ("eprintln!", "files"),
    ("std::thread", "threads"),
];

/// The rows of the table in `docs/architecture.md` that follows this heading, without its head: their cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let section = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("there is no section {heading}")).1;
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

/// What is quoted as code in a cell, below `src/`.
fn paths_in(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).filter_map(|path| path.strip_prefix("src/")).map(str::to_owned).collect()
}

/// The rooms, and what each may import, as the document says. `lib.rs` and `main.rs` are outside.
fn rooms() -> Vec<(String, Vec<String>)> {
    let mut rooms: Vec<(String, Vec<String>)> = Vec::new();
    for row in table("Rooms") {
        let [room, _, imports] = row.as_slice() else { panic!("{row:?} has not three cells") };
        let room = paths_in(room).remove(0);
        let room = room.trim_end_matches('/').trim_end_matches(".rs").to_owned();
        // A word in brackets behind a room says what of it is used.
        let words = imports.split(',').filter_map(|word| word.split_whitespace().next()).map(str::to_owned);
        rooms.push((room, words.filter(|word| word != "nothing").collect()));
    }
    let names: Vec<String> = rooms.iter().map(|(room, _)| room.clone()).collect();
    for (room, imports) in &mut rooms {
        if imports.iter().any(|import| import == "all") {
            imports.clone_from(&names);
        }
        for import in imports {
            assert!(names.contains(import), "{room} may import {import}, which is not a room");
        }
    }
    rooms
}

/// Which paths below `src/` may touch the outside world, by the first word of the row.
fn edges() -> Vec<(String, Vec<String>)> {
    let first_word = |cell: &str| cell.split([' ', ',']).next().unwrap_or_default().to_owned();
    table("Edges").iter().map(|row| (first_word(&row[0]), paths_in(&row[1]))).collect()
}

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
    let rooms = rooms();
    let mut used: Vec<&str> = Vec::new();
    let sources = sources();
    for source in sources.iter().filter(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs")) {
        let room = source.room();
        used.push(room);
        let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else {
            problems.push(format!("{}: the room {room} is not in the table of docs/architecture.md", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for at in line.match_indices("crate::").map(|(at, word)| at + word.len()) {
                let other: String = line[at..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if !other.is_empty() && other != room && !allowed.contains(&other) && rooms.iter().any(|(name, _)| *name == other)
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
    problems.extend(rooms.iter().filter(|(room, _)| !used.contains(&room.as_str())).map(|(room, _)| format!("{room} is empty")));
    complain(&problems);
}

#[test]
fn only_edges_touch_the_outside_world() {
    let mut problems = Vec::new();
    let edges = edges();
    for source in sources() {
        for (number, line) in source.code() {
            for (word, row) in OUTSIDE {
                let allowed = &edges.iter().find(|(name, _)| name == row).unwrap().1;
                let whole = line.match_indices(word).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '"')
                });
                if whole && !allowed.iter().any(|edge| source.path.starts_with(edge)) {
                    problems.push(format!("{}:{number}: {word} belongs to the edges in docs/architecture.md", source.path));
                }
            }
        }
    }
    complain(&problems);
}

/// Skips are counted and can be forbidden only where all of them go one way.
#[test]
fn tests_are_skipped_in_one_way() {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    files_below(&root().join("tests"), &mut files);
    files_below(&root().join("src"), &mut files);
    for file in
        files.iter().filter(|file| !file.ends_with("tests/support/require.rs") && !file.ends_with("tests/architecture.rs"))
    {
        for (number, line) in (1..).zip(fs::read_to_string(file).unwrap().lines()) {
            if line.contains("eprintln!(\"skip") {
                let place = file.strip_prefix(root()).unwrap().display();
                problems.push(format!("{place}:{number}: call skip(Need::…, …) of tests/support/require.rs to skip a test"));
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
