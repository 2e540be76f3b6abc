//! An output that only ever receives whole pcapng blocks, so that what is there opens at any time, even after a full disk or a kill.

use std::fs::File;
use std::io::{self, IoSlice, Write};

/// Gathers blocks and hands them on in large writes. Each
/// call must bring one whole block; a long one comes in three parts and is written from where it is.
pub(in crate::cli) struct BlockWriter {
    out: Out,
    gathered: Vec<u8>,
    /// Bytes of whole blocks that are written.
    written: u64,
}

pub(in crate::cli) enum Out {
    /// A regular file, which can be cut back to its last whole block.
    File(File),
    /// A pipe or a device.
    Stream(Box<dyn Write + Send>),
}

impl BlockWriter {
    pub(in crate::cli) fn new(out: Out) -> Self {
        Self { out, gathered: Vec::with_capacity(GATHERED_BYTES * 2), written: 0 }
    }

    /// Bytes so far, also those that are still gathered.
    pub(in crate::cli) const fn bytes(&self) -> u64 {
        self.written + self.gathered.len() as u64
    }

    /// Writes what is gathered, and a block that is not: its three parts are one block.
    fn hand_on(&mut self, block: [&[u8]; 3]) -> io::Result<()> {
        let block_bytes: usize = block.iter().map(|part| part.len()).sum();
        let [head, body, tail] = block.map(IoSlice::new);
        let mut parts = [IoSlice::new(&self.gathered), head, body, tail];
        let mut left = parts.as_mut_slice();
        // Without this a write of nothing at all would be one.
        IoSlice::advance_slices(&mut left, 0);
        let mut done = 0;
        let failure = loop {
            if left.is_empty() {
                break None;
            }
            let result = match &mut self.out {
                Out::File(file) => file.write_vectored(left),
                Out::Stream(stream) => stream.write_vectored(left),
            };
            match result {
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    done += count;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let Some(failure) = failure else {
            self.written += (self.gathered.len() + block_bytes) as u64;
            self.gathered.clear();
            return Ok(());
        };
        self.written += whole_blocks(self.gathered.get(..done).unwrap_or(&self.gathered)) as u64;
        self.gathered.clear();
        if let Out::File(file) = &self.out {
            // Half a block at the end would read as damage.
            let _ = file.set_len(self.written);
        }
        Err(failure)
    }
}

impl Write for BlockWriter {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        if self.gathered.len() >= GATHERED_BYTES {
            self.hand_on([&[]; 3])?;
        }
        self.gathered.extend_from_slice(block);
        Ok(block.len())
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        match parts {
            [head, body, tail] => self.hand_on([head, body, tail])?,
            _ => {
                for part in parts {
                    self.gathered.extend_from_slice(part);
                }
            }
        }
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on([&[]; 3])?;
        match &mut self.out {
            Out::File(_) => Ok(()),
            Out::Stream(stream) => stream.flush(),
        }
    }
}

/// How many of the bytes are whole blocks.
fn whole_blocks(bytes: &[u8]) -> usize {
    let mut end = 0_usize;
    loop {
        let length = bytes.get(end + 4..end + 8).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
        if length < 12 || end + length > bytes.len() {
            return end;
        }
        end += length;
    }
}

/// Large writes cost less; what is gathered is written at least every second anyway.
const GATHERED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(length: u32, fill: u8) -> Vec<u8> {
        let mut block = vec![fill; length as usize];
        block[4..8].copy_from_slice(&length.to_le_bytes());
        block
    }

    #[test]
    fn counts_whole_blocks() {
        let bytes = [block(12, 1), block(40, 2), block(16, 3)].concat();
        for (cut, whole) in [(68, 68), (67, 52), (60, 52), (52, 52), (51, 12), (11, 0), (0, 0)] {
            assert_eq!(whole_blocks(&bytes[..cut]), whole, "{cut}");
        }
    }

    #[test]
    fn nothing_is_written_before_it_is_worth_it_or_asked_for() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = BlockWriter::new(Out::File(file.try_clone().unwrap()));
        writer.write_all(&block(64, 1)).unwrap();
        assert_eq!((writer.bytes(), file.metadata().unwrap().len()), (64, 0));
        writer.flush().unwrap();
        assert_eq!((writer.bytes(), file.metadata().unwrap().len()), (64, 64));
    }

    #[test]
    fn a_long_block_goes_out_with_what_was_gathered_before_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = BlockWriter::new(Out::File(file.reopen().unwrap()));
        writer.write_all(&block(64, 1)).unwrap();
        let long = block(40_000, 2);
        let (head, rest) = long.split_at(28);
        let (body, tail) = rest.split_at(39_000);
        assert_eq!(writer.write_vectored(&[IoSlice::new(head), IoSlice::new(body), IoSlice::new(tail)]).unwrap(), 40_000);
        assert_eq!(std::fs::read(file.path()).unwrap(), [block(64, 1), long].concat());
        assert_eq!(writer.bytes(), 40_064);
    }

    #[test]
    fn a_device_without_room_fails_with_nothing_counted() {
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
        let mut writer = BlockWriter::new(Out::Stream(Box::new(full)));
        writer.write_all(&block(64, 1)).unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(writer.bytes(), 0);
    }
}
