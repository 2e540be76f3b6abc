//! The dates of signatures: text in, capture time out.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::Timestamp;

/// Reads `20261123T131505Z` (ISO 8601 basic, as in `x-amz-date`).
pub(crate) fn parse_basic(text: &[u8]) -> Option<Timestamp> {
    let [y1, y2, y3, y4, m1, m2, d1, d2, b'T', h1, h2, n1, n2, s1, s2, b'Z'] = text else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let at = DateTime::new(
        year,
        i8::try_from(number(&[*m1, *m2])?).ok()?,
        i8::try_from(number(&[*d1, *d2])?).ok()?,
        i8::try_from(number(&[*h1, *h2])?).ok()?,
        i8::try_from(number(&[*n1, *n2])?).ok()?,
        i8::try_from(number(&[*s1, *s2])?).ok()?,
        0,
    );
    at_utc(at.ok()?)
}

/// Reads `Mon, 23 Nov 2026 13:15:05 GMT` (RFC 9110 section 5.6.7), or the basic form.
pub(crate) fn parse(text: &[u8]) -> Option<Timestamp> {
    if let Some(at) = parse_basic(text) {
        return Some(at);
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Some(Timestamp::from_parts(at.as_second(), i64::from(at.subsec_nanosecond())))
}

/// Writes `20261123T131505Z`; years beyond 9999 do not occur in [`Timestamp`].
pub(crate) fn write_basic(at: Timestamp) -> Vec<u8> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
    let civil = TimeZone::UTC.to_datetime(time);
    let date = format!("{:04}{:02}{:02}", civil.year(), civil.month(), civil.day());
    format!("{date}T{:02}{:02}{:02}Z", civil.hour(), civil.minute(), civil.second()).into_bytes()
}

/// A civil time as UTC.
pub(crate) fn at_utc(at: DateTime) -> Option<Timestamp> {
    let at = TimeZone::UTC.to_timestamp(at).ok()?;
    Some(Timestamp::from_parts(at.as_second(), i64::from(at.subsec_nanosecond())))
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0_i16, |sum, digit| {
        digit.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(i16::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let at = Timestamp::from_parts(1_795_439_705, 0);
        for text in ["20261123T131505Z", "Mon, 23 Nov 2026 13:15:05 GMT", "Mon, 23 Nov 2026 13:15:05 +0000"] {
            assert_eq!(parse(text.as_bytes()), Some(at), "{text}");
        }
        assert_eq!(write_basic(at), b"20261123T131505Z");
        for text in ["", "20261323T131505Z", "20261123T131505", "2026-11-23", "2026112xT131505Z", "20261123T251505Z"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
