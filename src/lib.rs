//! hopwire makes S3 traffic over proxies visible and provable.

pub mod decode;
pub mod model;
pub mod session;
