//! TLS secrets of running programs.
//!
//! A program gives its TLS secrets to a key log only where it was built or configured to. This room reads them from programs
//! that were not: from Go programs by a uprobe on `crypto/tls.(*Config).writeKeyLog`, which every TLS handshake calls, and from
//! JVMs by a Java agent that is attached while they run. The result is lines of a key log (RFC 9850), as from a file.
//!
//! ```text
//! executable ─► elf ─► build_info ─┐
//!                 └──► pclntab ────┴─► probe (a definition) ─► tracefs ─► probe (a hit) ─► key-log line
//! JVM ─► attach ─► the agent's key log ─────────────────────────────────────────────────► key-log line
//! ```
//!
//! The readers (`elf`, `build_info`, `pclntab`, `probe`) are pure: they take bytes by [`ReadAt`], hold at most some megabytes and
//! never fail in another way than by an error. `tracefs`, `process`, `attach` and `watch` are the edge.

mod attach;
mod build_info;
mod elf;
mod pclntab;
mod probe;
mod process;
mod read_at;
mod tracefs;
mod watch;

pub use attach::AttachError;
pub use build_info::BuildInfo;
pub use elf::{Elf, ElfError, Machine};
pub use pclntab::{PclntabError, find_function};
pub use probe::{Hit, ProbeError, ProbePoint, probe_point};
pub use process::{Kind, ProcessError, Runtime};
pub use read_at::ReadAt;
pub use tracefs::TraceError;
pub use watch::{FindContainer, KeyWatch, KeysError, Notice, Target};
