//! A TLS connection: stream octets of both sides in, in any pieces, plaintext out.

use crate::decode::Limits;
use crate::decode::tls::direction::{Cover, Current, Direction, Purpose};
use crate::decode::tls::ending::Ending;
use crate::decode::tls::held::Held;
use crate::decode::tls::hello::Hello;
use crate::decode::tls::record::{APPLICATION_DATA, Header};
use crate::decode::tls::sealed::Outside;
use crate::decode::tls::{Plain, Secrets, Sink, sslv2};
use crate::model::{Close, Shut, Side, Stamp, TlsView};

/// One TLS connection. It holds a record at most per direction, and little while idle.
#[derive(Default)]
pub struct Connection {
    pub(super) client: Direction,
    pub(super) server: Direction,
    /// The handshake under way, or whose keys are not all in use.
    pub(super) hello: Option<Box<Hello>>,
    /// Records that wait for a secret or for a ServerHello.
    pub(super) held: Held,
    pub(super) view: TlsView,
    pub(super) has_early_data: bool,
    pub(super) sealed_bytes: u64,
    /// What is seen of it while it stays shut.
    pub(super) outside: Outside,
    /// How its handshake goes, and how it ends.
    pub(super) ending: Ending,
    /// Whether the ClientHello was seen.
    pub(super) has_client_hello: bool,
    opens_all: bool,
    /// Bytes of records that may wait for a secret.
    pub(super) held_bytes_max: u32,
}

/// The input that is being handled, and where its results go.
pub(super) struct Turn<'t, 's> {
    pub(super) from: Side,
    pub(super) stamp: Stamp,
    pub(super) secrets: &'t mut Secrets<'s>,
    pub(super) sink: &'t mut dyn Sink,
}

/// Room for a whole record is made once so much of it has come: before that a peer could make this side hold much with little.
const RESERVED_FROM_BYTES: usize = 512;

impl Connection {
    /// A connection of which nothing has been seen.
    pub fn new(limits: &Limits) -> Self {
        let held_bytes_max = u32::try_from(limits.tls_held_bytes_max).unwrap_or(u32::MAX);
        Self { opens_all: limits.verify_records, held_bytes_max, ..Self::default() }
    }

    /// Takes the next stream octets of a side.
    pub fn handle_data(&mut self, from: Side, stamp: Stamp, data: &[u8], secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        let mut turn = Turn { from, stamp, secrets, sink };
        self.retry(&mut turn);
        let mut rest = data;
        while !rest.is_empty() {
            rest = self.step(rest, &mut turn);
            self.retry(&mut turn);
        }
        self.direction_mut(from).rest();
        self.forget_hello();
    }

    /// Takes octets that do no more than lengthen a record that is kept to be opened, in memory that it has already; tells
    /// whether they were such. Any others are to be given by [`Connection::handle_data`].
    pub fn absorb(&mut self, from: Side, data: &[u8]) -> bool {
        let is_retried = !self.held.is_empty();
        let direction = self.direction_mut(from);
        let is_opened = direction.proven().is_some() && direction.seek.is_none() && direction.shut.is_none();
        let room = direction.partial.capacity() - direction.partial.len();
        let Some(current) = direction.current.as_mut() else { return false };
        let is_inside = current.purpose == Purpose::Open && data.len() < current.remaining();
        if is_retried || !is_opened || !is_inside || direction.partial.is_empty() || room < data.len() {
            return false;
        }
        current.taken += data.len();
        direction.partial.extend_from_slice(data);
        true
    }

    /// Takes note of stream octets that exist and are not given, as [`Connection::skippable`] allowed.
    pub fn handle_skip(&mut self, from: Side, stamp: Stamp, length: u64, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        let direction = self.direction_mut(from);
        if direction.shut.is_some() {
            self.sealed_bytes = self.sealed_bytes.saturating_add(length);
            self.follow_skip(length, from, stamp);
            return;
        }
        let Some(current) = direction.current.as_mut() else {
            self.handle_gap(from, stamp, length, secrets, sink);
            return;
        };
        let allowed = usize::try_from(length).unwrap_or(usize::MAX).min(current.skippable());
        current.taken += allowed;
        let excess = length.saturating_sub(allowed as u64);
        let mut turn = Turn { from, stamp, secrets, sink };
        self.finish_record(&mut turn);
        if excess > 0 {
            self.handle_gap(from, stamp, excess, turn.secrets, turn.sink);
        }
    }

    /// Takes note of stream octets that the capture lacks.
    pub fn handle_gap(&mut self, from: Side, stamp: Stamp, length: u64, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        let mut turn = Turn { from, stamp, secrets, sink };
        self.retry(&mut turn);
        let is_settled = self.hello.as_ref().is_some_and(|hello| hello.server.is_some());
        let direction = self.direction_mut(from);
        if direction.shut.is_some() {
            return self.follow_skip(length, from, stamp);
        }
        if direction.is_closed || length == 0 {
            return;
        }
        // After the hellos, nothing in clear is needed but change_cipher_spec.
        let can_lose = match &direction.cover {
            Cover::Clear => is_settled,
            Cover::Waiting => false,
            Cover::Sealed(_) => direction.proven().is_some_and(|opener| opener.can_lose_records()),
        };
        match direction.current.as_mut() {
            Some(current) if can_lose && length <= current.remaining() as u64 => {
                // The header is known, so that the place of the next record is, too.
                current.purpose = Purpose::Lost;
                current.taken += usize::try_from(length).unwrap_or(usize::MAX);
                direction.partial.clear();
                self.finish_record(&mut turn);
            }
            _ => {
                self.lose_place_outside();
                self.lose_place(length, &mut turn);
                self.direction_mut(from).follow = None;
            }
        }
    }

    /// Takes note of the end of a side's stream. After a close_notify it is not a second end.
    pub fn handle_close(&mut self, from: Side, stamp: Stamp, how: Close, secrets: &mut Secrets<'_>, sink: &mut dyn Sink) {
        self.ending.handle_close(from, how, stamp);
        let mut turn = Turn { from, stamp, secrets, sink };
        self.retry(&mut turn);
        if how != Close::Finished {
            // Nothing more comes of the flow, or is looked at.
            self.give_up(turn.secrets, turn.sink);
        } else if self.held.add_close(from, stamp) {
            return;
        }
        self.close(how, &mut turn);
    }

    /// How many of the next stream octets of a side need not be given: the rest of a record that need not be opened, or
    /// everything where nothing more is opened.
    pub fn skippable(&self, from: Side) -> u64 {
        let direction = self.direction(from);
        if let (Some(_), Some(follow)) = (&direction.shut, &direction.follow) {
            return follow.skippable();
        }
        if direction.shut.is_some() || direction.is_closed {
            return u64::MAX;
        }
        direction.current.as_ref().map_or(0, |current| current.skippable() as u64)
    }

    /// Octets that it holds: records and handshake messages that are not whole, and records that wait for a secret.
    pub fn held_bytes(&self) -> usize {
        self.client.held_bytes() + self.server.held_bytes() + self.held.bytes()
    }

    /// What the handshake shows.
    pub fn view(&self) -> &TlsView {
        &self.view
    }

    /// Why some of it stayed or became shut; `None` if all was opened so far.
    pub fn shut(&self) -> Option<&Shut> {
        let reasons = [&self.client, &self.server].map(|direction| match (&direction.shut, &direction.cover) {
            (Some(reason), _) => Some(reason),
            (None, Cover::Waiting) => Some(self.waiting_reason()),
            (None, Cover::Sealed(openers)) if direction.passed_over > 0 && !openers.iter().any(|one| one.is_proven) => {
                Some(&Shut::WrongSecret)
            }
            _ => None,
        });
        reasons.into_iter().flatten().next()
    }

    /// Octets of application data records seen, as they are on the wire.
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Whether some plaintext was 0-RTT data, which anybody could have sent again (RFC 8446 section 8).
    pub fn has_early_data(&self) -> bool {
        self.has_early_data
    }

    /// Why records are held: what would be missing if nothing more came.
    pub(super) fn waiting_reason(&self) -> &'static Shut {
        match &self.hello {
            Some(hello) if hello.server.is_some() => &Shut::NoSecret,
            _ => &Shut::HandshakeNotCaptured,
        }
    }

    pub(super) fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn direction_mut(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Gives the end of a side to the sink, once.
    pub(super) fn close(&mut self, how: Close, turn: &mut Turn<'_, '_>) {
        self.end_seek(turn);
        let direction = self.direction_mut(turn.from);
        if !direction.is_closed {
            direction.is_closed = true;
            direction.partial = Vec::new();
            direction.current = None;
            turn.sink.plain(Plain::Close { from: turn.from, stamp: turn.stamp, how });
        }
    }

    /// Takes octets up to the end of a header or a body; gives what is left.
    pub(super) fn step<'d>(&mut self, data: &'d [u8], turn: &mut Turn<'_, '_>) -> &'d [u8] {
        let (opens_all, is_waiting) = (self.opens_all, !self.held.is_empty());
        let direction = self.direction_mut(turn.from);
        if direction.shut.is_some() {
            self.sealed_bytes = self.sealed_bytes.saturating_add(data.len() as u64);
            self.follow(data, turn.from, turn.stamp);
            return &[];
        }
        if direction.is_closed {
            return &[];
        }
        if direction.seek.is_some() {
            self.seek(data, turn);
            return &[];
        }
        if turn.from == Side::Client && direction.records == 0 && direction.current.is_none() {
            let is_sslv2 = sslv2::is_client_hello(if direction.partial.is_empty() { data } else { &direction.partial });
            if is_sslv2 {
                return self.take_sslv2_hello(data);
            }
        }
        let direction = self.direction_mut(turn.from);
        let Some(current) = direction.current.as_mut() else {
            let before = direction.partial.len();
            return match direction.take_header(data) {
                Ok((None, rest)) => rest,
                Ok((Some(header), rest)) => {
                    let skippable = if opens_all || is_waiting { 0 } else { turn.sink.skippable(turn.from) };
                    let purpose = direction.purpose(header, skippable);
                    direction.current = Some(Current { header, taken: 0, purpose });
                    self.finish_record(turn);
                    rest
                }
                Err(reason) => {
                    direction.shut(reason);
                    // Where no header is, the place among the records is not known.
                    direction.follow = None;
                    // What came of the header before is no less sealed than what comes now.
                    self.sealed_bytes = self.sealed_bytes.saturating_add(before as u64);
                    data
                }
            };
        };
        let (now, rest) = data.split_at(current.remaining().min(data.len()));
        let (_, kept) = now.split_at(current.skippable().min(now.len()));
        current.taken += now.len();
        if current.remaining() == 0 && direction.partial.is_empty() && current.purpose == Purpose::Open {
            // The whole body is in this piece: it goes straight to where it is opened.
            let header = current.header;
            direction.current = None;
            let mut buffer = std::mem::take(turn.secrets.buffer);
            buffer.clear();
            buffer.extend_from_slice(kept);
            self.count_record(header, turn.from, turn.stamp);
            self.record(header, &mut buffer, turn);
            *turn.secrets.buffer = buffer;
            return rest;
        }
        if direction.partial.is_empty() && current.purpose == Purpose::Open && kept.len() >= RESERVED_FROM_BYTES {
            direction.partial.reserve_exact(kept.len() + current.remaining());
        }
        direction.partial.extend_from_slice(kept);
        self.finish_record(turn);
        rest
    }

    /// Takes bytes of a ClientHello of the form of SSL 2.0; gives what is left.
    fn take_sslv2_hello<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        let mut octets = std::mem::take(&mut self.client.partial);
        let missing = sslv2::length(if octets.is_empty() { data } else { &octets }).unwrap_or(0).saturating_sub(octets.len());
        let (now, rest) = data.split_at(missing.min(data.len()));
        octets.extend_from_slice(now);
        if now.len() == missing {
            self.client.records += 1;
            self.sslv2_hello(&octets);
        } else {
            self.client.partial = octets;
        }
        rest
    }

    /// Handles the current record if all of its body has been taken.
    fn finish_record(&mut self, turn: &mut Turn<'_, '_>) {
        let direction = self.direction_mut(turn.from);
        let Some(current) = direction.current.take_if(|current| current.remaining() == 0) else { return };
        let mut body = std::mem::take(&mut direction.partial);
        self.count_record(current.header, turn.from, turn.stamp);
        match current.purpose {
            Purpose::Open => self.record(current.header, &mut body, turn),
            Purpose::Pass { .. } => self.passed_record(current.header, &body, turn),
            Purpose::Lost => self.lost_record(current.header, turn),
        }
        body.clear();
        let direction = self.direction_mut(turn.from);
        if direction.partial.is_empty() {
            direction.partial = body;
        }
    }

    fn count_record(&mut self, header: Header, from: Side, stamp: Stamp) {
        self.ending.handle_record(self.view.version, header, from, stamp);
        self.direction_mut(from).records += 1;
        if header.kind == APPLICATION_DATA {
            self.sealed_bytes = self.sealed_bytes.saturating_add(u64::from(header.length));
        }
    }
}

impl Direction {
    /// Takes a header off the start, or as much of it as there is.
    fn take_header<'d>(&mut self, data: &'d [u8]) -> Result<(Option<Header>, &'d [u8]), Shut> {
        if self.partial.is_empty()
            && let Some((octets, rest)) = data.split_at_checked(Header::BYTES)
        {
            return Ok((Some(self.read_header(octets)?), rest));
        }
        let missing = Header::BYTES.saturating_sub(self.partial.len());
        let (now, rest) = data.split_at(missing.min(data.len()));
        self.partial.extend_from_slice(now);
        if self.partial.len() < Header::BYTES {
            return Ok((None, rest));
        }
        let header = self.read_header(&self.partial)?;
        self.partial.clear();
        Ok((Some(header), rest))
    }

    fn read_header(&self, octets: &[u8]) -> Result<Header, Shut> {
        let reason = if self.records == 0 { Shut::HandshakeNotCaptured } else { Shut::Malformed };
        Header::read(octets).ok_or(reason)
    }
}
