//! An exchange in the making.

use crate::decode::http1::body::weight;
use crate::decode::http1::notes::Notes;
use crate::model::{Body, Frames, Headers, Interim, Request, Response, Side, Stamp, Timestamp};

/// A request (empty where only its response was seen) with what is known of its answer so far.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) response: Option<Box<Response>>,
    pub(super) interim: Vec<Interim>,
    pub(super) notes: Notes,
    /// Where the request began.
    pub(super) start: Stamp,
    pub(super) request_ended: bool,
    pub(super) response_ended: bool,
    pub(super) answer: Answer,
}

/// What is known of an answer that was not seen.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// It may still come.
    #[default]
    Due,
    /// A gap began where it was due; it may be gone.
    Doubtful,
    /// It is gone: a later request was answered.
    Lost,
}

/// The parts of a message that its body changes.
pub(super) struct Message<'a> {
    pub(super) body: &'a mut Body,
    pub(super) frames: &'a mut Frames,
    pub(super) end: &'a mut Option<Timestamp>,
    pub(super) notes: &'a mut Notes,
}

impl Pending {
    /// Whether no final response began, and one may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.response.is_none() && self.answer != Answer::Lost
    }

    /// Whether nothing more can come.
    pub(super) fn is_ended(&self) -> bool {
        self.request_ended && (self.response_ended || self.answer == Answer::Lost)
    }

    /// Whether a side's message is being read.
    pub(super) fn is_open(&self, from: Side) -> bool {
        match from {
            Side::Client => !self.request_ended,
            Side::Server => self.response.is_some() && !self.response_ended,
        }
    }

    /// Octets that it holds, once its messages have ended.
    pub(super) fn weight(&self) -> usize {
        let of = |headers: &Headers, body: &Body| headers.text().len() + weight(body);
        of(&self.request.headers, &self.request.body)
            + self.response.as_deref().map_or(0, |response| of(&response.headers, &response.body))
    }

    /// A side's message.
    pub(super) fn message(&mut self, from: Side) -> Option<Message<'_>> {
        let notes = &mut self.notes;
        Some(match from {
            Side::Client => {
                let Request { body, frames, end, .. } = &mut self.request;
                Message { body, frames, end, notes }
            }
            Side::Server => {
                let Response { body, frames, end, .. } = self.response.as_deref_mut()?;
                Message { body, frames, end, notes }
            }
        })
    }
}
