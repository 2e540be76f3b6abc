//! hopwire makes S3 traffic over proxies visible and provable.

pub mod analysis;
pub mod capture;
pub mod cli;
pub mod convert;
pub mod decode;
pub mod hops;
pub mod model;
pub mod pipeline;
pub mod proxy;
pub mod report;
pub mod rules;
pub mod s3;
pub mod session;
