//! One check for each fuzz target: bytes in, a panic if a law does not hold. The fuzz targets and the replay of seeds call the
//! same functions, through the public interface of the library only.

mod aws_chunked;
mod bytes;
mod call;
mod capture;
mod client_log;
mod executable;
mod http1;
mod jsonl;
mod keylog;
mod link_ip;
mod reassembly;
mod redact;
mod tls_records;
mod whole;

pub use aws_chunked::aws_chunked;
pub use call::call;
pub use capture::{pcap, pcapng};
pub use client_log::client_log;
pub use executable::executable;
pub use http1::http1;
pub use jsonl::jsonl;
pub use keylog::keylog;
pub use link_ip::link_ip;
pub use reassembly::reassembly;
pub use redact::redact;
pub use tls_records::tls_records;
pub use whole::whole;
