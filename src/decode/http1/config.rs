//! The bounds of one connection, and what is kept of its bodies.

use std::sync::Arc;

use crate::decode::http1::observe::Observe;
use crate::decode::http1::retain::{MessageHead, Retain, readable};
use crate::decode::http1::shapes::Shapes;

/// How a connection reads. Beyond a bound there is an anomaly, never a failure. Connections share it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of one message head.
    pub head_bytes_max: u32,
    /// Header fields of one head.
    pub fields_max: u32,
    /// Requests that wait for their response at the same time.
    pub pipelined_max: u32,
    /// Interim responses that are kept for one exchange.
    pub interim_max: u32,
    /// Decides from its head what is kept of a body, where no observer does.
    pub retain: fn(&MessageHead<'_>) -> Retain,
    /// Gives each connection its observer.
    pub observe: Option<Arc<dyn Observe>>,
    /// What is remembered of the heads of all connections that share this.
    pub shapes: Shapes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_bytes_max: 256 << 10,
            fields_max: 4096,
            pipelined_max: 1024,
            interim_max: 16,
            retain: readable,
            observe: None,
            shapes: Shapes::default(),
        }
    }
}
