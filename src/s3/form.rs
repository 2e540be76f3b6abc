//! The fields of a browser upload (`multipart/form-data`, RFC 7578): the kept start of a body in, names and values out.

use memchr::memmem;

/// The fields before the file of a POST Object. Only what was kept of the body is read.
#[derive(Clone, Copy)]
pub struct FormFields<'x> {
    boundary: &'x [u8],
    body: &'x [u8],
}

impl<'x> FormFields<'x> {
    /// Over a body with that `Content-Type`; `None` where it is no form or names no boundary.
    pub fn read(content_type: &'x [u8], body: &'x [u8]) -> Option<Self> {
        let start = content_type.get(..b"multipart/form-data".len())?;
        if !start.eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let boundary = parameter(content_type, b"boundary=")?;
        (!boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX).then_some(Self { boundary, body })
    }

    /// The fields in order: name and value. A part that was not kept whole is left out, and so is the file.
    pub fn iter(self) -> impl Iterator<Item = (&'x [u8], &'x [u8])> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            loop {
                let part = self.next_part(&mut rest)?;
                let Some((head, value)) = split_once(part, b"\r\n\r\n") else { continue };
                let Some(name) = disposition_name(head) else { continue };
                if name.eq_ignore_ascii_case(b"file") {
                    // What follows the file is ignored by S3.
                    return None;
                }
                return Some((name, value));
            }
        })
        .take(FIELDS_MAX)
    }

    /// The value of the first field of that name, ignoring case.
    pub fn get(self, name: &str) -> Option<&'x [u8]> {
        self.iter().find(|(have, _)| have.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The bytes between two delimiters, `rest` moved to the second.
    fn next_part(self, rest: &mut &'x [u8]) -> Option<&'x [u8]> {
        let start = self.delimiter(rest)?.1;
        let after = rest.get(start..)?.strip_prefix(b"\r\n")?;
        let end = self.delimiter(after)?.0;
        *rest = after.get(end..)?;
        after.get(..end)?.strip_suffix(b"\r\n")
    }

    /// Where the next `--boundary` starts and ends.
    fn delimiter(self, text: &[u8]) -> Option<(usize, usize)> {
        memmem::find_iter(text, b"--").find_map(|at| {
            let end = at + 2 + self.boundary.len();
            (text.get(at + 2..end)? == self.boundary).then_some((at, end))
        })
    }
}

fn disposition_name(head: &[u8]) -> Option<&[u8]> {
    let line = head.split(|byte| *byte == b'\n').find(|line| {
        line.get(..b"content-disposition:".len()).is_some_and(|start| start.eq_ignore_ascii_case(b"content-disposition:"))
    })?;
    parameter(line, b" name=").or_else(|| parameter(line, b";name="))
}

/// The value of a header parameter, with or without quotes.
fn parameter<'x>(text: &'x [u8], name: &[u8]) -> Option<&'x [u8]> {
    let at = text.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
    let value = text.get(at + name.len()..)?;
    match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.get(..memchr::memchr(b'"', quoted)?),
        None => {
            let end = value.iter().position(|byte| matches!(byte, b';' | b' ' | b'\r' | b'\n')).unwrap_or(value.len());
            value.get(..end)
        }
    }
}

fn split_once<'x>(text: &'x [u8], separator: &[u8]) -> Option<(&'x [u8], &'x [u8])> {
    let at = memmem::find(text, separator)?;
    Some((text.get(..at)?, text.get(at + separator.len()..)?))
}

/// RFC 2046 section 5.1.1 allows 70.
const BOUNDARY_BYTES_MAX: usize = 200;
const FIELDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"--XyZ\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nup/${filename}\r\n--XyZ\r\nContent-Disposition: form-data; name=\"x-amz-server-side-encryption\"\r\n\r\nAES256\r\n--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: text/plain\r\n\r\nhello --XyZ is no end\r\n--XyZ--\r\n";

    #[test]
    fn fields_before_the_file_are_read() {
        let form = FormFields::read(b"multipart/form-data; boundary=XyZ", BODY).unwrap();
        let fields: Vec<_> = form.iter().collect();
        assert_eq!(fields, [(&b"key"[..], &b"up/${filename}"[..]), (b"x-amz-server-side-encryption", b"AES256")]);
        assert_eq!(form.get("X-AMZ-Server-Side-Encryption"), Some(&b"AES256"[..]));
        assert!(FormFields::read(b"application/json; boundary=XyZ", BODY).is_none());
        assert!(FormFields::read(b"multipart/form-data", BODY).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(proptest::sample::select(b"-Xab\r\n:;=\" name".to_vec()), 0..200)) {
            let form = FormFields::read(b"multipart/form-data; boundary=\"X\"", &body).unwrap();
            assert!(form.iter().count() <= FIELDS_MAX);
        }
    }
}
