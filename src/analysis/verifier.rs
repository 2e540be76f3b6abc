//! Compares bodies with the checksums of their messages, for as many as a run can afford, and then drops what only that needed.

use crate::model::{Body, Exchange, HeaderName, Headers, is_text_type};
use crate::s3::body_check::{check_request, check_response};

/// What may still be compared. In the order of events, so that it does not depend on how many threads decode.
#[derive(Debug)]
pub(super) struct Verifier {
    bodies_left: u32,
    bytes_left: u64,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { bodies_left: Self::BODIES_MAX, bytes_left: Self::BYTES_MAX }
    }
}

impl Verifier {
    /// How many bodies of a run are compared.
    const BODIES_MAX: u32 = 4096;
    /// How many bytes of them.
    const BYTES_MAX: u64 = 256 << 20;
    /// Bodies of text up to this length are kept for those who read them.
    const TEXT_BYTES_MAX: usize = 4096;

    /// Compares the bodies of an exchange, where they were kept whole.
    pub(super) fn verify(&mut self, exchange: &mut Exchange) {
        let method = exchange.request.method();
        let (is_put, is_get) = (method == b"PUT", method == b"GET");
        if is_put && self.may_compare(&exchange.request.body) {
            exchange.request.body.check = check_request(&exchange.request).map(Box::new);
        }
        if is_put {
            drop_content(&mut exchange.request.body, &exchange.request.headers);
        }
        let Some(response) = exchange.response_mut().filter(|response| is_get && response.status == 200) else { return };
        if self.may_compare(&response.body) {
            response.body.check = check_response(response).map(Box::new);
        }
        drop_content(&mut response.body, &response.headers);
    }

    fn may_compare(&mut self, body: &Body) -> bool {
        let length = body.kept.len() as u64;
        let may =
            length > 0 && length == body.length && body.check.is_none() && self.bodies_left > 0 && self.bytes_left >= length;
        if may {
            self.bodies_left -= 1;
            self.bytes_left -= length;
        }
        may
    }
}

/// Drops the content of an object, which nobody reads further on.
fn drop_content(body: &mut Body, headers: &Headers) {
    let is_read = || headers.all(HeaderName::ContentType).last().is_some_and(is_text_type);
    if body.kept.len() > Verifier::TEXT_BYTES_MAX || (!body.kept.is_empty() && !is_read()) {
        body.kept = Vec::new();
    }
}
