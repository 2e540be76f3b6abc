//! The server-side-encryption part of a message: headers, query or form in, kinds and values out.

use std::borrow::Cow;
use std::fmt;

use crate::model::{HeaderName, Headers};
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
    headers.known().any(|(name, _, _)| Item::of_header(name).is_some())
}

/// Whether a query names any encryption parameter.
pub(crate) fn query_has_encryption(query: Query<'_>) -> bool {
    query.raw_pairs().any(|(name, _)| Item::of_parameter(&decode_form(name)).is_some())
}

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
