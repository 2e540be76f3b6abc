//! The server-side-encryption part of a message: headers, query or form in, kinds and values out.

use std::borrow::Cow;
use std::fmt;

use crate::model::{HeaderName, HeaderNames, Headers};
use crate::s3::form::FormFields;
use crate::s3::query::{Query, decode_form};

/// A kind of server-side encryption, as a request asks for it or a response tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncryptionKind {
    /// Nothing about encryption.
    None,
    /// Keys of the store (`AES256`).
    SseS3,
    /// Keys of a KMS (`aws:kms`).
    SseKms,
    /// Two layers with keys of a KMS (`aws:kms:dsse`).
    DsseKms,
    /// The customer's key.
    SseC,
    /// The customer's key of the source of a copy.
    CopySourceSseC,
}

impl EncryptionKind {
    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SseS3 => "sse-s3",
            Self::SseKms => "sse-kms",
            Self::DsseKms => "dsse-kms",
            Self::SseC => "sse-c",
            Self::CopySourceSseC => "copy-source-sse-c",
        }
    }
}

/// Where encryption parameters travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// In header fields.
    #[default]
    Header,
    /// In the query string (presigned URLs; minio-js).
    Query,
    /// In the fields of a form (POST Object).
    Form,
}

impl Place {
    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
            Self::Form => "form",
        }
    }
}

/// The encryption parameters of one message. The keys are secrets: there is no `Debug` of values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Encryption<'x> {
    /// `x-amz-server-side-encryption`
    pub algorithm: Option<Cow<'x, [u8]>>,
    /// `…-aws-kms-key-id`
    pub kms_key_id: Option<Cow<'x, [u8]>>,
    /// `…-context`
    pub context: Option<Cow<'x, [u8]>>,
    /// `…-bucket-key-enabled`
    pub bucket_key_enabled: Option<Cow<'x, [u8]>>,
    /// `…-customer-algorithm`
    pub customer_algorithm: Option<Cow<'x, [u8]>>,
    /// `…-customer-key`: a secret.
    pub customer_key: Option<Cow<'x, [u8]>>,
    /// `…-customer-key-MD5`
    pub customer_key_md5: Option<Cow<'x, [u8]>>,
    /// `x-amz-copy-source-server-side-encryption-customer-algorithm`
    pub copy_source_algorithm: Option<Cow<'x, [u8]>>,
    /// `…-customer-key` of the source: a secret.
    pub copy_source_key: Option<Cow<'x, [u8]>>,
    /// `…-customer-key-MD5` of the source.
    pub copy_source_key_md5: Option<Cow<'x, [u8]>>,
    /// Where they were found. With several places: the last of header, query and form that gave one.
    pub from: Place,
}

/// What most messages have: no parameter.
pub(crate) static NO_ENCRYPTION: Encryption<'static> = Encryption {
    algorithm: None,
    kms_key_id: None,
    context: None,
    bucket_key_enabled: None,
    customer_algorithm: None,
    customer_key: None,
    customer_key_md5: None,
    copy_source_algorithm: None,
    copy_source_key: None,
    copy_source_key_md5: None,
    from: Place::Header,
};

impl<'x> Encryption<'x> {
    /// Reads header fields. The first of several equal names counts.
    pub fn of_headers(headers: &'x Headers) -> Self {
        let mut found = Self::default();
        for (name, _, value) in headers.known() {
            if let Some(item) = Item::of_header(name) {
                found.set(item, Cow::Borrowed(value), Place::Header);
            }
        }
        found
    }

    /// Adds what the query names and the headers did not.
    pub fn add_query(&mut self, query: Query<'x>) {
        for (name, value) in query.raw_pairs() {
            if let Some(item) = Item::of_parameter(&decode_form(name)) {
                self.set(item, decode_form(value), Place::Query);
            }
        }
    }

    /// Adds what the fields of a form name and nothing before did.
    pub fn add_form(&mut self, form: FormFields<'x>) {
        for (name, value) in form.iter() {
            if let Some(item) = Item::of_parameter(name) {
                self.set(item, Cow::Borrowed(value), Place::Form);
            }
        }
    }

    /// The kinds named, at most three; [`EncryptionKind::None`] alone where there are no parameters.
    /// A KMS key id without an algorithm counts as SSE-KMS; an algorithm that is not known counts as no kind.
    pub fn kinds(&self) -> impl Iterator<Item = EncryptionKind> + use<> {
        let managed = match self.algorithm.as_deref() {
            Some(b"AES256") => Some(EncryptionKind::SseS3),
            Some(b"aws:kms:dsse") => Some(EncryptionKind::DsseKms),
            Some(b"aws:kms") => Some(EncryptionKind::SseKms),
            Some(_) => None,
            None => (self.kms_key_id.is_some() || self.context.is_some()).then_some(EncryptionKind::SseKms),
        };
        let customer = self.has_customer().then_some(EncryptionKind::SseC);
        let copy_source = self.has_copy_source().then_some(EncryptionKind::CopySourceSseC);
        let none = self.is_none().then_some(EncryptionKind::None);
        [managed, customer, copy_source, none].into_iter().flatten()
    }

    /// Whether there is no encryption parameter at all.
    pub const fn is_none(&self) -> bool {
        self.algorithm.is_none()
            && self.kms_key_id.is_none()
            && self.context.is_none()
            && self.bucket_key_enabled.is_none()
            && !self.has_customer()
            && !self.has_copy_source()
    }

    /// The raw keys as sent (base64): the customer's, then that of a copy's source.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        [self.customer_key.as_deref(), self.copy_source_key.as_deref()].into_iter().flatten()
    }

    /// Whether any of the three customer parameters is there.
    pub const fn has_customer(&self) -> bool {
        self.customer_algorithm.is_some() || self.customer_key.is_some() || self.customer_key_md5.is_some()
    }

    /// Whether any of the three parameters of a copy's source is there.
    pub const fn has_copy_source(&self) -> bool {
        self.copy_source_algorithm.is_some() || self.copy_source_key.is_some() || self.copy_source_key_md5.is_some()
    }

    fn set(&mut self, item: Item, value: Cow<'x, [u8]>, place: Place) {
        let slot = match item {
            Item::Algorithm => &mut self.algorithm,
            Item::KmsKeyId => &mut self.kms_key_id,
            Item::Context => &mut self.context,
            Item::BucketKeyEnabled => &mut self.bucket_key_enabled,
            Item::CustomerAlgorithm => &mut self.customer_algorithm,
            Item::CustomerKey => &mut self.customer_key,
            Item::CustomerKeyMd5 => &mut self.customer_key_md5,
            Item::CopySourceAlgorithm => &mut self.copy_source_algorithm,
            Item::CopySourceKey => &mut self.copy_source_key,
            Item::CopySourceKeyMd5 => &mut self.copy_source_key_md5,
        };
        if slot.is_none() {
            *slot = Some(value);
            self.from = place;
        }
    }
}

/// Shows the kinds only: keys are secrets.
impl fmt::Debug for Encryption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")?;
        f.debug_list().entries(self.kinds()).finish()
    }
}

/// Whether a header list names any encryption parameter.
pub(crate) fn headers_have_encryption(headers: &Headers) -> bool {
    headers.names().intersects(NAMES_OF_ENCRYPTION)
}

const NAMES_OF_ENCRYPTION: HeaderNames = HeaderNames::of(&[
    HeaderName::XAmzServerSideEncryption,
    HeaderName::XAmzServerSideEncryptionAwsKmsKeyId,
    HeaderName::XAmzServerSideEncryptionContext,
    HeaderName::XAmzServerSideEncryptionBucketKeyEnabled,
    HeaderName::XAmzServerSideEncryptionCustomerAlgorithm,
    HeaderName::XAmzServerSideEncryptionCustomerKey,
    HeaderName::XAmzServerSideEncryptionCustomerKeyMd5,
    HeaderName::XAmzCopySourceServerSideEncryptionCustomerAlgorithm,
    HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey,
    HeaderName::XAmzCopySourceServerSideEncryptionCustomerKeyMd5,
]);

/// Whether a query names any encryption parameter.
pub(crate) fn query_has_encryption(query: Query<'_>) -> bool {
    query.raw_pairs().any(|(name, _)| name.len() >= NAME_BYTES_MIN && Item::of_parameter(&decode_form(name)).is_some())
}

/// The shortest name of all, `SSECustomerKey`. Escapes only make a name longer.
const NAME_BYTES_MIN: usize = 14;

#[derive(Clone, Copy)]
enum Item {
    Algorithm,
    KmsKeyId,
    Context,
    BucketKeyEnabled,
    CustomerAlgorithm,
    CustomerKey,
    CustomerKeyMd5,
    CopySourceAlgorithm,
    CopySourceKey,
    CopySourceKeyMd5,
}

impl Item {
    const fn of_header(name: HeaderName) -> Option<Self> {
        Some(match name {
            HeaderName::XAmzServerSideEncryption => Self::Algorithm,
            HeaderName::XAmzServerSideEncryptionAwsKmsKeyId => Self::KmsKeyId,
            HeaderName::XAmzServerSideEncryptionContext => Self::Context,
            HeaderName::XAmzServerSideEncryptionBucketKeyEnabled => Self::BucketKeyEnabled,
            HeaderName::XAmzServerSideEncryptionCustomerAlgorithm => Self::CustomerAlgorithm,
            HeaderName::XAmzServerSideEncryptionCustomerKey => Self::CustomerKey,
            HeaderName::XAmzServerSideEncryptionCustomerKeyMd5 => Self::CustomerKeyMd5,
            HeaderName::XAmzCopySourceServerSideEncryptionCustomerAlgorithm => Self::CopySourceAlgorithm,
            HeaderName::XAmzCopySourceServerSideEncryptionCustomerKey => Self::CopySourceKey,
            HeaderName::XAmzCopySourceServerSideEncryptionCustomerKeyMd5 => Self::CopySourceKeyMd5,
            _ => return None,
        })
    }

    /// A query parameter or form field: the header's name in any case, or what minio-js puts into URLs.
    fn of_parameter(name: &[u8]) -> Option<Self> {
        match name {
            b"SSECustomerAlgorithm" => Some(Self::CustomerAlgorithm),
            b"SSECustomerKey" => Some(Self::CustomerKey),
            b"SSECustomerKeyMD5" => Some(Self::CustomerKeyMd5),
            _ => Self::of_header(HeaderName::recognise(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 10] = [
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-context",
        "x-amz-server-side-encryption-bucket-key-enabled",
        "X-Amz-Server-Side-Encryption-Customer-Algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-MD5",
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        "x-amz-copy-source-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-key-MD5",
    ];

    fn values(encryption: &Encryption<'_>) -> Vec<String> {
        let items = [
            &encryption.algorithm,
            &encryption.kms_key_id,
            &encryption.context,
            &encryption.bucket_key_enabled,
            &encryption.customer_algorithm,
            &encryption.customer_key,
            &encryption.customer_key_md5,
            &encryption.copy_source_algorithm,
            &encryption.copy_source_key,
            &encryption.copy_source_key_md5,
        ];
        items
            .iter()
            .map(|item| item.as_deref().map_or(String::new(), |value| String::from_utf8_lossy(value).into_owned()))
            .collect()
    }

    #[test]
    fn every_name_is_read_from_headers_query_and_form() {
        for (index, name) in NAMES.iter().enumerate() {
            let mut wanted = vec![String::new(); NAMES.len()];
            wanted[index] = "v+1=".to_owned();
            let mut headers = Headers::default();
            headers.append(name.as_bytes(), b"v+1=");
            assert!(headers_have_encryption(&headers));
            let encryption = Encryption::of_headers(&headers);
            assert_eq!((values(&encryption), encryption.from), (wanted.clone(), Place::Header), "{name}");

            for text in [format!("a=b&{name}=v%2B1%3D"), format!("{}=v%2B1%3D", name.replace('-', "%2D"))] {
                let query = Query::new(text.as_bytes());
                assert!(query_has_encryption(query));
                let mut encryption = Encryption::default();
                encryption.add_query(query);
                assert_eq!((values(&encryption), encryption.from), (wanted.clone(), Place::Query), "{text}");
            }

            let body = format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nv+1=\r\n--X--\r\n");
            let mut encryption = Encryption::default();
            encryption.add_form(FormFields::read(b"multipart/form-data; boundary=X", body.as_bytes()).unwrap());
            assert_eq!((values(&encryption), encryption.from), (wanted, Place::Form), "{name}");
            assert!(!encryption.is_none());
        }
    }

    #[test]
    fn the_query_of_minio_js_is_read() {
        let query = Query::new(b"SSECustomerAlgorithm=AES256&SSECustomerKey=a2V5&SSECustomerKeyMD5=bWQ1");
        let mut encryption = Encryption::default();
        encryption.add_query(query);
        assert_eq!(encryption.keys().collect::<Vec<_>>(), [b"a2V5"]);
        assert_eq!(encryption.kinds().collect::<Vec<_>>(), [EncryptionKind::SseC]);
        assert!(!query_has_encryption(Query::new(b"SSECustomer=1&x-amz-server-side=2&prefix=x-amz-server-side-encryption")));
    }

    #[test]
    fn kinds_follow_the_values() {
        use EncryptionKind::{CopySourceSseC, DsseKms, None, SseC, SseKms, SseS3};
        let kms_key = NAMES[1];
        for (headers, kinds) in [
            (&[][..], &[None][..]),
            (&[(NAMES[0], "AES256")], &[SseS3]),
            (&[(NAMES[0], "aws:kms"), (kms_key, "k")], &[SseKms]),
            (&[(NAMES[0], "aws:kms:dsse")], &[DsseKms]),
            (&[(kms_key, "k")], &[SseKms]),
            (&[(NAMES[0], "rot13")], &[]),
            (&[(NAMES[5], "k")], &[SseC]),
            (&[(NAMES[6], "m"), (NAMES[8], "k")], &[SseC, CopySourceSseC]),
            (&[(NAMES[0], "aws:kms"), (NAMES[7], "AES256")], &[SseKms, CopySourceSseC]),
        ] {
            let mut all = Headers::default();
            for (name, value) in headers {
                all.append(name.as_bytes(), value.as_bytes());
            }
            assert_eq!(Encryption::of_headers(&all).kinds().collect::<Vec<_>>(), kinds, "{headers:?}");
        }
        assert_eq!(
            [None, SseS3, SseKms, DsseKms, SseC, CopySourceSseC].map(EncryptionKind::label),
            ["none", "sse-s3", "sse-kms", "dsse-kms", "sse-c", "copy-source-sse-c"]
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let mut headers = Headers::default();
        headers.append(NAMES[5].as_bytes(), b"hush");
        assert_eq!(format!("{:?}", Encryption::of_headers(&headers)), "Encryption[SseC]");
    }
}
