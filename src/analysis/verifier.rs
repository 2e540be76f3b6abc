//! Compares bodies with the checksums of their messages, as many as a run can afford, and drops what only that needed.

use crate::model::{Body, BodyCheck, Exchange, HeaderName, Headers, is_text_type};
use crate::s3::body_check::{check_request, check_response};

/// Which bodies are compared: the first ones, a sample of the rest, and more where one differed. It goes by the order of events, so
/// that it does not depend on how many threads decode.
#[derive(Debug)]
pub(super) struct Verifier {
    /// How many bodies of any length may be compared.
    credit: u32,
    /// How many bytes of further bodies.
    byte_credit: u64,
    /// Bodies that could have been compared.
    seen: u64,
    /// How much credit is left for bodies that differed.
    extra_left: u32,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { credit: Self::FIRST, byte_credit: Self::BYTES, seen: 0, extra_left: Self::EXTRA }
    }
}

impl Verifier {
    /// So many bodies are compared at first.
    const FIRST: u32 = 24;
    /// Then as many as have so many bytes together, where each counts for [`Self::BODY_BYTES`] more.
    const BYTES: u64 = 96 << 10;
    /// What it costs to compare an empty body, in bytes of a longer one.
    const BODY_BYTES: u64 = 256;
    /// Then one in so many.
    const ONE_IN: u64 = 256;
    /// For each body that differs one more is compared, up to so many.
    const EXTRA: u32 = 64;
    /// Bodies of text up to this length are kept for those who read them.
    const TEXT_BYTES_MAX: usize = 4096;

    /// Compares the bodies of an exchange, where they were kept whole.
    pub(super) fn verify(&mut self, exchange: &mut Exchange) {
        let method = exchange.request.method();
        let (is_put, is_get) = (method == b"PUT", method == b"GET");
        if is_put && self.may_compare(&exchange.request.body) {
            let check = check_request(&exchange.request);
            self.learn(check.as_ref());
            exchange.request.body.check = check.map(Box::new);
        }
        if is_put {
            drop_content(&mut exchange.request.body, &exchange.request.headers);
        }
        let Some(response) = exchange.response_mut().filter(|response| is_get && response.status == 200) else { return };
        if self.may_compare(&response.body) {
            let check = check_response(response);
            self.learn(check.as_ref());
            response.body.check = check.map(Box::new);
        }
        drop_content(&mut response.body, &response.headers);
    }

    fn may_compare(&mut self, body: &Body) -> bool {
        let is_whole = !body.kept.is_empty() && body.kept.len() as u64 == body.length && body.check.is_none();
        if !is_whole {
            return false;
        }
        self.seen += 1;
        self.credit += u32::from(self.seen.is_multiple_of(Self::ONE_IN));
        if let Some(left) = self.credit.checked_sub(1) {
            self.credit = left;
            return true;
        }
        let left = self.byte_credit.checked_sub(body.length.saturating_add(Self::BODY_BYTES));
        self.byte_credit = left.unwrap_or(self.byte_credit);
        left.is_some()
    }

    /// Where one body differs others may.
    fn learn(&mut self, check: Option<&BodyCheck>) {
        if check.is_some_and(|check| !check.mismatched.is_empty()) && self.extra_left > 0 {
            self.extra_left -= 1;
            self.credit += 1;
        }
    }
}

/// Drops the content of an object, which nobody reads further on.
fn drop_content(body: &mut Body, headers: &Headers) {
    let is_read = || headers.all(HeaderName::ContentType).last().is_some_and(is_text_type);
    if body.kept.len() > Verifier::TEXT_BYTES_MAX || (!body.kept.is_empty() && !is_read()) {
        body.kept = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bodies_are_compared_then_a_sample_and_more_where_one_differs() {
        let body = Body { kept: vec![1], length: 1, complete: true, ..Body::default() };
        let mut verifier = Verifier::default();
        let compared = |verifier: &mut Verifier, count: usize| (0..count).filter(|_| verifier.may_compare(&body)).count();
        assert_eq!(compared(&mut verifier, 64), 64);
        assert!(compared(&mut verifier, 1024) < 1024);
        assert_eq!(compared(&mut verifier, 1024), 4);
        verifier.learn(Some(&BodyCheck { mismatched: vec![], ..BodyCheck::default() }));
        assert_eq!(compared(&mut verifier, 10), 0);
        let mismatch =
            crate::model::Mismatch { name: crate::model::ChecksumName::Crc32, announced: String::new(), computed: String::new() };
        verifier.learn(Some(&BodyCheck { mismatched: vec![mismatch], ..BodyCheck::default() }));
        assert_eq!(compared(&mut verifier, 10), 1);
        assert!(!verifier.may_compare(&Body::default()));
    }
}
