//! The certificates of the lab: one CA, made for each run and kept in its folder, and a certificate for each server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::proxy::{AuthorityError, make_ca, read_certificates};

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The CA cannot be made or read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate for {name}: {reason}")]
    Made {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// The CA of a run.
pub struct Certificates {
    pem: [String; 2],
    root: CertificateDer<'static>,
}

impl Certificates {
    /// Makes a CA in a folder that is not there yet.
    ///
    /// # Errors
    /// Where the folder is there, or cannot be written to.
    pub fn make(folder: &Path) -> Result<Self, CertificatesError> {
        let [certificate, key] = make_ca(folder)?;
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CertificatesError::Read { path: path.to_owned(), source })
        };
        let pem = [read(&certificate)?, read(&key)?];
        let root = read_certificates(&certificate)?.into_iter().next();
        let root = root.ok_or_else(|| CertificatesError::Made { name: "the CA".to_owned(), reason: "it is empty".to_owned() })?;
        Ok(Self { pem, root })
    }

    /// The CA certificate, which clients have to trust.
    pub fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }

    /// What a client trusts.
    ///
    /// # Errors
    /// Where the CA is not one.
    pub fn trusting(&self) -> Result<Arc<ClientConfig>, CertificatesError> {
        let mut roots = RootCertStore::empty();
        let failed = |reason: rustls::Error| CertificatesError::Made { name: "a client".to_owned(), reason: reason.to_string() };
        roots.add(self.root()).map_err(failed)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// A certificate for these names, with its key.
    ///
    /// # Errors
    /// Where none can be made.
    pub fn key_for(&self, names: &[&str]) -> Result<Arc<CertifiedKey>, CertificatesError> {
        let name = names.join(", ");
        let failed = |reason: String| CertificatesError::Made { name: name.clone(), reason };
        let [ca, ca_key] = &self.pem;
        let ca_key = KeyPair::from_pem(ca_key).map_err(|error| failed(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(ca, ca_key).map_err(|error| failed(error.to_string()))?;
        let key = KeyPair::generate().map_err(|error| failed(error.to_string()))?;
        let subjects: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(subjects).map_err(|error| failed(error.to_string()))?;
        parameters.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        let leaf = parameters.signed_by(&key, &issuer).map_err(|error| failed(error.to_string()))?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![leaf.der().clone()], private, &ring::default_provider());
        Ok(Arc::new(certified.map_err(|error| failed(error.to_string()))?))
    }

    /// What a server of these names shows.
    ///
    /// # Errors
    /// Where no certificate can be made.
    pub fn serving(&self, names: &[&str]) -> Result<Arc<ServerConfig>, CertificatesError> {
        let key = self.key_for(names)?;
        let failed = |reason: rustls::Error| CertificatesError::Made { name: names.join(", "), reason: reason.to_string() };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))))
    }
}
