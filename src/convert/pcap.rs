//! Writes packets as pcap (draft-ietf-opsawg-pcap), little-endian.

use std::io::{self, Write};

use crate::convert::ConvertError;
use crate::model::{LinkType, Packet};

/// Writes one pcap file. The first packet tells its link type.
pub(super) struct Writer<W> {
    out: W,
    link: Option<LinkType>,
    nanos: bool,
}

impl<W: Write> Writer<W> {
    /// A file with times in nanoseconds or in microseconds.
    pub(super) const fn new(out: W, nanos: bool) -> Self {
        Self { out, link: None, nanos }
    }

    /// Writes a packet. Times outside of 1970 to 2106 are written as the nearest that fits.
    pub(super) fn write_packet(&mut self, packet: &Packet<'_>, bytes: &[u8]) -> Result<(), ConvertError> {
        match self.link {
            None => self.begin(packet.link)?,
            Some(link) if link == packet.link => {}
            Some(link) => return Err(ConvertError::LinkTypes { first: link.0, second: packet.link.0 }),
        }
        let nanos = u64::try_from(packet.at.as_nanos()).unwrap_or(0);
        let seconds = u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX);
        let part = nanos % 1_000_000_000;
        let part = if self.nanos { part } else { part / 1000 } as u32;
        let captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut header = [0; 16];
        let fields = [seconds, part, captured, packet.original];
        for (to, from) in header.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *to = from.to_le_bytes();
        }
        self.out.write_all(&header)?;
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Ends the file. One without packets is of Ethernet.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.link.is_none() {
            self.begin(ETHERNET)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin(&mut self, link: LinkType) -> io::Result<()> {
        let magic = if self.nanos { MAGIC_NANOS } else { MAGIC_MICROS };
        let mut header = Vec::with_capacity(24);
        header.extend_from_slice(&magic.to_le_bytes());
        header.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.extend_from_slice(&SNAP_LENGTH.to_le_bytes());
        header.extend_from_slice(&link.0.to_le_bytes());
        self.link = Some(link);
        self.out.write_all(&header)
    }
}

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// As libpcap writes where packets are not cut.
const SNAP_LENGTH: u32 = 262_144;
const ETHERNET: LinkType = LinkType(1);
