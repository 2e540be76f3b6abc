//! Header fields exactly as sent: order, case and duplicates are kept, look-up ignores case.

use std::ops::Range;

use crate::model::{HeaderName, HeaderNames};

/// A list of header fields over one text buffer. For a decoded message the buffer is the whole head as it was on the wire.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: Vec<u8>,
    fields: Vec<Field>,
    names: HeaderNames,
}

/// One field: the name it is known by, and where name and value start and end in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) known: HeaderName,
    pub(crate) name: (u32, u32),
    pub(crate) value: (u32, u32),
}

impl Headers {
    /// Starts a list over `text`, to be filled by [`Headers::push`]. Room is made for `fields` fields.
    pub fn over(text: Vec<u8>, fields: usize) -> Self {
        Self { text, fields: Vec::with_capacity(fields), names: HeaderNames::default() }
    }

    /// The list of these fields over `text`; `names` are the known names among them. What lies outside of the text reads as empty.
    pub(crate) const fn of(text: Vec<u8>, fields: Vec<Field>, names: HeaderNames) -> Self {
        Self { text, fields, names }
    }

    /// The fields.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Adds a field whose name and value are ranges of the text buffer, and tells which name it is; ranges outside the buffer
    /// are ignored.
    #[inline]
    pub fn push(&mut self, name: Range<usize>, value: Range<usize>) -> HeaderName {
        let Some(bytes) = self.text.get(name.clone()) else { return HeaderName::Other };
        if value.start > value.end || value.end > self.text.len() || self.text.len() > u32::MAX as usize {
            return HeaderName::Other;
        }
        let known = HeaderName::recognise(bytes);
        self.names.insert(known);
        // Nothing lies beyond the text, whose length fits.
        let narrow = |range: Range<usize>| (range.start as u32, range.end as u32);
        self.fields.push(Field { known, name: narrow(name), value: narrow(value) });
        known
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
    pub fn get(&self, name: HeaderName) -> Option<&[u8]> {
        if !self.names.contains(name) {
            return None;
        }
        self.fields.iter().find(|field| field.known == name).map(|field| self.slice(field.value))
    }

    /// The value of the first field of that name as text, where it is UTF-8.
    pub fn text_of(&self, name: HeaderName) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The values of all fields of that name, in order.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.known == name).map(|field| self.slice(field.value))
    }

    /// The fields whose names are wanted, in order: (known name, value).
    pub fn among(&self, is_wanted: impl Fn(HeaderName) -> bool) -> impl Iterator<Item = (HeaderName, &[u8])> {
        let fields = self.fields.iter().filter(move |field| is_wanted(field.known));
        fields.map(|field| (field.known, self.slice(field.value)))
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
        self.fields.iter().map(|field| (self.slice(field.name), self.slice(field.value)))
    }

    /// All fields in the order sent with the recognised name: (known name, name as sent, value).
    pub fn known(&self) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
        self.fields.iter().map(|field| (field.known, self.slice(field.name), self.slice(field.value)))
    }

    /// The number of fields.
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Shows the field count only: header values can be secret.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({} fields)", self.fields.len())
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
    fn debug_shows_no_value() {
        let mut headers = Headers::default();
        headers.append(b"authorization", b"hush");
        assert_eq!(format!("{headers:?}"), "Headers(1 fields)");
    }
}
