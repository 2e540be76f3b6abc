//! What sees the messages of a connection while they flow: a recorder, a proxy, a spooler of bodies.

use std::fmt::Debug;

use crate::decode::http1::retain::{MessageHead, Retain};
use crate::model::{Body, Endpoints, FlowId, Side};

/// Sees the messages of one connection while they flow, and decides what is kept of their bodies.
///
/// The calls for one message come in this order, and those for the messages of one side one message after the other:
/// 1. [`head`](Self::head), once, as soon as the head is whole (or was cut off);
/// 2. [`content`](Self::content) for each piece of a body for which `head` chose [`Retain::All`], and
///    [`missing`](Self::missing) for what does not come;
/// 3. [`end`](Self::end), once. The exchange itself comes later, from [`Connection::poll`](super::Connection::poll).
pub trait Observer: Send {
    /// A message began. Decides what is kept of its body.
    fn head(&mut self, head: &MessageHead<'_>) -> Retain;

    /// An interim response (1xx) came.
    fn interim(&mut self, _status: u16) {}

    /// The next content of the body of a side, without chunk framing.
    fn content(&mut self, _from: Side, _content: &[u8]) {}

    /// So many bytes of the body exist, but the capture lacks them or they were not given.
    fn missing(&mut self, _from: Side, _length: u64) {}

    /// The message of a side ended. `body` has its length, whether it is complete, and its SHA-256 where that was asked for and
    /// nothing is missing.
    fn end(&mut self, _from: Side, _body: &mut Body) {}

    /// Bytes that it holds in memory, for the bounds of a decoder.
    fn held_bytes(&self) -> usize {
        0
    }
}

/// Who watches a connection, where somebody does.
pub(super) type Watcher<'a> = Option<&'a mut (dyn Observer + 'static)>;

/// Gives the connections of a decoder their observers.
pub trait Observe: Debug + Send + Sync {
    /// The observer of a connection that was just recognised as HTTP/1; `None` where nobody watches it.
    fn observe(&self, flow: FlowId, endpoints: &Endpoints) -> Option<Box<dyn Observer>>;
}
