//! IEEE 802.11 frames and the headers that capture tools put before them in, what they carry out.
//!
//! Only data frames that are not encrypted carry anything that can be read.

use crate::decode::link::{Link, Next, ethernet, llc};

/// Type 2 of the frame control field: data.
const TYPE_DATA: u8 = 2;
/// Subtype bits of data frames: no data, and quality of service.
const SUBTYPE_NO_DATA: u8 = 0x4;
const SUBTYPE_QOS: u8 = 0x8;
/// Flags of the frame control field.
const TO_AND_FROM_DS: u8 = 0x03;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;
/// Of the QoS control field: several frames in one.
const AGGREGATE: u8 = 0x80;
/// Of the flags field of radiotap: the header is padded to four octets.
const RADIOTAP_DATA_PAD: u8 = 0x20;

/// A frame that starts at `at` (IEEE 802.11-2020 section 9.3.2). `padded`: its header is padded to a multiple of four.
pub(super) fn frame(bytes: &[u8], at: usize, padded: bool) -> Link {
    let Some(&[control, flags]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return Link::Malformed };
    let (kind, subtype) = ((control >> 2) & 3, control >> 4);
    if kind != TYPE_DATA || subtype & SUBTYPE_NO_DATA != 0 {
        return Link::Carries(Next::Nothing, at);
    }
    let mut length = if flags & TO_AND_FROM_DS == TO_AND_FROM_DS { 30 } else { 24 };
    let mut aggregate = false;
    if subtype & SUBTYPE_QOS != 0 {
        let Some(qos) = bytes.get(at + length) else { return Link::Malformed };
        aggregate = qos & AGGREGATE != 0;
        length += if flags & ORDER != 0 { 6 } else { 2 };
    }
    if flags & PROTECTED != 0 || aggregate {
        return Link::Unknown;
    }
    llc(bytes, at + if padded { length.next_multiple_of(4) } else { length })
}

/// Radiotap: version, pad, length, then words of presence bits of which the last has bit 31 clear.
pub(super) fn radiotap(bytes: &[u8]) -> Link {
    let Some(&[0, _, low, high]) = bytes.first_chunk::<4>() else { return Link::Malformed };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let mut fields = 4;
    let mut first = None;
    loop {
        let Some(word) = bytes.get(fields..).and_then(|rest| rest.first_chunk::<4>()) else { return Link::Malformed };
        let word = u32::from_le_bytes(*word);
        first.get_or_insert(word);
        fields += 4;
        if word >> 31 == 0 {
            break;
        }
    }
    let present = first.unwrap_or(0);
    // The first field is a timestamp of eight octets, aligned to eight; the second is the flags.
    let flags_at = if present & 1 != 0 { fields.next_multiple_of(8) + 8 } else { fields };
    let flags = if present & 2 != 0 { bytes.get(flags_at).copied().unwrap_or(0) } else { 0 };
    frame(bytes, length, flags & RADIOTAP_DATA_PAD != 0)
}

/// A header of fixed form that tells its own length as a 32-bit number at `at`: Prism (in the order of the capturing host)
/// and AVS (big-endian).
pub(super) fn with_length(bytes: &[u8], at: usize) -> Link {
    let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Link::Malformed };
    let length = u32::from_be_bytes(*word).min(u32::from_le_bytes(*word));
    usize::try_from(length).map_or(Link::Malformed, |length| frame(bytes, length, false))
}

/// Per-packet information (PPI): its length at 2, the link type of what follows at 4, both little-endian.
pub(super) fn per_packet_information(bytes: &[u8]) -> Link {
    let Some(&[_, _, low, high, kind, 0, 0, 0]) = bytes.first_chunk::<8>() else { return Link::Unknown };
    let length = usize::from(u16::from_le_bytes([low, high]));
    match kind {
        1 => ethernet(bytes, length),
        105 => frame(bytes, length, false),
        _ => Link::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Link = Link::Carries(Next::EtherType(0x0800), 32);

    fn data(control: u8, flags: u8, header: usize) -> Vec<u8> {
        let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45];
        [[control, flags].as_slice(), &vec![0; header - 2], &snap].concat()
    }

    #[test]
    fn data_frames_carry_llc_behind_headers_of_any_length() {
        assert_eq!(frame(&data(0x08, 1, 24), 0, false), IP);
        assert_eq!(frame(&data(0x88, 1, 26), 0, false), Link::Carries(Next::EtherType(0x0800), 34));
        assert_eq!(frame(&data(0x88, 1, 28), 0, true), Link::Carries(Next::EtherType(0x0800), 36));
        assert_eq!(frame(&data(0x08, 3, 30), 0, false), Link::Carries(Next::EtherType(0x0800), 38));
        assert_eq!(frame(&data(0x88, 0x81, 30), 0, false), Link::Carries(Next::EtherType(0x0800), 38));
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_carries_nothing() {
        assert_eq!(frame(&data(0x08, 0x41, 24), 0, false), Link::Unknown);
        assert_eq!(frame(&data(0x80, 0, 24), 0, false), Link::Carries(Next::Nothing, 0));
        assert_eq!(frame(&data(0x48, 0, 24), 0, false), Link::Carries(Next::Nothing, 0));
        assert_eq!(frame(&[0x08], 0, false), Link::Malformed);
    }

    #[test]
    fn headers_of_capture_tools_are_skipped() {
        let bare = data(0x08, 1, 24);
        // Two presence words; timestamp, then flags that say nothing of padding.
        let tap = [&[0, 0, 28, 0, 3, 0, 0, 0x80, 0, 0, 0, 0][..], &[0; 16], &bare].concat();
        assert_eq!(radiotap(&tap), Link::Carries(Next::EtherType(0x0800), 28 + 32));
        let padded = data(0x88, 1, 28);
        let tap = [&[0, 0, 9, 0, 2, 0, 0, 0, 0x20][..], &padded].concat();
        assert_eq!(radiotap(&tap), Link::Carries(Next::EtherType(0x0800), 9 + 36));
        assert_eq!(radiotap(&[0, 0, 0xff]), Link::Malformed);
        assert_eq!(radiotap(&[0, 0, 0xff, 0xff, 0, 0, 0, 0x80]), Link::Malformed);
        let ppi = [&[0, 0, 8, 0, 105, 0, 0, 0][..], &bare].concat();
        assert_eq!(per_packet_information(&ppi), Link::Carries(Next::EtherType(0x0800), 8 + 32));
        let avs = [&[0x80, 0x21, 0x10, 1, 0, 0, 0, 8][..], &bare].concat();
        assert_eq!(with_length(&avs, 4), Link::Carries(Next::EtherType(0x0800), 8 + 32));
        assert_eq!(with_length(&[0xff; 8], 4), Link::Malformed);
    }
}
