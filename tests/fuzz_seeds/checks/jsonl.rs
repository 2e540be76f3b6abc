//! Sessions: what was read can be written, and what was written is read as the same.

use hopwire::s3::{Call, Domains};
use hopwire::session::Redactor;
use hopwire::session::jsonl::{Reader, Record, Writer};

/// The input is a session.
pub fn jsonl(input: &[u8]) {
    let (once, count) = copy(input);
    let (twice, again) = copy(&once);
    assert_eq!(count, again, "records");
    assert!(
        once == twice,
        "written once\n{}\nwritten again\n{}",
        String::from_utf8_lossy(&once),
        String::from_utf8_lossy(&twice)
    );
}

/// Writes all records that can be read; tells how many.
fn copy(session: &[u8]) -> (Vec<u8>, u64) {
    let redactor = Redactor::showing_secrets();
    let domains = Domains::new(Vec::new());
    let mut reader = Reader::new(session);
    let mut writer = Writer::new(Vec::new());
    let mut records = 0;
    while let Ok(Some(record)) = reader.read() {
        records += 1;
        match record {
            Record::Source(source) => writer.write_record("source", &source).unwrap(),
            Record::Opened(opened) => writer.write_opened(&opened).unwrap(),
            Record::Flow(flow) => writer.write_flow(&flow.closed, flow.hop.as_deref(), &redactor).unwrap(),
            Record::Loss(loss) => writer.write_loss(&loss).unwrap(),
            Record::Sealed(sealed) => {
                let partner = sealed.partner.map(|partner| (partner, if partner.is_sole { "likely" } else { "possible" }));
                writer.write_sealed(&sealed.exchange, &sealed.hop, partner).unwrap();
            }
            Record::Exchange(recorded) => {
                let call = Call::read(&recorded.exchange, &domains);
                writer.write_exchange(&recorded.exchange, call.as_ref(), &recorded.hop, recorded.trace, &redactor).unwrap();
            }
            // What a run counted is written by reports only.
            Record::Summary(_) => records -= 1,
        }
    }
    (writer.finish().unwrap(), records)
}
