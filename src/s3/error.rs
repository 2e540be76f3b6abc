//! The error of a response: XML or headers in, code and message out.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::model::{HeaderName, Response};

/// An error of S3 (`<Error>`), of STS (`<ErrorResponse><Error>`), or of MinIO's headers where there is no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error<'x> {
    /// The code: `NoSuchKey`, …
    pub code: Cow<'x, str>,
    /// The message; empty where none was given.
    pub message: Cow<'x, str>,
}

impl<'x> S3Error<'x> {
    /// Reads a response. A body that was kept only in part gives what it holds.
    pub fn of_response(response: &'x Response) -> Option<Self> {
        if let Some(error) = Self::of_xml(&response.body.kept) {
            return Some(error);
        }
        let code = response.headers.get(HeaderName::XMinioErrorCode)?;
        let description = response.headers.get(HeaderName::XMinioErrorDesc).unwrap_or_default();
        Some(Self { code: String::from_utf8_lossy(code), message: String::from_utf8_lossy(unquote(description)) })
    }

    /// Reads an XML body whose root is `Error` or `ErrorResponse`, in any namespace.
    pub fn of_xml(body: &[u8]) -> Option<Self> {
        let body = body.get(..body.len().min(BODY_BYTES_MAX))?;
        let mut code = None;
        let mut message = None;
        read_texts(body, |path, text| {
            let inside = match path {
                ["Error", name] | ["ErrorResponse", "Error", name] => *name,
                _ => return matches!(path.first(), Some(&"Error" | &"ErrorResponse")),
            };
            match inside {
                "Code" if code.is_none() => code = Some(text.to_owned()),
                "Message" if message.is_none() => message = Some(text.to_owned()),
                _ => {}
            }
            code.is_none() || message.is_none()
        });
        Some(Self { code: Cow::Owned(code?), message: Cow::Owned(message.unwrap_or_default()) })
    }
}

/// The text of the first element at that path, such as `InitiateMultipartUploadResult/UploadId`.
pub(crate) fn text_at(body: &[u8], want: &[&str]) -> Option<String> {
    let body = body.get(..body.len().min(BODY_BYTES_MAX))?;
    let mut found = None;
    read_texts(body, |path, text| {
        if path == want {
            found = Some(text.to_owned());
        }
        found.is_none()
    });
    found
}

/// The texts of all elements at that path, in order.
pub(crate) fn texts_at(body: &[u8], want: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    read_texts(body, |path, text| {
        if path == want {
            found.push(text.to_owned());
        }
        true
    });
    found
}

/// Calls `each` with the local names from the root and the text of every element at its end, and for the root also at its
/// start (with no text), until `each` says no, or the document ends or breaks.
fn read_texts(body: &[u8], mut each: impl FnMut(&[&str], &str) -> bool) {
    let body = body.trim_ascii_start();
    if !body.starts_with(b"<") && !body.starts_with(b"\xef\xbb\xbf<") {
        return;
    }
    let body = String::from_utf8_lossy(body);
    let mut reader = Reader::from_str(&body);
    let mut names: Vec<String> = Vec::new();
    let mut text = String::new();
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(start) => {
                text.clear();
                names.push(start.local_name().as_ref().to_owned());
                if names.len() > DEPTH_MAX || (names.len() == 1 && !each(&borrow(&names), "")) {
                    return;
                }
            }
            Event::End(_) => {
                if !each(&borrow(&names), text.trim()) {
                    return;
                }
                text.clear();
                names.pop();
            }
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(name) => push_reference(&mut text, &name),
            Event::Eof => return,
            _ => {}
        }
    }
}

fn borrow(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The five entities of XML and character references; others stay as they are, and nothing is ever expanded further.
fn push_reference(text: &mut String, name: &str) {
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    });
    match (name, number.and_then(char::from_u32)) {
        (_, Some(letter)) => text.push(letter),
        ("amp", _) => text.push('&'),
        ("lt", _) => text.push('<'),
        ("gt", _) => text.push('>'),
        ("quot", _) => text.push('"'),
        ("apos", _) => text.push('\''),
        _ => {
            text.push('&');
            text.push_str(name);
            text.push(';');
        }
    }
}

/// MinIO puts the description in quotes.
fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// An error body is some hundred octets; more than this is read as cut off.
const BODY_BYTES_MAX: usize = 64 << 10;
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    #[test]
    fn errors_are_read_in_every_dress() {
        let declared = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        for (body, wanted) in [
            (format!("{declared}<Error><Code>NoSuchKey</Code><Message>gone</Message><Key>a</Key></Error>"), Some(("NoSuchKey", "gone"))),
            ("<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Code>A</Code></Error>".to_owned(), Some(("A", ""))),
            ("<s3:Error xmlns:s3=\"x\"><s3:Code>A</s3:Code><s3:Message>b</s3:Message></s3:Error>".to_owned(), Some(("A", "b"))),
            ("<Error><Message>a &lt;b&gt; &amp;&#33;&#x21; &bad;</Message><Code><![CDATA[X]]></Code></Error>".to_owned(), Some(("X", "a <b> &!! &bad;"))),
            ("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type/><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>".to_owned(), Some(("AccessDenied", "no"))),
            ("  \r\n<Error>\n  <Code> Slow </Code>\n  <Message>cut he".to_owned(), Some(("Slow", ""))),
            ("\u{feff}<Error><Code>A</Code></Error>".to_owned(), Some(("A", ""))),
            ("<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>".to_owned(), None),
            ("<Error><Resource><Code>inner</Code></Resource></Error>".to_owned(), None),
            ("<html><Code>A</Code></html>".to_owned(), None),
            ("{\"Code\":\"A\"}".to_owned(), None),
            (String::new(), None),
            ("<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Error><Code>&b;</Code></Error>".to_owned(), Some(("&b;", ""))),
            ("<a>".repeat(1000), None),
        ] {
            let read = S3Error::of_xml(body.as_bytes());
            assert_eq!(read.as_ref().map(|error| (&*error.code, &*error.message)), wanted, "{body}");
        }
    }

    #[test]
    fn a_head_error_is_read_from_minios_headers() {
        let mut response = Response::from_parts(400, b"Bad Request", Version::Http11);
        assert_eq!(S3Error::of_response(&response), None);
        response.headers.append(b"X-Minio-Error-Code", b"InvalidRequest");
        response.headers.append(b"X-Minio-Error-Desc", b"\"must be made over a secure connection.\"");
        let error = S3Error::of_response(&response).unwrap();
        assert_eq!((&*error.code, &*error.message), ("InvalidRequest", "must be made over a secure connection."));
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(proptest::sample::select(b"<>/!?[]&;#x1Error Code=\"'-\xff".to_vec()), 0..200)) {
            let _ = S3Error::of_xml(&body);
            let _ = text_at(&[b"<Error>", &body[..]].concat(), &["Error", "Code"]);
        }
    }
}
