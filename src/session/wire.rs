//! A recorded message as the bytes that were sent: head, and body with its chunk framing.

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::model::{Body, ChunkRun, Chunks, Framing, Headers, Request, Untrusted};

/// A part of a recorded message whose secrets were replaced: it cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the recording has no value for {}: it was redacted", Untrusted(.0))]
pub struct Redacted(pub Vec<u8>);

/// The head of a request as nearly all programs send it: one space around the target, `name: value`, CR LF.
///
/// # Errors
/// Where the recording replaced secrets in it.
pub fn request_head(request: &Request) -> Result<Vec<u8>, Redacted> {
    if let Some(part) = request.first_redacted() {
        return Err(Redacted(part.to_vec()));
    }
    let mut head = Vec::with_capacity(request.headers.text().len() + 64);
    for part in [request.method(), b" ", request.target(), b" ", request.version.label().as_bytes(), b"\r\n"] {
        head.extend_from_slice(part);
    }
    write_fields(&request.headers, &mut head);
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// Whether the content of a body can be framed as it was: chunks were kept, or there are none.
pub fn has_framing(body: &Body) -> bool {
    body.framing != Framing::Chunked || body.chunks.as_deref().and_then(Chunks::runs).is_some()
}

/// Writes a body as it was on the wire. `content` gives the `body.length` bytes of its content. Where it was chunked and how it was cut
/// is not known, chunks of 64 KiB are made. Gives how many bytes were written.
///
/// # Errors
/// Where `content` ends early or `out` fails.
pub fn write_body(body: &Body, content: &mut dyn Read, out: &mut dyn Write) -> io::Result<u64> {
    if body.framing != Framing::Chunked {
        return copy(content, body.length, out);
    }
    let made;
    let runs = match body.chunks.as_deref().and_then(Chunks::runs) {
        Some(runs) => runs,
        None => {
            made = usual_cut(body.length);
            &made
        }
    };
    let mut written = 0;
    for run in runs {
        let line = match &run.line {
            Some(line) => [line.as_ref(), b"\r\n"].concat(),
            None => format!("{:x}\r\n", run.size).into_bytes(),
        };
        for _ in 0..run.count {
            out.write_all(&line)?;
            written += line.len() as u64;
            if run.size > 0 {
                written += copy(content, run.size, out)? + 2;
                out.write_all(b"\r\n")?;
            }
        }
    }
    let mut end = Vec::new();
    if let Some(trailers) = &body.trailers {
        write_fields(trailers, &mut end);
    }
    end.extend_from_slice(b"\r\n");
    out.write_all(&end)?;
    Ok(written + end.len() as u64)
}

fn usual_cut(length: u64) -> Vec<ChunkRun> {
    let run = |size, count| ChunkRun { size, count, line: None };
    let all = [run(CHUNK_BYTES, length / CHUNK_BYTES), run(length % CHUNK_BYTES, 1), run(0, 1)];
    let is_last = |at: usize| at + 1 == all.len();
    all.iter()
        .enumerate()
        .filter(|(at, run)| is_last(*at) || (run.size > 0 && run.count > 0))
        .map(|(_, run)| run.clone())
        .collect()
}

fn write_fields(headers: &Headers, out: &mut Vec<u8>) {
    for (name, value) in headers.iter() {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

fn copy(content: &mut dyn Read, length: u64, out: &mut dyn Write) -> io::Result<u64> {
    match io::copy(&mut content.take(length), out)? {
        copied if copied == length => Ok(copied),
        copied => {
            let message = format!("the content ends after {copied} of {length} bytes");
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
        }
    }
}

/// What common clients put into a chunk.
const CHUNK_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    fn written(body: &Body, content: &[u8]) -> String {
        let mut out = Vec::new();
        let count = write_body(body, &mut &content[..], &mut out).unwrap();
        assert_eq!(count, out.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_is_written_field_by_field() {
        let mut request = Request::from_parts(b"PUT", b"/b/k?x", Version::Http11);
        request.headers.append(b"Host", b"s3");
        request.headers.append(b"x-amz-meta-a", b"");
        let head = request_head(&request).unwrap();
        assert_eq!(head, b"PUT /b/k?x HTTP/1.1\r\nHost: s3\r\nx-amz-meta-a: \r\n\r\n");
        request.headers.append(b"x-amz-security-token", b"[redacted:session-token:0123456789abcdef]");
        assert!(request_head(&request).is_ok(), "a text that looks so was sent");
        request.headers.mark_redacted();
        let error = request_head(&request).unwrap_err();
        assert_eq!(error.to_string(), "the recording has no value for x-amz-security-token: it was redacted");
    }

    #[test]
    fn chunks_are_cut_as_they_were() {
        let mut body = Body { framing: Framing::Chunked, length: 7, ..Body::default() };
        let chunks = body.chunks.get_or_insert_default();
        for (size, line) in [(3, "3"), (3, "3"), (1, "01;x=y"), (0, "000")] {
            chunks.push(size, line.as_bytes());
        }
        body.trailers.get_or_insert_default().append(b"x-amz-checksum-crc32", b"AAAA");
        assert_eq!(
            written(&body, b"abcdefg"),
            "3\r\nabc\r\n3\r\ndef\r\n01;x=y\r\ng\r\n000\r\nx-amz-checksum-crc32: AAAA\r\n\r\n"
        );
        assert!(has_framing(&body));
    }

    #[test]
    fn where_the_cuts_are_not_known_usual_ones_are_made() {
        let mut body = Body { framing: Framing::Chunked, ..Body::default() };
        assert!(!has_framing(&body));
        assert_eq!(written(&body, b""), "0\r\n\r\n");
        body.length = 3;
        assert_eq!(written(&body, b"abc"), "3\r\nabc\r\n0\r\n\r\n");
        body.length = CHUNK_BYTES;
        assert!(written(&body, &vec![b'x'; 1 << 16]).ends_with("xx\r\n0\r\n\r\n"));
    }

    #[test]
    fn content_that_ends_early_is_an_error() {
        let body = Body { framing: Framing::Length(3), length: 3, ..Body::default() };
        let error = write_body(&body, &mut &b"ab"[..], &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the content ends after 2 of 3 bytes");
    }
}
