//! Recorded calls sent again to another endpoint: what may be sent and in which order (pure), and the sending (`send`).

mod ids;
mod journal;
mod order;
mod plan;
mod refused;
mod rewrite;
mod safety;
pub mod send;

pub use ids::{IdKind, Ids};
pub use journal::{Journal, JournalError};
pub use plan::{Pace, Plan, Step};
pub use refused::refused_copies;
pub use rewrite::{AddressStyle, Content, Outgoing, OutgoingBody, PayloadMode, Rules, SseMode, Target, rewrite, wants_content};
pub use safety::{Held, Permissions, judge};
