//! EDGE. The embedded lab: what takes part in the story that hopwire tells, small enough to run in one process on loopback.
//!
//! - [`Store`]: an S3 store with TLS and plain fronts that checks signatures, encrypts on its own and names its KMS key in responses,
//!   as MinIO does with `MINIO_KMS_AUTO_ENCRYPTION=on`.
//! - [`Sidekick`]: a reverse proxy with HTTP and HTTPS fronts that changes messages as MinIO Sidekick 7 does.
//! - [`Client`]: writes a table and commits it by HEAD, COPY and DELETE as Hadoop S3A 3.3 does, with the policy of the AWS SDK that
//!   it stands for; or with none.
//!
//! They speak over real sockets with real TLS, so that what is recorded between them is real traffic. HTTP/1 is read by
//! [`http1::Connection`](crate::decode::http1::Connection), as everywhere. `hopwire demo` runs them, and tests use them as peers.

mod certificates;
mod client;
mod job;
mod link;
mod mailbox;
mod reply;
mod server;
mod sidekick;
mod store;
mod tables;

pub use certificates::{Certificates, CertificatesError};
pub use client::{CLIENT_ADDRESS, Client, ClientError, Program, ServerSide};
pub use job::{Job, Outcome, Step};
pub use server::Running;
pub use sidekick::{SIDEKICK_ADDRESS, Sidekick};
pub use store::{STORE_ADDRESS, Store, Traced};
