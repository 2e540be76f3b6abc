//! Captures that are cut, damaged, or no captures at all.

use std::io::{self, Read};

use hopwire::capture::{Batch, Input, PacketSource, ProblemKind, SavedCapture};

use crate::craft::{BIG, LITTLE, Order, Way, input, read, read_inputs, read_stream};

fn pcap(order: Order, packets: u32) -> Vec<u8> {
    let mut file = order.pcap(0xa1b2_c3d4, 262_144, 1);
    for number in 0..packets {
        file.extend(order.record(1_700_000_000 + number, number, &vec![number as u8; 40 + number as usize % 50]));
    }
    file
}

fn pcapng(order: Order, packets: u64) -> Vec<u8> {
    let mut file = order.section(&[]);
    file.extend(order.interface(1, 0, &[]));
    for number in 0..packets {
        let comment = if number % 3 == 0 { order.option(1, b"third") } else { Vec::new() };
        file.extend(order.packet(0, 1_700_000_000_000_000 + number, &vec![number as u8; 40 + number as usize % 50], &comment));
    }
    file
}

fn snoop(packets: u32) -> Vec<u8> {
    let mut file = b"snoop\0\0\0".to_vec();
    file.extend(BIG.words(&[2, 4]));
    for number in 0..packets {
        file.extend(BIG.words(&[60, 60, 84, 0, 1_700_000_000 + number, number]));
        file.extend([number as u8; 60]);
    }
    file
}

#[test]
fn cut_at_every_byte_reads_to_the_last_whole_record() {
    for file in [pcap(LITTLE, 5), pcap(BIG, 5), pcapng(LITTLE, 5), pcapng(BIG, 5), snoop(5)] {
        let whole = read(&file).packets;
        assert_eq!(whole.len(), 5);
        for end in 0..file.len() {
            for way in [Way::Stream, Way::Positioned] {
                let Ok(all) = read_inputs(vec![input(&file[..end], way)]) else {
                    assert!(end < 28, "{end}");
                    continue;
                };
                assert!(whole.starts_with(&all.packets));
                let read_to = all.sources[0].file_bytes;
                let found = end as u64 - read_to;
                match all.sources[0].problems.as_slice() {
                    [] => assert_eq!(found, 0),
                    [problem] => {
                        assert_eq!((problem.offset, problem.record), (read_to, all.packets.len() as u64 + 1));
                        let ProblemKind::Cut { expected_bytes, found_bytes } = problem.kind else { panic!("{problem}") };
                        assert!(expected_bytes > found_bytes && found_bytes == found, "{problem}");
                    }
                    more => panic!("{more:?}"),
                }
            }
        }
    }
    let cut = read(&pcap(LITTLE, 3)[..24 + 56 + 30]);
    assert_eq!(cut.problems(), ["cut at offset 80 in record 2: 57 bytes expected, 30 there"]);
}

#[test]
fn after_a_nonsensical_length_reading_goes_on() {
    for (file, at, length) in [(pcap(LITTLE, 3000), 24 + 56, 8), (pcap(BIG, 3000), 24 + 56, 8), (snoop(3000), 16 + 84, 8)] {
        let whole = read(&file).packets;
        let mut damaged = file.clone();
        damaged[at + length..at + length + 4].fill(0xff);
        for way in [Way::Stream, Way::Positioned] {
            let all = read_inputs(vec![input(&damaged, way)]).unwrap();
            assert_eq!(all.packets.len(), whole.len() - 1);
            assert!(all.packets[1..].iter().zip(&whole[2..]).all(|(a, b)| (a.at, &a.bytes) == (b.at, &b.bytes)));
            let problem = &all.sources[0].problems[0];
            assert_eq!((problem.offset, problem.record), (at as u64, 2));
            assert!(matches!(problem.kind, ProblemKind::Skipped { .. }), "{problem}");
        }
    }
    for order in [LITTLE, BIG] {
        let file = pcapng(order, 3000);
        let whole = read(&file).packets;
        for (place, value) in [(4, 0xff_u8), (5, 0x11), (7, 0x40)] {
            let at = 28 + 20 + 84;
            let mut damaged = file.clone();
            damaged[at + place] = value;
            let all = read(&damaged);
            assert_eq!(all.packets.len(), whole.len() - 1, "{:?}", all.problems());
            assert!(all.packets[1..].iter().zip(&whole[2..]).all(|(a, b)| (a.at, &a.bytes) == (b.at, &b.bytes)));
        }
    }
}

#[test]
fn damage_far_from_the_next_record_is_passed_over_in_steps() {
    let mut file = pcap(LITTLE, 1000);
    let cut = file.len();
    file.extend(vec![0xff; 3_000_001]);
    file.extend_from_slice(&pcap(LITTLE, 1000)[24..]);
    let all = read(&file);
    assert_eq!(all.packets.len(), 2000);
    let expected = format!(
        "damaged at offset {cut} in record 1001: a record length of 4294967295 bytes makes no sense; 3000001 bytes skipped to the next record"
    );
    assert_eq!(all.problems(), [expected]);
}

#[test]
fn garbage_to_the_end_is_counted() {
    for mut file in [pcap(BIG, 100), pcapng(BIG, 100), snoop(100)] {
        let start = file.len() as u64;
        file.extend(vec![0xfe; 700_000]);
        let all = read(&file);
        assert_eq!(all.packets.len(), 100);
        let problem = &all.sources[0].problems[0];
        assert_eq!(problem.offset, start);
        assert!(matches!(problem.kind, ProblemKind::Unreadable { bytes: 700_000, .. }), "{problem}");
        assert_eq!(all.sources[0].file_bytes, file.len() as u64);
    }
}

#[test]
fn lengths_of_gigabytes_take_no_memory() {
    // A record that claims 16 MiB (allowed by the snap length) in a file of a few bytes.
    let mut file = LITTLE.pcap(0xa1b2_c3d4, u32::MAX, 1);
    file.extend(LITTLE.words(&[1, 0, 16 << 20, 16 << 20]));
    file.extend(b"short");
    let mut capture = SavedCapture::open(vec![input(&file, Way::Stream)]).unwrap();
    let mut batch = Batch::new();
    assert!(!capture.read_batch(&mut batch).unwrap());
    let problem = capture.sources()[0].problems[0].to_string();
    assert_eq!(problem, "cut at offset 24 in record 1: 16777232 bytes expected, 21 there");
    for length in [0_u32, 8, 13, 0x8000_0000, u32::MAX, u32::MAX - 3] {
        let mut file = LITTLE.section(&[]);
        file.extend(LITTLE.words(&[6, length, 0, 0]));
        let all = read(&file);
        assert!(matches!(all.sources[0].problems[0].kind, ProblemKind::Unreadable { .. }), "{:?}", all.problems());
    }
}

#[test]
fn records_longer_than_the_buffer_are_whole() {
    let big: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
    let mut file = LITTLE.pcap(0xa1b2_c3d4, 16 << 20, 1);
    file.extend(LITTLE.record(1, 0, b"small"));
    file.extend(LITTLE.record(2, 0, &big));
    file.extend(LITTLE.record(3, 0, b"small again"));
    for way in [Way::Stream, Way::Positioned] {
        let all = read_inputs(vec![input(&file, way)]).unwrap();
        assert_eq!(all.packets.iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>(), [5, big.len(), 11]);
        assert!(all.packets[1].bytes == big && all.problems().is_empty());
    }
}

#[test]
fn a_failing_reader_ends_the_capture_with_its_reason() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let file = pcap(LITTLE, 200);
    let end = file.len();
    let all = read_stream(io::Cursor::new(file).chain(Failing));
    assert_eq!(all.packets.len(), 200);
    assert!(all.problems()[0].ends_with("disk on fire"), "{:?} {end}", all.problems());
    let input = Input { name: "x.pcap".to_owned(), stream: Box::new(Failing), positioned: None };
    assert_eq!(SavedCapture::open(vec![input]).err().unwrap().to_string(), "cannot read x.pcap");
}

#[test]
fn what_is_no_capture_is_named_with_the_next_step() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "test: an empty file; was the capture stopped before its first packet, or the disk full?"),
        (b"\x04\x22\x4d\x18rest", "test: compressed with lz4, which is not read here; decompress it first (lz4 -d)"),
        (b"\x89PNG\r\n\x1a\n", "test: a PNG image, not a capture"),
        (b"{\"log\":{}}", "test: a JSON document (perhaps a HAR), not a packet capture"),
        (b"{\"a\":1}\n", "test: JSON lines (perhaps a session), not a packet capture"),
        (b"hello\n", "test: text, not a capture; write packets with tcpdump -w FILE or tshark -w FILE"),
        (b"\xd4\xc3\xb2\xa1\x02", "test: cut within its file header: only 5 bytes are there; copy the file again"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a", ""),
        (&[0x0a; 64], "test: text, not a capture; write packets with tcpdump -w FILE or tshark -w FILE"),
    ];
    for (bytes, expected) in cases {
        let error = read_inputs(vec![input(bytes, Way::Stream)]).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error, *expected);
    }
    assert_eq!(read_inputs(Vec::new()).err().unwrap().to_string(), "no capture given");
    let mut nested = pcap(LITTLE, 1);
    for _ in 0..4 {
        nested = zstd::stream::encode_all(nested.as_slice(), 1).unwrap();
    }
    let error = read_inputs(vec![input(&nested, Way::Stream)]).err().unwrap();
    assert_eq!(error.to_string(), "test: compressed more than 3 times over; decompress it first");
}

#[test]
fn a_bomb_is_stopped_early() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&LITTLE.pcap(0xa1b2_c3d4, 65535, 1)).unwrap();
    let record = LITTLE.record(1, 0, &[0; 60_000]);
    for _ in 0..1700 {
        encoder.write_all(&record).unwrap();
    }
    let gz = encoder.finish().unwrap();
    // Deflate alone stays near 1:1000; one layer more does not.
    let bomb = zstd::stream::encode_all(gz.as_slice(), 19).unwrap();
    let zeros = zstd::stream::encode_all(io::repeat(0).take(200 << 20), 3).unwrap();
    let mut head = zstd::stream::encode_all(LITTLE.pcap(0xa1b2_c3d4, 65535, 1).as_slice(), 3).unwrap();
    head.extend(zeros);
    let all = read(&head);
    let failed = all.sources[0].problems.iter().find(|problem| matches!(problem.kind, ProblemKind::ReadFailed(_)));
    assert!(failed.unwrap().to_string().contains("no capture shrinks like that"));
    assert!(all.sources[0].file_bytes < 100 << 20);
    drop(read(&bomb));
}
