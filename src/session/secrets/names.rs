//! The one table of names that hold secrets: header fields, query parameters, form fields, XML elements, JSON members.
//!
//! Names are compared without case and without what joins their words, so that `X-Amz-Security-Token`, `x_amz_security_token`
//! and `xAmzSecurityToken` are one. Most are told by how they end: every dialect of S3 has a prefix of its own.

use crate::session::secrets::Kind;
use crate::session::secrets::unescape::Unescaped;

/// Where a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The name of a header field.
    Field,
    /// In a query or a form.
    Parameter,
    /// In an XML, JSON or other text.
    Member,
}

/// What a name says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// All of it is a secret.
    Secret(Kind),
    /// It is built like the value of `Authorization`.
    Authorization,
}

/// What a name says of its value, if anything.
pub(super) fn named(name: &[u8], scope: Scope) -> Option<Named> {
    if name.contains(&b'%') {
        let plain = Unescaped::new(name);
        return if plain.is_changed() { named(plain.bytes(), scope) } else { None };
    }
    if !may_be_named(name) {
        return None;
    }
    let mut buffer = [0; NAME_BYTES_MAX];
    let compact = compact(name, &mut buffer)?;
    if compact.ends_with(b"authorization") {
        return Some(Named::Authorization);
    }
    let kind = kind_of(compact, scope)?;
    let is_metadata = compact.starts_with(b"xamzmeta") && matches!(kind, Kind::Signature | Kind::SignedText);
    (!is_metadata).then_some(Named::Secret(kind))
}

/// Whether the name may be in the table, by its last letters: says no for almost all names.
#[inline]
pub(super) fn may_be_named(name: &[u8]) -> bool {
    let Some(&[a, b, c]) = name.last_chunk::<3>() else { return false };
    let [a, b, c] = [a | 0x20, b | 0x20, c | 0x20];
    match c {
        b'y' => matches!([a, b], [b'k', b'e'] | [b'i', b'c']),
        b'n' => matches!([a, b], [b'k', b'e'] | [b'i', b'o' | b'g']),
        b'e' => matches!([a, b], [b'k', b'i'] | [b'u', b'r'] | [b'o', b'd'] | [b'n' | b'a', b's']),
        b't' => matches!([a, b], [b'e', b'x'] | [b'r', b'e'] | [b'e', b's'] | [b'j', b'w']),
        b'd' => matches!([a, b], [b'o', b'r'] | [b's' | b'p', b'w'] | [b'd', b'e']),
        b'r' => [a, b] == *b"ie",
        b'g' => [a, b] == *b"si",
        b's' => [a, b] == *b"te",
        b'a' => [a, b] == *b"mf",
        b'0' | b'1' => b == b'n' || !b.is_ascii_alphanumeric(),
        b'5' | b'6' => matches!(b, b'd' | b'5'),
        _ => false,
    }
}

/// The letters and digits of a name, in lower case. `None` where it is too long to be in the table.
fn compact<'b>(name: &[u8], buffer: &'b mut [u8; NAME_BYTES_MAX]) -> Option<&'b [u8]> {
    let mut length = 0;
    for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        *buffer.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    buffer.get(..length)
}

fn kind_of(name: &[u8], scope: Scope) -> Option<Kind> {
    let exact = EXACT.iter().find(|(have, scopes, _)| have.as_bytes() == name && scopes.contains(&scope));
    if let Some((.., kind)) = exact {
        return Some(*kind);
    }
    let (_, kind) = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending.as_bytes()))?;
    let is_harmless = *kind == Kind::Bearer && HARMLESS_TOKENS.iter().any(|ending| name.ends_with(ending.as_bytes()));
    (!is_harmless).then_some(*kind)
}

const ALL: &[Scope] = &[Scope::Field, Scope::Parameter, Scope::Member];
const TEXTS: &[Scope] = &[Scope::Parameter, Scope::Member];

/// Names as a whole.
const EXACT: &[(&str, &[Scope], Kind)] = &[
    ("token", TEXTS, Kind::SessionToken),
    // The error responses ExpiredToken and InvalidToken repeat what was sent.
    ("token0", &[Scope::Member], Kind::SessionToken),
    ("token1", &[Scope::Member], Kind::SessionToken),
    ("xamzs3sessiontoken", ALL, Kind::SessionToken),
    // A shared access signature, and what else signs by that word.
    ("sig", &[Scope::Parameter], Kind::Signature),
    ("qsignature", ALL, Kind::Signature),
    // What a browser's upload form and a signed CloudFront URL were signed over.
    ("policy", &[Scope::Parameter], Kind::SignedText),
    ("stringtosign", ALL, Kind::SignedText),
    ("stringtosignbytes", ALL, Kind::SignedText),
    ("canonicalrequest", ALL, Kind::SignedText),
    ("canonicalrequestbytes", ALL, Kind::SignedText),
    ("signatureprovided", ALL, Kind::Signature),
    // SAML and OAuth (RFC 7521, 7636, 8628).
    ("samlresponse", ALL, Kind::Bearer),
    ("samlassertion", ALL, Kind::Bearer),
    ("assertion", TEXTS, Kind::Bearer),
    ("clientassertion", TEXTS, Kind::Bearer),
    ("codeverifier", TEXTS, Kind::Bearer),
    ("devicecode", TEXTS, Kind::Bearer),
    ("tokencode", ALL, Kind::Password),
    ("xamzmfa", ALL, Kind::Password),
    // A key management service returns data keys so.
    ("plaintext", &[Scope::Member], Kind::SecretKey),
    ("jwt", ALL, Kind::Bearer),
];

/// How names end, the longer before what they end with.
const ENDINGS: &[(&str, Kind)] = &[
    ("customerkeymd5", Kind::CustomerKeyMd5),
    ("customerkeysha256", Kind::CustomerKeyMd5),
    ("encryptionkeymd5", Kind::CustomerKeyMd5),
    ("encryptionkeysha256", Kind::CustomerKeyMd5),
    ("customerkey", Kind::CustomerKey),
    ("encryptionkey", Kind::CustomerKey),
    ("encryptioncontext", Kind::EncryptionContext),
    ("securitytoken", Kind::SessionToken),
    ("sessiontoken", Kind::SessionToken),
    ("token", Kind::Bearer),
    ("secretaccesskey", Kind::SecretKey),
    ("secretkey", Kind::SecretKey),
    ("authkey", Kind::SecretKey),
    ("accountkey", Kind::SecretKey),
    ("sharedkey", Kind::SecretKey),
    ("signingkey", Kind::SecretKey),
    ("privatekey", Kind::SecretKey),
    ("masterkey", Kind::SecretKey),
    ("apikey", Kind::Bearer),
    ("subscriptionkey", Kind::Bearer),
    ("secret", Kind::SecretKey),
    ("password", Kind::Password),
    ("passwd", Kind::Password),
    ("pwd", Kind::Password),
    ("passphrase", Kind::Password),
    ("passcode", Kind::Password),
    ("cookie", Kind::Cookie),
    ("signature", Kind::Signature),
];

/// Tokens that stand for a place in a list, or make a request unique.
const HARMLESS_TOKENS: &[&str] = &[
    "continuationtoken",
    "nexttoken",
    "pagetoken",
    "paginationtoken",
    "clienttoken",
    "idempotencytoken",
    "starttoken",
    "maxtoken",
];

/// The longest name that any dialect has, and some room.
const NAME_BYTES_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_dialect_are_known_by_how_they_end() {
        use Kind::{
            Bearer, Cookie, CustomerKey, CustomerKeyMd5, EncryptionContext, Password, SecretKey, SessionToken, Signature,
        };
        for (name, kind) in [
            ("x-amz-server-side-encryption-customer-key", CustomerKey),
            ("X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key", CustomerKey),
            ("x-goog-encryption-key", CustomerKey),
            ("x-goog-copy-source-encryption-key", CustomerKey),
            ("x-ms-encryption-key", CustomerKey),
            ("x-obs-server-side-encryption-customer-key", CustomerKey),
            ("x-oss-server-side-encryption-customer-key", CustomerKey),
            ("x-cos-server-side-encryption-customer-key", CustomerKey),
            ("SSECustomerKey", CustomerKey),
            ("copySourceSSECustomerKey", CustomerKey),
            ("x-amz-server-side-encryption-customer-key-MD5", CustomerKeyMd5),
            ("x-goog-encryption-key-sha256", CustomerKeyMd5),
            ("x-amz-server-side-encryption-context", EncryptionContext),
            ("x-amz-security-token", SessionToken),
            ("x-oss-security-token", SessionToken),
            ("x-amz-s3session-token", SessionToken),
            ("X-Auth-Token", Bearer),
            ("X-Storage-Token", Bearer),
            ("X-Subject-Token", Bearer),
            ("x-aws-ec2-metadata-token", Bearer),
            ("x-amz-sso_bearer_token", Bearer),
            ("X-Vault-Token", Bearer),
            ("X-Api-Key", Bearer),
            ("X-Auth-Key", SecretKey),
            ("x-amz-mfa", Password),
            ("X-Amz-Signature", Signature),
            ("x-amz-trailer-signature", Signature),
            ("X-Original-Cookie", Cookie),
            ("x_amz_security_token", SessionToken),
            ("X-Amz-Security-Toke%6e", SessionToken),
        ] {
            assert_eq!(named(name.as_bytes(), Scope::Field), Some(Named::Secret(kind)), "{name}");
        }
        for name in ["Authorization", "Proxy-Authorization", "X-Forwarded-Authorization", "x_original_authorization"] {
            assert_eq!(named(name.as_bytes(), Scope::Field), Some(Named::Authorization), "{name}");
        }
    }

    #[test]
    fn names_that_only_look_like_secrets_are_left_alone() {
        for name in [
            "continuation-token",
            "NextContinuationToken",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "AWSAccessKeyId",
            "Key",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-algorithm",
            "SignatureVersion",
            "x-amz-date",
            "x-amz-meta-signature",
            "ETag",
            "x-oss-server-side-encryption-key-id",
            "",
            "Signed",
            "x-amz-tagging-directive",
            "x-goog-encryption-algorithm",
            "ClientToken",
            "NextToken",
        ] {
            for scope in [Scope::Field, Scope::Parameter, Scope::Member] {
                assert_eq!(named(name.as_bytes(), scope), None, "{name}");
            }
        }
    }

    #[test]
    fn the_quick_look_at_the_last_letters_lets_every_name_through() {
        for name in EXACT.iter().map(|(name, ..)| *name).chain(ENDINGS.iter().map(|(name, _)| *name)).chain(["authorization"]) {
            assert!(may_be_named(name.as_bytes()) && may_be_named(name.to_uppercase().as_bytes()), "{name}");
        }
    }
}
