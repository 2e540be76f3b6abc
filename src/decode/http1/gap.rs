//! What the capture lacks, what was not given, and how a side ends.

use crate::decode::http1::body::{self, Chunk, Progress};
use crate::decode::http1::connection::Connection;
use crate::decode::http1::pending::Answer;
use crate::decode::http1::reader::State;
use crate::model::{Anomaly, Close, LossReason, Side, Stamp};

impl Connection {
    /// A gap: inside a body of known extent it is arithmetic, elsewhere the next message has to be looked for.
    pub(super) fn gap(&mut self, from: Side, stamp: Stamp, length: u64) {
        match self.reader(from).state {
            State::Start => self.lose_place(from, true),
            State::Head => {
                self.cut_head(from, stamp, Anomaly::GapInHead);
                self.lose_place(from, true);
            }
            State::Body(progress) => self.gap_in_body(from, stamp, length, progress),
            State::Seek { .. } => self.lose_place(from, true),
            State::Sink(_) => {}
        }
    }

    fn gap_in_body(&mut self, from: Side, stamp: Stamp, length: u64, progress: Progress) {
        let inside = match progress {
            Progress::Length(left) | Progress::Chunk(Chunk::Content(left)) => left.min(length),
            Progress::UntilClose => length,
            Progress::Chunk(_) => 0,
        };
        let (reader, message) = self.reading(from);
        if let Some(mut message) = message {
            body::miss(inside, reader, &mut message);
        }
        let rest = length - inside;
        match progress {
            Progress::UntilClose => {}
            Progress::Length(left) if left == inside => {
                self.end_message(from, true);
                if rest > 0 {
                    self.gap(from, stamp, rest);
                }
            }
            Progress::Length(left) => self.reader_mut(from).state = State::Body(Progress::Length(left - inside)),
            Progress::Chunk(Chunk::Content(left)) if rest == 0 => {
                let next = if left == inside { Chunk::End } else { Chunk::Content(left - inside) };
                self.reader_mut(from).state = State::Body(Progress::Chunk(next));
            }
            Progress::Chunk(_) => {
                self.reader_mut(from).gather = None;
                self.end_message(from, false);
                self.lose_place(from, false);
            }
        }
    }

    /// After a gap outside known bodies. Where the head of a message was due, the request that waits for it may have lost it.
    fn lose_place(&mut self, from: Side, head_was_due: bool) {
        let reason = LossReason::AfterGap;
        let reader = self.reader_mut(from);
        let gathered = reader.gather.take().map(|gather| (gather.start, gather.length));
        let blank = u64::from(std::mem::take(&mut reader.blank));
        (reader.gap, reader.gap_ever) = (true, true);
        reader.seek(reason, true, false);
        if let Some((stamp, bytes)) = gathered {
            self.pass(from, stamp, bytes + blank, reason);
        }
        if from == Side::Server
            && head_was_due
            && let Some(pending) = self.pending.iter_mut().find(|pending| pending.is_waiting())
        {
            pending.answer = Answer::Doubtful;
        }
    }

    /// Octets inside a body, or of nothing that is decoded, that were not given.
    pub(super) fn skip(&mut self, from: Side, stamp: Stamp, length: u64) {
        if length == 0 {
            return;
        }
        let progress = match self.reader(from).state {
            State::Body(progress) => progress,
            State::Sink(reason) => return self.pass(from, stamp, length, reason),
            State::Start | State::Head | State::Seek { .. } => return,
        };
        self.note_body_start(from, stamp);
        let (reader, message) = self.reading(from);
        if let Some(mut message) = message {
            message.frames.push(stamp.frame);
            *message.end = Some(stamp.at);
            body::pass(length, reader, &mut message);
        }
        let next = match progress {
            Progress::Length(left) if left <= length => return self.end_message(from, true),
            Progress::Length(left) => Progress::Length(left - length),
            Progress::Chunk(Chunk::Content(left)) if left <= length => Progress::Chunk(Chunk::End),
            Progress::Chunk(Chunk::Content(left)) => Progress::Chunk(Chunk::Content(left - length)),
            Progress::UntilClose | Progress::Chunk(_) => progress,
        };
        self.reader_mut(from).state = State::Body(next);
    }

    /// Octets that would have been needed, but were not given: like a gap, except that the capture holds them.
    pub(super) fn pass_unread(&mut self, from: Side, stamp: Stamp, length: u64) {
        if let State::Body(progress) = self.reader(from).state {
            let inside = match progress {
                Progress::Length(left) | Progress::Chunk(Chunk::Content(left)) => left.min(length),
                Progress::UntilClose => length,
                Progress::Chunk(_) => 0,
            };
            if inside > 0 {
                self.skip(from, stamp, inside);
                return self.handle_skip(from, stamp, length - inside);
            }
        }
        self.gap(from, stamp, length);
        self.pass(from, stamp, length, LossReason::AfterGap);
    }

    /// The stream of one side ended: so does its message.
    pub(super) fn close_message(&mut self, from: Side, stamp: Stamp, how: Close) {
        let sunk = match self.reader(from).state {
            State::Sink(reason) => reason,
            _ => LossReason::NotHttp,
        };
        match self.reader(from).state {
            State::Head if how == Close::Unseen => self.cut_head(from, stamp, Anomaly::GapInHead),
            State::Head => self.cut_head(from, stamp, Anomaly::HeadCutShort),
            State::Body(Progress::UntilClose) => self.end_message(from, how == Close::Finished),
            State::Body(_) => {
                if how != Close::Unseen
                    && let Some(message) = self.reading(from).1
                {
                    message.notes.add(Anomaly::BodyCutShort);
                }
                self.end_message(from, false);
            }
            State::Start | State::Seek { .. } | State::Sink(_) => {}
        }
        let reader = self.reader_mut(from);
        let blank = u64::from(std::mem::take(&mut reader.blank));
        reader.gather = None;
        reader.state = State::Sink(sunk);
        self.pass(from, stamp, blank, LossReason::NotHttp);
    }
}
