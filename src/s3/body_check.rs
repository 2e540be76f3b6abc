//! Bodies that are known whole against the checksums that their messages announce.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc};
use md5::{Digest as _, Md5};
use ring::digest::{SHA256, digest};
use sha1::Sha1;

use crate::model::{Body, BodyCheck, ChecksumName, Framing, HeaderName, HeaderNames, Headers, Mismatch, Request, Response};
use crate::s3::aws_chunked::{Decoder, Mode};
use crate::s3::payload::Payload;

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
static CRC64_NVME: Crc<u64> = Crc::<u64>::new(&CRC_64_NVME);

/// Bodies up to this length are compared. Longer ones pass without being read.
pub const COMPARED_BYTES_MAX: u32 = 256 << 10;

/// Headers that say that the body of a PUT is S3's: an ETag will be returned for it, or a checksum is announced.
const UPLOAD_NAMES: HeaderNames = HeaderNames::of(&[
    HeaderName::Authorization,
    HeaderName::ContentMd5,
    HeaderName::XAmzContentSha256,
    HeaderName::XAmzChecksumCrc32,
    HeaderName::XAmzChecksumCrc64nvme,
    HeaderName::XAmzTrailer,
]);

/// How many bytes of a body have to be kept to compare it, from the heads alone: those of `response` where there is one, or of the
/// request. 0 where nothing can be compared.
pub fn comparable_bytes(request: &Request, response: Option<&Response>) -> u32 {
    let (body, is_compared) = match response {
        None => (&request.body, request.method() == b"PUT" && request.headers.names().intersects(UPLOAD_NAMES)),
        Some(response) => {
            let has_name = response.headers.has(HeaderName::Etag) && request.method() == b"GET";
            (&response.body, has_name && response.status == 200)
        }
    };
    match body.framing {
        Framing::Length(length @ 1..) if is_compared => {
            u32::try_from(length).ok().filter(|length| *length <= COMPARED_BYTES_MAX).unwrap_or(0)
        }
        Framing::Chunked if is_compared => COMPARED_BYTES_MAX,
        _ => 0,
    }
}

/// Compares the body of a request, where all of it was kept.
pub fn check_request(request: &Request) -> Option<BodyCheck> {
    let content = whole(&request.body)?;
    let payload = request.headers.get(HeaderName::XAmzContentSha256).map_or(Payload::None, Payload::recognise);
    let mut trailers = Vec::new();
    let mut object = None;
    if let Some(mode) = Mode::of_payload(payload) {
        let mut bytes = Vec::with_capacity(content.len());
        let mut decoder = Decoder::new(mode);
        decoder.handle_data(content, |part| bytes.extend_from_slice(part));
        let summary = decoder.summary();
        if !summary.is_complete || summary.malformed.is_some() {
            return None;
        }
        trailers.clone_from(&summary.trailers);
        object = Some(bytes);
    }
    let mut check = begin(object.as_deref().unwrap_or(content));
    if object.is_some() {
        check.framed_md5 = Some(Md5::digest(content).into());
    }
    let object = object.as_deref().unwrap_or(content);
    check.compare_fields(request.headers.iter(), object);
    check.compare_fields(trailers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())), object);
    if payload == Payload::SignedHash
        && let Some(announced) = request.headers.get(HeaderName::XAmzContentSha256)
    {
        let computed = hex(digest(&SHA256, content).as_ref());
        check.add(ChecksumName::ContentSha256, announced, computed);
    }
    Some(check)
}

/// Compares the body of a response, where all of it was kept and it is all of the object.
pub fn check_response(response: &Response) -> Option<BodyCheck> {
    let content = whole(&response.body)?;
    if response.status != 200 {
        return None;
    }
    let mut check = begin(content);
    // A checksum of parts ends in `-N`; it is not one of the whole content.
    let is_whole = |value: &[u8]| !value.contains(&b'-');
    check.compare_fields(response.headers.iter().filter(|(_, value)| is_whole(value)), content);
    Some(check)
}

fn whole(body: &Body) -> Option<&[u8]> {
    let is_whole = body.complete && body.missing.is_empty() && body.kept.len() as u64 == body.length;
    (is_whole && !body.kept.is_empty()).then_some(body.kept.as_slice())
}

fn begin(object: &[u8]) -> BodyCheck {
    BodyCheck { object_bytes: object.len() as u64, md5: Md5::digest(object).into(), ..BodyCheck::default() }
}

impl BodyCheck {
    /// Compares with each checksum among some fields that is one of the object.
    fn compare_fields<'x>(&mut self, fields: impl Iterator<Item = (&'x [u8], &'x [u8])>, object: &[u8]) {
        for (name, value) in fields {
            let known = |checksum: &&ChecksumName| checksum.label().as_bytes().eq_ignore_ascii_case(name);
            let Some(checksum) = ChecksumName::ALL.iter().find(known).copied() else { continue };
            if let Some(computed) = compute(checksum, object) {
                self.add(checksum, value, computed);
            }
        }
    }

    fn add(&mut self, name: ChecksumName, announced: &[u8], computed: String) {
        let is_same = announced.trim_ascii().eq_ignore_ascii_case(computed.as_bytes());
        // Some clients send the MD5 of the framed body.
        let is_framed = || {
            let framed = self.framed_md5.filter(|_| name == ChecksumName::ContentMd5);
            framed.is_some_and(|md5| STANDARD.encode(md5).as_bytes() == announced.trim_ascii())
        };
        if is_same || is_framed() {
            self.matched.push(name);
        } else {
            let announced = String::from_utf8_lossy(announced.get(..128).unwrap_or(announced)).into_owned();
            self.mismatched.push(Mismatch { name, announced, computed });
        }
    }
}

/// A checksum of the object, in the form in which it is announced; `None` for that of the content as sent.
fn compute(checksum: ChecksumName, object: &[u8]) -> Option<String> {
    Some(match checksum {
        ChecksumName::ContentSha256 => return None,
        ChecksumName::ContentMd5 => STANDARD.encode(Md5::digest(object)),
        ChecksumName::Crc32 => STANDARD.encode(CRC32.checksum(object).to_be_bytes()),
        ChecksumName::Crc32c => STANDARD.encode(CRC32C.checksum(object).to_be_bytes()),
        ChecksumName::Crc64Nvme => STANDARD.encode(CRC64_NVME.checksum(object).to_be_bytes()),
        ChecksumName::Sha1 => STANDARD.encode(Sha1::digest(object)),
        ChecksumName::Sha256 => STANDARD.encode(digest(&SHA256, object)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An ETag of 32 hexadecimal digits, quoted or weak or not; those of multipart uploads (`…-2`) never are an MD5.
pub fn md5_of_etag(etag: &[u8]) -> Option<[u8; 16]> {
    let etag = etag.strip_prefix(b"W/").unwrap_or(etag);
    let digits = etag.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(etag);
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut md5 = [0; 16];
    if !rest.is_empty() || pairs.len() != md5.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, [high, low]) in md5.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(md5)
}

/// Whether a value names the aws-chunked coding.
pub fn names_aws_chunked(headers: &Headers) -> bool {
    headers
        .all(HeaderName::ContentEncoding)
        .any(|coding| coding.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"aws-chunked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    fn request(headers: &[(&str, &str)], body: &str) -> Request {
        let mut request = Request::from_parts(b"PUT", b"/b/k", Version::Http11);
        for (name, value) in headers {
            request.headers.append(name.as_bytes(), value.as_bytes());
        }
        let (length, framing) = (body.len() as u64, Framing::Length(body.len() as u64));
        request.body = Body { length, framing, complete: true, kept: body.as_bytes().to_vec(), ..Body::default() };
        request
    }

    /// Values of the object `123456789`: those of the CRC catalogue, and of coreutils for the rest.
    const OF_DIGITS: &[(&str, &str)] = &[
        ("Content-MD5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ];

    #[test]
    fn every_checksum_is_computed_as_it_is_announced() {
        for (name, value) in OF_DIGITS {
            let check = check_request(&request(&[(name, value)], "123456789")).unwrap();
            assert_eq!((check.matched.len(), check.mismatched.as_slice()), (1, &[][..]), "{name}");
            let check = check_request(&request(&[(name, value)], "123456780")).unwrap();
            assert_eq!((check.matched.len(), check.mismatched.len()), (0, 1), "{name}");
        }
        let sha256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        let check = check_request(&request(&[("x-amz-content-sha256", sha256)], "123456789")).unwrap();
        assert_eq!(check.matched, [ChecksumName::ContentSha256]);
    }

    #[test]
    fn a_framed_body_is_compared_by_its_object_and_its_trailer() {
        let headers = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("Content-MD5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ];
        let body = |value: &str| format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:{value}\r\n\r\n");
        let check = check_request(&request(&headers, &body("y/Q5Jg=="))).unwrap();
        assert_eq!((check.object_bytes, check.framed_md5.is_some()), (9, true));
        assert_eq!(check.matched, [ChecksumName::ContentMd5, ChecksumName::Crc32]);
        let check = check_request(&request(&headers, &body("AAAAAA=="))).unwrap();
        assert_eq!(check.mismatched[0].computed, "y/Q5Jg==");
    }

    #[test]
    fn a_body_that_is_not_whole_is_not_compared() {
        let mut cut = request(&[("Content-MD5", "AAAA")], "123456789");
        cut.body.kept.pop();
        assert_eq!(check_request(&cut), None);
        let mut response = Response::from_parts(206, b"", Version::Http11);
        response.body = request(&[], "123456789").body;
        assert_eq!(check_response(&response), None);
        response.status = 200;
        response.headers.append(b"x-amz-checksum-crc32", b"AAAAAA==-3");
        assert_eq!(check_response(&response).unwrap().mismatched, []);
    }

    #[test]
    fn what_is_kept_is_decided_from_the_head() {
        let mut upload = request(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], "123");
        assert_eq!(comparable_bytes(&upload, None), 3);
        upload.body.framing = Framing::Length(u64::from(COMPARED_BYTES_MAX) + 1);
        assert_eq!(comparable_bytes(&upload, None), 0);
        let get = Request::from_parts(b"GET", b"/b/k", Version::Http11);
        let mut response = Response::from_parts(200, b"", Version::Http11);
        response.body.framing = Framing::Length(9);
        assert_eq!(comparable_bytes(&get, Some(&response)), 0);
        response.headers.append(b"ETag", b"\"a\"");
        assert_eq!(comparable_bytes(&get, Some(&response)), 9);
    }

    #[test]
    fn only_etags_of_one_part_are_an_md5() {
        let digits = "25f9e794323b453885f5181f1b624d0b";
        for etag in [digits.to_owned(), format!("\"{digits}\""), format!("W/\"{digits}\"")] {
            assert!(md5_of_etag(etag.as_bytes()).is_some(), "{etag}");
        }
        for etag in [format!("\"{digits}-2\""), "\"\"".to_owned(), "0".repeat(31), "g".repeat(32)] {
            assert_eq!(md5_of_etag(etag.as_bytes()), None, "{etag}");
        }
    }
}
