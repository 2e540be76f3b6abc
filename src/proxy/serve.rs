//! Listeners and threads: settings in, a running proxy out.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::server::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;

use crate::proxy::door::{Counts, Door, Shared};
use crate::proxy::notice::{Notice, client_handshake, name_not_allowed, other, plaintext_to_tls};
use crate::proxy::relay;
use crate::proxy::route::{Route, Scheme};
use crate::proxy::settings::Settings;
use crate::proxy::stream::{Stream, Tap};
use crate::proxy::tape::Tape;
use crate::proxy::trust::{NotPresented, Presenter, upstream_config};

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no route.
    #[error("there is no route")]
    NoRoute,
    /// Two routes have one name.
    #[error("two routes are called {name}")]
    SameName {
        /// The name.
        name: String,
    },
    /// A route listens with TLS, and there are no certificates.
    #[error("the route {route} listens with https, and there is no certificate to show")]
    NoIdentity {
        /// The route.
        route: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for the route {route}")]
    Listen {
        /// The route.
        route: String,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A thread or its runtime cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running proxy. It goes on until it is stopped or dropped.
pub struct Running {
    tape: Arc<Tape>,
    shared: Arc<Shared>,
    listening: Vec<(String, SocketAddr)>,
    legs: Vec<String>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a proxy. What passes goes on the tape, which has to be read, or connections come to a halt when it is full.
/// `notify` is called from its threads with what the operator has to know.
///
/// # Errors
/// Where the settings do not go together, or an address cannot be listened on.
pub fn start(
    settings: Settings,
    tape: Arc<Tape>,
    notify: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<Running, StartError> {
    check(&settings)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if settings.threads == 0 { processors } else { settings.threads };
    let mut listeners: Vec<Vec<std::net::TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    let mut listening = Vec::new();
    for route in &settings.routes {
        let refuse = |source| StartError::Listen { route: route.name.clone(), address: route.listen.address, source };
        let opened = listen(route.listen.address, threads).map_err(refuse)?;
        let address = opened.first().map_or(Ok(route.listen.address), std::net::TcpListener::local_addr).map_err(refuse)?;
        listening.push((route.name.clone(), address));
        for (of_thread, listener) in listeners.iter_mut().zip(opened) {
            of_thread.push(listener);
        }
    }
    let presenters = presenters(&settings, &listening, &tape)?;
    let legs = settings.routes.iter().flat_map(Route::legs).collect();
    let upstream = upstream_config(&settings.upstream, Arc::clone(&tape)).map_err(StartError::Tls)?;
    let shared = Arc::new(Shared {
        tape: Arc::clone(&tape),
        notify: Box::new(notify),
        bounds: settings.bounds,
        forwards_ambiguous: settings.forwards_ambiguous,
        upstream: Arc::new(upstream),
        connections: AtomicUsize::new(0),
        counts: Counts::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let mut running = Running { tape, shared: Arc::clone(&shared), listening, legs, stop, threads: Vec::new() };
    for listeners in listeners {
        let worker = Worker {
            shared: Arc::clone(&shared),
            routes: settings.routes.clone(),
            presenters: presenters.clone(),
            listeners,
            stopped: stopped.clone(),
        };
        running.threads.push(worker.start().map_err(StartError::Thread)?);
    }
    Ok(running)
}

impl Running {
    /// Where each route listens: its name, and the address with the port that was free where none was given.
    pub fn listening(&self) -> &[(String, SocketAddr)] {
        &self.listening
    }

    /// The names of the legs, by their numbers on the tape.
    pub fn legs(&self) -> &[String] {
        &self.legs
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Connections with clients that are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Ends: nothing more is accepted, exchanges in progress get a moment to end, and the tape is closed.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Threads that ended do not listen.
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.tape.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn check(settings: &Settings) -> Result<(), StartError> {
    if settings.routes.is_empty() {
        return Err(StartError::NoRoute);
    }
    for (index, route) in settings.routes.iter().enumerate() {
        if settings.routes.iter().skip(index + 1).any(|other| other.name == route.name) {
            return Err(StartError::SameName { name: route.name.clone() });
        }
        if route.listen.scheme == Scheme::Https && settings.identity.is_none() {
            return Err(StartError::NoIdentity { route: route.name.clone() });
        }
    }
    Ok(())
}

fn presenters(
    settings: &Settings,
    listening: &[(String, SocketAddr)],
    tape: &Arc<Tape>,
) -> Result<Vec<Option<Arc<Presenter>>>, StartError> {
    let of_route = |(route, (_, address)): (&Route, &(String, SocketAddr))| {
        let Some(identity) = settings.identity.clone().filter(|_| route.listen.scheme == Scheme::Https) else {
            return Ok(None);
        };
        let mut allowed = vec![route.target.host.clone(), "localhost".to_owned()];
        if !address.ip().is_unspecified() {
            allowed.push(address.ip().to_string());
        }
        allowed.extend(settings.allowed_names.iter().cloned());
        let presenter = Presenter::new(identity, allowed, None, Arc::clone(tape));
        presenter.map(|presenter| Some(Arc::new(presenter))).map_err(|error| StartError::Tls(error.to_string()))
    };
    settings.routes.iter().zip(listening).map(of_route).collect()
}

/// As many listeners on one address as there are threads; the kernel shares connections out among them.
fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let open = |address: SocketAddr, is_shared: bool| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(is_shared)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(std::net::TcpListener::from(socket))
    };
    // Another process of the same user that shares its port would get half of the connections in silence.
    let address = open(address, false)?.local_addr()?;
    (0..count).map(|_| open(address, true)).collect()
}

/// One thread with a runtime of its own.
struct Worker {
    shared: Arc<Shared>,
    routes: Vec<Route>,
    presenters: Vec<Option<Arc<Presenter>>>,
    listeners: Vec<std::net::TcpListener>,
    stopped: watch::Receiver<bool>,
}

impl Worker {
    fn start(self) -> io::Result<JoinHandle<()>> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, self.run());
            // What is still open is cut here; the recordings of connections end with them.
            drop(local);
        })
    }

    async fn run(self) {
        let Self { shared, routes, presenters, listeners, mut stopped } = self;
        for (index, ((route, presenter), listener)) in routes.into_iter().zip(presenters).zip(listeners).enumerate() {
            let Ok(listener) = TcpListener::from_std(listener) else { continue };
            let leg = u16::try_from(2 * index).unwrap_or(u16::MAX);
            let door = Rc::new(Door {
                shared: Arc::clone(&shared),
                route,
                legs: [leg, leg.saturating_add(1)],
                presenter,
                pool: RefCell::new(Vec::new()),
                known: RefCell::new(Vec::new()),
            });
            tokio::task::spawn_local(accept(door, listener, stopped.clone()));
        }
        let _ = stopped.wait_for(|stopped| *stopped).await;
        let mut left = GRACE_STEPS;
        while left > 0 && shared.connections.load(Ordering::Relaxed) > 0 {
            sleep(GRACE_STEP).await;
            left -= 1;
        }
    }
}

async fn accept(door: Rc<Door>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let open = &door.shared.connections;
    let mut is_full_told = false;
    loop {
        while open.load(Ordering::Relaxed) >= door.shared.bounds.connections_max {
            if !std::mem::replace(&mut is_full_told, true) {
                door.report(other(
                    "connections-max",
                    format!("{} connections are open: further ones wait", door.shared.bounds.connections_max),
                    "raise --max-connections, or see why they stay open",
                ));
            }
            sleep(FULL_STEP).await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                open.fetch_add(1, Ordering::Relaxed);
                door.shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
                let guard = Open(Rc::clone(&door));
                tokio::task::spawn_local(async move {
                    serve(&guard.0, socket, peer).await;
                });
            }
            Err(error) => {
                door.report(other(
                    "accept",
                    format!("cannot accept a connection: {error}"),
                    "raise the limit of open files (ulimit -n)",
                ));
                sleep(FULL_STEP).await;
            }
        }
    }
}

/// Counts a connection until it ends.
struct Open(Rc<Door>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(door: &Door, socket: TcpStream, peer: SocketAddr) {
    let Ok(tap) = door.client_tap(socket, peer) else { return };
    match &door.presenter {
        None => relay::serve(door, Stream::Plain(tap)).await,
        Some(presenter) => {
            let shaken = timeout(door.shared.bounds.handshake, handshake(door, presenter, tap)).await;
            match shaken {
                Ok(Some(stream)) => relay::serve(door, stream).await,
                Ok(None) => {}
                Err(_) => door.report(other(
                    "handshake-timeout",
                    "a client began a TLS handshake and did not go on",
                    "check the client, and what else connects to this port",
                )),
            }
        }
    }
}

/// The TLS handshake with a client; `None` where it failed, which is reported.
async fn handshake(door: &Door, presenter: &Presenter, mut tap: Tap) -> Option<Stream> {
    let mut first = [0];
    if tap.socket().peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0].is_ascii_alphabetic() {
        door.report(plaintext_to_tls());
        relay::decline(door, Stream::Plain(tap), "PlaintextToTls", "this port speaks TLS: use https").await;
        return None;
    }
    let address = tap.flow().ends().server.ip;
    let mut acceptor = Box::pin(LazyConfigAcceptor::new(Acceptor::default(), tap));
    let started = match acceptor.as_mut().await {
        Ok(started) => started,
        Err(error) => {
            door.report(client_handshake(&error));
            return None;
        }
    };
    let config = match presenter.config(started.client_hello().server_name(), address) {
        Ok(config) => config,
        Err(NotPresented::Name(name)) => {
            door.report(name_not_allowed(&name));
            return None;
        }
        Err(NotPresented::Failed(reason)) => {
            door.report(other("certificate", format!("no certificate can be made: {reason}"), "check the CA"));
            return None;
        }
    };
    match started.into_stream(config).await {
        Ok(stream) => Some(Stream::Accepted(Box::new(stream))),
        Err(error) => {
            door.report(client_handshake(&error));
            None
        }
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// How often it is looked whether there is room again.
const FULL_STEP: Duration = Duration::from_millis(20);

/// Exchanges in progress get so long to end.
const GRACE_STEP: Duration = Duration::from_millis(20);
const GRACE_STEPS: u32 = 25;
