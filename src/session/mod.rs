//! Recorded sessions and the file formats they are kept in.

pub mod pcapng;
