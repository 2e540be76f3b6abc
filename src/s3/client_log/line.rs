//! What a single line of a client's log says: bytes in; time, frame, attempt and version out.

use jiff::civil::DateTime;
use memchr::memmem;

use crate::model::Timestamp;
use crate::s3::http_date::at_utc;

/// What a message of S3A says it was doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) operation: Option<String>,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
}

/// Whether a line belongs to the stack trace before it: it is indented, or it names a cause.
pub(super) fn continues_trace(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t')) || line.starts_with(b"Caused by:") || line.starts_with(b"... ")
}

/// The time at the start of a line: `26/11/23 13:29:22`, `2026-11-23 13:29:22,123`, `2026-11-23T13:29:22.123Z`, or any of
/// these within `{"ts":"…`. Without a zone it is read as UTC.
pub(super) fn time_of(line: &[u8]) -> Option<Timestamp> {
    let line = line.strip_prefix(br#"{"ts":""#).unwrap_or(line);
    let line = line.strip_prefix(b"[").unwrap_or(line);
    let (date, rest) = match line {
        [y1, y2, b'/', m1, m2, b'/', d1, d2, b' ', rest @ ..] => {
            (Date::of(&[b'2', b'0', *y1, *y2], [*m1, *m2], [*d1, *d2])?, rest)
        }
        [y1, y2, y3, y4, b'-' | b'/', m1, m2, b'-' | b'/', d1, d2, b' ' | b'T', rest @ ..] => {
            (Date::of(&[*y1, *y2, *y3, *y4], [*m1, *m2], [*d1, *d2])?, rest)
        }
        _ => return None,
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2, rest @ ..] = rest else { return None };
    let (nanos, rest) = fraction(rest);
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    let narrow = |value: u32| i8::try_from(value).ok();
    let at = DateTime::new(date.year, date.month, date.day, narrow(hour)?, narrow(minute)?, narrow(second)?, nanos).ok()?;
    let offset = offset_seconds(rest);
    at_utc(at).map(|at| Timestamp::from_nanos(at.as_nanos().saturating_sub(offset.saturating_mul(1_000_000_000))))
}

/// The source line of a frame `…METHOD(File.java:LINE)`, also in the JSON form of Spark's structured log.
pub(super) fn frame_line(line: &[u8], method: &[u8]) -> Option<u32> {
    let at = memmem::find(line, method)? + method.len();
    let rest = line.get(at..)?;
    let digits = match rest.first()? {
        b'(' => {
            let end = memchr::memchr(b')', rest)?;
            let inside = rest.get(1..end)?;
            inside.get(memchr::memchr(b':', inside)? + 1..)?
        }
        b'"' => {
            let near = rest.get(..rest.len().min(120))?;
            let at = memmem::find(near, br#""line":"#)? + br#""line":"#.len();
            near.get(at..)?.trim_ascii_start().strip_prefix(b"\"").unwrap_or(near.get(at..)?)
        }
        _ => return None,
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    number(digits.get(..end)?)
}

/// The public method of `AmazonS3Client` in a frame: not one of those that every request passes.
pub(super) fn sdk_method(line: &[u8]) -> Option<String> {
    let at = memmem::find(line, b"AmazonS3Client.")? + b"AmazonS3Client.".len();
    let rest = line.get(at..)?;
    let name = rest.get(..memchr::memchr(b'(', rest)?)?;
    let is_inner = matches!(name, b"assertHttps" | b"checkHttps" | b"invoke" | b"access$300" | b"doInvoke");
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric);
    (is_name && !is_inner).then(|| lossy(name))
}

/// Reads what S3A puts before an error: `…Exception: OPERATION on PATH: CAUSE`, where the operation may be
/// `copyFile(SOURCE, DESTINATION)`.
pub(super) fn attempt_of(line: &[u8]) -> Option<Attempt> {
    let at = memmem::find(line, b"hadoop.fs.s3a.")?;
    let rest = line.get(at..)?;
    let message = rest.get(memmem::find(rest, b"Exception: ")? + b"Exception: ".len()..)?;
    if let Some(arguments) = message.strip_prefix(b"copyFile(") {
        let (source, destination) = copy_arguments(arguments)?;
        return Some(Attempt {
            operation: Some("copyFile".to_owned()),
            source: Some(lossy(source)),
            destination: Some(lossy(destination)),
        });
    }
    let end = memmem::find(message, b" on ")?;
    let path = message.get(end + b" on ".len()..)?;
    let path = path.get(..memmem::find(path, b": ").unwrap_or(path.len()))?;
    let operation = message.get(..end)?;
    if operation.is_empty() || operation.len() > 200 || memmem::find(operation, b": ").is_some() {
        return None;
    }
    Some(Attempt { operation: Some(lossy(operation.trim_ascii())), source: Some(lossy(path)), destination: None })
}

/// `SOURCE, DESTINATION) on SOURCE: …`: a comma inside the source is told from the one after it by the source's repetition.
fn copy_arguments(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let close = memmem::find(text, b") on ").or_else(|| memchr::memrchr(b')', text))?;
    let arguments = text.get(..close)?;
    let repeated = text.get(close + b") on ".len()..).unwrap_or_default();
    let is_repeated = |at: usize| {
        let source = arguments.get(..at).unwrap_or_default();
        repeated.strip_prefix(source).is_some_and(|after| after.starts_with(b":"))
    };
    let at = memmem::find_iter(arguments, b", ").find(|at| is_repeated(*at)).or_else(|| memmem::find(arguments, b", "))?;
    Some((arguments.get(..at)?, arguments.get(at + 2..)?))
}

/// The version (`3.3.4`, `1.12.262`) right after a mark.
pub(super) fn version_after(line: &[u8], mark: &[u8]) -> Option<String> {
    memmem::find_iter(line, mark).find_map(|at| {
        let rest = line.get(at + mark.len()..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(rest.len());
        let version = rest.get(..end.min(32))?;
        let version = version.strip_suffix(b".").unwrap_or(version);
        (version.first()?.is_ascii_digit() && version.contains(&b'.')).then(|| lossy(version))
    })
}

struct Date {
    year: i16,
    month: i8,
    day: i8,
}

impl Date {
    fn of(year: &[u8], month: [u8; 2], day: [u8; 2]) -> Option<Self> {
        Some(Self {
            year: i16::try_from(number(year)?).ok()?,
            month: i8::try_from(number(&month)?).ok()?,
            day: i8::try_from(number(&day)?).ok()?,
        })
    }
}

/// `.123` or `,123` as nanoseconds, and what comes after it.
fn fraction(text: &[u8]) -> (i32, &[u8]) {
    let [b'.' | b',', digits @ ..] = text else { return (0, text) };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let mut nanos = 0_i32;
    for at in 0..9 {
        let digit = digits.get(..end).and_then(|digits| digits.get(at)).map_or(0, |digit| i32::from(digit - b'0'));
        nanos = nanos.saturating_mul(10).saturating_add(digit);
    }
    (nanos, digits.get(end..).unwrap_or_default())
}

/// `Z`, `+02:00`, `-0500`; anything else is UTC.
fn offset_seconds(text: &[u8]) -> i64 {
    let (sign, rest) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return 0,
    };
    let ([h1, h2, b':', m1, m2, ..] | [h1, h2, m1, m2, ..]) = rest else { return 0 };
    let minutes = number(&[*h1, *h2]).zip(number(&[*m1, *m2])).map_or(0, |(hours, minutes)| hours * 60 + minutes);
    sign * i64::from(minutes) * 60
}

fn number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    if !digits.iter().all(u8::is_ascii_digit) { None } else { text.parse().ok() }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_spelling() {
        for (line, shown) in [
            ("26/11/23 13:29:22 WARN X: y", "2026-11-23T13:29:22.000000000Z"),
            ("2026-11-23 13:29:22,123 WARN", "2026-11-23T13:29:22.123000000Z"),
            ("2026-11-23T13:29:22.123Z WARN", "2026-11-23T13:29:22.123000000Z"),
            ("[2026-11-23T15:29:22.5+02:00] x", "2026-11-23T13:29:22.500000000Z"),
            (r#"{"ts":"2026-11-23T13:29:22.123-0500","level":"WARN"}"#, "2026-11-23T18:29:22.123000000Z"),
            ("2026/11/23 13:29:22 x", "2026-11-23T13:29:22.000000000Z"),
        ] {
            assert_eq!(time_of(line.as_bytes()).map(|at| at.to_string()).as_deref(), Some(shown), "{line}");
        }
        for line in ["", "26/13/23 13:29:22", "26/11/23 25:29:22", "Nov 23, 2026 1:27:46 PM", "\tat x", "2026-11-23"] {
            assert_eq!(time_of(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn frames_are_read_with_and_without_jar_names() {
        for (line, at) in [
            ("\tat com.amazonaws.services.s3.AmazonS3Client.assertHttps(AmazonS3Client.java:5685)", Some(5685)),
            ("\tat …AmazonS3Client.assertHttps(AmazonS3Client.java:5685) ~[aws-java-sdk-bundle-1.12.262.jar:?]", Some(5685)),
            (r#"{"class":"AmazonS3Client","method":"assertHttps","file":"AmazonS3Client.java","line":"5685"}"#, Some(5685)),
            (r#"{"class":"AmazonS3Client","method":"assertHttps","file":"AmazonS3Client.java","line":5685}"#, Some(5685)),
            ("\tat AmazonS3Client.assertHttps(Unknown Source)", None),
            ("\tat AmazonS3Client.assertHttps(", None),
            ("\tat AmazonS3Client.assertHttps(A.java:99999999999)", None),
        ] {
            assert_eq!(frame_line(line.as_bytes(), b"assertHttps"), at, "{line}");
        }
    }

    #[test]
    fn attempts_are_read_even_with_commas_in_keys() {
        let read = |text: &str| {
            let attempt = attempt_of(text.as_bytes())?;
            Some((
                attempt.operation.unwrap_or_default(),
                attempt.source.unwrap_or_default(),
                attempt.destination.unwrap_or_default(),
            ))
        };
        let own = |operation: &str, source: &str, destination: &str| {
            Some((operation.to_owned(), source.to_owned(), destination.to_owned()))
        };
        let head = "Caused by: org.apache.hadoop.fs.s3a.AWSClientIOException: ";
        assert_eq!(read(&format!("{head}copyFile(a/b, c/d) on a/b: com.amazonaws.X: y")), own("copyFile", "a/b", "c/d"));
        assert_eq!(read(&format!("{head}copyFile(a, b/x, c, d) on a, b/x: com.amazonaws.X")), own("copyFile", "a, b/x", "c, d"));
        assert_eq!(read(&format!("{head}copyFile(a, b)")), own("copyFile", "a", "b"));
        assert_eq!(read(&format!("{head}PUT 0-byte object  on t/: x")), own("PUT 0-byte object", "t/", ""));
        assert_eq!(read(&format!("{head}getFileStatus on s3a://b/k: x: y")), own("getFileStatus", "s3a://b/k", ""));
        assert_eq!(read("java.lang.IllegalArgumentException: HTTPS must be used on S3"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(line in proptest::collection::vec(proptest::num::u8::ANY, 0..120), cut in 0_usize..60) {
            let marked = [&b"26/11/23 13:29:22 org.apache.hadoop.fs.s3a.E: Exception: copyFile("[cut.min(59)..], &line].concat();
            for line in [&line, &marked] {
                let _ = (time_of(line), attempt_of(line), frame_line(line, b"("), sdk_method(line), version_after(line, b"-"));
            }
        }
    }
}
