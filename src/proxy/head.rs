//! Heads of messages, read strictly: what two readers could understand differently is refused, and never repaired.
//!
//! The decoder is lenient and names what is odd; a proxy that forwards bytes as they are has to be strict instead
//! (RFC 9112 sections 2.2, 5.1, 5.2, 6.3 and 11.2).

use crate::proxy::refusal::Refusal;

/// What a head says about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, with the empty line.
    pub(super) bytes: usize,
    pub(super) framing: Framing,
    /// Whether the connection is to stay open after the message.
    pub(super) keeps_alive: bool,
}

/// The body that the fields announce, before method and status have their say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No field says anything.
    Unsaid,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a request asks, as far as it decides how its response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HEAD: the response has no body.
    Head,
    /// CONNECT: a successful response makes a tunnel.
    Connect,
    /// It asks for another protocol: what follows waits for the response.
    Upgrade,
    /// A method that may be sent again where a connection turned out to be closed (RFC 9110 section 9.2.1).
    Safe,
    /// All else.
    Other,
}

/// A request's head; `None` where it is not complete.
pub(super) fn request(data: &[u8], end: usize) -> Result<(Head, Kind), Refusal> {
    let text = data.get(..end).unwrap_or(data);
    check_lines(text)?;
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(text, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal::NotHttp),
        Err(error) => return Err(Refusal::of(error)),
    }
    let is_11 = parsed.version == Some(1);
    let facts = Facts::of(parsed.headers, is_11)?;
    let kind = match parsed.method {
        Some("HEAD") => Kind::Head,
        Some("CONNECT") => Kind::Connect,
        _ if facts.upgrades => Kind::Upgrade,
        Some("GET" | "OPTIONS") => Kind::Safe,
        _ => Kind::Other,
    };
    Ok((Head { bytes: end, framing: facts.framing, keeps_alive: facts.keeps_alive(is_11) }, kind))
}

/// A response's head, and its status.
pub(super) fn response(data: &[u8], end: usize) -> Result<(Head, u16), Refusal> {
    let text = data.get(..end).unwrap_or(data);
    check_lines(text)?;
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, text, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal::NotHttp),
        Err(error) => return Err(Refusal::of(error)),
    }
    let is_11 = parsed.version == Some(1);
    let facts = Facts::of(parsed.headers, is_11)?;
    let head = Head { bytes: end, framing: facts.framing, keeps_alive: facts.keeps_alive(is_11) };
    Ok((head, parsed.code.unwrap_or(0)))
}

/// Every line ends in CR LF, and none is continued on the next.
fn check_lines(text: &[u8]) -> Result<(), Refusal> {
    for at in memchr::memchr_iter(b'\n', text) {
        if at.checked_sub(1).and_then(|before| text.get(before)) != Some(&b'\r') {
            return Err(Refusal::BareLineFeed);
        }
        if matches!(text.get(at + 1), Some(b' ' | b'\t')) {
            return Err(Refusal::FoldedLine);
        }
    }
    Ok(())
}

struct Facts {
    framing: Framing,
    closes: bool,
    keep_alive: bool,
    upgrades: bool,
}

impl Facts {
    fn of(fields: &[httparse::Header<'_>], is_11: bool) -> Result<Self, Refusal> {
        let mut facts = Self { framing: Framing::Unsaid, closes: false, keep_alive: false, upgrades: false };
        for field in fields {
            match field.name.len() {
                14 if field.name.eq_ignore_ascii_case("content-length") => facts.add_length(field.value)?,
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => facts.add_coding(field.value, is_11)?,
                10 if field.name.eq_ignore_ascii_case("connection") => facts.add_connection(field.value),
                _ => {}
            }
        }
        Ok(facts)
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        match self.framing {
            Framing::Unsaid => {}
            Framing::Length(_) => return Err(Refusal::TwoLengths),
            Framing::Chunked => return Err(Refusal::LengthWithChunked),
        }
        self.framing = Framing::Length(plain_length(value)?);
        Ok(())
    }

    fn add_coding(&mut self, value: &[u8], is_11: bool) -> Result<(), Refusal> {
        match self.framing {
            Framing::Unsaid if !is_11 => Err(Refusal::CodingInHttp10),
            Framing::Unsaid if value.eq_ignore_ascii_case(b"chunked") => {
                self.framing = Framing::Chunked;
                Ok(())
            }
            Framing::Length(_) => Err(Refusal::LengthWithChunked),
            Framing::Unsaid | Framing::Chunked => Err(Refusal::Coding),
        }
    }

    fn add_connection(&mut self, value: &[u8]) {
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= word.eq_ignore_ascii_case(b"close");
            self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            self.upgrades |= word.eq_ignore_ascii_case(b"upgrade");
        }
    }

    const fn keeps_alive(&self, is_11: bool) -> bool {
        !self.closes && (is_11 || self.keep_alive)
    }
}

/// Digits alone, none of them a zero before others, and few enough for every reader.
fn plain_length(value: &[u8]) -> Result<u64, Refusal> {
    let is_plain = matches!(value, [b'1'..=b'9', ..] | [b'0']) && value.len() <= LENGTH_DIGITS_MAX;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let length = if is_plain { value.iter().try_fold(0_u64, |length, byte| Some(length * 10 + digit(byte)?)) } else { None };
    length.ok_or(if value.contains(&b',') { Refusal::TwoLengths } else { Refusal::Length })
}

/// Fields of one head at most.
pub(super) const FIELDS_MAX: usize = 128;

/// So many digits fit into a signed number of 64 bits whatever they are.
const LENGTH_DIGITS_MAX: usize = 18;
