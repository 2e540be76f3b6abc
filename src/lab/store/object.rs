//! Objects, and how they are said to be encrypted.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::lab::reply::Reply;
use crate::s3::Encryption;

/// An object.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) content: Arc<[u8]>,
    pub(super) etag: String,
    pub(super) content_type: String,
    pub(super) protection: Protection,
}

/// A multipart upload that is not completed.
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) protection: Protection,
    pub(super) parts: BTreeMap<u32, (Vec<u8>, String)>,
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    None,
    /// SSE-S3.
    Managed,
    /// SSE-KMS with a key of that name.
    Kms(String),
    /// SSE-C with the key of that MD5 (base64).
    Customer(String),
}

impl Protection {
    /// What a request asks for, or what the store does on its own. `Err` is the text of a refusal.
    pub(super) fn wanted(encryption: &Encryption<'_>, automatic_key: Option<&str>) -> Result<Self, &'static str> {
        let text = |value: &Option<std::borrow::Cow<'_, [u8]>>| {
            value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
        };
        if encryption.has_customer() {
            return customer_key_md5(encryption.customer_key.as_deref(), encryption.customer_key_md5.as_deref())
                .map(Self::Customer);
        }
        match encryption.algorithm.as_deref() {
            Some(b"AES256") => Ok(Self::Managed),
            Some(b"aws:kms") => {
                let key = text(&encryption.kms_key_id).or_else(|| automatic_key.map(str::to_owned));
                Ok(Self::Kms(key.unwrap_or_else(|| DEFAULT_KEY.to_owned()).trim_start_matches(ARN).to_owned()))
            }
            Some(_) => Err("The encryption method specified is not supported"),
            None => Ok(automatic_key.map_or(Self::None, |key| Self::Kms(key.to_owned()))),
        }
    }

    /// The ETag: the MD5 of the content where it is not encrypted by KMS or a customer's key.
    pub(super) fn etag(&self, content: &[u8]) -> String {
        let seed: &[u8] = match self {
            Self::None | Self::Managed => b"",
            Self::Kms(_) | Self::Customer(_) => b"encrypted",
        };
        let digest = Md5::new().chain_update(seed).chain_update(content).finalize();
        format!("\"{}\"", hexadecimal(&digest))
    }

    /// The headers of responses about the object.
    pub(super) fn describe(&self, reply: Reply) -> Reply {
        match self {
            Self::None => reply,
            Self::Managed => reply.header("X-Amz-Server-Side-Encryption", "AES256"),
            Self::Kms(key) => reply
                .header("X-Amz-Server-Side-Encryption", "aws:kms")
                .header("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", format!("{ARN}{key}")),
            Self::Customer(md5) => reply
                .header("X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256")
                .header("X-Amz-Server-Side-Encryption-Customer-Key-Md5", md5.clone()),
        }
    }

    /// Whether a reader has given what is needed. `Err` is code and text of a refusal.
    pub(super) fn check_reader(
        &self,
        algorithm: bool,
        key: Option<&[u8]>,
        md5: Option<&[u8]>,
    ) -> Result<(), (&'static str, &'static str)> {
        match self {
            Self::Customer(_) if !algorithm => Err(("InvalidRequest", NEEDS_KEY)),
            Self::Customer(known) => match customer_key_md5(key, md5) {
                Ok(md5) if md5 == *known => Ok(()),
                _ => Err(("AccessDenied", "Access Denied.")),
            },
            _ if algorithm => Err(("InvalidRequest", "The encryption parameters are not applicable to this object.")),
            _ => Ok(()),
        }
    }
}

/// The MD5 of a customer key, in base64, where key and MD5 belong together.
fn customer_key_md5(key: Option<&[u8]>, md5: Option<&[u8]>) -> Result<String, &'static str> {
    let key = key.and_then(|key| STANDARD.decode(key).ok()).filter(|key| key.len() == 32);
    let key = key.ok_or("The secret key was invalid for the specified algorithm.")?;
    let computed = STANDARD.encode(Md5::digest(&key));
    match md5 {
        Some(md5) if md5 == computed.as_bytes() => Ok(computed),
        _ => Err("The calculated MD5 hash of the key did not match the hash that was provided."),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&crate::s3::sigv4::hex(bytes)).into_owned()
}

/// MinIO's prefix of KMS key ids in messages.
const ARN: &str = "arn:aws:kms:";
const DEFAULT_KEY: &str = "minio-default-key";
const NEEDS_KEY: &str = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.";
