//! Leaf certificates: a CA that the clients already trust in, certificates for allowed names out.
//!
//! One key serves all leaves of a run. It is made at the start and never written.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SubjectPublicKeyInfo,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, sign};

/// A day from now; certificates begin yesterday, since clocks differ. (A macro, since the type is that of another crate.)
macro_rules! date_after {
    ($days:expr) => {{
        let (year, month, day) = date_after($days);
        rcgen::date_time_ymd(year, month, day)
    }};
}

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read a private key.
    #[error("the private key {} can be read by others (mode {mode:04o})", path.display())]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds nothing of the kind.
    #[error("{} holds no {what} in PEM", path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The key is encrypted.
    #[error("the private key {} is encrypted", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The key is encrypted in the form before PKCS#8.
    #[error("the private key {} is encrypted in an old form that is not read here", path.display())]
    OldEncryption {
        /// The file.
        path: PathBuf,
    },
    /// The password is wrong, or the key's encryption unknown.
    #[error("the private key {} does not decrypt with this password", path.display())]
    Password {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that cannot be used.
    #[error("the private key {} cannot be used: RSA, P-256, P-384 and Ed25519 can", path.display())]
    KeyKind {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate are of different pairs.
    #[error("the private key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate cannot be used.
    #[error("the certificate {} cannot be used: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Nothing can be made or written.
    #[error("cannot make a certificate: {0}")]
    Make(String),
    /// The file is there already, or cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A CA with its key, and the leaves it has signed in this run.
pub struct Authority {
    issuer: Issuer<'static, CaKey>,
    certificate: CertificateDer<'static>,
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn sign::SigningKey>,
    /// The leaves that were used last, newest at the end, by their names.
    leaves: Mutex<VecDeque<(Vec<String>, Arc<CertifiedKey>)>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Reads a CA certificate and its key from PEM files. The key may be encrypted where `password` is given.
    ///
    /// # Errors
    /// Where a file cannot be read, the key can be read by others, or the two are not a CA.
    pub fn open(certificate: &Path, key: &Path, password: Option<&[u8]>) -> Result<Self, AuthorityError> {
        let chain = read_certificates(certificate)?;
        let key_der = read_key(key, password)?;
        let path = key.to_owned();
        let signer = any_supported_type(&key_der).map_err(|_| AuthorityError::KeyKind { path })?;
        let Some(first) = chain.first().cloned() else {
            return Err(AuthorityError::NoPem { path: certificate.to_owned(), what: "certificate" });
        };
        check_match(&chain, &signer, certificate, key)?;
        let ca_key = CaKey::new(signer).ok_or_else(|| AuthorityError::KeyKind { path: key.to_owned() })?;
        let issuer = Issuer::from_ca_cert_der(&first, ca_key)
            .map_err(|error| AuthorityError::Certificate { path: certificate.to_owned(), reason: error.to_string() })?;
        Self::new(issuer, first)
    }

    fn new(issuer: Issuer<'static, CaKey>, certificate: CertificateDer<'static>) -> Result<Self, AuthorityError> {
        let leaf_key = KeyPair::generate().map_err(|error| AuthorityError::Make(error.to_string()))?;
        let der = PrivateKeyDer::try_from(leaf_key.serialize_der()).map_err(|text| AuthorityError::Make(text.to_owned()))?;
        let leaf_signer = any_supported_type(&der).map_err(|error| AuthorityError::Make(error.to_string()))?;
        Ok(Self { issuer, certificate, leaf_key, leaf_signer, leaves: Mutex::new(VecDeque::new()) })
    }

    /// A leaf for these names (host names and IP addresses), from those made before where there is one.
    pub(super) fn leaf(&self, names: &[String]) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = leaves.iter().position(|(have, _)| have == names)
            && let Some(leaf) = leaves.remove(at)
        {
            let key = Arc::clone(&leaf.1);
            leaves.push_back(leaf);
            return Ok(key);
        }
        let key = Arc::new(self.make(names)?);
        if leaves.len() >= LEAVES_MAX {
            leaves.pop_front();
        }
        leaves.push_back((names.to_vec(), Arc::clone(&key)));
        Ok(key)
    }

    fn make(&self, names: &[String]) -> Result<CertifiedKey, AuthorityError> {
        let wrong = |error: rcgen::Error| AuthorityError::Make(error.to_string());
        let mut params = CertificateParams::new(names).map_err(wrong)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, names.first().map_or("hopwire", String::as_str));
        params.distinguished_name = subject;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_after!(-1);
        params.not_after = date_after!(LEAF_DAYS);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(wrong)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.leaf_signer)))
    }
}

/// Makes a CA of its own: `ca.crt` and `ca.key` in a folder that only the owner can read.
///
/// # Errors
/// Where the folder or a file cannot be made, or one is there already.
pub fn make_ca(folder: &Path) -> Result<[PathBuf; 2], AuthorityError> {
    let wrong = |error: rcgen::Error| AuthorityError::Make(error.to_string());
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| AuthorityError::Write { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable(folder))?;
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(wrong)?;
    let mut subject = DistinguishedName::new();
    // Two of these shall not look the same in a trust store.
    let mark: String = key.public_key_raw().iter().skip(1).take(4).map(|byte| format!("{byte:02x}")).collect();
    subject.push(DnType::CommonName, format!("hopwire CA {mark}"));
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_after!(-1);
    params.not_after = date_after!(CA_DAYS);
    let certificate = params.self_signed(&key).map_err(wrong)?;
    let paths = [folder.join("ca.crt"), folder.join("ca.key")];
    let [certificate_path, key_path] = &paths;
    for (path, text, mode) in [(key_path, key.serialize_pem(), 0o600), (certificate_path, certificate.pem(), 0o644)] {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(unwritable(path))?;
    }
    Ok(paths)
}

/// A certificate chain and its key, as they are.
///
/// # Errors
/// Where a file cannot be read, the key can be read by others, or the two do not belong together.
pub fn open_certificate(certificate: &Path, key: &Path, password: Option<&[u8]>) -> Result<Arc<CertifiedKey>, AuthorityError> {
    let chain = read_certificates(certificate)?;
    let path = key.to_owned();
    let signer = any_supported_type(&read_key(key, password)?).map_err(|_| AuthorityError::KeyKind { path })?;
    check_match(&chain, &signer, certificate, key)?;
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// Where it cannot be read, or holds none.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let text = fs::read(path).map_err(|source| AuthorityError::Read { path: path.to_owned(), source })?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(AuthorityError::NoPem { path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

/// Reads a private key from a PEM file that only its owner can read.
///
/// # Errors
/// Where it cannot be read, others can read it, or it holds no key.
pub fn read_key(path: &Path, password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, AuthorityError> {
    let unreadable = |source| AuthorityError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(AuthorityError::KeyReadable { path: path.to_owned(), mode });
    }
    let text = fs::read(path).map_err(unreadable)?;
    if memchr::memmem::find(&text, b"ENCRYPTED").is_some() {
        return decrypt_key(path, &text, password);
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| AuthorityError::NoPem { path: path.to_owned(), what: "private key" })
}

/// Decrypts a key in PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`, RFC 5958).
fn decrypt_key(path: &Path, text: &[u8], password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, AuthorityError> {
    let path = || path.to_owned();
    let Ok((label, der)) = pkcs8::SecretDocument::from_pem(std::str::from_utf8(text).unwrap_or_default()) else {
        return Err(AuthorityError::NoPem { path: path(), what: "private key" });
    };
    if label != "ENCRYPTED PRIVATE KEY" {
        return Err(AuthorityError::OldEncryption { path: path() });
    }
    let Some(password) = password else { return Err(AuthorityError::Encrypted { path: path() }) };
    let key = pkcs8::EncryptedPrivateKeyInfoRef::try_from(der.as_bytes())
        .map_err(|_| AuthorityError::NoPem { path: path(), what: "private key" })?;
    let plain = key.decrypt(password).map_err(|_| AuthorityError::Password { path: path() })?;
    Ok(PrivateKeyDer::Pkcs8(plain.as_bytes().to_vec().into()))
}

fn check_match(
    chain: &[CertificateDer<'static>],
    signer: &Arc<dyn sign::SigningKey>,
    certificate: &Path,
    key: &Path,
) -> Result<(), AuthorityError> {
    match CertifiedKey::new(chain.to_vec(), Arc::clone(signer)).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(AuthorityError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() })
        }
        Err(error) => Err(AuthorityError::Certificate { path: certificate.to_owned(), reason: error.to_string() }),
    }
}

/// The key of a CA, of any kind and in any form that TLS takes.
struct CaKey {
    signer: Arc<dyn sign::SigningKey>,
    public: SubjectPublicKeyInfo,
    scheme: SignatureScheme,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl CaKey {
    fn new(signer: Arc<dyn sign::SigningKey>) -> Option<Self> {
        let public = SubjectPublicKeyInfo::from_der(signer.public_key()?.as_ref()).ok()?;
        let (scheme, algorithm) = [
            (SignatureScheme::ECDSA_NISTP256_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256),
            (SignatureScheme::ECDSA_NISTP384_SHA384, &rcgen::PKCS_ECDSA_P384_SHA384),
            (SignatureScheme::RSA_PKCS1_SHA256, &rcgen::PKCS_RSA_SHA256),
            (SignatureScheme::ED25519, &rcgen::PKCS_ED25519),
        ]
        .into_iter()
        .find(|(scheme, _)| signer.choose_scheme(&[*scheme]).is_some())?;
        Some(Self { signer, public, scheme, algorithm })
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.signer.choose_scheme(&[self.scheme]).ok_or(rcgen::Error::RemoteKeyError)?;
        signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// Year, month and day in so many days.
fn date_after(days: i64) -> (i32, u8, u8) {
    let then = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(24 * days));
    let text = then.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(1);
    (i32::from(part(0..4)), part(5..7) as u8, part(8..10) as u8)
}

/// A leaf outlives its run by little.
const LEAF_DAYS: i64 = 7;
/// A CA for a laboratory.
const CA_DAYS: i64 = 365;
/// Leaves that are kept; others are made anew.
const LEAVES_MAX: usize = 256;
