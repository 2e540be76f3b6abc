//! The two sides of a flow.

/// Who sent it: the side that opened the flow, or the one that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that opened the flow and sends the requests.
    Client,
    /// The side that accepted the flow and answers.
    Server,
}

impl Side {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
