//! Every feature of the formats, on crafted bytes.

use std::io::Write;

use hopwire::capture::{Compression, FileFormat, Input, secrets_in};

use crate::craft::{BIG, LITTLE, Order, Way, input, read, read_inputs};

const MICROS: u32 = 0xa1b2_c3d4;
const NANOS: u32 = 0xa1b2_3c4d;

#[test]
fn pcap_in_both_orders_and_resolutions() {
    for order in [LITTLE, BIG] {
        for (magic, nanos, format) in [(MICROS, 7_000, FileFormat::Pcap), (NANOS, 7, FileFormat::PcapNanos)] {
            let mut file = order.pcap(magic, 65535, 0x5400_0001);
            file.extend(order.record(u32::MAX, 7, b"one"));
            file.extend(order.record(1, 999_999, b""));
            let all = read(&file);
            assert_eq!(all.times(), [i64::from(u32::MAX) * 1_000_000_000 + nanos, 1_000_000_000 + 999_999 * nanos / 7]);
            assert_eq!((all.packets[0].link, all.packets[0].bytes.as_slice()), (1, b"one".as_slice()));
            assert_eq!((all.packets[0].number, all.packets[1].number), (1, 2));
            assert_eq!(all.sources[0].format, Some(format));
            assert_eq!(all.sources[0].file_bytes, file.len() as u64);
            assert_eq!(all.sources[0].interfaces[0].packets, 2);
            assert!(all.problems().is_empty());
        }
    }
}

#[test]
fn pcap_variants_with_longer_headers() {
    let extended = |order: Order, extra: usize| {
        let mut file = order.pcap(0xa1b2_cd34, 65535, 1);
        for second in 10..20 {
            file.extend(order.words(&[second, 5, 4, 60]));
            file.extend(vec![0xee; extra]);
            file.extend(b"abcd");
        }
        file
    };
    for order in [LITTLE, BIG] {
        for extra in [8, 12] {
            let all = read(&extended(order, extra));
            assert_eq!(all.packets.len(), 10, "{extra}");
            assert!(all.packets.iter().all(|packet| packet.bytes == b"abcd" && packet.original == 60));
        }
    }
}

#[test]
fn pcap_of_ixia_aix_and_before_version_2_4() {
    let mut ixia = LITTLE.pcap(0x1c00_01ac, 65535, 1);
    ixia.extend(LITTLE.word(19));
    ixia.extend(LITTLE.record(2, 3, b"abc"));
    assert_eq!(read(&ixia).times(), [2_000_000_003]);

    let mut aix = BIG.pcap(MICROS, 65535, 6);
    aix[7] = 2;
    aix.extend(BIG.record(2, 3, b"abc"));
    let all = read(&aix);
    assert_eq!((all.times(), all.packets[0].link), (vec![2_000_000_003], 1));

    let mut old = LITTLE.pcap(MICROS, 65535, 1);
    old[6] = 3;
    old.extend(LITTLE.words(&[1, 0, 60, 3]));
    old.extend(b"abc");
    let all = read(&old);
    assert_eq!((all.packets[0].bytes.len(), all.packets[0].original), (3, 60));
}

#[test]
fn snoop_with_padding_and_drops() {
    let mut file = b"snoop\0\0\0".to_vec();
    file.extend(BIG.words(&[2, 4]));
    for (drops, packet) in [(0, b"abc".as_slice()), (9, b"defg")] {
        let length = packet.len() as u32;
        file.extend(BIG.words(&[1500, length, 24 + length.next_multiple_of(4), drops, 100, 42]));
        file.extend(packet);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    let all = read(&file);
    assert_eq!(all.times(), [100_000_042_000; 2]);
    assert_eq!(all.packets[0].bytes, b"abc");
    assert_eq!((all.packets[1].original, all.packets[1].link), (1500, 1));
    assert_eq!(all.sources[0].dropped(), Some(9));
}

#[test]
fn pcapng_with_every_block() {
    for order in [LITTLE, BIG] {
        let all = read(&every_block(order));
        let seen: Vec<_> = all.packets.iter().map(|p| (p.number, p.interface, p.link, p.at, p.bytes.as_slice())).collect();
        assert_eq!(
            seen,
            [
                (1, 0, 1, 5_000, b"first".as_slice()),
                (2, 1, 113, 1_000_000_009, b"second"),
                // A custom block has number 3.
                (4, 0, 1, 0, b"simple"),
                (5, 1, 113, 1_000_000_010, b"obsolete"),
            ]
        );
        assert_eq!(all.packets[2].original, 1000);
        assert_eq!(all.comments, [(0, "a section".to_owned()), (2, "two".to_owned()), (2, "comments".to_owned())]);
        assert_eq!(all.names, ["10.0.0.1 spark", "10.0.0.1 worker", "::1 self"]);
        assert!(all.secrets.len() == 1 && all.secrets[0].expose() == b"CLIENT_RANDOM 00 11\n");
        let source = &all.sources[0];
        assert_eq!(source.application.as_deref(), Some("craft"));
        // Custom, journal, unknown, and secrets of another kind.
        assert_eq!(source.other_blocks, 4);
        assert_eq!(source.interfaces.len(), 2);
        assert_eq!(source.interfaces[1].name.as_deref(), Some("br-0"));
        assert_eq!(source.interfaces[1].description.as_deref(), Some("a bridge"));
        assert_eq!((source.interfaces[0].snap_length, source.interfaces[1].snap_length), (Some(6), None));
        assert_eq!((source.interfaces[1].received, source.interfaces[1].dropped), (Some(70), Some(2)));
        assert_eq!(source.dropped(), Some(5));
        assert!(all.problems().is_empty(), "{:?}", all.problems());
    }
}

fn every_block(order: Order) -> Vec<u8> {
    let mut section_options = order.option(1, b"a section");
    section_options.extend(order.option(4, b"craft"));
    let mut file = order.section(&section_options);
    file.extend(order.interface(1, 6, &[]));
    let mut options = order.option(2, b"br-0");
    options.extend(order.option(3, b"a bridge"));
    options.extend(order.option(9, &[9]));
    options.extend(order.option(14, &order.long(1)));
    options.extend(order.option(0, &[]));
    file.extend(order.interface(113, 0, &options));
    let mut secrets = order.words(&[0x544c_534b, 20]);
    secrets.extend(b"CLIENT_RANDOM 00 11\n");
    file.extend(order.block(10, &secrets));
    file.extend(order.block(10, &order.words(&[0x5747_4b4c, 0])));
    let mut names = order.option(1, b"\x0a\0\0\x01spark\0worker\0");
    names.extend(order.option(2, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01self\0"));
    names.extend(order.option(0, &[]));
    file.extend(order.block(4, &names));
    file.extend(order.packet(0, 5, b"first", &[]));
    let mut comments = order.option(1, b"two");
    comments.extend(order.option(2, &[0; 4]));
    comments.extend(order.option(1, b"comments"));
    comments.extend(order.option(0, &[]));
    file.extend(order.packet(1, 9, b"second", &comments));
    file.extend(order.block(0x0bad, &order.words(&[1234, 5])));
    let mut simple = order.word(1000).to_vec();
    simple.extend(b"simple, but longer than the snap length");
    file.extend(order.block(3, &simple));
    let mut obsolete = order.half(1).to_vec();
    obsolete.extend(order.half(7));
    obsolete.extend(order.words(&[0, 10, 8, 8]));
    obsolete.extend(b"obsolete");
    file.extend(order.block(2, &obsolete));
    file.extend(order.block(9, b"__REALTIME_TIMESTAMP=1\n"));
    file.extend(order.block(0x7777, b"whatever"));
    let mut statistics = order.words(&[1, 0, 0]);
    for (number, count) in [(4, 70), (5, 2), (7, 3)] {
        statistics.extend(order.option(number, &order.long(count)));
    }
    file.extend(order.block(5, &statistics));
    file
}

#[test]
fn pcapng_sections_of_different_orders() {
    let mut file = every_block(LITTLE);
    file.extend(every_block(BIG));
    file.extend(every_block(LITTLE));
    let all = read(&file);
    assert_eq!(all.packets.len(), 12);
    assert_eq!(all.packets.iter().map(|packet| packet.interface).collect::<Vec<_>>(), [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]);
    // Each section ends with a journal block, which has a number too.
    assert_eq!(all.packets[4].number, 7);
    assert_eq!(all.sources[0].interfaces.len(), 6);
    assert_eq!(all.secrets.len(), 3);
}

#[test]
fn pcapng_with_packets_of_no_interface_or_no_sense() {
    let mut file = LITTLE.section(&[]);
    file.extend(LITTLE.packet(0, 1, b"too early", &[]));
    file.extend(LITTLE.interface(1, 0, &[]));
    file.extend(LITTLE.packet(1, 2, b"of another", &[]));
    let mut lying = LITTLE.packet(0, 3, b"longer than its block", &[]);
    lying[20] = 200;
    file.extend(lying);
    file.extend(LITTLE.block(6, b"tiny"));
    file.extend(LITTLE.packet(0, 4, b"good", &[]));
    let all = read(&file);
    assert_eq!(all.packets.iter().map(|packet| (packet.number, packet.at)).collect::<Vec<_>>(), [(5, 4_000)]);
    assert_eq!(
        all.problems(),
        [
            "packets of an interface that is not described, skipped: 2, the first at offset 28, record 1",
            "blocks whose content contradicts their length, skipped: 2, the first at offset 136, record 3",
        ]
    );
}

#[test]
fn a_million_interfaces_are_bounded() {
    let mut file = LITTLE.section(&[]);
    for _ in 0..1_000_000 {
        file.extend(LITTLE.interface(1, 0, &[]));
    }
    file.extend(LITTLE.packet(65_534, 1, b"last one kept", &[]));
    file.extend(LITTLE.packet(65_535, 2, b"first one not", &[]));
    let all = read(&file);
    assert_eq!(all.times(), [1_000]);
    assert_eq!(all.sources[0].interfaces.len(), 4096);
    assert!(all.problems()[0].starts_with("more interfaces than 65535"), "{:?}", all.problems());
    assert_eq!(all.sources[0].problems[0].count, 1_000_000 - 65_535);
}

#[test]
fn compressed_captures_with_several_members() {
    let file = every_block(LITTLE);
    let (front, back) = file.split_at(100);
    let gzip = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |part: &[u8]| zstd::stream::encode_all(part, 1).unwrap();
    for (compressed, compression) in [
        ([gzip(front), gzip(back)].concat(), Compression::Gzip),
        ([zstd(front), zstd(back)].concat(), Compression::Zstd),
        (gzip(&zstd(&file)), Compression::Gzip),
    ] {
        for way in [Way::Stream, Way::Positioned] {
            let all = read_inputs(vec![input(&compressed, way)]).unwrap();
            assert_eq!(all.packets.len(), 4);
            assert_eq!(all.sources[0].compression, Some(compression));
            assert!(all.problems().is_empty());
        }
    }
    let compressed = [gzip(front), gzip(back)].concat();
    let cut = read(&compressed[..compressed.len() - 20]);
    assert!(cut.problems()[0].starts_with("reading failed at offset"), "{:?}", cut.problems());
}

#[test]
fn several_files_are_one_capture_in_time_order() {
    let file = |times: &[u32]| {
        let mut file = LITTLE.pcap(MICROS, 65535, 1);
        times.iter().for_each(|time| file.extend(LITTLE.record(*time, 0, &time.to_le_bytes())));
        input(&file, Way::Stream)
    };
    let broken = Input { name: "notes".to_owned(), ..input(b"just text", Way::Stream) };
    let all = read_inputs(vec![file(&[1, 4, 5, 9]), broken, file(&[2, 4, 4, 3, 8]), file(&[])]).unwrap();
    let seen: Vec<_> = all.packets.iter().map(|p| (p.at / 1_000_000_000, p.file, p.number)).collect();
    let expected = [(1, 0, 1), (2, 2, 1), (4, 0, 2), (4, 2, 2), (4, 2, 3), (3, 2, 4), (5, 0, 3), (8, 2, 5), (9, 0, 4)];
    assert_eq!(seen, expected);
    assert_eq!(all.sources.len(), 4);
    assert_eq!(all.sources.iter().map(|source| source.packets).collect::<Vec<_>>(), [4, 0, 5, 0]);
    assert!(all.sources[1].failure.as_deref().unwrap().starts_with("notes: text"));
}

#[test]
fn merged_files_longer_than_a_batch_keep_order_secrets_and_tails() {
    let file = |first: u64, big: usize| {
        let mut file = every_block(LITTLE);
        for number in 0..200 {
            let size = if number % 50 == 0 { 400_000 } else { big };
            file.extend(LITTLE.packet(0, first + number * 2, &vec![number as u8; size], &[]));
        }
        file
    };
    let (odd, even) = (file(2_000_001, 20_000), file(2_000_000, 9_001));
    for way in [Way::Stream, Way::Positioned] {
        let all = read_inputs(vec![input(&odd, way), input(&even, way)]).unwrap();
        let times: Vec<_> = all.packets[8..].iter().map(|packet| packet.at).collect();
        assert_eq!(times, (2_000_000..2_000_400).map(|time| time * 1000).collect::<Vec<_>>());
        assert!(all.packets[8..].iter().all(|p| p.bytes.iter().all(|byte| i64::from(*byte) == (p.at / 1000 - 2_000_000) / 2)));
        assert_eq!((all.jumped > 100, all.secrets.len(), all.names.len()), (way == Way::Positioned, 2, 6));
    }
}

#[test]
fn secrets_after_their_packets_are_found_first() {
    for (size, order) in [(100, LITTLE), (60_000, BIG)] {
        let mut file = order.section(&[]);
        file.extend(order.interface(1, 0, &[]));
        for time in 0..50 {
            file.extend(order.packet(0, time, &vec![0; size], &[]));
        }
        file.extend(every_block(order));
        let found = secrets_in(&file).unwrap();
        assert!(found.len() == 1 && found[0].expose() == b"CLIENT_RANDOM 00 11\n");
        // Damage ends the scan in peace.
        for end in [0, 3, 11, 30, file.len() - 100] {
            assert!(secrets_in(&file[..end].to_vec()).unwrap().len() <= 1);
        }
    }
    assert!(secrets_in(&LITTLE.pcap(MICROS, 0, 1)).unwrap().is_empty());
}
