//! An exchange that stayed shut as a line of a session, written and read: when its records passed, how much they can hold, and
//! which exchange is held to have led to it.

use serde::Deserialize;

use crate::model::{Endpoints, Frame, SealedExchange, SealedMessage, SealedPartner};
use crate::session::json_text::JsonText;
use crate::session::jsonl::parts::{parse_endpoint, parse_id, parse_time};
use crate::session::jsonl::read::RecordedSealed;

/// Writes the members of a sealed line after its type.
pub(super) fn write_sealed(
    json: &mut JsonText,
    sealed: &SealedExchange,
    hop: &str,
    partner: Option<(SealedPartner, &'static str)>,
) {
    json.key("id");
    json.display(sealed.id);
    json.key("flow");
    json.number(sealed.id.flow.0);
    json.key("hop");
    json.string(hop);
    json.key("client");
    json.display(sealed.endpoints.client);
    json.key("server");
    json.display(sealed.endpoints.server);
    json.key("time");
    json.open(b'{');
    for (name, time) in [
        ("start", sealed.request.start),
        ("request_end", sealed.request.end),
        ("first_byte", sealed.response.start),
        ("end", sealed.response.end),
    ] {
        json.key(name);
        json.time(time);
    }
    json.close(b'}');
    for (name, message) in [("request", &sealed.request), ("response", &sealed.response)] {
        json.key(name);
        write_message(json, message);
    }
    json.key("trace");
    match partner {
        Some((partner, _)) => json.display(partner.trace),
        None => json.null(),
    }
    json.key("downstream");
    match partner {
        Some((partner, _)) => json.display(partner.downstream),
        None => json.null(),
    }
    json.key("confidence");
    match partner {
        Some((_, confidence)) => json.string(confidence),
        None => json.null(),
    }
}

fn write_message(json: &mut JsonText, message: &SealedMessage) {
    json.open(b'{');
    json.key("octets");
    json.open(b'[');
    json.number(*message.octets.start());
    json.number(*message.octets.end());
    json.close(b']');
    json.key("records");
    json.number(message.records.into());
    json.key("frames");
    json.open(b'[');
    for frame in message.frames {
        json.number(frame.number());
    }
    json.close(b']');
    if message.frames.iter().any(|frame| frame.file() > 0) {
        json.key("files");
        json.open(b'[');
        for frame in message.frames {
            json.number(frame.file().into());
        }
        json.close(b']');
    }
    json.close(b'}');
}

/// A sealed line.
#[derive(Deserialize)]
pub(super) struct SealedLine {
    id: String,
    hop: String,
    client: String,
    server: String,
    time: TimePart,
    request: MessagePart,
    response: MessagePart,
    #[serde(default)]
    trace: Option<String>,
    #[serde(default)]
    downstream: Option<String>,
    #[serde(default)]
    confidence: Option<String>,
}

#[derive(Deserialize)]
struct TimePart {
    start: String,
    request_end: String,
    first_byte: String,
    end: String,
}

#[derive(Deserialize)]
struct MessagePart {
    octets: [u64; 2],
    records: u32,
    #[serde(default)]
    frames: [u64; 2],
    #[serde(default)]
    files: [u16; 2],
}

impl SealedLine {
    /// The exchange that the line tells of.
    pub(super) fn build(self) -> Result<RecordedSealed, String> {
        let exchange = SealedExchange {
            id: parse_id(&self.id)?,
            endpoints: Endpoints { client: parse_endpoint(&self.client)?, server: parse_endpoint(&self.server)? },
            request: self.request.build(&self.time.start, &self.time.request_end)?,
            response: self.response.build(&self.time.first_byte, &self.time.end)?,
        };
        let partner = match (&self.trace, &self.downstream) {
            (Some(trace), Some(downstream)) => Some(SealedPartner {
                trace: parse_id(trace)?,
                downstream: parse_id(downstream)?,
                is_sole: self.confidence.as_deref() == Some("likely"),
            }),
            _ => None,
        };
        Ok(RecordedSealed { exchange, hop: self.hop, partner })
    }
}

impl MessagePart {
    fn build(&self, start: &str, end: &str) -> Result<SealedMessage, String> {
        let [least, most] = self.octets;
        let ([first, last], [first_file, last_file]) = (self.frames, self.files);
        Ok(SealedMessage {
            octets: least..=most,
            records: self.records,
            start: parse_time(start)?,
            end: parse_time(end)?,
            frames: [Frame::new(first_file, first), Frame::new(last_file, last)],
        })
    }
}
