//! The pcapng writer, against our own reader and against tshark.

use std::net::IpAddr;
use std::process::Command;

use hopwire::capture::write::pcapng::{InterfaceDescription, PacketRecord, Statistics, Writer};
use hopwire::model::{LinkType, Secret, Timestamp};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::craft::read;
use crate::require::{Need, skip};

const AT: Timestamp = Timestamp::from_nanos(1_795_440_475_074_997_018);

fn sample() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "hopwire test", &["a section"]).unwrap();
    let bridge = InterfaceDescription { name: Some("br-1f6c"), description: Some("docker network spark-net"), snap_length: 0 };
    let first = writer.add_interface(LinkType(1), &bridge).unwrap();
    let second = writer.add_interface(LinkType(101), &InterfaceDescription::default()).unwrap();
    writer.write_secret(&Secret::new(b"CLIENT_RANDOM 00 11\n".to_vec())).unwrap();
    let names: [(IpAddr, &str); 2] = [([10, 0, 0, 1].into(), "spark"), ("::1".parse().unwrap(), "self")];
    writer.write_names(names).unwrap();
    let frame = [0xff; 61];
    let packet = PacketRecord { at: AT, bytes: &frame, original: 1500, comments: &["sse-c-key-in-clear", "señal"] };
    writer.write_packet(first, &packet).unwrap();
    writer.write_packet(second, &PacketRecord { bytes: &[0x45; 24], comments: &[], original: 24, ..packet }).unwrap();
    let statistics = Statistics { received: Some(9), dropped: Some(7), dropped_by_system: None };
    writer.write_statistics(first, AT, statistics).unwrap();
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let all = read(&sample());
    assert!(all.problems().is_empty());
    assert_eq!(all.times(), [AT.as_nanos(); 2]);
    assert_eq!((all.packets[0].link, all.packets[0].original, all.packets[0].bytes.len()), (1, 1500, 61));
    assert_eq!((all.packets[1].link, all.packets[1].interface), (101, 1));
    let comments = [(0, "a section".to_owned()), (1, "sse-c-key-in-clear".to_owned()), (1, "señal".to_owned())];
    assert_eq!(all.comments, comments);
    assert_eq!(all.names, ["10.0.0.1 spark", "::1 self"]);
    assert!(all.secrets[0].expose() == b"CLIENT_RANDOM 00 11\n");
    let source = &all.sources[0];
    assert_eq!(source.application.as_deref(), Some("hopwire test"));
    assert_eq!(source.interfaces[0].description.as_deref(), Some("docker network spark-net"));
    assert_eq!((source.interfaces[0].received, source.dropped()), (Some(9), Some(7)));
}

#[test]
fn other_programs_open_it() {
    let file = tempfile::NamedTempFile::with_suffix(".pcapng").unwrap();
    std::fs::write(file.path(), sample()).unwrap();
    let run = |program: &str, arguments: &[&str]| Command::new(program).args(arguments).arg(file.path()).output().ok();
    let fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.comment"];
    let Some(output) = run("tshark", &[fields.as_slice(), &["-r"]].concat()) else {
        return skip(Need::Tshark, "tshark");
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let expected = "1\t1795440475.074997018\t1500\tsse-c-key-in-clear,señal\n2\t1795440475.074997018\t24\t\n";
    assert_eq!(text, expected);
    let Some(output) = run("capinfos", &["-M"]) else {
        return skip(Need::Tshark, "capinfos");
    };
    let text = String::from_utf8(output.stdout).unwrap();
    for wanted in [
        "Capture application: hopwire test",
        "Name = br-1f6c",
        "Description = docker network spark-net",
        "Time precision = nanoseconds",
        "Number of decryption secrets in file: 1",
        "Number of stat entries = 1",
    ] {
        assert!(text.contains(wanted), "{wanted} not in {text}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error_or_is_cut() {
    let mut writer = Writer::new(Vec::new(), &"é".repeat(40_000), &[]).unwrap();
    assert!(writer.add_interface(LinkType(70_000), &InterfaceDescription::default()).is_err());
    let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
    let packet = PacketRecord { at: Timestamp::from_nanos(-5), bytes: &[0; 1 << 24], original: 1, comments: &[] };
    assert!(writer.write_packet(interface, &packet).is_err());
    writer.write_packet(interface, &PacketRecord { bytes: &[1], ..packet }).unwrap();
    let all = read(&writer.finish().unwrap());
    assert_eq!(all.times(), [0]);
    assert!(all.sources[0].application.as_deref().unwrap().starts_with("éé"));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]

    #[test]
    fn any_packets_come_back(packets in vec((0..i64::MAX, vec(any::<u8>(), 0..3000), any::<u32>(), "[a-zé]{0,40}"), 0..50)) {
        let mut writer = Writer::new(Vec::new(), "law", &[]).unwrap();
        let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
        for (at, bytes, original, comment) in &packets {
            let at = Timestamp::from_nanos(*at);
            writer.write_packet(interface, &PacketRecord { at, bytes, original: *original, comments: &[comment] }).unwrap();
        }
        let all = read(&writer.finish().unwrap());
        prop_assert_eq!(all.packets.len(), packets.len());
        let same = all.packets.iter().zip(&all.comments).zip(&packets).all(|((packet, comment), given)| {
            (packet.at, &packet.bytes, packet.original, &comment.1) == (given.0, &given.1, given.2, &given.3)
        });
        prop_assert!(same);
    }
}
