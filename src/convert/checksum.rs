//! TCP checksums (RFC 9293 section 3.1) of packets whose payload was changed.

use std::net::IpAddr;

use crate::decode::segment::Segment;

/// Sets the checksum of a segment in the bytes it was dissected from. Where all of the segment is there it is computed anew,
/// whether it was right before or not (offloading leaves it wrong); where the capture holds a part only, it is adjusted by
/// what changed against `before`.
pub(super) fn mend(bytes: &mut [u8], before: &[u8], segment: &Segment) {
    let Some(header) = header_start(bytes, segment) else { return };
    let end = segment.payload_start as usize + segment.payload_length as usize;
    let place = header + CHECKSUM_OFFSET;
    let sum = if let Some(whole) = bytes.get(header..end) {
        let own = whole.get(CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2).map_or(0, word);
        let sum = pseudo_header(segment, whole.len()) + sum_words(whole);
        !fold(sum + u64::from(!own))
    } else {
        let now = bytes.get(header..).unwrap_or_default();
        let then = before.get(header..).unwrap_or_default();
        let own = now.get(CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2).map_or(0, word);
        // RFC 1624, equation 3.
        !fold(u64::from(!own) + u64::from(!fold(sum_words(then))) + sum_words(now))
    };
    if let Some(place) = bytes.get_mut(place..place + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The checksum of an IPv4 header in which its place holds zero (RFC 791 section 3.1).
pub(super) fn of_header(header: &[u8]) -> u16 {
    !fold(sum_words(header))
}

/// Where the TCP header begins that ends where the payload begins.
fn header_start(bytes: &[u8], segment: &Segment) -> Option<usize> {
    let payload = segment.payload_start as usize;
    (20..=60).step_by(4).filter_map(|length| payload.checked_sub(length).map(|start| (start, length))).find_map(
        |(start, length)| {
            let &[a, b, c, d, e, f, g, h, _, _, _, _, words, ..] = bytes.get(start..payload)? else { return None };
            let is_it = usize::from(words >> 4) * 4 == length
                && u16::from_be_bytes([a, b]) == segment.source.port
                && u16::from_be_bytes([c, d]) == segment.destination.port
                && u32::from_be_bytes([e, f, g, h]) == segment.seq;
            is_it.then_some(start)
        },
    )
}

fn pseudo_header(segment: &Segment, length: usize) -> u64 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum_words(&ip.octets()),
        IpAddr::V6(ip) => sum_words(&ip.octets()),
    };
    address(segment.source.ip) + address(segment.destination.ip) + PROTOCOL_TCP + (length as u64 & 0xffff) + (length as u64 >> 16)
}

fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn word(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |pair| u16::from_be_bytes(*pair))
}

const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

const CHECKSUM_OFFSET: usize = 16;
const PROTOCOL_TCP: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::segment::Flags;
    use crate::model::Endpoint;

    fn segment(length: u32) -> Segment {
        let end = |last, port| Endpoint::new(IpAddr::from([192, 0, 2, last]), port);
        Segment {
            source: end(1, 0x1234),
            destination: end(2, 80),
            seq: 7,
            ack: None,
            flags: Flags::default(),
            payload_start: 22,
            payload_length: length,
        }
    }

    fn bytes(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xff, 0x12, 0x34, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 16, 0, 9, 0xbe, 0xef, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What a receiver computes over a right segment.
    fn total(bytes: &[u8], segment: &Segment) -> u16 {
        fold(pseudo_header(segment, bytes.len() - 2) + sum_words(&bytes[2..]))
    }

    #[test]
    fn a_whole_segment_gets_a_right_checksum_whatever_it_had() {
        for payload in [&b""[..], b"a", b"even", b"odd"] {
            let segment = segment(payload.len() as u32);
            let mut now = bytes(payload);
            mend(&mut now, &[], &segment);
            assert_eq!(total(&now, &segment), 0xffff, "{payload:?}");
        }
    }

    #[test]
    fn a_cut_segment_keeps_a_right_checksum_right() {
        let segment = segment(9);
        let mut whole = bytes(b"abcdefghi");
        mend(&mut whole, &[], &segment);
        let before = whole[..27].to_vec();
        let mut now = before.clone();
        now[23] = b'A';
        now[26] = b'A';
        mend(&mut now, &before, &segment);
        now.extend_from_slice(&whole[27..]);
        assert_eq!(total(&now, &segment), 0xffff);
    }
}
