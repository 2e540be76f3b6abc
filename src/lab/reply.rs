//! A response, as the store and the stand-in send it.

/// A response.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The length that a response without a body names: that of HEAD.
    pub(super) named_length: Option<u64>,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// An XML document.
    pub(super) fn xml(self, content: &str) -> Self {
        let mut reply = self.header("Content-Type", "application/xml");
        reply.body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{content}").into_bytes();
        reply
    }

    /// The bytes on the wire.
    pub(super) fn encode(&self, is_to_head: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).into_bytes();
        let has_no_content = matches!(self.status, 100..=199 | 204 | 304);
        if !has_no_content {
            let length = self.named_length.unwrap_or(self.body.len() as u64);
            text.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        if !is_to_head && !has_no_content {
            text.extend_from_slice(&self.body);
        }
        text
    }
}

/// The usual phrase of a status (RFC 9110 section 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        _ => "Status",
    }
}
