//! A small S3 store: objects in memory, signatures checked, and server-side encryption as MinIO names it in its messages.
//!
//! Nothing is encrypted for real: what counts here is which requests it takes, and which headers its responses carry.

mod object;
mod operations;
mod trace;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use crate::lab::reply::Reply;
use crate::lab::server::{Running, Service};
use crate::lab::store::object::{Object, Upload};
use crate::lab::tables;
use crate::model::{Endpoint, Endpoints, Exchange, ExchangeId, Outcome, Request, Transport};
use crate::s3::sigv4::{Check, Credential, NotChecked, verify};
use crate::s3::{Call, Domains};

pub use trace::Traced;

/// The store.
pub struct Store {
    credential: Credential,
    /// The KMS key that it encrypts with where a request names none; `None` where it does not encrypt on its own.
    automatic_key: Option<String>,
    /// Whether the server has a certificate: then MinIO takes customer keys on every front.
    has_tls: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    uploads: BTreeMap<String, Upload>,
    requests: u64,
    trace: Vec<Traced>,
}

impl Store {
    /// An empty store with one user, which encrypts with that KMS key where it is given.
    pub fn new(access_key: &str, secret: &str, automatic_key: Option<&str>, has_tls: bool) -> Arc<Self> {
        Arc::new(Self {
            credential: Credential::new(access_key, secret, None),
            automatic_key: automatic_key.map(str::to_owned),
            has_tls,
            state: Mutex::default(),
        })
    }

    /// Listens on a free port of [`STORE_ADDRESS`], with TLS where a certificate is given.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn listen(self: &Arc<Self>, tls: Option<Arc<ServerConfig>>) -> io::Result<Running> {
        Running::start(STORE_ADDRESS, tls, Arc::<Self>::clone(self))
    }

    /// What it was asked, in order: its own account of a run.
    pub fn trace(&self) -> Vec<Traced> {
        self.lock().trace.clone()
    }

    /// The content of an object.
    pub fn content(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.lock().buckets.get(bucket)?.get(key).map(|object| object.content.to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response to a call, before what all responses have.
    fn answer(&self, call: &Call<'_>, body: &[u8]) -> Reply {
        let resource = String::from_utf8_lossy(call.exchange.request.target()).into_owned();
        let encryption = call.request_encryption();
        if !self.has_tls && (encryption.has_customer() || encryption.has_copy_source()) {
            return tables::error(400, "InvalidRequest", INSECURE, &resource);
        }
        match verify(call, std::slice::from_ref(&self.credential)) {
            Check::Verified => {}
            Check::NotChecked(NotChecked::Unsigned) => return tables::error(403, "AccessDenied", "Access Denied.", &resource),
            _ => return tables::error(403, "SignatureDoesNotMatch", MISMATCH, &resource),
        }
        self.perform(call, body, &resource)
    }
}

impl Service for Store {
    fn respond(&self, request: &Request, body: &[u8], client: SocketAddr, _is_tls: bool) -> Reply {
        let mut exchange = Exchange {
            id: ExchangeId::default(),
            endpoints: Endpoints { client: endpoint(client), server: Endpoint::new(STORE_ADDRESS.into(), 0) },
            transport: Transport::Clear,
            request: request.clone(),
            interim: Vec::new(),
            outcome: Outcome::Unanswered,
            ending: None,
            tunnel: None,
            anomalies: Vec::new(),
        };
        body.clone_into(&mut exchange.request.body.kept);
        let call = Call::read(&exchange, &Domains::default());
        let is_health_check = request.target().starts_with(b"/minio/health/");
        let reply = match &call {
            _ if is_health_check => Reply::new(200),
            Some(call) => self.answer(call, body),
            None => tables::error(403, "AccessDenied", "Access Denied.", "/"),
        };
        let mut state = self.lock();
        state.requests += 1;
        let id = format!("{:016X}", 0x18A0_0000_0000_0000_u64 + state.requests);
        if !is_health_check {
            state.trace.push(Traced::new(call.as_ref(), request, reply.status, &id, client));
        }
        reply.header("Server", "MinIO").header("X-Amz-Request-Id", id).header("X-Amz-Id-2", HOST_ID)
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::new(address.ip(), address.port())
}

/// Where the store listens.
pub const STORE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// MinIO: `cmd/api-errors.go`, ErrInsecureSSECustomerRequest.
const INSECURE: &str =
    "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.";
/// MinIO: `cmd/api-errors.go`, ErrSignatureDoesNotMatch.
const MISMATCH: &str =
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
const HOST_ID: &str = "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8";
