//! The store's own account of a run, as `mc admin trace` gives it.

use std::net::SocketAddr;

use crate::model::Request;
use crate::s3::Call;

/// One request as the store saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The operation, in AWS's spelling.
    pub operation: &'static str,
    /// The request target as sent.
    pub target: String,
    /// The status of the response.
    pub status: u16,
    /// `x-amz-request-id` of the response.
    pub request_id: String,
    /// Who connected.
    pub client: SocketAddr,
}

impl Traced {
    pub(super) fn new(call: Option<&Call<'_>>, request: &Request, status: u16, id: &str, client: SocketAddr) -> Self {
        Self {
            operation: call.map_or("Unknown", |call| call.operation.name()),
            target: String::from_utf8_lossy(request.target()).into_owned(),
            status,
            request_id: id.to_owned(),
            client,
        }
    }
}
