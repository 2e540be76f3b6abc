//! The nouns that every room shares, and nothing that acts on them.

mod anomaly;
mod body;
mod chunks;
mod event;
mod exchange;
mod flow;
mod frame;
mod header_name;
mod headers;
mod loss;
mod packet;
mod sealed;
mod secret;
mod side;
mod time;
mod tls;
mod untrusted;

pub use anomaly::Anomaly;
pub use body::{Body, Framing};
pub use chunks::{ChunkRun, Chunks};
pub use event::{Event, FlowClosed, FlowOpened, Protocol, StreamCount};
pub use exchange::{Ending, Exchange, ExchangeId, Interim, Outcome, Request, Response, Version};
pub use flow::{Close, Endpoint, Endpoints, FlowId, Transport};
pub use frame::{Frame, Frames, Stamp};
pub use header_name::{HeaderName, HeaderNames};
pub use headers::Headers;
pub(crate) use headers::Spans;
pub use loss::{Loss, LossReason, Undecoded};
pub use packet::{LinkType, Packet, ReadTail, Tail};
pub use sealed::{SealedExchange, SealedMessage, SealedPartner};
pub use secret::Secret;
pub use side::Side;
pub use time::Timestamp;
pub use tls::{Handshake, Shut, TlsFailure, TlsFailureKind, TlsVersion, TlsView, alert_name};
pub use untrusted::Untrusted;
