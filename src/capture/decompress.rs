//! Compressed inputs, opened as streams with a bound on what comes out.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

use crate::capture::Compression;

/// Opens a compressed stream.
pub(super) fn decompress(stream: Box<dyn Read + Send>, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { stream, taken: Arc::clone(&taken), failure: None };
    let decoder: Box<dyn Read + Send> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(INPUT_BYTES, counted))),
        Compression::Zstd => {
            let mut decoder = Decoder::with_buffer(BufReader::with_capacity(INPUT_BYTES, counted))?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(Bounded { decoder, taken, given: 0, bounds: BOUNDS }))
}

/// Counts the compressed bytes taken.
struct Counted {
    stream: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    /// What came after bytes that were still to be given.
    failure: Option<io::Error>,
}

/// It fills the buffer as far as the input goes: what a decoder gives before it finds damage depends on how much it is given at
/// a time, and must not depend on how the input came.
impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.stream.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        self.taken.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }
}

/// Stops where more comes out than any honest capture gives.
struct Bounded {
    decoder: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    given: u64,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    output_bytes_max: u64,
    /// Output for one byte of input.
    ratio_max: u64,
    /// Output up to which the ratio does not count.
    free_bytes: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.taken.load(Ordering::Relaxed);
        let Bounds { output_bytes_max, ratio_max, free_bytes } = self.bounds;
        if self.given >= output_bytes_max {
            return Err(too_large(format!("more than {output_bytes_max} bytes come out of {taken} compressed ones")));
        }
        if self.given > free_bytes && self.given / ratio_max > taken {
            let given = self.given;
            return Err(too_large(format!("{given} bytes come out of {taken} compressed ones: no capture shrinks like that")));
        }
        let count = self.decoder.read(buffer)?;
        self.given += count as u64;
        Ok(count)
    }
}

fn too_large(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// Bytes decoded at a time: what comes out of those before damage in them is lost.
const INPUT_BYTES: usize = 4096;

/// 128 MiB, as the zstd program allows without being asked; the memory is used only as far as it is filled.
const WINDOW_LOG_MAX: u32 = 27;

/// Deflate cannot shrink below 1:1032, and captures do not come near that.
const BOUNDS: Bounds = Bounds { output_bytes_max: 64 << 30, ratio_max: 1000, free_bytes: 64 << 20 };

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(given_in: u64, bounds: Bounds) -> (usize, Option<io::ErrorKind>) {
        let decoder = Box::new(io::repeat(0).take(1 << 20));
        let mut reader = Bounded { decoder, taken: Arc::new(AtomicU64::new(given_in)), given: 0, bounds };
        let mut all = Vec::new();
        let error = reader.read_to_end(&mut all).err().map(|error| error.kind());
        (all.len(), error)
    }

    #[test]
    fn output_is_bounded_in_all_and_by_ratio() {
        let wide = Bounds { output_bytes_max: 1 << 21, ratio_max: 1000, free_bytes: 1 << 10 };
        assert_eq!(bounded(2000, wide), (1 << 20, None));
        let (bytes, error) = bounded(10, wide);
        assert!(bytes < 100_000 && error == Some(io::ErrorKind::FileTooLarge), "{bytes}");
        let (bytes, error) = bounded(1 << 20, Bounds { output_bytes_max: 50_000, ..wide });
        assert!((50_000..200_000).contains(&bytes) && error == Some(io::ErrorKind::FileTooLarge), "{bytes}");
    }
}
