//! Secrets: where they are and of what kind, in one table (`names`) and one reading of texts (`text`); and in what encodings
//! they come again, with one search for them (`matcher`).
//!
//! Redaction renders the ranges found here, scrubbed captures mask them, and the rules for leaks are driven by their kinds: what is
//! redacted is what is reported.

mod authorization;
mod cookies;
mod encodings;
mod kind;
mod locate;
mod matcher;
mod names;
mod shapes;
mod text;
mod unescape;

pub use cookies::{cookies, is_credential, is_random};
pub use encodings::encodings;
pub use kind::{Exposure, Kind};
pub use locate::{Exposed, in_body, in_exchange, in_header, in_target, may_hold_secret};
pub use matcher::{BYTES_MIN, Carry, Hit, Matcher};
pub use text::{field_of_form, in_url};
pub use unescape::Unescaped;

use std::ops::Range;

/// A secret inside a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where it is, in bytes as sent.
    pub range: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// How it is written.
    pub form: Form,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// The value of a header field, or a part of it.
    Field,
    /// A parameter or the user information of a URL.
    Url,
    /// A field of a form with files.
    Form,
    /// In another text: XML, JSON, an urlencoded form, a message.
    Text,
}
