//! Listeners and threads: settings in, a running proxy out.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::proxy::accept;
use crate::proxy::door::{Counts, Door, Shared};
use crate::proxy::listener::listen;
use crate::proxy::namespace::{InterceptError, Interception, Sockets};
use crate::proxy::notice::{Notice, other};
use crate::proxy::route::{Destination, Route, Scheme};
use crate::proxy::settings::Settings;
use crate::proxy::tape::Tape;
use crate::proxy::trust::{Presenter, upstream_config};

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
    /// A port cannot be redirected.
    #[error("cannot intercept {route}")]
    Intercept {
        /// The route.
        route: String,
        /// Why.
        source: InterceptError,
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
    interceptions: Vec<Option<Interception>>,
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
    let mut listeners: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    let mut listening = Vec::new();
    let mut interceptions = Vec::new();
    for route in &settings.routes {
        let (opened, address) = match &route.to {
            Destination::Intercepted { namespace, port } => {
                let opened = Interception::open(namespace, *port, threads);
                let mut interception = opened.map_err(|source| StartError::Intercept { route: route.name.clone(), source })?;
                let listeners = std::mem::take(&mut interception.listeners);
                let address = interception.address;
                interceptions.push(Some(interception));
                (listeners, address)
            }
            _ => {
                let refuse = |source| StartError::Listen { route: route.name.clone(), address: route.listen.address, source };
                let opened = listen(route.listen.address, threads).map_err(refuse)?;
                let address = opened.first().map_or(Ok(route.listen.address), TcpListener::local_addr).map_err(refuse)?;
                interceptions.push(None);
                (opened, address)
            }
        };
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
        experiments: settings.experiments.into(),
        upstream: Arc::new(upstream),
        connections: AtomicUsize::new(0),
        counts: Counts::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let sockets: Vec<_> = interceptions.iter().map(|one| one.as_ref().map(|one| one.sockets.clone())).collect();
    let shared_too = Arc::clone(&shared);
    let mut running = Running { tape, shared: shared_too, listening, legs, interceptions, stop, threads: Vec::new() };
    for listeners in listeners {
        let worker = Worker {
            shared: Arc::clone(&shared),
            routes: settings.routes.clone(),
            presenters: presenters.clone(),
            sockets: sockets.clone(),
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

    /// For each route whose port is redirected, how many connections were there before and go on past hopwire.
    pub fn old_connections(&self) -> impl Iterator<Item = (&str, usize)> {
        let names = self.listening.iter().map(|(name, _)| name.as_str());
        names.zip(&self.interceptions).filter_map(|(name, one)| Some((name, one.as_ref()?.old_connections)))
    }

    /// The routes whose port is not redirected any more, since somebody ended the process that holds the rule.
    pub fn lost_interceptions(&mut self) -> Vec<String> {
        let names = self.listening.iter().map(|(name, _)| name.clone());
        let lost = names.zip(&mut self.interceptions).filter_map(|(name, one)| (!one.as_mut()?.is_redirecting()).then_some(name));
        lost.collect()
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
        // New connections go straight to the servers again.
        self.interceptions.clear();
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
        let Some(identity) = settings.identity.clone().filter(|_| route.may_speak_tls()) else {
            return Ok(None);
        };
        let mut allowed = match &route.to {
            Destination::Target(target) => vec![target.host.clone(), "localhost".to_owned()],
            Destination::Intercepted { .. } => vec![route.name.clone()],
            Destination::Asked(_) => Vec::new(),
        };
        if !address.ip().is_unspecified() {
            allowed.push(address.ip().to_string());
        }
        allowed.extend(settings.allowed_names.iter().cloned());
        let wrong_name = settings.wrong_certificate.clone();
        let presenter = Presenter::new(identity, allowed, wrong_name, Arc::clone(tape));
        presenter.map(|presenter| Some(Arc::new(presenter))).map_err(|error| StartError::Tls(error.to_string()))
    };
    settings.routes.iter().zip(listening).map(of_route).collect()
}

/// One thread with a runtime of its own.
struct Worker {
    shared: Arc<Shared>,
    routes: Vec<Route>,
    presenters: Vec<Option<Arc<Presenter>>>,
    sockets: Vec<Option<Sockets>>,
    listeners: Vec<TcpListener>,
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
        let Self { shared, routes, presenters, sockets, listeners, mut stopped } = self;
        let routes = routes.into_iter().zip(presenters).zip(sockets).zip(listeners);
        for (index, (((route, presenter), sockets), listener)) in routes.enumerate() {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { continue };
            let leg = u16::try_from(2 * index).unwrap_or(u16::MAX);
            let door = Rc::new(Door {
                shared: Arc::clone(&shared),
                route,
                legs: [leg, leg.saturating_add(1)],
                presenter,
                pool: RefCell::new(Vec::new()),
                sockets,
                known: RefCell::new(Vec::new()),
            });
            tokio::task::spawn_local(accept_all(door, listener, stopped.clone()));
        }
        let _ = stopped.wait_for(|stopped| *stopped).await;
        let mut left = GRACE_STEPS;
        while left > 0 && shared.connections.load(Ordering::Relaxed) > 0 {
            sleep(GRACE_STEP).await;
            left -= 1;
        }
    }
}

async fn accept_all(door: Rc<Door>, listener: tokio::net::TcpListener, mut stopped: watch::Receiver<bool>) {
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
                    accept::serve(&guard.0, socket, peer).await;
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

/// How often it is looked whether there is room again.
const FULL_STEP: Duration = Duration::from_millis(20);

/// Exchanges in progress get so long to end.
const GRACE_STEP: Duration = Duration::from_millis(20);
const GRACE_STEPS: u32 = 25;
