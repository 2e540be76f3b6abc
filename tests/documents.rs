//! What the documents show as output is what the program prints. `HOPWIRE_WRITE_DOCS=1 cargo test --test documents` writes it anew.
//!
//! A line `<!-- output: ARGUMENTS -->` stands before a block of code, `<!-- output 24: ARGUMENTS -->` where only so many lines are shown.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;

#[test]
fn documents_show_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (document, blocks) in [("README.md", 1), ("docs/guide/analyze.md", 4)] {
        let path = root.join(document);
        let text = fs::read_to_string(&path).unwrap();
        let (current, count) = with_output(&text, root);
        assert_eq!(count, blocks, "{document} has as many blocks of output");
        if std::env::var_os("HOPWIRE_WRITE_DOCS").is_some() {
            fs::write(&path, &current).unwrap();
        } else {
            assert!(
                current == text,
                "{document} shows output of another version: HOPWIRE_WRITE_DOCS=1 cargo test --test documents"
            );
        }
    }
}

/// The text with every block of output as the program prints it, and how many blocks there are.
fn with_output(text: &str, root: &Path) -> (String, usize) {
    let (mut current, mut count) = (String::new(), 0);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        current += line;
        current.push('\n');
        let Some(command) = line.strip_prefix("<!-- output").and_then(|rest| rest.strip_suffix("-->")) else {
            continue;
        };
        let (shown, arguments) = command.split_once(':').unwrap();
        assert_eq!(lines.next(), Some("```"), "a block of code follows {line}");
        lines.by_ref().take_while(|line| *line != "```").for_each(drop);
        let run = Command::cargo_bin("hopwire").unwrap().current_dir(root).args(arguments.split_whitespace()).output().unwrap();
        let printed = String::from_utf8(run.stdout).unwrap();
        let shown = shown.trim().parse().unwrap_or(usize::MAX);
        current += "```\n";
        current.extend(printed.lines().take(shown).map(|line| format!("{}\n", line.trim_end())));
        current += "```\n";
        count += 1;
    }
    (current, count)
}
