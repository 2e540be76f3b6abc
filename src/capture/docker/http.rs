//! HTTP/1.1 over a Unix socket: one GET, and the content of its answer as a reader. Bounded in size and time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The answer to a GET.
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// Its content.
    pub(super) content: Content<UnixStream>,
}

/// Asks for `path`. Each read on the answer waits for `patience` at most and then fails with [`io::ErrorKind::WouldBlock`].
pub(super) fn get(socket: &Path, path: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: hopwire\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    )?;
    read_head(stream)
}

/// Reads an answer's head; what came with it of the content is kept for the reader of the content.
fn read_head(mut stream: UnixStream) -> io::Result<Answer> {
    let mut head = Vec::with_capacity(1024);
    let end = loop {
        if let Some(at) = memchr::memmem::find(&head, b"\r\n\r\n") {
            break at + 4;
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(malformed("the head of the answer is too long"));
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    };
    let early = head.split_off(end);
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&head).map_err(|_| malformed("the head of the answer is no HTTP"))?;
    let framing = framing(parsed.headers)?;
    let status = parsed.code.unwrap_or(0);
    Ok(Answer { status, content: Content { early, early_at: 0, stream, framing } })
}

fn framing(fields: &[httparse::Header<'_>]) -> io::Result<Framing> {
    let mut framing = Framing::UntilClose;
    for field in fields {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(malformed("the answer has an unknown transfer encoding"));
            }
            return Ok(Framing::Size(Vec::new()));
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| malformed("the answer has no valid length"))?;
            framing = Framing::Left(length);
        }
    }
    Ok(framing)
}

/// The content of an answer, without its framing. A read that failed for want of time can be tried again.
pub(super) struct Content<R> {
    /// Content that came together with the head.
    early: Vec<u8>,
    early_at: usize,
    stream: R,
    framing: Framing,
}

/// What comes next on the stream.
enum Framing {
    /// This many octets, and then the end.
    Left(u64),
    /// Content until the stream ends.
    UntilClose,
    /// The line with the size of the next chunk, as far as it is there.
    Size(Vec<u8>),
    /// This many octets of a chunk.
    Chunk(u64),
    /// The line end after a chunk: this many octets of it are missing.
    ChunkEnd(u8),
    /// Nothing.
    End,
}

impl Content<UnixStream> {
    /// From now on a read waits so long at most. One that failed for want of time can be tried again.
    pub(super) fn wait_at_most(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }
}

impl<R: Read> Content<R> {
    /// Everything, if it is not more than `bytes_max`.
    pub(super) fn read_all(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.take(bytes_max.saturating_add(1)).read_to_end(&mut all)?;
        if all.len() as u64 > bytes_max {
            return Err(malformed("the answer is too long"));
        }
        Ok(all)
    }

    fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.early.get(self.early_at..) {
            Some(mut early) if !early.is_empty() => {
                let count = early.read(buffer)?;
                self.early_at += count;
                Ok(count)
            }
            _ => self.stream.read(buffer),
        }
    }

    /// Reads at most `left` octets; gives how many, and how many are left then.
    fn read_counted(&mut self, buffer: &mut [u8], left: u64) -> io::Result<(usize, u64)> {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.read_raw(buffer.get_mut(..wanted).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((count, left.saturating_sub(count as u64)))
    }

    fn read_byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        match self.read_raw(&mut byte)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(byte.into_iter().next().unwrap_or_default()),
        }
    }

    /// Moves on by one octet of the framing.
    fn step(&mut self) -> io::Result<()> {
        let byte = self.read_byte()?;
        match &mut self.framing {
            Framing::Size(line) if byte == b'\n' => {
                self.framing = match chunk_size(line)? {
                    0 => Framing::End,
                    size => Framing::Chunk(size),
                };
            }
            Framing::Size(line) if line.len() >= SIZE_LINE_BYTES_MAX => return Err(malformed("a chunk without a size")),
            Framing::Size(line) => line.push(byte),
            Framing::ChunkEnd(1) => self.framing = Framing::Size(Vec::new()),
            Framing::ChunkEnd(missing) => *missing -= 1,
            _ => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.framing {
                Framing::End | Framing::Left(0) => return Ok(0),
                Framing::UntilClose => return self.read_raw(buffer),
                Framing::Left(left) => {
                    let (count, left) = self.read_counted(buffer, left)?;
                    self.framing = Framing::Left(left);
                    return Ok(count);
                }
                Framing::Chunk(left) => {
                    let (count, left) = self.read_counted(buffer, left)?;
                    self.framing = if left == 0 { Framing::ChunkEnd(2) } else { Framing::Chunk(left) };
                    return Ok(count);
                }
                Framing::Size(_) | Framing::ChunkEnd(_) => self.step()?,
            }
        }
    }
}

/// The size in a chunk's first line; what follows a semicolon is an extension.
fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk without a size"))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Octets of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Octets of the line with a chunk's size.
const SIZE_LINE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    type Pieces = &'static [&'static [u8]];

    /// Serves one answer in pieces, each after a pause, and gives what the client makes of it.
    fn fetched(pieces: Pieces, bytes_max: u64) -> Result<(u16, Vec<u8>), io::ErrorKind> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The request may come in several pieces.
            let (mut asked, mut count) = ([0; 512], 0);
            while !asked[..count].ends_with(b"\r\n\r\n") {
                count += stream.read(&mut asked[count..]).unwrap();
            }
            for piece in pieces {
                stream.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        let result = get(&path, "/networks", Duration::from_secs(5))
            .and_then(|mut answer| Ok((answer.status, answer.content.read_all(bytes_max)?)));
        assert!(server.join().unwrap().starts_with("GET /networks HTTP/1.1\r\nHost: docker\r\n"));
        result.map_err(|error| error.kind())
    }

    #[test]
    fn reads_content_of_known_length_chunked_and_until_the_end() {
        let cases: [(Pieces, u16, &[u8]); 5] = [
            (&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more"], 200, b"hello"),
            (
                &[
                    b"HTTP/1.1 200 OK\r\nTransfer-Enc",
                    b"oding: chunked\r\n\r\n5\r\nhel",
                    b"lo\r",
                    b"\n1",
                    b"0;x=y\r\n",
                    b"0123456789abcdef",
                    b"\r\n0\r\n\r\n",
                ],
                200,
                b"hello0123456789abcdef",
            ),
            (&[b"HTTP/1.0 404 Not Found\r\n\r\n", b"no", b"pe"], 404, b"nope"),
            (&[b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"], 204, b""),
            (&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 200, b""),
        ];
        for (pieces, status, content) in cases {
            assert_eq!(fetched(pieces, 1000), Ok((status, content.to_vec())));
        }
    }

    #[test]
    fn refuses_answers_that_are_too_long_cut_or_no_http() {
        let cases: [(Pieces, io::ErrorKind); 6] = [
            (&[b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"], io::ErrorKind::InvalidData),
            (&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"], io::ErrorKind::UnexpectedEof),
            (&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"], io::ErrorKind::UnexpectedEof),
            (&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"], io::ErrorKind::InvalidData),
            (&[b"SSH-2.0-OpenSSH\r\n\r\n"], io::ErrorKind::InvalidData),
            (&[b"HTTP/1.1 200 OK\r\nContent-Le"], io::ErrorKind::UnexpectedEof),
        ];
        for (pieces, kind) in cases {
            assert_eq!(fetched(pieces, 10), Err(kind), "{pieces:?}");
        }
    }

    #[test]
    fn goes_on_after_a_read_that_found_nothing_in_time() {
        struct Slow(Vec<Option<&'static [u8]>>);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.first_mut() {
                    None => Ok(0),
                    Some(None) => {
                        self.0.remove(0);
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    Some(Some(bytes)) => {
                        let count = bytes.read(buffer)?;
                        if bytes.is_empty() {
                            self.0.remove(0);
                        }
                        Ok(count)
                    }
                }
            }
        }
        let stream = Slow(vec![
            Some(b"1"),
            None,
            Some(b"0\r"),
            None,
            Some(b"\n01234567"),
            None,
            Some(b"89abcdef\r"),
            None,
            Some(b"\n0\r\n"),
        ]);
        let mut content = Content { early: Vec::new(), early_at: 0, stream, framing: Framing::Size(Vec::new()) };
        let (mut read, mut waits) = (Vec::new(), 0);
        loop {
            let mut buffer = [0; 7];
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    waits += 1;
                }
            }
        }
        assert_eq!((read.as_slice(), waits), (b"0123456789abcdef".as_slice(), 4));
    }
}
