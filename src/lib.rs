//! hopwire makes S3 traffic over proxies visible and provable.

pub mod capture;
pub mod decode;
pub mod model;
pub mod s3;
pub mod session;
