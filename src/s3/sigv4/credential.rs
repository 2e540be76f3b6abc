//! Access keys, the scope of a signature, and the key that is derived for it.

use std::fmt;

use ring::hmac;

use crate::s3::sigv4::{ALGORITHM, hex};

/// An access key with its secret. The secret is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The access key id.
    pub access_key: String,
    secret: String,
    session_token: Option<String>,
}

impl Credential {
    /// From its parts. White space around them (line ends of files) is removed.
    pub fn new(access_key: &str, secret: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::trim).filter(|token| !token.is_empty());
        Self {
            access_key: access_key.trim().to_owned(),
            secret: secret.trim().to_owned(),
            session_token: token.map(str::to_owned),
        }
    }

    /// `x-amz-security-token` of temporary credentials.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// The secret and the token, for those who keep them out of outputs.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.secret.as_str()).chain(self.session_token())
    }

    /// The key for requests of one day, region and service.
    pub fn signing_key(&self, scope: &Scope) -> SigningKey {
        let start = hmac::Key::new(hmac::HMAC_SHA256, &[b"AWS4", self.secret.as_bytes()].concat());
        let mut key = start;
        for part in [&scope.date, &scope.region, &scope.service, &b"aws4_request".to_vec()] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part).as_ref());
        }
        SigningKey(key)
    }
}

/// Shows the access key only.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.access_key)
    }
}

/// What a signature is limited to: day (`yyyymmdd`), region and service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `yyyymmdd`
    pub date: Vec<u8>,
    /// The region.
    pub region: Vec<u8>,
    /// The service: `s3`, `sts`.
    pub service: Vec<u8>,
}

impl Scope {
    /// `yyyymmdd/region/service/aws4_request`
    pub fn text(&self) -> Vec<u8> {
        [&self.date[..], &self.region, &self.service, b"aws4_request"].join(&b'/')
    }
}

/// The key that signs the requests of one scope.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// The signature of a canonical request whose SHA-256 is given; `date` is that of the request, `yyyymmddThhmmssZ`.
    pub fn sign_request(&self, date: &[u8], scope: &Scope, request_sha256: &[u8]) -> Vec<u8> {
        self.sign_lines(&[ALGORITHM, date, &scope.text(), &hex(request_sha256)])
    }

    /// The signature of lines that are joined with LF: lower-case hexadecimal.
    pub fn sign_lines(&self, lines: &[&[u8]]) -> Vec<u8> {
        self.sign_text(&lines.join(&b'\n'))
    }

    /// The signature of a text: lower-case hexadecimal.
    pub fn sign_text(&self, text: &[u8]) -> Vec<u8> {
        hex(hmac::sign(&self.0, text).as_ref())
    }
}

/// Shows nothing.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_key_derivation_holds() {
        // AWS General Reference, "Examples of how to derive a signing key".
        let credential = Credential::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n", None);
        let scope = Scope { date: b"20150830".to_vec(), region: b"us-east-1".to_vec(), service: b"iam".to_vec() };
        let text = b"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
            f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        assert_eq!(
            credential.signing_key(&scope).sign_text(text),
            b"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = Credential::new("AK", "hush-hush", Some("token-token"));
        assert_eq!(format!("{credential:?}"), "Credential(AK)");
        assert_eq!(credential.secrets().collect::<Vec<_>>(), ["hush-hush", "token-token"]);
    }
}
