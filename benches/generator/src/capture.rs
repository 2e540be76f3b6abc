//! Writes the packets: pcap or pcapng, microseconds, cut at the snapshot length.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use crate::options::Options;

/// The capture file being written.
pub struct Capture {
    out: BufWriter<File>,
    pcapng: bool,
    snap_bytes: usize,
    /// Bytes written so far.
    pub written_bytes: u64,
    /// Packets written so far.
    pub packets: u64,
    /// Packets that the snapshot length cut.
    pub snapped: u64,
}

impl Capture {
    /// Creates the file and writes its header.
    pub fn create(options: &Options) -> io::Result<Self> {
        let snap = options.snap.unwrap_or(262_144);
        let link_type: u32 = if options.sll2 { 276 } else { 1 };
        let out = BufWriter::with_capacity(1 << 20, File::create(&options.out)?);
        let mut capture =
            Self { out, pcapng: options.pcapng, snap_bytes: snap as usize, written_bytes: 0, packets: 0, snapped: 0 };
        if options.pcapng {
            capture.pcapng_headers(link_type as u16, snap)?;
        } else {
            let mut header = Vec::with_capacity(24);
            header.extend(0xa1b2_c3d4_u32.to_le_bytes());
            header.extend([2, 0, 4, 0]);
            header.extend([0; 8]);
            header.extend(snap.to_le_bytes());
            header.extend(link_type.to_le_bytes());
            capture.write(&header)?;
        }
        Ok(capture)
    }

    /// Writes one packet, given as its headers and its TCP payload.
    pub fn packet(&mut self, micros: u64, headers: &[u8], payload: &[u8]) -> io::Result<()> {
        let original = headers.len() + payload.len();
        let captured = original.min(self.snap_bytes);
        self.packets += 1;
        self.snapped += u64::from(captured < original);
        let headers = &headers[..captured.min(headers.len())];
        let payload = &payload[..captured - headers.len()];
        if self.pcapng {
            self.enhanced_packet(micros, headers, payload, original)
        } else {
            self.record(micros, headers, payload, original)
        }
    }

    /// Writes TLS secrets, where the format can hold them (a Decryption Secrets Block).
    pub fn secrets(&mut self, key_log: &[u8]) -> io::Result<()> {
        if !self.pcapng {
            return Ok(());
        }
        let padding = key_log.len().wrapping_neg() % 4;
        let mut body = Vec::with_capacity(key_log.len() + 12);
        body.extend(b"KSLT");
        body.extend((key_log.len() as u32).to_le_bytes());
        body.extend_from_slice(key_log);
        body.extend(std::iter::repeat_n(0, padding));
        self.block(10, &body)
    }

    /// Writes what is still buffered.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn record(&mut self, micros: u64, headers: &[u8], payload: &[u8], original: usize) -> io::Result<()> {
        let mut record = [0; 16];
        record[..4].copy_from_slice(&((micros / 1_000_000) as u32).to_le_bytes());
        record[4..8].copy_from_slice(&((micros % 1_000_000) as u32).to_le_bytes());
        record[8..12].copy_from_slice(&((headers.len() + payload.len()) as u32).to_le_bytes());
        record[12..].copy_from_slice(&(original as u32).to_le_bytes());
        self.write(&record)?;
        self.write(headers)?;
        self.write(payload)
    }

    fn enhanced_packet(&mut self, micros: u64, headers: &[u8], payload: &[u8], original: usize) -> io::Result<()> {
        let captured = headers.len() + payload.len();
        let padding = captured.wrapping_neg() % 4;
        let total = (32 + captured + padding) as u32;
        let mut block = [0; 28];
        block[..4].copy_from_slice(&6_u32.to_le_bytes());
        block[4..8].copy_from_slice(&total.to_le_bytes());
        block[12..16].copy_from_slice(&((micros >> 32) as u32).to_le_bytes());
        block[16..20].copy_from_slice(&(micros as u32).to_le_bytes());
        block[20..24].copy_from_slice(&(captured as u32).to_le_bytes());
        block[24..].copy_from_slice(&(original as u32).to_le_bytes());
        self.write(&block)?;
        self.write(headers)?;
        self.write(payload)?;
        self.write(&[0; 3][..padding])?;
        self.write(&total.to_le_bytes())
    }

    fn pcapng_headers(&mut self, link_type: u16, snap: u32) -> io::Result<()> {
        let mut section = Vec::with_capacity(16);
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &section)?;
        let mut interface = Vec::with_capacity(8);
        interface.extend(link_type.to_le_bytes());
        interface.extend([0, 0]);
        interface.extend(snap.to_le_bytes());
        self.block(1, &interface)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let total = (12 + body.len()) as u32;
        self.write(&kind.to_le_bytes())?;
        self.write(&total.to_le_bytes())?;
        self.write(body)?;
        self.write(&total.to_le_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written_bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}
