//! Laws that hold for all inputs, by random search.

use proptest::prelude::*;

use crate::decode::http1::Config;
use crate::decode::http1::tests::{Event, connection, drain, events, hashing, stamp};
use crate::model::{Close, Side};

/// Exchanges in many forms; any sequence of them is a conversation.
const CONVERSATIONS: &[&str] = &[
    "> GET /a HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 200 OK\n< Content-Length: 11\n<\n< hello\n< you!\\",
    "> PUT /b HTTP/1.1\n> Host: s3\n> Content-Length: 3\n>\n> abc\\\n< HTTP/1.1 200 OK\n< Content-Length: 0\n<",
    "> POST /c HTTP/1.1\n> Host: s3\n> Content-Type: application/xml\n> Transfer-Encoding: chunked\n>\n> 5;x=y\n> <a/>!\n> 0\n> t: u\n>\n< HTTP/1.1 403 Forbidden\n< transfer-encoding: chunked\n<\n< 1\n< x\n< 10\n< 0123456789abcdef\n< 0\n<",
    "> HEAD /d HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 200 OK\n< Content-Length: 17\n<",
    "> PUT /e HTTP/1.1\n> Host: s3\n> Expect: 100-continue\n> Content-Length: 2\n>\n< HTTP/1.1 100 Continue\n<\n> hi\\\n< HTTP/1.1 204 No Content\n<",
    "> GET /1 HTTP/1.1\n> Host: s3\n>\n> GET /2 HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 304 Not Modified\n<\n< HTTP/1.1 200 OK\n< Content-Length: 1\n<\n< x\\",
    "> GET  /odd HTTP/1.1\\n\\\n> Host : s3\n> X: y\n>  folded\n> nothing\n>\n< http/1.1  200 OK\n< Content-Length: +2\n<\n< ab\\",
    ">\n> \\\n> FROB /f HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 200\\n\\\n< Transfer-Encoding: chunked\n<\n< 3\\n\\\n< abc\\n\\\n< 0\n<",
    "> PUT /cl-te HTTP/1.1\n> Host: s3\n> Content-Length: 6\n> Transfer-Encoding: chunked\n>\n> 0\n>\n< HTTP/1.1 200 OK\n< Content-Length: 2\n< Content-Length: 2\n<\n< ok\\",
    "> GET /after HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 204 No Content\n< Content-Length: 9\n<\n< stray line\n< HTTP/1.1 200 OK\n< Content-Length: 0\n<",
    "> GET /tail HTTP/1.1\n> Host: s3\n>\n< HTTP/1.1 200 OK\n<\n< until the end\\\n! close <",
];

fn conversation() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(0..CONVERSATIONS.len() - 1, 1..6).prop_flat_map(|picks| {
        (Just(picks), any::<bool>()).prop_map(|(picks, tail)| {
            let last = tail.then_some(CONVERSATIONS.len() - 1);
            picks.into_iter().chain(last).flat_map(|pick| events(CONVERSATIONS[pick])).collect()
        })
    })
}

/// What comes out when every run of octets is cut before the octets whose numbers `cuts` tells.
fn outcome(events: &[Event], config: &Config, cuts: &mut dyn FnMut() -> usize) -> String {
    let mut connection = connection(config);
    let mut out = String::new();
    let mut lost = String::new();
    let mut number = 0;
    for event in events {
        match event {
            Event::Data(side, data) => {
                let mut rest = data.as_slice();
                while !rest.is_empty() {
                    number += 1;
                    let (now, later) = rest.split_at(cuts().clamp(1, rest.len()));
                    connection.handle_data(*side, stamp(number), now);
                    rest = later;
                }
            }
            Event::Close(side, how) => connection.handle_close(*side, stamp(number), *how),
            Event::Skip(..) | Event::Gap(..) | Event::Anomaly(..) => {}
        }
        while let Some(exchange) = connection.poll() {
            super::render(&exchange, &mut out, false);
        }
    }
    for side in [Side::Client, Side::Server] {
        connection.handle_close(side, stamp(number + 1), Close::Unseen);
    }
    while let Some(exchange) = connection.poll() {
        super::render(&exchange, &mut out, false);
    }
    while let Some(loss) = connection.poll_loss() {
        lost.push_str(&format!("lost {} {}\n", loss.bytes, loss.reason.label()));
    }
    out + &lost
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_exchanges(
        events in conversation(),
        sizes in prop::collection::vec(1usize..40, 1..200),
        hash in any::<bool>(),
    ) {
        let config = if hash { hashing() } else { Config::default() };
        let whole = outcome(&events, &config, &mut || usize::MAX);
        let mut sizes = sizes.iter().cycle();
        let cut = outcome(&events, &config, &mut || *sizes.next().unwrap());
        prop_assert_eq!(&whole, &cut);
        let dribbled = outcome(&events, &config, &mut || 1);
        prop_assert_eq!(whole, dribbled);
    }

    #[test]
    fn gaps_anywhere_leave_no_hole_in_the_numbers_and_lose_no_more_than_came(
        events in conversation(),
        gaps in prop::collection::vec((0usize..40, 1u64..60), 0..4),
    ) {
        let mut came = 0;
        let mut connection = connection(&Config::default());
        for (at, event) in events.iter().enumerate() {
            let stamp = stamp(at as u64 + 1);
            if let Event::Data(side, data) = event {
                let gap = gaps.iter().find(|(place, _)| *place == at).map_or(0, |(_, length)| *length as usize);
                let (lost, seen) = data.split_at(gap.min(data.len()));
                connection.handle_gap(*side, stamp, lost.len() as u64);
                connection.handle_data(*side, stamp, seen);
                came += seen.len() as u64;
            }
        }
        for side in [Side::Client, Side::Server] {
            connection.handle_close(side, stamp(1000), Close::Unseen);
        }
        let mut ordinals = Vec::new();
        while let Some(exchange) = connection.poll() {
            ordinals.push(exchange.id.ordinal);
        }
        let lost: u64 = std::iter::from_fn(|| connection.poll_loss()).map(|loss| loss.bytes).sum();
        prop_assert!(lost <= came, "{lost} of {came}");
        prop_assert_eq!(&ordinals, &(1..=ordinals.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_makes_it_panic_or_stall(
        calls in prop::collection::vec((any::<bool>(), 0u8..8, prop::collection::vec(any::<u8>(), 0..80), 0..CONVERSATIONS.len()), 0..40),
    ) {
        let config = Config { head_bytes_max: 200, pipelined_max: 3, fields_max: 4, ..hashing() };
        let mut connection = connection(&config);
        let mut out = String::new();
        for (at, (client, kind, noise, pick)) in calls.iter().enumerate() {
            let side = if *client { Side::Client } else { Side::Server };
            let stamp = stamp(at as u64);
            match kind {
                0 => connection.handle_gap(side, stamp, noise.len() as u64 * 7),
                1 => connection.handle_skip(side, stamp, noise.len() as u64 * 7),
                2 => connection.handle_data(side, stamp, noise),
                3 if at > 20 => connection.handle_close(side, stamp, Close::Reset),
                _ => for event in events(CONVERSATIONS[*pick]) {
                    if let Event::Data(side, mut data) = event {
                        data.truncate(data.len().saturating_sub(noise.len() / 4));
                        connection.handle_data(side, stamp, &data);
                    }
                },
            }
            let allowed = connection.skippable(side).min(50);
            connection.handle_skip(side, stamp, allowed);
            drain(&mut connection, &mut out, true);
        }
    }
}
