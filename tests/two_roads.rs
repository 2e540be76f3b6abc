//! Two roads, one result: traffic through the proxy, also sniffed on the wire, gives equal exchanges from both files. Needs the
//! right to capture on loopback, and is skipped without.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected shall fail")]

#[path = "support/require.rs"]
mod require;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use require::{Need, skip};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hopwire");

/// What a client sends on one connection and what the server answers, in turns; a server that is to close does so at the end.
const CONVERSATIONS: &[(&[(&str, &str)], bool)] = &[
    (
        &[
            (
                "PUT /b/1 HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"1\"\r\n\r\n",
            ),
            ("HEAD /b/1 HTTP/1.1\r\nHost: s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            ("GET /b/1 HTTP/1.1\r\nHost: s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ],
        false,
    ),
    (
        &[
            (
                "PUT /b/2 HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ),
            ("body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        false,
    ),
    (
        &[(
            "PUT /b/3 HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-trailer: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )],
        false,
    ),
    (
        &[(
            "GET /b/4 HTTP/1.1\r\nHost: s\r\n\r\nGET /b/5 HTTP/1.1\r\nHost: s\r\n\r\nGET /b/6 HTTP/1.1\r\nHost: s\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n4HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n5HTTP/1.1 304 Not Modified\r\n\r\n",
        )],
        false,
    ),
    (&[("GET /b/7 HTTP/1.1\r\nHost: s\r\n\r\n", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nuntil the end")], true),
];

/// Something that is read and written: a socket, or TLS above one.
trait Talk: Read + Write {
    fn end(&mut self);
}

impl Talk for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Talk for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

impl Talk for StreamOwned<ClientConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

fn expect(from: &mut dyn Talk, text: &str) {
    let mut received = vec![0; text.len()];
    from.read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8_lossy(&received), text);
}

fn answer(mut stream: impl Talk) {
    // Which conversation it is shows in the first bytes; a connection that is kept open may serve several.
    let mut first = [0; 8];
    while stream.read_exact(&mut first).is_ok() {
        let (turns, closes) = CONVERSATIONS.iter().find(|(turns, _)| turns[0].0.as_bytes().starts_with(&first)).unwrap();
        for (turn, (request, response)) in turns.iter().enumerate() {
            expect(&mut stream, if turn == 0 { &request[first.len()..] } else { request });
            stream.write_all(response.as_bytes()).unwrap();
            stream.flush().unwrap();
        }
        if *closes {
            break;
        }
    }
    stream.end();
    let _ = stream.read(&mut [0]);
}

/// A server with TLS or without; gives its port.
fn serve(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, tls) = (socket.unwrap(), tls.clone());
            std::thread::spawn(move || match tls {
                None => answer(socket),
                Some(config) => answer(StreamOwned::new(ServerConnection::new(config).unwrap(), socket)),
            });
        }
    });
    port
}

fn talk(mut stream: impl Talk, turns: &[(&str, &str)], closes: bool) {
    for (request, response) in turns {
        stream.write_all(request.as_bytes()).unwrap();
        stream.flush().unwrap();
        expect(&mut stream, response);
    }
    if closes {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end of the response is the end of the connection");
    }
    stream.end();
    let _ = stream.read(&mut [0]);
}

/// Starts the program; gives it and its lines on stderr up to one that has `word`, or what it said where it ended before.
fn start(arguments: &[String], word: &str) -> Result<(Child, Vec<String>), String> {
    let mut child = Command::new(PROGRAM).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    while !lines.last().is_some_and(|line| line.contains(word)) {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            child.wait().unwrap();
            return Err(lines.concat());
        }
        lines.push(line);
    }
    // What it says later would fill the pipe.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    Ok((child, lines))
}

fn end(mut child: Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    child.wait().unwrap();
}

fn ports_of(lines: &[String]) -> Vec<u16> {
    let address = |line: &String| line.split("://127.0.0.1:").nth(1)?.split(',').next()?.parse().ok();
    lines.iter().filter(|line| line.contains("listening on")).filter_map(address).collect()
}

/// The exchanges of a file as JSON without times, frames and numbers, by connection and order.
fn exchanges(file: &Path, keylog: Option<&Path>) -> BTreeMap<String, Vec<serde_json::Value>> {
    let mut command = Command::new(PROGRAM);
    command.arg("analyze").arg(file).args(["--format", "jsonl", "--fail-on", "never", "--show-secrets"]);
    if let Some(keylog) = keylog {
        command.arg("--keylog").arg(keylog);
    }
    let output = command.output().unwrap();
    let mut found: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut value: serde_json::Value = serde_json::from_slice(line).unwrap();
        if value["type"] != "exchange" {
            continue;
        }
        let flow = format!("{} {}", value["client"], value["server"]);
        let fields = value.as_object_mut().unwrap();
        for name in ["id", "flow", "time", "hop", "trace"] {
            fields.remove(name);
        }
        for message in ["request", "response"] {
            fields[message].as_object_mut().map(|fields| fields.remove("frames"));
        }
        for interim in fields["interim"].as_array_mut().into_iter().flatten() {
            interim.as_object_mut().map(|fields| fields.remove("time"));
        }
        found.entry(flow).or_default().push(value);
    }
    found
}

struct Certificates {
    server: Arc<ServerConfig>,
    file: std::path::PathBuf,
}

fn certificates(folder: &Path) -> Certificates {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = folder.join("store.crt");
    fs::write(&file, certificate.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Certificates { server: Arc::new(server), file }
}

fn client_config(ca: &Path, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Arc::new(builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn the_recording_and_a_capture_of_the_wire_give_equal_exchanges() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let made = Command::new(PROGRAM).args(["proxy", "--make-ca", &text("ca")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let store = certificates(folder.path());
    let (plain, secure) = (serve(None), serve(Some(store.server)));
    let arguments = [
        "proxy",
        "--ca-cert",
        &text("ca/ca.crt"),
        "--ca-key",
        &text("ca/ca.key"),
        "--upstream-ca",
        &store.file.display().to_string(),
        "--route",
        &format!("plain=http://:0->http://localhost:{plain}"),
        "--route",
        &format!("secure=https://:0->https://localhost:{secure}"),
        "--route",
        &format!("mixed=http://:0->https://localhost:{secure}"),
        "-w",
        &text("proxy.pcapng"),
    ];
    let (proxy, lines) = start(&arguments.map(str::to_owned), "Ctrl-C").unwrap();
    let fronts = ports_of(&lines);
    assert_eq!(fronts.len(), 3, "{lines:?}");
    let filter = fronts.iter().chain([&plain, &secure]).map(|port| format!("tcp port {port}")).collect::<Vec<_>>().join(" or ");
    let capture = ["capture", "-i", "lo", "-n", "-f", &filter, "-w", &text("wire.pcapng")].map(str::to_owned);
    let capture = match start(&capture, "capturing on") {
        Ok((capture, _)) => capture,
        Err(reason) => {
            end(proxy);
            skip(Need::Root, format!("the right to capture on loopback ({})", reason.trim()));
            return;
        }
    };
    let mut connections = 0;
    for (turns, closes) in CONVERSATIONS {
        let connect = |port: u16| {
            let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket
        };
        talk(connect(fronts[0]), turns, *closes);
        talk(connect(fronts[2]), turns, *closes);
        connections += 2;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(client_config(&path("ca/ca.crt"), version), name).unwrap();
            talk(StreamOwned::new(session, connect(fronts[1])), turns, *closes);
            connections += 1;
        }
    }
    // Packets reach the capture a moment later.
    std::thread::sleep(Duration::from_millis(500));
    end(proxy);
    end(capture);
    let secrets = hopwire::capture::secrets_in(&Whole(fs::read(path("proxy.pcapng")).unwrap())).unwrap();
    fs::write(path("keys.log"), secrets.iter().flat_map(|secret| secret.expose().to_vec()).collect::<Vec<u8>>()).unwrap();
    let recorded = exchanges(&path("proxy.pcapng"), None);
    let sniffed = exchanges(&path("wire.pcapng"), Some(&path("keys.log")));
    let requests_each =
        CONVERSATIONS.iter().map(|(turns, _)| turns.iter().map(|turn| turn.0.matches("HTTP/1.1").count()).sum::<usize>());
    let expected = 4 * 2 * requests_each.sum::<usize>();
    assert_eq!(recorded.values().map(Vec::len).sum::<usize>(), expected, "two legs each, {connections} connections of clients");
    assert_eq!(recorded.keys().collect::<Vec<_>>(), sniffed.keys().collect::<Vec<_>>());
    for (flow, recorded) in &recorded {
        assert_eq!(recorded, &sniffed[flow], "{flow}");
    }
}

struct Whole(Vec<u8>);

impl hopwire::capture::ReadAt for Whole {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
