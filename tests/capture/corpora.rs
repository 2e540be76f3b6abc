//! Foreign captures, against the `pcap-parser` crate and against what their authors wrote about them.

use std::fs;
use std::path::{Path, PathBuf};

use hopwire::capture::{Kind, sniff};
use pcap_parser::{Block, PcapBlockOwned, PcapError};

use crate::craft::{Way, input, read_inputs};
use crate::require::{Need, skip};

/// All files below a folder beside the project; `None`, with a message, where it is absent.
fn shared(folder: &str) -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(folder);
    if !root.is_dir() {
        skip(Need::Shared, root.display());
        return None;
    }
    let (mut folders, mut files) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Some(files)
}

/// Time, original length and bytes of each packet by `pcap-parser`, and whether it came to the end without an error.
fn judge(bytes: &[u8]) -> (Vec<(i64, u32, Vec<u8>)>, bool) {
    let mut reader = pcap_parser::create_reader(bytes.len().max(65_536) + 64, bytes).unwrap();
    let mut packets = Vec::new();
    let (mut unit, mut is_refilled) = (1000, false);
    // Link snap length, tick (nanoseconds over `tick.1`) and offset of each interface of the section.
    let mut interfaces: Vec<(u32, i128, i128)> = Vec::new();
    loop {
        let next = match reader.next() {
            Ok(next) => Some(next),
            Err(PcapError::Eof) => return (packets, true),
            Err(PcapError::Incomplete(_)) if !is_refilled => None,
            Err(_) => return (packets, false),
        };
        let Some((used, block)) = next else {
            // The whole file fits its buffer, so asking for more once is enough.
            is_refilled = true;
            reader.refill().unwrap();
            continue;
        };
        let time = |interface: u32, high: u32, low: u32| {
            let (_, resolution, offset) = interfaces[interface as usize];
            let ticks = (i128::from(high) << 32) | i128::from(low);
            let nanos = ticks * 1_000_000_000 / resolution + offset * 1_000_000_000;
            nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
        };
        match block {
            PcapBlockOwned::LegacyHeader(header) => unit = if header.is_nanosecond_precision() { 1 } else { 1000 },
            PcapBlockOwned::Legacy(block) => {
                let at = i64::from(block.ts_sec) * 1_000_000_000 + i64::from(block.ts_usec) * unit;
                packets.push((at, block.origlen, block.data.to_vec()));
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                let resolution = block.ts_resolution().map_or(i128::MAX >> 64, i128::from);
                interfaces.push((block.snaplen, resolution, i128::from(block.ts_offset())));
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                let at = time(block.if_id, block.ts_high, block.ts_low);
                packets.push((at, block.origlen, block.data[..block.caplen as usize].to_vec()));
            }
            PcapBlockOwned::NG(Block::SimplePacket(block)) => {
                let snap_length = if interfaces[0].0 == 0 { u32::MAX } else { interfaces[0].0 };
                let captured = block.origlen.min(snap_length).min(block.data.len() as u32);
                packets.push((0, block.origlen, block.data[..captured as usize].to_vec()));
            }
            PcapBlockOwned::NG(_) => {}
        }
        reader.consume(used);
    }
}

#[test]
fn foreign_captures_read_as_pcap_parser_reads_them() {
    let mut compared = 0;
    for path in ["corpora", "captures"].into_iter().filter_map(shared).flatten() {
        let bytes = fs::read(&path).unwrap();
        if !matches!(sniff(&bytes), Kind::Pcap | Kind::Pcapng) {
            continue;
        }
        let name = path.to_string_lossy();
        // It knows neither the longer record header nor big-endian obsolete blocks; our own tests do.
        if name.contains("seeds-") || name.ends_with("modified-format.pcap") {
            continue;
        }
        let ways = [Way::Stream, Way::Positioned].map(|way| read_inputs(vec![input(&bytes, way)]));
        let [Ok(all), Ok(jumping)] = ways else {
            panic!("{name}: {:?}", ways.map(|way| way.err().map(|error| error.to_string())));
        };
        assert!(all.packets == jumping.packets, "{name}");
        let (expected, is_whole) = judge(&bytes);
        for (ours, theirs) in all.packets.iter().zip(&expected) {
            let number = ours.number;
            assert_eq!(
                (ours.at, ours.original, ours.bytes.len()),
                (theirs.0, theirs.1, theirs.2.len()),
                "{name}, frame {number}"
            );
            assert!(ours.bytes == theirs.2, "{name}, frame {number}: bytes differ");
        }
        if is_whole {
            assert_eq!(all.packets.len(), expected.len(), "{name}: {:?}", all.problems());
        } else {
            assert!(all.packets.len() >= expected.len(), "{name}: {} < {}", all.packets.len(), expected.len());
        }
        if all.packets.len() != expected.len() || !all.problems().is_empty() || !is_whole {
            eprintln!(
                "{name}: {} packets, judge {} (whole: {is_whole}), {:?}",
                all.packets.len(),
                expected.len(),
                all.problems()
            );
        }
        compared += 1;
    }
    eprintln!("{compared} captures compared");
}

#[test]
fn generated_pcapng_files_hold_the_blocks_their_descriptions_list() {
    let Some(files) = shared("corpora/pcapng-test-generator") else { return };
    let mut cases = 0;
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pcapng")) {
        let text = fs::read_to_string(path.with_extension("txt")).unwrap();
        let counted = |kind: &str| -> usize {
            let prefix = format!("{kind}: ");
            text.lines().filter_map(|line| line.trim().strip_prefix(&prefix)?.parse::<usize>().ok()).sum()
        };
        for way in [Way::Stream, Way::Positioned] {
            let all = read_inputs(vec![input(&fs::read(path).unwrap(), way)]).unwrap();
            let source = &all.sources[0];
            assert_eq!(all.packets.len(), counted("EPB") + counted("SPB") + counted("PB"), "{}", path.display());
            assert_eq!(source.interfaces.len(), counted("IDB"), "{}", path.display());
            assert!(source.problems.is_empty(), "{}: {:?}", path.display(), all.problems());
            // Custom blocks have frame numbers, as in Wireshark.
            let custom = counted("CB") + counted("DCB");
            assert!(all.packets.last().is_none_or(|last| last.number <= (all.packets.len() + custom) as u64));
            assert!(source.other_blocks >= custom as u64);
        }
        cases += 1;
    }
    assert_eq!(cases, 48);
}

#[test]
fn compressed_snoop_and_modified_captures_read() {
    let Some(files) = shared("corpora") else { return };
    let (mut read, mut snoop) = (0, 0);
    for path in files {
        let name = path.to_string_lossy();
        let is_capture = name.contains(".pcap") && (name.ends_with(".gz") || name.ends_with(".zst"));
        if !is_capture && !name.ends_with(".snoop") && !name.ends_with("modified-format.pcap") {
            continue;
        }
        let all = read_inputs(vec![input(&fs::read(&path).unwrap(), Way::Positioned)]).unwrap();
        assert!(!all.packets.is_empty() && all.problems().is_empty(), "{name}: {:?}", all.problems());
        read += 1;
        snoop += usize::from(name.ends_with(".snoop"));
    }
    assert!(read > 20 && snoop == 1, "{read}");
}

#[test]
fn secrets_inside_captures_are_found() {
    let Some(files) = shared("captures") else { return };
    for path in files.iter().filter(|path| path.ends_with("spark33-https.pcapng")) {
        let bytes = fs::read(path).unwrap();
        let scanned = hopwire::capture::secrets_in(&bytes).unwrap();
        let all = read_inputs(vec![input(&bytes, Way::Stream)]).unwrap();
        assert!(!all.secrets.is_empty() && all.secrets == scanned);
        assert!(all.secrets[0].expose().starts_with(b"CLIENT_") || all.secrets[0].expose().starts_with(b"SERVER_"));
    }
}
