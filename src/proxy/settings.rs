//! What a proxy is started with, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use crate::proxy::experiment::Experiment;
use crate::proxy::route::Route;
use crate::proxy::trust::{Identity, Upstream};

/// What a proxy is started with.
#[derive(Debug, Default)]
pub struct Settings {
    /// The routes.
    pub routes: Vec<Route>,
    /// The certificates for clients; needed where a route listens with TLS.
    pub identity: Option<Identity>,
    /// Names that certificates may be made for beside those of the routes; `*.example.org` stands for all names below.
    pub allowed_names: Vec<String>,
    /// The upstream side's TLS.
    pub upstream: Upstream,
    /// Whether messages that two readers may cut differently are forwarded.
    pub forwards_ambiguous: bool,
    /// What is changed on purpose; nothing where it is empty.
    pub experiments: Vec<Arc<Experiment>>,
    /// A name that certificates are made for in place of the true ones, to see what clients do.
    pub wrong_certificate: Option<String>,
    /// Threads; one per processor where it is 0.
    pub threads: usize,
    /// Its bounds.
    pub bounds: Bounds,
}

/// Bounds of what clients and servers may take.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections with clients at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time for connecting to the target.
    pub connect: Duration,
    /// Time for a head, from its first byte to its last.
    pub head: Duration,
    /// Time without any byte while a response is awaited, or a message is on its way.
    pub stall: Duration,
    /// Time without any byte between messages.
    pub idle: Duration,
    /// Idle upstream connections kept on each thread for each route.
    pub pooled_max: usize,
    /// How long they are kept.
    pub pooled: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            handshake: Duration::from_secs(15),
            connect: Duration::from_secs(15),
            head: Duration::from_secs(30),
            // Completing a large upload takes a store minutes.
            stall: Duration::from_secs(900),
            idle: Duration::from_secs(900),
            pooled_max: 64,
            pooled: Duration::from_secs(15),
        }
    }
}
