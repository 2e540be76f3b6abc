//! Logs of client programs: any cutting of the input gives the same, and refusals stand at lines that there are.

use std::io::{Read, Result};

use hopwire::s3::client_log::ClientLog;

/// The input is a log.
pub fn client_log(input: &[u8]) {
    let log = ClientLog::read(input).unwrap();
    let piece = usize::from(input.first().copied().unwrap_or(0)) % 17 + 1;
    let cut = ClientLog::read(Dribble { rest: input, piece }).unwrap();
    assert_eq!(log, cut, "the log depends on the cutting");
    assert!(log.lines <= input.len() as u64);
    assert!(log.refusals.len() as u64 <= log.refusal_count);
    assert!(log.refusals.iter().all(|refusal| (1..=log.lines).contains(&refusal.line)));
    assert!(log.span.is_none_or(|(first, last)| first <= last));
}

struct Dribble<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = buffer.len().min(self.piece);
        self.rest.read(&mut buffer[..length])
    }
}
