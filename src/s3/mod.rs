//! What an exchange means in S3: exchanges in, calls out. Pure: no I/O, no clock.

mod address;
mod audit;
mod auth;
pub mod aws_chunked;
mod call;
mod client;
pub mod client_log;
mod copy_source;
mod encryption;
mod error;
mod form;
mod http_date;
mod operation;
mod operation_table;
mod payload;
pub mod policy;
mod query;
mod resolve;
pub mod sigv4;

pub use address::{Address, Domains, Style};
pub use audit::Audit;
pub use auth::{Auth, Scheme, names_aws_scheme};
pub use call::{Call, is_s3_like};
pub use client::{Client, Sdk};
pub use copy_source::CopySource;
pub(crate) use encryption::NO_ENCRYPTION;
pub use encryption::{Encryption, EncryptionKind, Place};
pub use error::S3Error;
pub use form::FormFields;
pub(crate) use http_date::parse_basic as parse_date;
pub use operation::{Level, Method, Operation, OperationRow, SseHeader};
pub use operation_table::OPERATIONS;
pub use payload::Payload;
pub use query::{Query, decode_percent, encode_path, encode_query};
pub use resolve::resolve;
