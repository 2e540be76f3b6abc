//! Whether two calls of one client ask for the same: what a retry is recognised by.

use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;

use crate::s3::Call;

/// A hash of client address, method and target. The targets of presigned URLs differ from attempt to attempt and are taken without
/// their query.
pub(super) fn same_call_key(call: &Call<'_>, client: IpAddr) -> u64 {
    let request = &call.exchange.request;
    let mut hasher = foldhash::quality::FixedState::with_seed(3).build_hasher();
    match client {
        IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
        IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
    }
    hasher.write(request.method());
    let target = request.target();
    let is_presigned = !call.query.is_empty() && call.query.mentions_signature();
    let end = if is_presigned { memchr::memchr(b'?', target).unwrap_or(target.len()) } else { target.len() };
    hasher.write(target.get(..end).unwrap_or(target));
    hasher.finish()
}
