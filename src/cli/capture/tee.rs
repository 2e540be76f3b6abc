//! Live packets on their way to the decoder, passing by the file on the way.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::capture::docker::NameFollower;
use crate::capture::{Batch, CaptureError, LiveCapture, LiveState, PacketSource, SourceSummary};
use crate::cli::capture::keylogs::KeyLogs;
#[cfg(feature = "keys")]
use crate::cli::capture::program_keys::ProgramKeys;
use crate::cli::capture::recording::Recording;
use crate::cli::capture::status::Status;
use crate::cli::capture::window::Window;
use crate::model::Secret;

/// Packets from interfaces, written before they are handed on.
pub(super) struct Tee {
    pub(super) live: LiveCapture,
    pub(super) state: Arc<LiveState>,
    pub(super) status: Arc<Status>,
    /// What is captured on, for messages.
    pub(super) where_to: String,
    pub(super) keylogs: KeyLogs,
    #[cfg(feature = "keys")]
    pub(super) program_keys: Option<ProgramKeys>,
    /// Whether secrets go into the file.
    pub(super) embeds_secrets: bool,
    pub(super) names: Vec<(IpAddr, String)>,
    pub(super) follower: Option<NameFollower>,
    pub(super) recording: Option<Recording>,
    /// Where only the last seconds are wanted.
    pub(super) window: Option<Window>,
    pub(super) written_drops: u64,
    /// Why writing ended early.
    pub(super) failure: Option<io::Error>,
}

impl Tee {
    /// What key logs and watched programs gave since the last call.
    fn secrets(&mut self) -> Vec<Secret> {
        #[cfg_attr(not(feature = "keys"), expect(unused_mut, reason = "only programs add to them"))]
        let mut secrets = self.keylogs.poll();
        #[cfg(feature = "keys")]
        secrets.extend(self.program_keys.iter().flat_map(ProgramKeys::poll));
        secrets
    }

    fn record(&mut self, batch: &Batch, secrets: &[Secret]) -> io::Result<()> {
        let Some(recording) = self.recording.as_mut().filter(|_| self.failure.is_none()) else { return Ok(()) };
        recording.write_names(batch.names())?;
        if self.embeds_secrets {
            for secret in secrets {
                recording.write_secret(secret)?;
            }
        }
        if let Some(window) = &mut self.window {
            window.add(batch);
            return Ok(());
        }
        let Some(source) = self.live.current() else { return Ok(()) };
        recording.write(batch, source)?;
        if self.state.dropped() > self.written_drops {
            self.written_drops = self.state.dropped();
            recording.write_statistics(source)?;
        }
        let bytes = recording.bytes();
        if recording.is_due() && !self.state.is_stopped() {
            self.live.count_drops();
            if let Some(source) = self.live.current() {
                recording.rotate(source)?;
            }
            self.live.note_file_bytes(bytes);
            self.live.start_file(&recording.name());
        } else {
            self.live.note_file_bytes(bytes);
        }
        Ok(())
    }

    /// Ends the recording; comments are by file and frame. Gives the frame that became the first of the file, where the file
    /// holds a window.
    pub(super) fn end(
        &mut self,
        comments: &BTreeMap<u16, BTreeMap<u64, Vec<String>>>,
        is_wanted: bool,
    ) -> io::Result<Option<u64>> {
        let (Some(recording), Some(source)) = (&mut self.recording, self.live.current()) else { return Ok(None) };
        let mut first = None;
        if let Some(window) = self.window.take().filter(|_| is_wanted) {
            if window.is_short() {
                self.status.tell("warning: --before was more than memory holds: the file begins later");
            }
            let empty = BTreeMap::new();
            first = window.write(recording, source, comments.get(&0).unwrap_or(&empty))?;
        }
        recording.end(source)?;
        Ok(first)
    }
}

impl PacketSource for Tee {
    fn read_batch(&mut self, batch: &mut Batch) -> Result<bool, CaptureError> {
        let has_more = self.live.read_batch(batch)?;
        let mut names = std::mem::take(&mut self.names);
        names.extend(self.follower.iter().flat_map(NameFollower::poll));
        for (address, name) in &names {
            batch.push_name(*address, name);
        }
        let secrets = self.secrets();
        for secret in &secrets {
            batch.push_secret(secret.clone());
        }
        if let Err(error) = self.record(batch, &secrets) {
            self.failure = Some(error);
            self.state.stop();
        }
        self.status.tick(&self.state, &self.where_to);
        Ok(has_more)
    }

    fn sources(&self) -> Vec<SourceSummary> {
        self.live.sources()
    }
}
