//! Builds captures byte by byte, and reads them back in full.

use std::io::{Cursor, Read};
use std::sync::Arc;

use hopwire::capture::{Batch, CaptureError, Input, PacketSource, ReadAt, SavedCapture, SourceSummary};
use hopwire::model::Secret;

/// A byte order and what it makes of numbers.
#[derive(Clone, Copy)]
pub(crate) struct Order(pub(crate) bool);

impl Order {
    pub(crate) fn word(self, value: u32) -> [u8; 4] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn half(self, value: u16) -> [u8; 2] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn long(self, value: u64) -> [u8; 8] {
        if self.0 { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(crate) fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.word(*value)).collect()
    }

    /// A pcap file header.
    pub(crate) fn pcap(self, magic: u32, snap_length: u32, network: u32) -> Vec<u8> {
        let mut bytes = self.word(magic).to_vec();
        bytes.extend(self.half(2));
        bytes.extend(self.half(4));
        bytes.extend(self.words(&[0, 0, snap_length, network]));
        bytes
    }

    /// A pcap record.
    pub(crate) fn record(self, seconds: u32, fraction: u32, packet: &[u8]) -> Vec<u8> {
        let length = packet.len() as u32;
        let mut bytes = self.words(&[seconds, fraction, length, length]);
        bytes.extend_from_slice(packet);
        bytes
    }

    /// A pcapng block.
    pub(crate) fn block(self, kind: u32, content: &[u8]) -> Vec<u8> {
        let length = (content.len().next_multiple_of(4) + 12) as u32;
        let mut bytes = self.words(&[kind, length]);
        bytes.extend_from_slice(content);
        bytes.resize(length as usize - 4, 0);
        bytes.extend(self.word(length));
        bytes
    }

    pub(crate) fn option(self, number: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = self.half(number).to_vec();
        bytes.extend(self.half(value.len() as u16));
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    pub(crate) fn section(self, options: &[u8]) -> Vec<u8> {
        let mut content = self.word(0x1a2b_3c4d).to_vec();
        content.extend(self.half(1));
        content.extend(self.half(0));
        // A lie about the length of the section.
        content.extend(self.long(12));
        content.extend_from_slice(options);
        self.block(0x0a0d_0d0a, &content)
    }

    pub(crate) fn interface(self, link: u16, snap_length: u32, options: &[u8]) -> Vec<u8> {
        let mut content = self.half(link).to_vec();
        content.extend(self.half(0));
        content.extend(self.word(snap_length));
        content.extend_from_slice(options);
        self.block(1, &content)
    }

    /// An Enhanced Packet Block.
    pub(crate) fn packet(self, interface: u32, ticks: u64, packet: &[u8], options: &[u8]) -> Vec<u8> {
        let length = packet.len() as u32;
        let mut content = self.words(&[interface, (ticks >> 32) as u32, ticks as u32, length, length]);
        content.extend_from_slice(packet);
        content.resize(content.len().next_multiple_of(4), 0);
        content.extend_from_slice(options);
        self.block(6, &content)
    }
}

pub(crate) const LITTLE: Order = Order(false);
pub(crate) const BIG: Order = Order(true);

/// A packet with all that can be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ordinal: u64,
    pub(crate) file: u16,
    pub(crate) number: u64,
    pub(crate) at: i64,
    pub(crate) link: u32,
    pub(crate) original: u32,
    pub(crate) interface: usize,
    pub(crate) bytes: Vec<u8>,
}

/// All that was read of a capture.
pub(crate) struct All {
    pub(crate) packets: Vec<Seen>,
    /// Packets of which the batch held the first bytes only.
    pub(crate) jumped: usize,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) names: Vec<String>,
    pub(crate) comments: Vec<(u64, String)>,
    pub(crate) sources: Vec<SourceSummary>,
    pub(crate) batches: usize,
}

impl All {
    pub(crate) fn times(&self) -> Vec<i64> {
        self.packets.iter().map(|packet| packet.at).collect()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.sources.iter().flat_map(|source| &source.problems).map(ToString::to_string).collect()
    }
}

/// How an input is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    Positioned,
}

pub(crate) fn input(bytes: &[u8], way: Way) -> Input {
    let bytes = bytes.to_vec();
    let positioned: Option<Arc<dyn ReadAt>> = (way == Way::Positioned).then(|| Arc::new(bytes.clone()) as Arc<dyn ReadAt>);
    Input { name: "test".to_owned(), stream: Box::new(Cursor::new(bytes)), positioned }
}

pub(crate) fn read(bytes: &[u8]) -> All {
    read_inputs(vec![input(bytes, Way::Stream)]).unwrap()
}

pub(crate) fn read_stream(stream: impl Read + Send + 'static) -> All {
    read_inputs(vec![Input { name: "test".to_owned(), stream: Box::new(stream), positioned: None }]).unwrap()
}

pub(crate) fn read_inputs(inputs: Vec<Input>) -> Result<All, CaptureError> {
    let mut capture = SavedCapture::open(inputs)?;
    let mut batch = Batch::new();
    let mut all = All {
        packets: Vec::new(),
        jumped: 0,
        secrets: Vec::new(),
        names: Vec::new(),
        comments: Vec::new(),
        sources: Vec::new(),
        batches: 0,
    };
    let mut bytes = Vec::new();
    while capture.read_batch(&mut batch)? {
        all.batches += 1;
        assert!(all.batches < 1_000_000, "reading does not end");
        for (index, packet) in batch.packets().enumerate() {
            assert_eq!(batch.packet(index).ordinal, packet.ordinal);
            assert_eq!(batch.is_whole(index), packet.bytes.len() == packet.captured as usize);
            all.jumped += usize::from(!batch.is_whole(index));
            assert_eq!(batch.read_tail(index, 0, &mut bytes), packet.captured as usize);
            assert!(bytes.starts_with(packet.bytes));
            all.packets.push(Seen {
                ordinal: packet.ordinal,
                file: packet.frame.file(),
                number: packet.frame.number(),
                at: packet.at.as_nanos(),
                link: packet.link.0,
                original: packet.original,
                interface: batch.interface(index),
                bytes: bytes.clone(),
            });
        }
        all.secrets.extend_from_slice(batch.secrets());
        all.names.extend(batch.names().iter().map(|(address, name)| format!("{address} {name}")));
        all.comments.extend(batch.comments().iter().map(|(frame, text)| (frame.number(), text.clone())));
    }
    assert!(batch.is_empty());
    all.sources = capture.sources();
    let count: u64 = all.sources.iter().map(|source| source.packets).sum();
    assert_eq!(count, all.packets.len() as u64);
    assert!(all.packets.iter().zip(1..).all(|(packet, ordinal)| packet.ordinal == ordinal));
    Ok(all)
}
