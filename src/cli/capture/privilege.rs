//! Gives up what a capture does not need any more once it is open.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What may still be needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// Files will be created where this user may not be their owner.
    pub(super) files: bool,
    /// Interfaces will be opened again when containers are restarted.
    pub(super) reopening: bool,
}

/// Drops all other capabilities of this thread, and so of the threads it starts from now on; none can be gained again.
pub(super) fn drop_others(needs: Needs) -> std::io::Result<()> {
    let mut kept = CapabilitySet::empty();
    if needs.files {
        kept |= CapabilitySet::DAC_OVERRIDE | CapabilitySet::CHOWN | CapabilitySet::FOWNER;
    }
    if needs.reopening {
        kept |= CapabilitySet::NET_RAW | CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_OVERRIDE;
    }
    let now = capabilities(None)?;
    let kept = now.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets { effective: now.effective & kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    set_no_new_privs(true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_gone_for_the_thread() {
        // A thread of its own: the other tests keep theirs.
        let left = std::thread::spawn(|| {
            drop_others(Needs::default()).unwrap();
            capabilities(None).unwrap()
        });
        let left = left.join().unwrap();
        assert!(left.permitted.is_empty() && left.effective.is_empty() && left.inheritable.is_empty());
    }
}
