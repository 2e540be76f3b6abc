//! Sockets in another network namespace, and the rule that redirects a port there.
//!
//! A socket keeps the namespace in which it was made. So one thread enters it for good and makes sockets on request; a second
//! process, `nft`, holds the rule: its table belongs to its connection with the kernel (`flags owner`), so that the kernel
//! removes it when `nft` ends, which it does when hopwire ends in any way.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use crate::proxy::listener::listen;

/// Why a port cannot be redirected.
#[derive(Debug, thiserror::Error)]
pub enum InterceptError {
    /// The namespace is not there, or may not be looked at.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Entering needs a capability.
    #[error("cannot enter the network namespace {}: CAP_SYS_ADMIN is missing", path.display())]
    Enter {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `nft` cannot be run.
    #[error("cannot run nft, which sets the rule that redirects the port")]
    NoNft(#[source] io::Error),
    /// The kernel refuses the rule.
    #[error("cannot redirect port {port}: {reason}")]
    Rule {
        /// The port.
        port: u16,
        /// What `nft` says.
        reason: String,
    },
    /// Sockets cannot be made there.
    #[error("cannot listen in the network namespace {}", path.display())]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl InterceptError {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Open { .. } => "check the container and that it runs; looking into others' processes needs root",
            Self::Enter { .. } => "run with sudo: entering a namespace needs CAP_SYS_ADMIN, the rule CAP_NET_ADMIN",
            Self::NoNft(_) => "install nftables (apt-get install nftables, dnf install nftables)",
            Self::Rule { .. } => {
                "run with sudo (CAP_NET_ADMIN); the kernel needs nftables with NAT and table owners (Linux 5.12)"
            }
            Self::Listen { .. } => "see whether the container's address is up (ip addr)",
        }
    }
}

/// A redirected port of a namespace.
pub(super) struct Interception {
    /// Sockets that listen in the namespace, one for each thread.
    pub(super) listeners: Vec<TcpListener>,
    /// Where they listen.
    pub(super) address: SocketAddr,
    pub(super) sockets: Sockets,
    /// Connections that were there before, and go on past hopwire.
    pub(super) old_connections: usize,
    rule: Rule,
}

/// Makes sockets in the namespace; each request is answered on its own channel.
#[derive(Clone)]
pub(super) struct Sockets(mpsc::Sender<(Domain, oneshot::Sender<io::Result<Socket>>)>);

/// The process that holds the rule. Without it the kernel removes the rule.
struct Rule {
    nft: Child,
    input: Option<ChildStdin>,
}

impl Interception {
    /// Listens in a namespace and redirects its port there; `threads` listeners are made.
    pub(super) fn open(path: &Path, port: u16, threads: usize) -> Result<Self, InterceptError> {
        let namespace = File::open(path).map_err(|source| InterceptError::Open { path: path.to_owned(), source })?;
        let (requests, sockets) = mpsc::channel::<(Domain, oneshot::Sender<io::Result<Socket>>)>();
        let (ready, opened) = mpsc::channel();
        let path = path.to_owned();
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn(move || {
            let prepared = enter(&namespace, &path).and_then(|()| prepare(&path, port, threads));
            let is_ready = prepared.is_ok();
            if ready.send(prepared).is_err() || !is_ready {
                return;
            }
            // It ends when nobody can ask any more.
            for (domain, answer) in sockets {
                let made = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
                // Who gave up waiting does not need it.
                let _ = answer.send(made);
            }
        });
        thread.map_err(|source| InterceptError::Enter { path: PathBuf::new(), source })?;
        let (listeners, address, old_connections, rule) = opened
            .recv()
            .map_err(|_| InterceptError::Rule { port, reason: "the thread in the namespace ended".to_owned() })??;
        Ok(Self { listeners, address, sockets: Sockets(requests), old_connections, rule })
    }

    /// Whether the rule is still held.
    pub(super) fn is_redirecting(&mut self) -> bool {
        matches!(self.rule.nft.try_wait(), Ok(None))
    }
}

impl Sockets {
    /// A socket in the namespace.
    pub(super) async fn open(&self, address: SocketAddr) -> io::Result<Socket> {
        let gone = || io::Error::other("the thread in the namespace ended");
        let (answer, made) = oneshot::channel();
        self.0.send((Domain::for_address(address), answer)).map_err(|_| gone())?;
        made.await.map_err(|_| gone())?
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        // It ends with its input, and the rule with it.
        self.input = None;
        let until = Instant::now() + RULE_TIME;
        while matches!(self.nft.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.nft.kill();
        let _ = self.nft.wait();
    }
}

fn enter(namespace: &File, path: &Path) -> Result<(), InterceptError> {
    use std::os::fd::AsFd as _;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| InterceptError::Enter { path: path.to_owned(), source: error.into() })
}

type Prepared = (Vec<TcpListener>, SocketAddr, usize, Rule);

/// What is done once, on the thread in the namespace.
fn prepare(path: &Path, port: u16, threads: usize) -> Result<Prepared, InterceptError> {
    let refuse = |source| InterceptError::Listen { path: path.to_owned(), source };
    let any = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], 0));
    // Where there is no IPv6, IPv4 is enough.
    let listeners = listen(any, threads).or_else(|_| listen(SocketAddr::from(([0, 0, 0, 0], 0)), threads)).map_err(refuse)?;
    let address = listeners.first().map_or(Ok(any), TcpListener::local_addr).map_err(refuse)?;
    let old_connections = count_connections(port);
    let rule = Rule::set(port, address.port())?;
    Ok((listeners, address, old_connections, rule))
}

impl Rule {
    fn set(port: u16, to: u16) -> Result<Self, InterceptError> {
        let mut nft = Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(InterceptError::NoNft)?;
        let input = nft.stdin.take();
        let errors = nft.stderr.take();
        let mut rule = Self { nft, input };
        let table = format!("hopwire_{}_{port}", std::process::id());
        let commands = format!(
            "add table inet {table} {{ flags owner; }}\n\
             add chain inet {table} incoming {{ type nat hook prerouting priority dstnat; }}\n\
             add rule inet {table} incoming tcp dport {port} redirect to :{to}\n"
        );
        let fail = |reason: String| InterceptError::Rule { port, reason };
        if let Some(input) = &mut rule.input {
            input.write_all(commands.as_bytes()).map_err(|error| fail(error.to_string()))?;
        }
        let until = Instant::now() + RULE_TIME;
        while !is_set(&table) {
            let has_ended = !matches!(rule.nft.try_wait(), Ok(None));
            if has_ended || Instant::now() >= until {
                // Its words are complete once it has ended.
                rule.input = None;
                let mut text = String::new();
                if let Some(errors) = errors {
                    let _ = io::Read::read_to_string(&mut io::Read::take(errors, 4096), &mut text);
                }
                let reason = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("the rule does not appear").to_owned();
                return Err(fail(reason));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(rule)
    }
}

/// Whether the table with its rule is there, as another `nft` sees it.
fn is_set(table: &str) -> bool {
    let listed = Command::new("nft").args(["list", "table", "inet", table]).stderr(Stdio::null()).output();
    listed.is_ok_and(|output| output.status.success() && memchr::memmem::find(&output.stdout, b"redirect to").is_some())
}

/// Established connections with a local port, in the namespace of this thread.
fn count_connections(port: u16) -> usize {
    let wanted = format!(":{port:04X}");
    let count = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let is_established = |line: &&str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(&wanted)) && words.nth(1) == Some("01")
        };
        text.lines().skip(1).filter(is_established).count()
    };
    count("/proc/thread-self/net/tcp") + count("/proc/thread-self/net/tcp6")
}

/// Time for `nft` to set the rule, or to end.
const RULE_TIME: Duration = Duration::from_secs(5);
