//! What `hopwire proxy` refuses: each with the exit code that was promised and a message that leads to the fix.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected shall fail")]

#[path = "support/require.rs"]
mod require;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use require::{Need, skip};

struct Run {
    code: Option<i32>,
    text: String,
}

/// Runs the proxy in a folder that has a CA in `ca` and another one in `other`, until it ends or for a moment.
fn proxy(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_hopwire"))
        .current_dir(folder)
        .arg("proxy")
        .args(arguments)
        .args(["--duration", "200ms", "--fail-on", "never"])
        .output()
        .unwrap();
    Run { code: output.status.code(), text: String::from_utf8_lossy(&output.stderr).into_owned() }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca", "other"] {
        let made = Command::new(env!("CARGO_BIN_EXE_hopwire"))
            .args(["proxy", "--make-ca"])
            .arg(folder.path().join(name))
            .output()
            .unwrap();
        assert!(made.status.success());
    }
    folder
}

#[test]
fn mistakes_end_with_their_code_and_the_next_step() {
    let folder = folder();
    let path = folder.path();
    fs::copy(path.join("ca/ca.key"), path.join("open.key")).unwrap();
    fs::set_permissions(path.join("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let on_taken = format!("a=http://127.0.0.1:{port}->http://localhost:1");
    let secure = "a=https://:0->http://localhost:1";
    for (arguments, code, words) in [
        (
            ["--ca-cert", "ca/ca.crt", "--ca-key", "open.key", "--route", secure].as_slice(),
            6,
            ["can be read by others", "chmod 600"],
        ),
        (&["--ca-cert", "ca/ca.crt", "--ca-key", "other/ca.key", "--route", secure], 2, ["does not belong to", "made with"]),
        (&["--ca-cert", "ca/ca.key", "--ca-key", "ca/ca.key", "--route", secure], 2, ["holds no certificate", "PEM"]),
        (&["--ca-cert", "none.crt", "--ca-key", "ca/ca.key", "--route", secure], 4, ["cannot read none.crt", "check the name"]),
        (&["--ca-cert", "ca/ca.crt", "--route", secure], 2, ["belong together", "--ca-key"]),
        (&["--route", secure], 2, ["no certificate to show", "--make-ca"]),
        (&["--route", &on_taken], 5, ["cannot listen on", "another program listens there"]),
        (
            &["--route", "a=http://:0->http://b", "--route", "a=http://:0->http://c"],
            2,
            ["two routes are called a", "name of its own"],
        ),
        (&[], 2, ["there is no route", "--route"]),
        (&["--forward", "a=http://0.0.0.0:0"], 6, ["proxy for everybody", "--allow-target"]),
        (&["--netns", "store=/run/netns/not-there:9000"], 5, ["cannot open the network namespace", "check the container"]),
        (&["--netns", "store:9000"], 2, ["is not a port to redirect", "NAME=PATH:PORT"]),
        (&["--make-ca", "ca"], 4, ["cannot write ca/ca.key", "never overwritten"]),
        (&["--config", "ca/ca.crt"], 2, ["ca/ca.crt", "docs/guide/proxy.md"]),
    ] {
        let run = proxy(path, arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.text);
        for word in words {
            assert!(run.text.contains(word), "{arguments:?}: {word:?} is not in: {}", run.text);
        }
    }
}

#[test]
fn a_file_of_routes_starts_what_the_command_line_would() {
    let folder = folder();
    fs::write(
        folder.path().join("proxy.toml"),
        "ca-cert = \"ca/ca.crt\"\nca-key = \"ca/ca.key\"\nwrite = \"run.pcapng\"\n\
         [[route]]\nname = \"one\"\nlisten = \"https://:0\"\ntarget = \"https://store:9000\"\n\
         [[forward]]\nname = \"two\"\nlisten = \"http://:0\"\n",
    )
    .unwrap();
    let run = proxy(folder.path(), &["--config", "proxy.toml"]);
    assert_eq!(run.code, Some(3), "nothing was judged: {}", run.text);
    assert!(
        run.text.contains("one: listening on https://127.0.0.1:") && run.text.contains("two: a forward proxy on"),
        "{}",
        run.text
    );
    let mode = fs::metadata(folder.path().join("run.pcapng")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_encrypted_key_opens_with_its_password_alone() {
    let folder = folder();
    let key = folder.path().join("ca/ca.key");
    let encrypted = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret", "-in"])
        .arg(&key)
        .output();
    let Ok(encrypted) = encrypted.filter_success() else {
        skip(Need::Root, "openssl");
        return;
    };
    fs::write(&key, encrypted).unwrap();
    for (password, words) in [("secret\n", "listening on"), ("wrong", "does not decrypt")] {
        fs::write(folder.path().join("password"), password).unwrap();
        let arguments = [
            "--ca-cert",
            "ca/ca.crt",
            "--ca-key",
            "ca/ca.key",
            "--key-password-file",
            "password",
            "--route",
            "a=https://:0->http://b",
        ];
        let run = proxy(folder.path(), &arguments);
        assert!(run.text.contains(words), "{password:?}: {}", run.text);
    }
}

trait FilterSuccess {
    fn filter_success(self) -> Result<Vec<u8>, ()>;
}

impl FilterSuccess for std::io::Result<std::process::Output> {
    fn filter_success(self) -> Result<Vec<u8>, ()> {
        self.ok().filter(|output| output.status.success()).map(|output| output.stdout).ok_or(())
    }
}
