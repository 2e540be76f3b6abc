//! Sessions as lines of JSON: one object per line, written while the run goes on, and read back as the same session.

mod call;
mod flow;
mod parts;
mod read;
mod sealed;
mod write;

pub use read::{ReadError, Reader, Record, Recorded, RecordedFlow, RecordedSealed, Totals, UndecryptedClient, UnseenTotal};
pub use write::Writer;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Anomaly, Close, Ending, Exchange, FieldValue, Frame, Framing, Interim, Loss, LossReason, Outcome, Request, Response,
        Side, Stamp, Timestamp, TlsVersion, TlsView, Transport, Version,
    };
    use crate::s3::{Call, Domains};
    use crate::session::redact::Redactor;
    use crate::session::testing::exchange;

    fn write(exchanges: &[Exchange], redactor: &Redactor) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        let domains = Domains::new(Vec::new());
        for exchange in exchanges {
            let call = Call::read(exchange, &domains);
            writer.write_exchange(exchange, call.as_ref(), "front", Some(exchange.id), redactor).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(text: &[u8]) -> Vec<Exchange> {
        let mut reader = Reader::new(text);
        let mut all = Vec::new();
        while let Some(record) = reader.read().unwrap() {
            match record {
                Record::Exchange(recorded) => {
                    assert_eq!(recorded.hop, "front");
                    assert_eq!(recorded.trace, Some(recorded.exchange.id));
                    all.push(recorded.exchange);
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }

    /// A copy of a customer key's object, as it is sent by a client that does not mind.
    fn copy() -> Exchange {
        let mut request = Request::from_parts(b"PUT", b"/bucket/new%20key?x-id=CopyObject", Version::Http11);
        for (name, value) in [
            ("Host", "sidekick:8091"),
            ("x-amz-copy-source", "/bucket/old%2Fkey"),
            ("X-Amz-Server-Side-Encryption-Customer-Key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            ("x-amz-copy-source-server-side-encryption-customer-key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=feedface",
            ),
            ("User-Agent", "Boto3/1.44.5 md/Botocore#1.44.5"),
        ] {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        request.start = Timestamp::from_parts(1_795_440_475, 74_997_018);
        request.end = Some(Timestamp::from_parts(1_795_440_475, 75_000_000));
        request.frames = [Frame::new(0, 4), Frame::new(1, 1)].into_iter().collect();
        let mut response = Response::from_parts(400, b"Bad Request", Version::Http11);
        response.headers.append(b"Content-Type", b"application/xml");
        response.body.kept = b"<Error><Code>InvalidRequest</Code><Message>no</Message></Error>".to_vec();
        response.body.length = response.body.kept.len() as u64;
        response.body.framing = Framing::Length(response.body.length);
        response.body.complete = true;
        response.start = Timestamp::from_parts(1_795_440_475, 80_000_000);
        let mut exchange = exchange(request);
        exchange.interim.push(Interim { status: 100, at: response.start });
        exchange.outcome = Outcome::Answered(Box::new(response));
        exchange.anomalies.push(Anomaly::ChunkExtension);
        exchange
    }

    #[test]
    fn secrets_come_back_as_equal_placeholders_and_all_else_as_it_was() {
        let mut redactor = Redactor::new([3; 32]);
        let heard = copy();
        redactor.learn(&heard);
        let text = write(&[heard], &redactor);
        let shown = String::from_utf8_lossy(&text);
        for secret in ["MDEyMzQ1", "0123456789abcdef0123456789abcdef", "feedface"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let back = read(&text).pop().unwrap();
        let key = back.request.headers.find("x-amz-server-side-encryption-customer-key").unwrap();
        assert!(key.starts_with(b"[redacted:sse-c-key:"));
        assert_eq!(back.request.headers.find("x-amz-copy-source-server-side-encryption-customer-key"), Some(key));
        let call = Call::read(&back, &Domains::new(Vec::new())).unwrap();
        assert_eq!(call.operation.name(), "CopyObject");
        assert_eq!(call.error().unwrap().code, "InvalidRequest");
        assert_eq!(call.auth().access_key.as_deref(), Some("AKIA"));
        assert_eq!(call.request_encryption().keys().count(), 2);
        assert_eq!(back.request.frames, [Frame::new(0, 4), Frame::new(1, 1)].into_iter().collect());
        // With another salt nothing changes any more: what is redacted stays as it is.
        let again = write(&[back], &Redactor::new([4; 32]));
        assert_eq!(String::from_utf8(again).unwrap(), shown);
    }

    #[test]
    fn what_was_redacted_and_what_was_sent_are_never_confused() {
        let lookalike = b"[redacted:session-token:0123456789abcdef]";
        let mut sent = copy();
        sent.request.headers.append(b"Range", lookalike);
        sent.request.headers.append(b"x-amz-security-token", lookalike);
        for redactor in [Redactor::new([3; 32]), Redactor::showing_secrets()] {
            let text = write(std::slice::from_ref(&sent), &redactor);
            let back = read(&text).pop().unwrap();
            let values: Vec<_> = back.request.headers.values().map(|(_, name, value)| (name, value)).collect();
            let of = |wanted: &[u8]| values.iter().find(|(name, _)| *name == wanted).unwrap().1;
            assert_eq!(of(b"Range"), FieldValue::Sent(lookalike));
            assert_eq!(of(b"Host"), FieldValue::Sent(b"sidekick:8091"));
            // The token is a secret whatever it looks like; only where secrets are shown it comes back.
            let (token, key) = (of(b"x-amz-security-token"), of(b"X-Amz-Server-Side-Encryption-Customer-Key"));
            let is_open = key.sent().is_some();
            assert_eq!(token.sent().is_some(), is_open);
            assert!(is_open || token.shown() != lookalike);
            assert_eq!(of(b"authorization").sent().is_some(), is_open);
            assert_eq!(back.request.first_redacted().is_none(), is_open);
            assert_eq!(write(&[back], &Redactor::new([9; 32])) == text, !is_open);
        }
    }

    #[test]
    fn a_session_cut_in_its_last_line_is_read_up_to_there() {
        let mut text = write(&[copy(), copy()], &Redactor::new([0; 32]));
        text.truncate(text.len() - 40);
        let mut reader = Reader::new(text.as_slice());
        assert!(matches!(reader.read(), Ok(Some(Record::Exchange(_)))));
        assert!(matches!(reader.read(), Ok(None)));
        assert!(reader.is_torn());
        let mut reader = Reader::new(b"{\"type\":\"exchange\"}\n{}".as_slice());
        assert!(matches!(reader.read(), Err(ReadError::Malformed { line: 1, .. })));
    }

    #[test]
    fn losses_sources_and_totals_come_back() {
        let loss = Loss {
            reason: LossReason::AfterGap,
            flow: None,
            bytes: 17,
            stamp: Stamp { at: Timestamp::from_nanos(5), frame: Frame::new(2, 9) },
        };
        let mut writer = Writer::new(Vec::new());
        writer.write_loss(&loss).unwrap();
        let source =
            crate::session::Source { file: "a \"b\"".to_owned(), format: "pcap".to_owned(), packets: 4, ..Default::default() };
        writer.write_record("source", &source).unwrap();
        writer.write_record("finding", &serde_json::json!({"rule": "x"})).unwrap();
        writer.write_record("summary", &serde_json::json!({"completeness": {"packets": 4, "flows": 1}})).unwrap();
        let text = writer.finish().unwrap();
        let mut reader = Reader::new(text.as_slice());
        assert!(matches!(reader.read(), Ok(Some(Record::Loss(back))) if back == loss));
        assert!(matches!(reader.read(), Ok(Some(Record::Source(back))) if back == source));
        assert!(matches!(reader.read(), Ok(Some(Record::Summary(totals))) if totals.packets == 4));
        assert!(matches!(reader.read(), Ok(None)));
    }

    prop_compose! {
        fn any_exchange()(
            method in prop::collection::vec(any::<u8>(), 0..8),
            target in prop::collection::vec(any::<u8>(), 0..20),
            fields in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), prop::collection::vec(any::<u8>(), 0..24)), 0..6),
            named in prop::sample::select(vec!["host", "Cookie", "x-amz-security-token", "etag", "Location"]),
            secret in "[a-z?&=]{0,12}",
            nanos in 0i64..4_000_000_000_000_000_000,
            gaps in prop::collection::vec((0u64..100, 100u64..200), 0..3),
            framing in prop::sample::select(vec![Framing::None, Framing::Length(9), Framing::Chunked, Framing::UntilClose, Framing::Tunnel]),
            frames in prop::collection::vec((0u16..3, 1u64..1_000_000), 0..40),
            status in 100u16..600,
            ending in 0u8..4,
            tls in prop::option::of(prop::option::of(prop::sample::select(vec![TlsVersion::Tls12, TlsVersion::Tls13]))),
            complete in any::<bool>(),
        ) -> Exchange {
            let mut request = Request::from_parts(&method, &target, Version::Http10);
            for (name, value) in &fields {
                request.headers.append(name, value);
            }
            request.headers.append(named.as_bytes(), secret.as_bytes());
            request.start = Timestamp::from_nanos(nanos);
            request.body.missing = gaps.into_iter().map(|(start, end)| start..end).collect();
            request.body.framing = framing;
            request.body.complete = complete;
            request.body.sha256 = complete.then(|| Box::new([0xa5; 32]));
            request.body.trailers.get_or_insert_default().append(b"x-amz-checksum-crc32", b"\xff");
            request.frames = frames.into_iter().map(|(file, number)| Frame::new(file, number)).collect();
            let mut exchange = exchange(request);
            let by = if complete { Side::Client } else { Side::Server };
            exchange.outcome = match ending {
                0 => Outcome::Unanswered,
                1 => Outcome::ClosedEarly { by },
                2 => Outcome::Reset { by },
                _ => {
                    let mut response = Response::from_parts(status, &method, Version::Http09);
                    response.end = complete.then(|| Timestamp::from_nanos(nanos));
                    Outcome::Answered(Box::new(response))
                }
            };
            if ending > 0 {
                let stamp = Stamp { at: Timestamp::from_nanos(nanos), frame: Frame::new(1, 7) };
                let how = if ending == 2 { Close::Reset } else { Close::Finished };
                let idle_since = complete.then(|| Timestamp::from_nanos(nanos));
                exchange.ending = Some(Box::new(Ending { by, how, stamp, idle_since }));
            }
            if let Some(version) = tls {
                let view =
                    TlsView { version, suite: Some(0x1301), sni: Some("s3".to_owned()), skipped: complete, ..TlsView::default() };
                exchange.transport = Transport::Tls(std::sync::Arc::new(view));
            }
            exchange.anomalies = vec![Anomaly::ALL[usize::from(status) % Anomaly::ALL.len()]];
            exchange
        }
    }

    proptest! {
        #[test]
        fn what_is_written_and_read_is_the_same(exchanges in prop::collection::vec(any_exchange(), 0..4)) {
            let open = Redactor::showing_secrets();
            let text = write(&exchanges, &open);
            let back = read(&text);
            prop_assert_eq!(back.len(), exchanges.len());
            for (one, other) in exchanges.iter().zip(&back) {
                prop_assert_eq!(one.request.method(), other.request.method());
                prop_assert_eq!(one.request.target(), other.request.target());
                prop_assert!(one.request.headers.iter().eq(other.request.headers.iter()));
                prop_assert_eq!(&one.request.body, &other.request.body);
                prop_assert_eq!(&one.request.frames, &other.request.frames);
                prop_assert_eq!(&one.transport, &other.transport);
                prop_assert_eq!(one.request.start, other.request.start);
                prop_assert_eq!(one.response().map(Response::reason), other.response().map(Response::reason));
                prop_assert_eq!(format!("{:?}", one.anomalies), format!("{:?}", other.anomalies));
                prop_assert_eq!(std::mem::discriminant(&one.outcome), std::mem::discriminant(&other.outcome));
            }
            prop_assert_eq!(write(&back, &open), text);
        }

        #[test]
        fn redacting_twice_changes_nothing(exchanges in prop::collection::vec(any_exchange(), 1..3)) {
            let text = write(&exchanges, &Redactor::new([1; 32]));
            prop_assert_eq!(write(&read(&text), &Redactor::new([2; 32])), text);
        }

        #[test]
        fn no_bytes_make_the_reader_fail_otherwise_than_in_words(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(bytes.as_slice());
            while let Ok(Some(_)) = reader.read() {}
        }
    }
}
