//! The audit trail of Hadoop S3A (since 3.3.2): a Referer in, file-system operation, paths and ids out.

use std::borrow::Cow;

use crate::model::Timestamp;
use crate::s3::query::decode_percent;

/// What S3A tells of itself in the Referer of a request (`HttpReferrerAuditHeader`). All of it is the client's claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit<'x> {
    /// The file-system operation: `op_rename`, `op_create`, …
    pub op: Option<&'x str>,
    /// The first path, a URI or `bucket/key`.
    pub p1: Option<Cow<'x, [u8]>>,
    /// The second path.
    pub p2: Option<Cow<'x, [u8]>>,
    /// The span: one file-system call.
    pub span_id: Option<&'x str>,
    /// The file-system instance.
    pub fs: Option<&'x str>,
    /// The process (driver or executor).
    pub ps: Option<&'x str>,
    /// The principal.
    pub pr: Option<Cow<'x, [u8]>>,
    /// The thread that made the span.
    pub t0: Option<&'x str>,
    /// The thread that sends.
    pub t1: Option<&'x str>,
    /// When the span was made.
    pub ts: Option<Timestamp>,
    /// The command.
    pub cm: Option<Cow<'x, [u8]>>,
    /// The job id.
    pub ji: Option<&'x str>,
    /// The task attempt id.
    pub ta: Option<&'x str>,
    /// The range of a GetObject.
    pub rg: Option<&'x str>,
}

impl<'x> Audit<'x> {
    /// Reads a Referer; `None` where S3A did not write it. `&`, `=` and `+` in values were not escaped by the sender, so a
    /// value ends only before `&` and one of the known keys with its `=`.
    pub fn parse(referer: &'x [u8]) -> Option<Self> {
        let start = memchr::memmem::find(referer, b"/hadoop/1/")? + b"/hadoop/1/".len();
        let rest = referer.get(start..)?;
        let (path, query) = match memchr::memchr(b'?', rest).and_then(|at| rest.split_at_checked(at)) {
            Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
            None => (rest, &[][..]),
        };
        let mut audit = Self::default();
        for (key, value) in pairs(query) {
            audit.set(key, value);
        }
        // The path says operation and span too, which survives where the query was cut.
        let mut parts = path.split(|byte| *byte == b'/').map(text);
        audit.op = audit.op.or(parts.next().flatten());
        audit.span_id = audit.span_id.or(parts.next().flatten());
        Some(audit)
    }

    fn set(&mut self, key: Key, value: &'x [u8]) {
        let bytes = || (!value.is_empty()).then(|| decode_percent(value));
        match key {
            b"op" => set_once(&mut self.op, text(value)),
            b"p1" => set_once(&mut self.p1, bytes()),
            b"p2" => set_once(&mut self.p2, bytes()),
            b"id" => set_once(&mut self.span_id, text(value)),
            b"fs" => set_once(&mut self.fs, text(value)),
            b"ps" => set_once(&mut self.ps, text(value)),
            b"pr" => set_once(&mut self.pr, bytes()),
            b"t0" => set_once(&mut self.t0, text(value)),
            b"t1" => set_once(&mut self.t1, text(value)),
            b"ts" => set_once(&mut self.ts, text(value).and_then(milliseconds)),
            b"cm" => set_once(&mut self.cm, bytes()),
            b"ji" => set_once(&mut self.ji, text(value)),
            b"ta" => set_once(&mut self.ta, text(value)),
            b"rg" => set_once(&mut self.rg, text(value)),
            _ => {}
        }
    }
}

type Key = &'static [u8; 2];

/// Key and value of every parameter, in order.
fn pairs(query: &[u8]) -> impl Iterator<Item = (Key, &[u8])> {
    let mut rest = query;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr_iter(b'&', rest)
                .find(|at| rest.get(at + 1..).is_some_and(|after| known_key(after).is_some()))
                .unwrap_or(rest.len());
            let (piece, after) = rest.split_at_checked(end)?;
            rest = after.get(1..).unwrap_or_default();
            if let (Some(key), Some(value)) = (known_key(piece), piece.get(3..)) {
                return Some((key, value));
            }
        }
    })
}

fn known_key(text: &[u8]) -> Option<Key> {
    let [first, second, b'=', ..] = text else { return None };
    KEYS.iter().copied().find(|key| **key == [*first, *second])
}

fn set_once<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

fn milliseconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>().ok().map(|at| Timestamp::from_nanos(at.saturating_mul(1_000_000)))
}

/// The keys of Hadoop's `AuditConstants`. `ks` (the number of keys of a delete) and `i` belong to it and are not kept.
const KEYS: &[Key] = &[b"op", b"p1", b"p2", b"id", b"fs", b"ps", b"pr", b"t0", b"t1", b"ts", b"cm", b"ji", b"ta", b"rg", b"ks"];

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: &str = "3c0d9b7e-0000-4000-8000-000000000001-00000042";

    fn text_of<'a>(value: &'a Option<Cow<'_, [u8]>>) -> &'a str {
        value.as_deref().map_or("", |value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn a_rename_is_read() {
        let referer = format!(
            "https://audit.example.org/hadoop/1/op_rename/{SPAN}/?op=op_rename&p1=s3a://b/a%20b/c&pr=root&p2=s3a://b/d&ps=p-1&id={SPAN}&t0=54&fs=f-1&t1=79&ts=1795439994252"
        );
        let audit = Audit::parse(referer.as_bytes()).unwrap();
        assert_eq!((audit.op, audit.span_id, audit.fs, audit.ps), (Some("op_rename"), Some(SPAN), Some("f-1"), Some("p-1")));
        assert_eq!((text_of(&audit.p1), text_of(&audit.p2), text_of(&audit.pr)), ("s3a://b/a b/c", "s3a://b/d", "root"));
        assert_eq!(
            (audit.t0, audit.t1, audit.ts),
            (Some("54"), Some("79"), Some(Timestamp::from_parts(1_795_439_994, 252_000_000)))
        );
        assert_eq!((audit.ji, audit.ta, audit.rg, audit.cm), (None, None, None, None));
    }

    #[test]
    fn values_that_were_not_escaped_stay_whole() {
        let referer = "https://audit.example.org/hadoop/1/op_open/S/?p1=t/a&b=c&x1=2+3&xp2=k&op=op_open&rg=0-100&ji=job_1&ta=att_1&cm=fs&ks=3&fs=F&&";
        let audit = Audit::parse(referer.as_bytes()).unwrap();
        assert_eq!((text_of(&audit.p1), text_of(&audit.p2), audit.op), ("t/a&b=c&x1=2+3&xp2=k", "", Some("op_open")));
        assert_eq!((audit.rg, audit.ji, audit.ta, text_of(&audit.cm)), (Some("0-100"), Some("job_1"), Some("att_1"), "fs"));
    }

    #[test]
    fn what_was_cut_off_is_read_from_the_path() {
        let referer = format!("https://audit.example.org/hadoop/1/op_create/{SPAN}/?p1=t/k");
        let audit = Audit::parse(referer.as_bytes()).unwrap();
        assert_eq!((audit.op, audit.span_id), (Some("op_create"), Some(SPAN)));
        let referer = format!("https://audit.example.org/hadoop/1/op_create/{SPAN}");
        let audit = Audit::parse(referer.as_bytes()).unwrap();
        assert_eq!((audit.op, audit.span_id, audit.p1), (Some("op_create"), Some(SPAN), None));
        assert_eq!(Audit::parse(b"https://example.org/?op=op_create&fs=1"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_referer_is_survived(rest in "[a-z0-9&=%/?+]{0,80}") {
            let _ = Audit::parse(format!("https://x/hadoop/1/{rest}").as_bytes());
        }
    }
}
