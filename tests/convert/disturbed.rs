//! Secrets that are cut over segments, sent again, out of order, in fragments, or next to a hole.

use crate::craft::{capture, contains, read, run, scrubbing, shown};
use crate::support::{Connection, Random};
use hopwire::convert::ConvertError;
use hopwire::session::Kind;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const TOKEN: &str = "FwoGZXIvYXdzEJr//////////wEaDKZ5c2Vzc2lvbnRva2VuIg+abcdefghij/klmnop==";
const SIGNATURE: &str = "9f2c7a1be04d5f6877665544332211aabbccddeeff00112233445566778899aa";
const CHUNK_SIGNATURE: &str = "1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7d8e9fa0b";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// Every form in which some byte of the conversation below is a secret.
const PLANTED: &[&str] = &[
    KEY,
    TOKEN,
    SIGNATURE,
    CHUNK_SIGNATURE,
    SECRET,
    "wJalrXUtnFEMI%2FK7MDENG%2FbPxRfiCYEXAMPLEKEY",
    "0123456789abcdef0123456789abcdef",
    "3031323334353637383961626364656630313233343536373839616263646566",
];

/// Frames of one connection on which secrets pass.
fn conversation(segment_max: usize) -> Vec<(i64, Vec<u8>)> {
    let mut connection = Connection::open(40_001, 1_000_000_000, segment_max, u32::MAX - 300, 77);
    let put = format!(
        "PUT /bucket/key?partNumber=1 HTTP/1.1\r\nHost: store\r\nX-Amz-Security-Token: {TOKEN}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AK/20261123/r/s3/aws4_request, SignedHeaders=host, Signature={SIGNATURE}\r\n\
         x-amz-server-side-encryption-customer-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.client(put.as_bytes());
    connection.client(format!("5a\r\n5;chunk-signature={CHUNK_SIGNATURE}\r\nhello\r\n\r\n0\r\n\r\n").as_bytes());
    connection.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let sts = format!("<R><Credentials><SecretAccessKey>{SECRET}</SecretAccessKey></Credentials></R>");
    connection.client(b"POST / HTTP/1.1\r\nHost: sts\r\nContent-Length: 17\r\n\r\nAction=AssumeRole");
    connection
        .server(format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{sts}", sts.len()).as_bytes());
    // The same secrets where no name tells of them, in other forms.
    let log = "key=3031323334353637383961626364656630313233343536373839616263646566 raw=0123456789abcdef0123456789abcdef \
               secret=wJalrXUtnFEMI%2FK7MDENG%2FbPxRfiCYEXAMPLEKEY";
    connection.client(format!("PUT /logs/1 HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n{log}", log.len()).as_bytes());
    connection.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    connection.close();
    connection.sent.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect()
}

/// The IP fragments of a frame, cut every `size` octets.
fn fragments(frame: &[u8], size: usize, id: u16) -> Vec<Vec<u8>> {
    let payload = &frame[34..];
    let count = payload.len().div_ceil(size);
    let piece = |(index, part): (usize, &[u8])| {
        let mut bytes = frame[..34].to_vec();
        bytes[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        bytes[18..20].copy_from_slice(&id.to_be_bytes());
        let more = if index + 1 < count { 0x2000 } else { 0 };
        bytes[20..22].copy_from_slice(&(more | (index * size / 8) as u16).to_be_bytes());
        bytes.extend_from_slice(part);
        bytes
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

/// The conversation, disturbed by chance.
fn disturbed(seed: u64) -> Vec<(i64, Vec<u8>)> {
    let mut random = Random(seed);
    let frames = conversation(7 + random.below(400) as usize);
    let mut packets: Vec<(i64, Vec<u8>)> = Vec::new();
    for (index, (at, frame)) in frames.iter().enumerate() {
        if frame.len() > 80 && random.below(5) == 0 {
            let mut pieces = fragments(frame, 8 * (1 + random.below(6) as usize), index as u16 + 1);
            if random.below(2) == 0 {
                pieces.reverse();
            }
            packets.extend(pieces.into_iter().map(|piece| (*at, piece)));
        } else {
            packets.push((*at, frame.clone()));
        }
        if random.below(6) == 0 {
            packets.push((*at + 1000, frame.clone()));
        }
        let last = packets.len() - 1;
        if last > 4 && random.below(5) == 0 {
            packets.swap(last, last - 1 - random.below(2) as usize);
        }
    }
    packets
}

/// Whether a TCP checksum is right, of a frame without IP options.
fn is_right(frame: &[u8]) -> bool {
    let segment = &frame[34..];
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)).sum()
    };
    let mut sum = words(&frame[26..34]) + 6 + segment.len() as u32 + words(segment);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

#[test]
fn no_disturbance_saves_a_secret_and_nothing_else_changes() {
    for seed in 0..150 {
        let packets = disturbed(seed);
        let input = capture(&packets);
        let (output, report) = run(&input, &scrubbing()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let (before, after) = (read(&input), read(&output));
        assert_eq!(shown(&before.exchanges), shown(&after.exchanges), "seed {seed}");
        assert_eq!(before.exchanges.len(), 3, "seed {seed}");
        assert_eq!((after.secrets, after.comments), (0, 0));
        assert_eq!(before.packets.len(), after.packets.len(), "seed {seed}");
        let mut changed = 0;
        for (one, other) in before.packets.iter().zip(&after.packets) {
            assert_eq!(one.len(), other.len(), "seed {seed}: a packet has another length");
            if one == other {
                continue;
            }
            changed += 1;
            let is_fragment = one[20] & 0x3f != 0 || one[21] != 0;
            assert!(is_fragment || is_right(other), "seed {seed}: a wrong checksum");
            assert_eq!(one[..34], other[..34], "seed {seed}: headers changed");
        }
        assert_eq!(report.packets_masked, changed, "seed {seed}");
        // No six octets of a secret stay together, wherever the packets were cut.
        for planted in PLANTED {
            for piece in planted.as_bytes().windows(6).filter(|piece| !piece.starts_with(b"//////")) {
                assert!(!contains(&output, piece), "seed {seed}: {} of {planted}", String::from_utf8_lossy(piece));
            }
        }
    }
}

#[test]
fn scrubbing_again_changes_nothing() {
    let (once, _) = run(&capture(&conversation(100)), &scrubbing()).unwrap();
    let (twice, report) = run(&once, &scrubbing()).unwrap();
    assert_eq!(once, twice);
    assert_eq!(report.packets_masked, 0);
}

#[test]
fn places_are_counted_by_kind_and_once_each() {
    let (_, report) = run(&capture(&conversation(1000)), &scrubbing()).unwrap();
    let counts: Vec<_> = report.masked.iter().map(|(what, count)| (what.label(), *count)).collect();
    assert_eq!(
        counts,
        [
            (Kind::CustomerKey.label(), 3),
            (Kind::SessionToken.label(), 1),
            (Kind::SecretKey.label(), 2),
            (Kind::Signature.label(), 2)
        ]
    );
}

#[test]
fn what_is_left_of_a_secret_beside_a_hole_is_masked() {
    let whole = conversation(40);
    for lost in 3..whole.len() {
        let packets: Vec<_> =
            whole.iter().enumerate().filter(|(index, _)| *index != lost).map(|(_, packet)| packet.clone()).collect();
        let (output, _) = run(&capture(&packets), &scrubbing()).unwrap_or_else(|error| panic!("without {lost}: {error}"));
        for planted in [KEY, TOKEN] {
            for piece in planted.as_bytes().windows(10).filter(|piece| !piece.starts_with(b"//////")) {
                assert!(!contains(&output, piece), "without {lost}: {}", String::from_utf8_lossy(piece));
            }
        }
    }
}

#[test]
fn pieces_of_datagrams_that_never_became_whole_are_cut() {
    let frames = conversation(1000);
    let (at, frame) = frames.iter().find(|(_, frame)| contains(frame, KEY.as_bytes())).unwrap();
    let mut pieces = fragments(frame, 400, 9);
    pieces.pop();
    let packets: Vec<_> = pieces.into_iter().map(|piece| (*at, piece)).collect();
    let (output, report) = run(&capture(&packets), &scrubbing()).unwrap();
    assert_eq!(report.packets_cut, packets.len() as u64);
    assert!(!contains(&output, b"Security-Token"));
}

#[test]
fn secrets_in_other_protocols_cut_their_packets() {
    let mut packets = conversation(500);
    let mut datagram = packets[0].1[..34].to_vec();
    datagram[23] = 17;
    datagram.extend_from_slice(&[0, 53, 0, 53, 0, 0, 0, 0]);
    datagram.extend_from_slice(format!("user.token.{TOKEN}.tail").as_bytes());
    packets.insert(0, (1, datagram));
    let (output, report) = run(&capture(&packets), &scrubbing()).unwrap();
    assert_eq!(report.packets_cut, 1);
    assert!(!contains(&output, TOKEN.as_bytes()) && contains(&output, b"user.token."));
}

#[test]
fn packets_that_cannot_be_read_are_emptied() {
    let mut packets = conversation(500);
    let mut broken = packets[3].1.clone();
    // An IP header that claims to be longer than the packet.
    broken[14] = 0x41;
    broken.extend_from_slice(b"X-Amz-Security-Token: never-seen-elsewhere");
    packets.push((9, broken));
    let (output, report) = run(&capture(&packets), &scrubbing()).unwrap();
    assert_eq!(report.packets_cut, 1);
    assert!(!contains(&output, b"never-seen-elsewhere"));
}

/// An answer of a token service with a body in chunks.
fn chunked(status: &str, kind: &str, chunks: &[&str]) -> Vec<u8> {
    let mut connection = Connection::open(40_002, 0, 1000, 1, 1);
    connection.client(b"GET / HTTP/1.1\r\nHost: sts\r\n\r\n");
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    connection.server(format!("HTTP/1.1 {status}\r\n{kind}Transfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n").as_bytes());
    connection.client(b"GET /next HTTP/1.1\r\nHost: sts\r\n\r\n");
    connection.server(b"HTTP/1.1 204 No Content\r\n\r\n");
    connection.close();
    let packets: Vec<_> = connection.sent.into_iter().map(|sent| (sent.at_nanos, sent.bytes)).collect();
    capture(&packets)
}

#[test]
fn secrets_in_bodies_of_any_type_are_masked_also_where_chunks_cut_them() {
    let (one, two) = SECRET.split_at(11);
    for (from, to) in [("<a><SecretAccessKey>", "</SecretAccessKey></a>"), ("{\n  \"SecretAccessKey\" : \"", "\",\n \"b\": 1}")] {
        for kind in ["", "Content-Type: application/octet-stream\r\n"] {
            for chunks in [vec![format!("{from}{SECRET}{to}")], vec![format!("{from}{one}"), format!("{two}{to}")]] {
                let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
                let input = chunked("200 OK", kind, &chunks);
                let (output, _) = run(&input, &scrubbing()).unwrap();
                assert_eq!(shown(&read(&input).exchanges), shown(&read(&output).exchanges), "{chunks:?}");
                for piece in SECRET.as_bytes().windows(6) {
                    assert!(!contains(&output, piece), "{chunks:?}: {}", String::from_utf8_lossy(&output));
                }
                assert!(contains(&output, b"SecretAccessKey") && contains(&output, to.as_bytes()), "{chunks:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_masked_is_refused() {
    let input = chunked(
        "403 Forbidden",
        "Content-Type: text/xml\r\n",
        &["<a><Secret", &format!("AccessKey>{}</SecretAccessKey></a>", "12"), "34"],
    );
    assert!(matches!(run(&input, &scrubbing()), Err(ConvertError::NotFree { kind: "secret-key", .. })));
}
