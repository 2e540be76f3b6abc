//! Header fields exactly as sent: order, case and duplicates are kept, look-up ignores case.

use std::ops::Range;

use wide::u8x16;

use crate::model::{HeaderName, HeaderNames};

/// A list of header fields over one text buffer. For a decoded message the buffer is the whole head as it was on the wire.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: Vec<u8>,
    spans: Vec<Spans>,
    /// By what names the fields are known, as far as there is room: so many are looked through at once.
    numbers: [u8; NUMBERS],
    /// Those of the fields behind.
    more: Vec<HeaderName>,
    names: HeaderNames,
    /// The fields in which a recording replaced secrets, by their number. Boxed, since what comes from the wire has none.
    redacted: Option<Box<RedactedFields>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct RedactedFields(Vec<usize>);

/// A value as it is known. What a recording replaced is a type of its own: it cannot be taken for what was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// As it was sent.
    Sent(&'a [u8]),
    /// With placeholders for the secrets in it, or as one: it cannot be sent.
    Redacted(&'a [u8]),
}

impl<'a> FieldValue<'a> {
    /// The value: `Redacted` where `is_redacted`.
    pub const fn new(value: &'a [u8], is_redacted: bool) -> Self {
        if is_redacted { Self::Redacted(value) } else { Self::Sent(value) }
    }

    /// Its bytes, for those who only look: with placeholders where secrets were replaced.
    pub const fn shown(self) -> &'a [u8] {
        match self {
            Self::Sent(value) | Self::Redacted(value) => value,
        }
    }

    /// Its bytes, for those who send: `None` where secrets were replaced.
    pub const fn sent(self) -> Option<&'a [u8]> {
        match self {
            Self::Sent(value) => Some(value),
            Self::Redacted(_) => None,
        }
    }
}

/// Shows no value: it can be secret.
impl std::fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.sent().is_some() { "Sent" } else { "Redacted" })
    }
}

/// Most heads have fewer fields.
const NUMBERS: usize = u32::BITS as usize;

/// Where name and value of a field start and end in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) name: (u32, u32),
    pub(crate) value: (u32, u32),
}

impl Headers {
    /// Starts a list over `text`, to be filled by [`Headers::push`]. Room is made for `fields` fields.
    pub fn over(text: Vec<u8>, fields: usize) -> Self {
        Self { text, spans: Vec::with_capacity(fields), ..Self::default() }
    }

    /// The fields of a text at these places, which have the names of `like`. What lies outside of the text reads as empty.
    pub(crate) fn like(like: &Self, text: Vec<u8>, spans: Vec<Spans>) -> Self {
        Self { text, spans, numbers: like.numbers, more: like.more.clone(), names: like.names, redacted: None }
    }

    /// Where the value of the last field ends in the text; 0 where there is no field.
    pub fn end_of_last(&self) -> usize {
        self.spans.last().map_or(0, |spans| spans.value.1 as usize)
    }

    /// Where the fields are.
    pub(crate) fn spans(&self) -> &[Spans] {
        &self.spans
    }

    /// Adds a field whose name and value are ranges of the text buffer; ranges outside the buffer are ignored.
    pub fn push(&mut self, name: Range<usize>, value: Range<usize>) {
        let Some(bytes) = self.text.get(name.clone()) else { return };
        if value.start > value.end || value.end > self.text.len() || self.text.len() > u32::MAX as usize {
            return;
        }
        let known = HeaderName::recognise(bytes);
        self.names.insert(known);
        match self.numbers.get_mut(self.spans.len()) {
            Some(number) => *number = known as u8,
            None => self.more.push(known),
        }
        // Nothing lies beyond the text, whose length fits.
        let narrow = |range: Range<usize>| (range.start as u32, range.end as u32);
        self.spans.push(Spans { name: narrow(name), value: narrow(value) });
    }

    /// Adds a field with its own text.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        let middle = start + name.len();
        self.push(start..middle, middle..middle + value.len());
    }

    /// The text buffer: the head as it was on the wire, for a decoded message.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The value of the first field of that name.
    #[inline]
    pub fn get(&self, name: HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The value of the first field of that name as text, where it is UTF-8.
    pub fn text_of(&self, name: HeaderName) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The values of all fields of that name, in order.
    #[inline]
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        let mut marks = if self.names.contains(name) { self.marks(name) } else { 0 };
        let mut behind = NUMBERS;
        std::iter::from_fn(move || {
            let at = if marks != 0 {
                let at = marks.trailing_zeros() as usize;
                marks &= marks - 1;
                at
            } else {
                let next = self.more.get(behind - NUMBERS..)?.iter().position(|known| *known == name)?;
                behind += next + 1;
                behind - 1
            };
            self.spans.get(at).map(|spans| self.slice(spans.value))
        })
    }

    /// Which of the first fields have that name, a bit for each.
    #[inline]
    fn marks(&self, name: HeaderName) -> u32 {
        let wanted = u8x16::splat(name as u8);
        let marks = |part: &[u8; 16]| u8x16::new(*part).simd_eq(wanted).to_bitmask();
        let (parts, _) = self.numbers.as_chunks();
        let marks = parts.iter().rev().fold(0, |all: u32, part| all << 16 | marks(part));
        let fields = 1_u64.checked_shl(self.spans.len() as u32).unwrap_or(0).wrapping_sub(1);
        marks & fields as u32
    }

    /// Whether there is a field of that name.
    pub const fn has(&self, name: HeaderName) -> bool {
        self.names.contains(name)
    }

    /// The known names among the fields.
    pub const fn names(&self) -> HeaderNames {
        self.names
    }

    /// The value of the first field of any name, ignoring case.
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(have, _)| have.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// All fields in the order sent: name and value, bytes as sent (surrounding white space of the value aside).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|spans| (self.slice(spans.name), self.slice(spans.value)))
    }

    /// All fields in the order sent with the recognised name: (known name, name as sent, value).
    pub fn known(&self) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
        let numbers = self.numbers.iter().map(|number| HeaderName::of_number(*number));
        let names = numbers.chain(self.more.iter().copied());
        names.zip(&self.spans).map(|(known, spans)| (known, self.slice(spans.name), self.slice(spans.value)))
    }

    /// The last field that was added is one in which secrets were replaced.
    pub fn mark_redacted(&mut self) {
        if let Some(last) = self.spans.len().checked_sub(1) {
            self.redacted.get_or_insert_default().0.push(last);
        }
    }

    /// All fields in the order sent with the recognised name, the name as sent, and the value as it is known.
    pub fn values(&self) -> impl Iterator<Item = (HeaderName, &[u8], FieldValue<'_>)> {
        let is_redacted = |at: usize| self.redacted.as_deref().is_some_and(|fields| fields.0.contains(&at));
        let known = self.known().enumerate();
        known.map(move |(at, (known, name, value))| (known, name, FieldValue::new(value, is_redacted(at))))
    }

    /// The name of the first field in which secrets were replaced.
    pub fn first_redacted(&self) -> Option<&[u8]> {
        let first = *self.redacted.as_deref()?.0.first()?;
        self.spans.get(first).map(|spans| self.slice(spans.name))
    }

    /// Whether this is the value of a field in which secrets were replaced.
    pub fn is_redacted_value(&self, value: &[u8]) -> bool {
        self.redacted.is_some() && self.values().any(|(.., have)| have == FieldValue::Redacted(value))
    }

    /// The number of fields.
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field.
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Shows the field count only: header values can be secret.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({} fields)", self.spans.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_case_and_duplicates_and_finds_without_case() {
        let mut headers = Headers::default();
        headers.append(b"Server", b"SideKick");
        headers.append(b"x-AMZ-request-id", b"17");
        headers.append(b"SERVER", b"MinIO");
        assert_eq!(headers.get(HeaderName::Server), Some(&b"SideKick"[..]));
        assert_eq!(headers.all(HeaderName::Server).collect::<Vec<_>>(), [b"SideKick".as_slice(), b"MinIO"]);
        assert_eq!(headers.get(HeaderName::XAmzRequestId), Some(&b"17"[..]));
        assert_eq!(headers.find("sErVeR"), Some(&b"SideKick"[..]));
        assert_eq!(
            headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            [b"Server".as_slice(), b"x-AMZ-request-id", b"SERVER"]
        );
    }

    #[test]
    fn many_fields_are_found_wherever_they_stand() {
        for count in 0..80 {
            let mut headers = Headers::default();
            for at in 0..count {
                headers.append(if at % 31 == 0 { b"host" } else { b"x-other" }, format!("{at}").as_bytes());
            }
            let hosts = |headers: &Headers| headers.all(HeaderName::Host).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let expected: Vec<_> = (0..count).filter(|at| at % 31 == 0).map(|at| at.to_string().into_bytes()).collect();
            assert_eq!(hosts(&headers), expected);
            assert_eq!(headers.all(HeaderName::Other).count(), count - expected.len());
            assert_eq!(headers.get(HeaderName::Host).map(<[u8]>::to_vec), expected.first().cloned());
            let names: Vec<_> = headers.known().map(|(known, ..)| known == HeaderName::Host).collect();
            assert_eq!(names, (0..count).map(|at| at % 31 == 0).collect::<Vec<_>>());
            let again = Headers::like(&headers, headers.text().to_vec(), headers.spans().to_vec());
            assert!(again == headers && hosts(&again) == expected);
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let mut headers = Headers::default();
        headers.append(b"authorization", b"hush");
        assert_eq!(format!("{headers:?}"), "Headers(1 fields)");
    }
}
