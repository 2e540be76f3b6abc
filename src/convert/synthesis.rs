//! Recorded exchanges in; packets as they may have been out: connections in clear, for tools that read captures only.
//!
//! Secrets stay as the session has them, redacted. Octets of bodies that the session did not keep are missing in the
//! packets, as if the capture had lost them.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;

use crate::capture::Interface;
use crate::convert::ConvertError;
use crate::convert::checksum::{mend, of_header};
use crate::convert::out::{Format, Out};
use crate::decode::segment::{Flags, Segment};
use crate::model::{
    Body, Endpoint, Endpoints, Exchange, FlowId, Frame, Framing, Headers, LinkType, Outcome, Packet, Side, Tail, Timestamp,
    Version,
};

/// Writes packets that carry exchanges.
pub struct Synthesis<W: Write> {
    out: Out<W>,
    flows: HashMap<FlowId, Lane>,
    packets: u64,
    last: Option<Timestamp>,
}

/// One connection being written.
#[derive(Clone, Copy)]
struct Lane {
    ends: Endpoints,
    client_next: u32,
    server_next: u32,
}

impl<W: Write> Synthesis<W> {
    /// Starts a capture.
    ///
    /// # Errors
    /// Where writing fails, as for all functions here.
    pub fn new(out: W, format: Format) -> Result<Self, ConvertError> {
        let mut out = Out::new(out, format, true)?;
        let description = "exchanges of a recorded session, written as packets".to_owned();
        let interface = Interface { name: Some("session".to_owned()), description: Some(description), ..Interface::default() };
        out.add_interface(0, RAW_IP, Some(&interface))?;
        Ok(Self { out, flows: HashMap::new(), packets: 0, last: None })
    }

    /// Writes the packets of an exchange. Those of one flow have to come in order.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn write_exchange(&mut self, exchange: &Exchange) -> Result<(), ConvertError> {
        let flow = exchange.id.flow;
        let request = &exchange.request;
        let mut lane = match self.flows.get(&flow) {
            Some(lane) => *lane,
            None => self.open(exchange.endpoints, request.start)?,
        };
        let mut head = [request.method(), b" ", request.target()].concat();
        head.extend_from_slice(version_part(request.version, b" "));
        let has_head = request.version != Version::Http09;
        self.write_message(&mut lane, Side::Client, request.start, head, has_head.then_some(&request.headers), &request.body)?;
        for interim in &exchange.interim {
            let head = format!("HTTP/1.1 {} Interim\r\n\r\n", interim.status);
            self.send(&mut lane, Side::Server, interim.at, head.as_bytes())?;
        }
        let end = request.end.unwrap_or(request.start);
        let mut is_over = false;
        match &exchange.outcome {
            Outcome::Answered(response) => {
                let mut head = version_part(response.version, b"").to_vec();
                head.extend_from_slice(format!(" {} ", response.status).as_bytes());
                head.extend_from_slice(response.reason());
                let has_head = response.version != Version::Http09;
                let headers = has_head.then_some(&response.headers);
                let head = if has_head { head } else { Vec::new() };
                self.write_message(&mut lane, Side::Server, response.start, head, headers, &response.body)?;
                if response.body.framing == Framing::UntilClose && response.body.complete {
                    self.end(&mut lane, Side::Server, response.end.unwrap_or(response.start), FIN)?;
                    is_over = true;
                }
            }
            Outcome::ClosedEarly { by } => {
                self.end(&mut lane, *by, end, FIN)?;
                is_over = true;
            }
            Outcome::Reset { by } => {
                self.end(&mut lane, *by, end, RST)?;
                is_over = true;
            }
            Outcome::Unanswered => {}
        }
        if is_over || self.flows.len() >= FLOWS_MAX {
            self.flows.remove(&flow);
        } else {
            self.flows.insert(flow, lane);
        }
        Ok(())
    }

    /// Ends the capture; gives how many packets there are, and the output back.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn finish(self) -> Result<(u64, W), ConvertError> {
        Ok((self.packets, self.out.finish(&[], self.last)?))
    }

    /// The three packets that open a connection.
    fn open(&mut self, ends: Endpoints, at: Timestamp) -> Result<Lane, ConvertError> {
        let mut lane = Lane { ends, client_next: 0, server_next: 0 };
        self.packet(&lane, Side::Client, at, SYN, b"")?;
        lane.client_next = 1;
        self.packet(&lane, Side::Server, at, SYN | ACK, b"")?;
        lane.server_next = 1;
        self.packet(&lane, Side::Client, at, ACK, b"")?;
        Ok(lane)
    }

    fn write_message(
        &mut self,
        lane: &mut Lane,
        side: Side,
        at: Timestamp,
        mut text: Vec<u8>,
        headers: Option<&Headers>,
        body: &Body,
    ) -> Result<(), ConvertError> {
        if !text.is_empty() {
            text.extend_from_slice(b"\r\n");
        }
        if let Some(headers) = headers {
            write_fields(headers, &mut text);
            text.extend_from_slice(b"\r\n");
        }
        let is_chunked = body.framing == Framing::Chunked;
        if is_chunked && body.length > 0 {
            text.extend_from_slice(format!("{:x}\r\n", body.length).as_bytes());
        }
        let kept_max = usize::try_from(body.length).unwrap_or(usize::MAX);
        text.extend_from_slice(body.kept.get(..kept_max).unwrap_or(&body.kept));
        self.send(lane, side, at, &text)?;
        self.skip(lane, side, at, body.length.saturating_sub(body.kept.len() as u64))?;
        if is_chunked && body.complete {
            let mut end = if body.length > 0 { b"\r\n0\r\n".to_vec() } else { b"0\r\n".to_vec() };
            if let Some(trailers) = body.trailers.as_deref() {
                write_fields(trailers, &mut end);
            }
            end.extend_from_slice(b"\r\n");
            self.send(lane, side, at, &end)?;
        }
        Ok(())
    }

    /// Sends octets, and the acknowledgment of all of them.
    fn send(&mut self, lane: &mut Lane, side: Side, at: Timestamp, bytes: &[u8]) -> Result<(), ConvertError> {
        for piece in bytes.chunks(SEGMENT_BYTES_MAX) {
            self.packet(lane, side, at, ACK, piece)?;
            lane.advance(side, piece.len() as u32);
        }
        self.packet(lane, side.other(), at, ACK, b"")
    }

    /// Leaves out octets that were not recorded: they are acknowledged, and no packet has them.
    fn skip(&mut self, lane: &mut Lane, side: Side, at: Timestamp, count: u64) -> Result<(), ConvertError> {
        let mut left = count.min(SKIPPED_BYTES_MAX);
        while left > 0 {
            let step = u32::try_from(left).unwrap_or(u32::MAX).min(SKIP_BYTES_MAX);
            lane.advance(side, step);
            left -= u64::from(step);
            self.packet(lane, side.other(), at, ACK, b"")?;
        }
        Ok(())
    }

    fn end(&mut self, lane: &mut Lane, side: Side, at: Timestamp, flag: u8) -> Result<(), ConvertError> {
        self.packet(lane, side, at, flag | ACK, b"")?;
        if flag == FIN {
            lane.advance(side, 1);
            self.packet(lane, side.other(), at, FIN | ACK, b"")?;
            lane.advance(side.other(), 1);
            self.packet(lane, side, at, ACK, b"")?;
        }
        Ok(())
    }

    fn packet(&mut self, lane: &Lane, side: Side, at: Timestamp, flags: u8, payload: &[u8]) -> Result<(), ConvertError> {
        let bytes = lane.build(side, flags, payload);
        self.packets += 1;
        self.last = self.last.max(Some(at));
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let frame = Frame::new(0, self.packets);
        let packet = Packet {
            ordinal: self.packets,
            frame,
            at,
            link: RAW_IP,
            bytes: &bytes,
            captured: length,
            original: length,
            tail: Tail::NONE,
        };
        self.out.write_packet(0, &packet, &bytes, &[])
    }
}

impl Lane {
    const fn advance(&mut self, side: Side, by: u32) {
        match side {
            Side::Client => self.client_next = self.client_next.wrapping_add(by),
            Side::Server => self.server_next = self.server_next.wrapping_add(by),
        }
    }

    fn build(&self, side: Side, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (from, to, seq, ack) = match side {
            Side::Client => (self.ends.client, self.ends.server, self.client_next, self.server_next),
            Side::Server => (self.ends.server, self.ends.client, self.server_next, self.client_next),
        };
        let mut bytes = ip_header(from.ip, to.ip, TCP_BYTES + payload.len());
        let start = bytes.len() + TCP_BYTES;
        bytes.extend_from_slice(&from.port.to_be_bytes());
        bytes.extend_from_slice(&to.port.to_be_bytes());
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&if flags & ACK == 0 { 0 } else { ack }.to_be_bytes());
        bytes.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        let (source, destination) = match (from.ip, to.ip) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (from, to),
            _ => (Endpoint::new(wide(from.ip), from.port), Endpoint::new(wide(to.ip), to.port)),
        };
        let segment = Segment {
            source,
            destination,
            seq,
            ack: None,
            flags: Flags::default(),
            payload_start: u32::try_from(start).unwrap_or(0),
            payload_length: u32::try_from(payload.len()).unwrap_or(0),
        };
        mend(&mut bytes, &[], &segment);
        bytes
    }
}

fn ip_header(from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) {
        let total = u16::try_from(20 + length).unwrap_or(u16::MAX).to_be_bytes();
        let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
        header.extend_from_slice(&from.octets());
        header.extend_from_slice(&to.octets());
        let sum = of_header(&header).to_be_bytes();
        if let Some(place) = header.get_mut(10..12) {
            place.copy_from_slice(&sum);
        }
        return header;
    }
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], 6, 64];
    for address in [from, to] {
        match wide(address) {
            IpAddr::V6(address) => header.extend_from_slice(&address.octets()),
            IpAddr::V4(address) => header.extend_from_slice(&address.to_ipv6_mapped().octets()),
        }
    }
    header
}

fn wide(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    }
}

fn write_fields(headers: &Headers, text: &mut Vec<u8>) {
    for (name, value) in headers.iter() {
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
}

fn version_part(version: Version, before: &[u8]) -> &'static [u8] {
    match (version, before.is_empty()) {
        (Version::Http09, _) => b"",
        (Version::Http10, true) => b"HTTP/1.0",
        (Version::Http10, false) => b" HTTP/1.0",
        (Version::Http11, true) => b"HTTP/1.1",
        (Version::Http11, false) => b" HTTP/1.1",
    }
}

const RAW_IP: LinkType = LinkType(101);
const TCP_BYTES: usize = 20;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// An IP packet holds less than 64 KiB.
const SEGMENT_BYTES_MAX: usize = 32 << 10;
/// Sequence numbers are compared over half of their space.
const SKIP_BYTES_MAX: u32 = 1 << 30;
/// No object is larger (5 TiB), whatever a session says.
const SKIPPED_BYTES_MAX: u64 = 5 << 40;
/// Beyond this many open connections each exchange gets its own.
const FLOWS_MAX: usize = 1 << 20;
