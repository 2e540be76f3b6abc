//! What holds for every capture, however its bytes come.

use std::io::{self, Read};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::craft::{All, BIG, LITTLE, Order, Way, input, read, read_inputs, read_stream};

/// Gives its bytes in pieces of given sizes, over and over.
struct Pieces {
    bytes: io::Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let size = self.sizes[self.turn % self.sizes.len()];
        if size == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = size.min(buffer.len());
        self.bytes.read(&mut buffer[..end])
    }
}

fn pcap(order: Order, sizes: &[usize]) -> Vec<u8> {
    let mut file = order.pcap(0xa1b2_3c4d, 262_144, 1);
    for (number, size) in sizes.iter().enumerate() {
        file.extend(order.record(1_700_000_000 + number as u32, number as u32, &vec![number as u8; *size]));
    }
    file
}

fn pcapng(order: Order, sizes: &[usize]) -> Vec<u8> {
    let mut file = order.section(&[]);
    file.extend(order.interface(1, 0, &order.option(9, &[9])));
    for (number, size) in sizes.iter().enumerate() {
        let comment = order.option(1, &vec![b'c'; size % 700]);
        let options = if number % 2 == 0 { comment.as_slice() } else { &[] };
        file.extend(order.packet(0, 1_700_000_000_000_000_000 + number as u64, &vec![number as u8; *size], options));
        if size % 11 == 0 {
            file.extend(order.block(0x0bad, &vec![7; *size]));
        }
    }
    file
}

fn assert_same(a: &All, b: &All) {
    assert_eq!(a.packets.len(), b.packets.len());
    assert!(a.packets == b.packets);
    assert!(a.comments == b.comments);
    assert_eq!(a.problems(), b.problems());
    assert_eq!(a.sources[0].file_bytes, b.sources[0].file_bytes);
    assert_eq!(a.sources[0].captured_bytes, b.sources[0].captured_bytes);
}

/// Sizes of packets: small ones, segments, and such that make the reader jump.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![0..100_usize, 900..1500_usize, 1990..2080_usize, 8_000..66_000_usize];
    vec(size, 0..120)
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    (sizes(), any::<bool>(), any::<bool>()).prop_map(|(sizes, big, is_pcap)| {
        let order = if big { BIG } else { LITTLE };
        if is_pcap { pcap(order, &sizes) } else { pcapng(order, &sizes) }
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, ..Default::default() })]

    #[test]
    fn any_cutting_of_reads_gives_the_same(file in file(), sizes in vec(0..70_000_usize, 1..20)) {
        let mut sizes = sizes;
        sizes.push(1000);
        let whole = read(&file);
        let pieces = read_stream(Pieces { bytes: io::Cursor::new(file), sizes, turn: 0 });
        prop_assert_eq!(whole.batches, pieces.batches);
        assert_same(&whole, &pieces);
    }

    #[test]
    fn jumping_gives_the_same_as_reading_in_order(file in file(), cut in any::<prop::sample::Index>(), flips in vec(any::<(prop::sample::Index, u8)>(), 0..3)) {
        let mut file = file;
        let keep = file.len() - cut.index(file.len().min(3000));
        file.truncate(keep.max(30));
        for (place, value) in flips {
            // The file header stays as it is.
            let place = 30 + place.index(file.len().max(31) - 30);
            if let Some(byte) = file.get_mut(place) {
                *byte = value;
            }
        }
        let ways = [Way::Stream, Way::Positioned].map(|way| read_inputs(vec![input(&file, way)]));
        match ways {
            [Ok(in_order), Ok(jumping)] => {
                prop_assert_eq!(in_order.jumped, 0);
                assert_same(&in_order, &jumping);
            }
            [a, b] => prop_assert!(a.is_err() && b.is_err()),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), start in 0..4_usize) {
        let head = [Vec::new(), LITTLE.pcap(0xa1b2_c3d4, 65535, 1), LITTLE.section(&[]), b"snoop\0\0\0\0\0\0\x02\0\0\0\x04".to_vec()];
        let file = [head[start].as_slice(), &bytes].concat();
        drop(read_inputs(vec![input(&file, Way::Stream)]));
    }
}

#[test]
fn big_records_are_jumped_and_small_ones_are_not() {
    for (order, make) in [(LITTLE, pcap as fn(Order, &[usize]) -> Vec<u8>), (BIG, pcapng)] {
        let segments: Vec<usize> = (0..400).map(|number| if number % 2 == 0 { 66 } else { 60_000 }).collect();
        let file = make(order, &segments);
        let jumping = read_inputs(vec![input(&file, Way::Positioned)]).unwrap();
        let in_order = read(&file);
        assert_same(&in_order, &jumping);
        assert!(jumping.jumped > 150, "{}", jumping.jumped);
        assert!(jumping.batches < in_order.batches);
        let small = make(order, &[1448; 2000]);
        let all = read_inputs(vec![input(&small, Way::Positioned)]).unwrap();
        assert_eq!((all.jumped, all.packets.len()), (0, 2000));
    }
}
