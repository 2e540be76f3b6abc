//! EDGE. Doing something in the network namespace of another process.

use std::io;

/// Runs `act` on a thread that has entered the network namespace of `process`; what it opens there stays there. Needs
/// `CAP_SYS_ADMIN` and the right to look into the process.
///
/// # Errors
/// Where the namespace cannot be entered.
#[cfg(target_os = "linux")]
pub(super) fn within<T: Send>(process: u32, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    use std::os::fd::AsFd;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = std::fs::File::open(format!("/proc/{process}/ns/net"))?;
    std::thread::scope(|scope| {
        // The namespace is the thread's alone, and ends with it.
        let entered = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(act())
        });
        entered.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace ended")))
    })
}

/// There are no network namespaces here.
#[cfg(not(target_os = "linux"))]
pub(super) fn within<T: Send>(_process: u32, _act: impl FnOnce() -> T + Send) -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
