//! What is kept of a body: the choice of whoever uses a connection, made from the head.

use crate::model::{Framing, HeaderName, Headers, Request, Response, Version, is_text_type};

/// What is kept of a body. Its bytes are counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    /// Nothing: a body of known length is passed over without being read.
    #[default]
    Skip,
    /// Its SHA-256.
    Hash,
    /// So many of its first bytes, in memory ([`Body::kept`](crate::model::Body::kept)).
    Prefix(u32),
    /// Everything: the observer is given all content while it comes, and its SHA-256 and how it was cut into chunks at the end. In memory is kept what
    /// [`readable`] chooses, so that the exchange reads as it does without an observer.
    All,
}

/// The head of a message whose body follows. `body.framing` of the message says how its end is found.
#[derive(Clone, Copy)]
pub enum MessageHead<'a> {
    /// A request.
    Request(&'a Request),
    /// A final response.
    Response {
        /// The request that it answers; without method and target where that was not seen.
        request: &'a Request,
        /// The response.
        response: &'a Response,
    },
}

impl<'a> MessageHead<'a> {
    /// How the end of the body is found.
    pub const fn framing(&self) -> Framing {
        match self {
            Self::Request(request) => request.body.framing,
            Self::Response { response, .. } => response.body.framing,
        }
    }

    /// The fields.
    pub const fn headers(&self) -> &'a Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response { response, .. } => &response.headers,
        }
    }

    /// Whether the message can have content.
    pub const fn has_body(&self) -> bool {
        !matches!(self.framing(), Framing::None | Framing::Tunnel | Framing::Length(0))
    }
}

/// Keeps the start of bodies that a person or a rule has to read: error responses, small texts, and what is sent by POST.
/// Objects are skipped.
pub fn readable(head: &MessageHead<'_>) -> Retain {
    match readable_bytes(head) {
        0 => Retain::Skip,
        bytes => Retain::Prefix(bytes),
    }
}

/// How many bytes of a body [`readable`] keeps.
pub(super) fn readable_bytes(head: &MessageHead<'_>) -> u32 {
    let (request, is_request) = match head {
        MessageHead::Request(request) => (request, true),
        MessageHead::Response { response, .. } if response.version == Version::Http09 => return SMALL_BODY_BYTES,
        MessageHead::Response { response, .. } if response.status >= 400 && head.has_body() => return READABLE_BYTES_MAX,
        MessageHead::Response { request, .. } => (request, false),
    };
    let is_post = request.method() == b"POST";
    let is_worth_it = match head.framing() {
        Framing::None | Framing::Tunnel | Framing::Length(0) => false,
        Framing::Length(length) => is_post || length <= u64::from(SMALL_BODY_BYTES),
        Framing::Chunked | Framing::UntilClose => is_post,
    };
    if !is_worth_it {
        return 0;
    }
    let content_type = head.headers().all(HeaderName::ContentType).last().unwrap_or_default();
    match () {
        () if is_request && is_post && is_multipart_form(content_type) => FORM_BYTES_MAX,
        () if is_text_type(content_type) => READABLE_BYTES_MAX,
        () => 0,
    }
}

/// Whether a body of this type is a form with files, whose first part is worth keeping.
fn is_multipart_form(content_type: &[u8]) -> bool {
    content_type.get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
}

/// Error documents, lists of keys and forms are smaller; of what is longer the start is kept.
const READABLE_BYTES_MAX: u32 = 64 << 10;
/// Text of up to this length is kept whatever the method.
const SMALL_BODY_BYTES: u32 = 4096;
/// The part of a posted form with files that is kept: the fields are before the file.
const FORM_BYTES_MAX: u32 = 8 << 10;
