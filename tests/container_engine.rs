//! What `hopwire capture` says where a container engine is not here, not there at all, or does not know the name: with a small
//! engine of the test's own that answers as real ones do. Needs no privilege.
#![cfg(all(feature = "live", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that meets the unexpected shall fail"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use serde_json::{Value, json};

const NETWORK: &str = "3f2a9b7c0d1e4455667788990011223344556677889900112233445566778899";

/// An engine behind a socket, which lives as long as the test.
struct Engine {
    folder: tempfile::TempDir,
}

/// What a command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Engine {
    /// `info` is what it tells of itself.
    fn new(info: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Who stops listening in the middle is not of interest here.
                let _ = answer(stream.unwrap(), &info);
            }
        });
        Self { folder }
    }

    fn capture(&self, arguments: &[&str]) -> Said {
        capture(&format!("unix://{}", self.folder.path().join("docker.sock").display()), arguments)
    }
}

fn answer(mut stream: UnixStream, info: &Value) -> std::io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        asked.extend_from_slice(&byte);
    }
    let asked = String::from_utf8(asked).unwrap();
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let attached = json!({"Networks": {"lab_spark-net": {"NetworkID": NETWORK, "IPAddress": "172.18.0.3", "MacAddress": "02:42:ac:12:00:03"}}});
    let body = match path {
        "/_ping" => json!("OK"),
        "/info" => info.clone(),
        "/v4.0.0/libpod/info" if !info["podman"].is_null() => info["podman"].clone(),
        "/networks" => json!([
            {"Id": NETWORK, "Name": "lab_spark-net", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}},
            {"Id": NETWORK.replace('3', "4"), "Name": "wide", "Driver": "macvlan"},
        ]),
        "/containers/json?all=true" => {
            json!([{"Id": "aa11", "Names": ["/sidekick"], "State": "running", "NetworkSettings": attached}])
        }
        "/containers/aa11/json" => json!({"State": {"Pid": 1}}),
        _ => return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{{}}"),
    };
    let body = body.to_string();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn capture(host: &str, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_hopwire"))
        .arg("capture")
        .args(arguments)
        .env("DOCKER_HOST", host)
        .env_remove("DOCKER_CONTEXT")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn desktop() -> Value {
    json!({"OperatingSystem": "Docker Desktop", "KernelVersion": "6.10.14-linuxkit", "SecurityOptions": ["name=seccomp"]})
}

/// An engine on this kernel.
fn here(security: &str) -> Value {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({"OperatingSystem": "Debian", "KernelVersion": kernel.trim(), "SecurityOptions": [security]})
}

#[test]
fn docker_desktop_is_recognised_and_answered_with_what_to_run_in_its_machine() {
    let engine = Engine::new(desktop());
    let said = engine.capture(&["--network", "spark-net", "-w", "run.pcapng"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    let lines: Vec<_> = said.err.lines().collect();
    assert_eq!(
        lines,
        [
            "error: the bridge br-3f2a9b7c0d1e of the network lab_spark-net is not here: its engine runs in a virtual machine (Docker Desktop)",
            "help: run hopwire in it, too:",
            "  docker build -f lab/Dockerfile -t hopwire .",
            "  docker run --rm --net=host --cap-add NET_RAW -v /var/run/docker.sock:/var/run/docker.sock hopwire capture --network lab_spark-net -w - > run.pcapng",
        ]
    );
}

#[test]
fn a_container_in_a_machine_is_not_looked_for_among_the_processes_here() {
    let engine = Engine::new(desktop());
    for (arguments, interface) in
        [(["--container", "sidekick"].as_slice(), "eth0"), (&["--container", "sidekick", "-i", "lo"], "lo")]
    {
        let said = engine.capture(arguments);
        assert_eq!(said.code, Some(5), "{}", said.err);
        assert!(said.err.contains("the container sidekick is not on this machine: its engine runs in a virtual machine"));
        let wanted = format!(
            "docker run --rm --net=container:sidekick --cap-add NET_RAW hopwire capture -i {interface} -w - > run.pcapng"
        );
        assert!(said.err.contains(&wanted), "{}", said.err);
    }
}

#[test]
fn the_list_tells_of_networks_that_are_elsewhere() {
    let said = Engine::new(desktop()).capture(&["--list"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.contains("docker network lab_spark-net (bridge), not here: --network lab_spark-net tells where"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("sidekick"), "{}", said.out);
}

#[test]
fn a_bridge_that_is_in_another_namespace_of_this_kernel_is_told_apart() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let said = Engine::new(here("name=seccomp")).capture(&["--network", "spark-net"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("this program is in another network namespace than its engine"), "{}", said.err);
    assert!(said.err.contains("with --net=host"), "{}", said.err);
    let said = Engine::new(here("name=rootless")).capture(&["--network", "spark-net"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("runs without root, in a network namespace of its own"), "{}", said.err);
    assert!(said.err.contains("docker.sock:/var/run/docker.sock hopwire capture --network lab_spark-net"), "{}", said.err);
}

#[test]
fn podman_without_root_is_answered_with_its_own_way_in() {
    let mut info = here("name=seccomp");
    info["podman"] = json!({"host": {"security": {"rootless": true}}});
    let said = Engine::new(info).capture(&["--network", "spark-net"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    let wanted = "  podman unshare --rootless-netns hopwire capture --network lab_spark-net -w run.pcapng";
    assert_eq!(said.err.lines().last(), Some(wanted), "{}", said.err);
}

#[test]
fn mistakes_are_answered_with_the_next_step_and_the_code_of_the_contract() {
    let engine = Engine::new(here("name=seccomp"));
    for (arguments, code, parts) in [
        (["--network", "spark-nte"].as_slice(), 5, ["no docker network spark-nte", "did you mean lab_spark-net?"]),
        (&["--network", "nothing-like-it"], 5, ["no docker network nothing-like-it", "there is: lab_spark-net, wide"]),
        (&["--network", "wide"], 5, ["no bridge to capture on: its driver is macvlan", "--container NAME"]),
        (&["--container", "sidekik"], 5, ["no running container sidekik", "did you mean sidekick?"]),
        (&["--network", "spark-net", "-f", "tcp prt 80"], 2, ["the filter \"tcp prt 80\" does not parse", "man pcap-filter"]),
    ] {
        let said = engine.capture(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}", said.err);
        assert!(parts.iter().all(|part| said.err.contains(part)), "{arguments:?}: {}", said.err);
    }
    let said = capture("unix:///nowhere/docker.sock", &["--network", "spark-net"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("no container engine answers: /nowhere/docker.sock: No such file"), "{}", said.err);
    assert!(said.err.contains("help: start docker, or set DOCKER_HOST=unix:///PATH"), "{}", said.err);
    let said = capture("tcp://192.0.2.1:2375", &["--network", "spark-net"]);
    assert_eq!(said.code, Some(5), "{}", said.err);
    assert!(said.err.contains("the container engine at tcp://192.0.2.1:2375 is not on this machine"), "{}", said.err);
    assert!(
        said.err.contains("docker run --rm --net=container:NAME --cap-add NET_RAW hopwire capture -i eth0 -w -"),
        "{}",
        said.err
    );
}
