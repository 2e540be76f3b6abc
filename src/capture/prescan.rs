//! Secrets of a pcapng file, found before its packets are read: a file may hold them after the packets that need them.

use std::io;

use crate::capture::bytes::fill_at;
use crate::capture::walk::{RECORD_BYTES_MAX, word_at};
use crate::capture::{ReadAt, blocks, pcapng};
use crate::model::Secret;

/// Collects the TLS secrets of a pcapng file by hopping from block to block. Other files have none; damage ends the scan
/// without an error, because reading the packets will report it. Bounded to 64 MiB of secrets.
///
/// # Errors
/// Where reading fails.
pub fn secrets_in(file: &dyn ReadAt) -> io::Result<Vec<Secret>> {
    let mut window = Window { file, bytes: vec![0; WINDOW_BYTES], filled: 0, start: 0, hop_bytes: 0 };
    let mut secrets = Vec::new();
    let mut secret_bytes = 0;
    let mut big = false;
    let mut position = 0;
    loop {
        let Some(header) = window.bytes_at(position, 12)? else { return Ok(secrets) };
        if word_at(header, 0, false) == Some(blocks::SECTION) {
            let Some(order) = pcapng::section_order(header) else { return Ok(secrets) };
            big = order;
        } else if position == 0 {
            return Ok(secrets);
        }
        let kind = word_at(header, 0, big).unwrap_or(0);
        let length = word_at(header, 4, big).unwrap_or(0);
        if length < blocks::BLOCK_BYTES_MIN {
            return Ok(secrets);
        }
        if kind == blocks::SECRETS && length <= RECORD_BYTES_MAX {
            let content = window.copy(position + 8, length as usize - 12)?;
            if let Some(Some(lines)) = pcapng::tls_secrets(&content, big)
                && secret_bytes + lines.len() <= SECRET_BYTES_MAX
            {
                secret_bytes += lines.len();
                secrets.push(Secret::new(lines.to_vec()));
            }
        }
        window.hop_bytes = length as usize;
        position += u64::from(length);
    }
}

/// A part of the file in memory.
struct Window<'a> {
    file: &'a dyn ReadAt,
    bytes: Vec<u8>,
    filled: usize,
    start: u64,
    /// The length of the last block: long ones are hopped by small reads.
    hop_bytes: usize,
}

impl Window<'_> {
    /// Some bytes of the file, `None` where it ends before them.
    fn bytes_at(&mut self, position: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let inside = usize::try_from(position.saturating_sub(self.start)).ok();
        let is_held = position >= self.start && inside.is_some_and(|inside| inside + count <= self.filled);
        let inside = if let (true, Some(inside)) = (is_held, inside) {
            inside
        } else {
            let wanted = if self.hop_bytes >= HOP_BYTES_MIN { count } else { WINDOW_BYTES };
            let read = fill_at(self.file, position, self.bytes.get_mut(..wanted).unwrap_or_default());
            if let Some(failure) = read.failure {
                return Err(failure);
            }
            self.start = position;
            self.filled = read.bytes;
            0
        };
        Ok(self.bytes.get(..self.filled).and_then(|bytes| bytes.get(inside..inside + count)))
    }

    /// A copy of bytes of the file, as many as there are; memory grows with what is really there.
    fn copy(&self, position: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < count {
            let start = all.len();
            all.resize(count.min(start + WINDOW_BYTES), 0);
            let read = fill_at(self.file, position + start as u64, all.get_mut(start..).unwrap_or_default());
            if let Some(failure) = read.failure {
                return Err(failure);
            }
            let end = start + read.bytes;
            if end < all.len() {
                all.truncate(end);
                break;
            }
        }
        Ok(all)
    }
}

const WINDOW_BYTES: usize = 256 << 10;

/// From this block length on, reading headers one by one is faster than reading everything.
const HOP_BYTES_MIN: usize = 16 << 10;

/// Bytes of all secrets together.
const SECRET_BYTES_MAX: usize = 64 << 20;
