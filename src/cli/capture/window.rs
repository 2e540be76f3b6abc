//! The packets of the last seconds, held until the finding comes that they are wanted for.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use crate::capture::{Batch, SourceSummary};
use crate::cli::capture::recording::Recording;
use crate::model::Timestamp;

/// A window over the packets that came last.
pub(super) struct Window {
    span: Duration,
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// Whether packets had to go before their time.
    is_short: bool,
}

/// The packets of one batch.
struct Chunk {
    bytes: Vec<u8>,
    held: Vec<Held>,
    last: Timestamp,
}

struct Held {
    at: Timestamp,
    frame: u64,
    interface: usize,
    start: usize,
    length: usize,
    original: u32,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, chunks: VecDeque::new(), bytes: 0, is_short: false }
    }

    /// Whether memory was too small for the whole span.
    pub(super) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Takes a batch in, and lets go of what is too old.
    pub(super) fn add(&mut self, batch: &Batch) {
        let mut chunk = Chunk { bytes: Vec::new(), held: Vec::with_capacity(batch.len()), last: Timestamp::EPOCH };
        for (index, packet) in batch.packets().enumerate() {
            let (start, length) = (chunk.bytes.len(), packet.bytes.len());
            chunk.bytes.extend_from_slice(packet.bytes);
            let (interface, frame) = (batch.interface(index), packet.frame.number());
            chunk.held.push(Held { at: packet.at, frame, interface, start, length, original: packet.original });
            chunk.last = chunk.last.max(packet.at);
        }
        if chunk.held.is_empty() {
            return;
        }
        let now = chunk.last;
        self.bytes += chunk.size();
        self.chunks.push_back(chunk);
        while let Some(oldest) = self.chunks.front() {
            let is_old = now.since(oldest.last) > self.span;
            if !is_old && self.bytes <= BYTES_MAX {
                break;
            }
            self.is_short |= !is_old;
            self.bytes -= oldest.size();
            self.chunks.pop_front();
        }
    }

    /// Writes what is held, with comments by frame number. Gives the number of the frame that became the first of the file.
    pub(super) fn write(
        self,
        recording: &mut Recording,
        source: &SourceSummary,
        comments: &BTreeMap<u64, Vec<String>>,
    ) -> io::Result<Option<u64>> {
        recording.write_interfaces(source)?;
        let end = self.chunks.back().map_or(Timestamp::EPOCH, |chunk| chunk.last);
        let mut first = None;
        for chunk in &self.chunks {
            for held in &chunk.held {
                // Within a batch packets are in order of time; what follows the first one that is kept is kept.
                if first.is_none() && end.since(held.at) > self.span {
                    continue;
                }
                first = first.or(Some(held.frame));
                let comments: Vec<&str> = comments.get(&held.frame).into_iter().flatten().map(String::as_str).collect();
                let bytes = chunk.bytes.get(held.start..held.start + held.length).unwrap_or_default();
                recording.write_packet(held.interface, held.at, bytes, held.original, &comments)?;
            }
        }
        Ok(first)
    }
}

impl Chunk {
    const fn size(&self) -> usize {
        self.bytes.capacity() + self.held.capacity() * size_of::<Held>()
    }
}

/// Bytes held at most, whatever the span.
const BYTES_MAX: usize = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Input, Interface, PacketSource as _, SavedCapture};
    use crate::cli::capture::recording::Target;
    use crate::cli::capture::rotation::Rotation;
    use crate::model::LinkType;

    #[test]
    fn keeps_the_last_seconds_and_renumbers_what_is_evidence() {
        let mut window = Window::new(Duration::from_secs(2));
        let mut batch = Batch::new();
        for second in 0..10 {
            batch.begin(0, 2 * second + 1, 2 * second + 1);
            for part in 0..2 {
                let at = Timestamp::from_parts(second as i64, part * 500_000_000);
                batch.push(at, LinkType(1), 0, 60, &[second as u8; 60]);
            }
            window.add(&batch);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pcapng");
        let mut recording = Recording::open(Target::File(path.clone()), Rotation::default()).unwrap();
        let source = SourceSummary {
            interfaces: vec![Interface { link: Some(LinkType(1)), ..Interface::default() }],
            ..SourceSummary::default()
        };
        let comments = BTreeMap::from([(20, vec!["here".to_owned()]), (2, vec!["gone".to_owned()])]);
        // The last packet is of 9.5 s, and so the first of the window that of 7.5 s.
        assert_eq!(window.write(&mut recording, &source, &comments).unwrap(), Some(16));
        recording.end(&source).unwrap();
        let file = std::fs::File::open(path).unwrap();
        let mut read =
            SavedCapture::open(vec![Input { name: "w".to_owned(), stream: Box::new(file), positioned: None }]).unwrap();
        assert!(read.read_batch(&mut batch).unwrap());
        let seconds: Vec<_> = batch.packets().map(|packet| packet.bytes[0]).collect();
        assert_eq!(seconds, [7, 8, 8, 9, 9]);
        assert_eq!(
            batch.comments().iter().map(|(frame, text)| (frame.number(), text.as_str())).collect::<Vec<_>>(),
            [(5, "here")]
        );
    }
}
