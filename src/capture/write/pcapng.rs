//! Writes packets, with what is known about them, as pcapng (draft-ietf-opsawg-pcapng) that Wireshark opens.
//!
//! Secrets and names are written where the caller says: before the packets that need them, or other readers will not use them.

use std::io::{self, Write};
use std::net::IpAddr;

use crate::model::{LinkType, Secret, Timestamp};

/// Writes one pcapng section, little-endian, with times in nanoseconds.
pub struct Writer<W: Write> {
    out: W,
    /// The block that is being made; kept between blocks to be used again.
    block: Vec<u8>,
    interfaces: u32,
}

/// An interface of the section that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceId(u32);

/// How an interface is described.
#[derive(Clone, Debug, Default)]
pub struct InterfaceDescription<'a> {
    /// Its name, as in `br-1f6c`.
    pub name: Option<&'a str>,
    /// What it is, as in `docker network spark-net`.
    pub description: Option<&'a str>,
    /// Packets are cut to this many bytes; 0 if they are not.
    pub snap_length: u32,
}

/// What an interface counted. What is not known is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets received.
    pub received: Option<u64>,
    /// Packets dropped by the interface for want of room.
    pub dropped: Option<u64>,
    /// Packets dropped by the operating system.
    pub dropped_by_system: Option<u64>,
}

/// One packet to be written.
#[derive(Clone, Copy, Debug)]
pub struct PacketRecord<'a> {
    /// Capture time; before 1970 it is written as 1970.
    pub at: Timestamp,
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// How many bytes were on the wire.
    pub original: u32,
    /// Comments, such as the findings it is evidence for.
    pub comments: &'a [&'a str],
}

impl<W: Write> Writer<W> {
    /// Starts a section, naming the program that writes it.
    ///
    /// # Errors
    /// Where writing fails, as for all functions here.
    pub fn new(out: W, application: &str, comments: &[&str]) -> io::Result<Self> {
        let mut writer = Self { out, block: Vec::new(), interfaces: 0 };
        writer.start(SECTION);
        writer.word(BYTE_ORDER);
        writer.half(1);
        writer.half(0);
        // The section's length is not known beforehand, and -1 says so.
        writer.long(u64::MAX);
        for comment in comments {
            writer.text_option(COMMENT, comment);
        }
        writer.text_option(SECTION_APPLICATION, application);
        writer.end_options();
        writer.finish_block()?;
        Ok(writer)
    }

    /// Adds an interface.
    ///
    /// # Errors
    /// Where writing fails, or the link type has no 16-bit number.
    pub fn add_interface(&mut self, link: LinkType, description: &InterfaceDescription<'_>) -> io::Result<InterfaceId> {
        let link = u16::try_from(link.0).map_err(|_| invalid("a link type above 65535 cannot be written as pcapng"))?;
        self.start(INTERFACE);
        self.half(link);
        self.half(0);
        self.word(description.snap_length);
        if let Some(name) = description.name {
            self.text_option(INTERFACE_NAME, name);
        }
        if let Some(text) = description.description {
            self.text_option(INTERFACE_DESCRIPTION, text);
        }
        self.option(INTERFACE_RESOLUTION, &[NANOSECONDS]);
        self.end_options();
        self.finish_block()?;
        let id = InterfaceId(self.interfaces);
        self.interfaces += 1;
        Ok(id)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// Where writing fails, or the packet is too long for a block.
    pub fn write_packet(&mut self, interface: InterfaceId, packet: &PacketRecord<'_>) -> io::Result<()> {
        let captured = u32::try_from(packet.bytes.len())
            .ok()
            .filter(|length| *length <= PACKET_BYTES_MAX)
            .ok_or_else(|| invalid("a packet longer than 15 MiB cannot be written as pcapng"))?;
        self.start(ENHANCED_PACKET);
        self.word(interface.0);
        self.time(packet.at);
        self.word(captured);
        self.word(packet.original);
        if packet.bytes.len() >= LONG_PACKET_BYTES && packet.comments.is_empty() {
            return self.finish_around(packet.bytes);
        }
        self.padded(packet.bytes);
        if !packet.comments.is_empty() {
            for comment in packet.comments {
                self.text_option(COMMENT, comment);
            }
            self.end_options();
        }
        self.finish_block()
    }

    /// Writes key-log lines, which open TLS for whoever holds the file: only where the user asked for it. They have to come
    /// before the packets they open.
    ///
    /// # Errors
    /// Where writing fails, or there are more lines than a block takes.
    pub fn write_secret(&mut self, secret: &Secret) -> io::Result<()> {
        let lines = secret.expose();
        let length = u32::try_from(lines.len())
            .ok()
            .filter(|length| *length <= PACKET_BYTES_MAX)
            .ok_or_else(|| invalid("a key log longer than 15 MiB cannot be written as one block"))?;
        self.start(SECRETS);
        self.word(TLS_KEY_LOG);
        self.word(length);
        self.padded(lines);
        self.finish_block()
    }

    /// Writes names of addresses.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn write_names<'a>(&mut self, names: impl IntoIterator<Item = (IpAddr, &'a str)>) -> io::Result<()> {
        self.start(NAMES);
        for (address, name) in names {
            // A NUL would end the name, and one record has room for 64 KiB.
            let name = bounded(name.split('\0').next().unwrap_or_default(), NAME_BYTES_MAX);
            let mut record = Vec::with_capacity(17 + name.len());
            let kind = match address {
                IpAddr::V4(address) => {
                    record.extend_from_slice(&address.octets());
                    NAME_IPV4
                }
                IpAddr::V6(address) => {
                    record.extend_from_slice(&address.octets());
                    NAME_IPV6
                }
            };
            record.extend_from_slice(name.as_bytes());
            record.push(0);
            self.option(kind, &record);
            if self.block.len() > NAMES_BLOCK_BYTES {
                self.end_options();
                self.finish_block()?;
                self.start(NAMES);
            }
        }
        self.end_options();
        self.finish_block()
    }

    /// Writes what an interface counted up to a time; the last of several counts.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn write_statistics(&mut self, interface: InterfaceId, at: Timestamp, statistics: Statistics) -> io::Result<()> {
        self.start(STATISTICS);
        self.word(interface.0);
        self.time(at);
        let counts = [
            (STATISTICS_RECEIVED, statistics.received),
            (STATISTICS_DROPPED, statistics.dropped),
            (STATISTICS_DROPPED_BY_SYSTEM, statistics.dropped_by_system),
        ];
        for (option, count) in counts {
            if let Some(count) = count {
                self.option(option, &count.to_le_bytes());
            }
        }
        self.end_options();
        self.finish_block()
    }

    /// The writer beneath.
    pub const fn beneath(&self) -> &W {
        &self.out
    }

    /// Hands on what the writer beneath still holds.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends writing and gives the writer beneath back.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn start(&mut self, kind: u32) {
        self.block.clear();
        self.word(kind);
        self.word(0);
    }

    /// Sets the first length, adds the second, and writes the block in one call.
    fn finish_block(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4).map_err(|_| invalid("a pcapng block longer than 4 GiB"))?;
        self.word(length);
        if let Some(place) = self.block.get_mut(4..8) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.out.write_all(&self.block)
    }

    /// Ends a block whose content is long: it is written from where it is, without a copy.
    fn finish_around(&mut self, bytes: &[u8]) -> io::Result<()> {
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        let length = u32::try_from(self.block.len() + bytes.len() + padding + 4)
            .map_err(|_| invalid("a pcapng block longer than 4 GiB"))?;
        if let Some(place) = self.block.get_mut(4..8) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let mut end = [0; 8];
        if let Some(place) = end.get_mut(padding..padding + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let end = end.get(..padding + 4).unwrap_or_default();
        let mut parts = [io::IoSlice::new(&self.block), io::IoSlice::new(bytes), io::IoSlice::new(end)];
        let mut left = parts.as_mut_slice();
        while !left.is_empty() {
            match self.out.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => io::IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn half(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    /// A time has its upper half first, whatever the byte order.
    fn time(&mut self, at: Timestamp) {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(0);
        self.word((nanos >> 32) as u32);
        self.word(nanos as u32);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn text_option(&mut self, number: u16, text: &str) {
        self.option(number, bounded(text, OPTION_BYTES_MAX).as_bytes());
    }

    fn option(&mut self, number: u16, value: &[u8]) {
        let value = value.get(..OPTION_BYTES_MAX).unwrap_or(value);
        self.half(number);
        self.half(value.len() as u16);
        self.padded(value);
    }

    fn end_options(&mut self) {
        self.word(0);
    }
}

/// The text up to a number of bytes, whole characters only.
fn bounded(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const NAMES: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const SECRETS: u32 = 10;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const TLS_KEY_LOG: u32 = 0x544c_534b;

const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION: u16 = 3;
const INTERFACE_RESOLUTION: u16 = 9;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 5;
const STATISTICS_DROPPED_BY_SYSTEM: u16 = 7;
const NAME_IPV4: u16 = 1;
const NAME_IPV6: u16 = 2;

/// `if_tsresol` for 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// An option's length has 16 bits.
const OPTION_BYTES_MAX: usize = 65_535;

/// Readers take blocks of up to 16 MiB; the rest is for comments.
const PACKET_BYTES_MAX: u32 = 15 << 20;

/// A DNS name has at most 255 bytes.
const NAME_BYTES_MAX: usize = 255;

/// From this length on, a packet is not copied before it is written.
const LONG_PACKET_BYTES: usize = 8 << 10;

/// From this length on, names go on in another block.
const NAMES_BLOCK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_packets_are_written_as_short_ones_are() {
        for extra in 0..4 {
            let bytes = vec![7; LONG_PACKET_BYTES + extra];
            let written = |comments: &[&str]| {
                let mut writer = Writer::new(Vec::new(), "test", &[]).unwrap();
                let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
                writer
                    .write_packet(interface, &PacketRecord { at: Timestamp::EPOCH, bytes: &bytes, original: 9, comments })
                    .unwrap();
                writer.finish().unwrap()
            };
            let (plain, commented) = (written(&[]), written(&["ab"]));
            // A comment of two letters takes eight octets, and the end of options four.
            assert_eq!(plain.len() + 12, commented.len());
            let block = plain.len() - (28 + bytes.len().next_multiple_of(4) + 4);
            assert_eq!(plain.get(block + 8..plain.len() - 4), commented.get(block + 8..commented.len() - 16));
            assert_eq!(plain.get(block + 4..block + 8), plain.get(plain.len() - 4..));
        }
    }
}
