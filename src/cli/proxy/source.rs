//! What passes through the proxy on its way to the decoder, passing by the file on the way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::capture::{Batch, CaptureError, FileFormat, Interface, PacketSource, SourceSummary};
use crate::cli::capture::recording::Recording;
use crate::cli::proxy::watch::Notices;
use crate::model::{Secret, Timestamp, Untrusted};
use crate::proxy::{Entry, Reel, Running, Tape};
use crate::session::tcp::RAW_IP;

/// Packets that a running proxy records, written before they are handed on.
pub(super) struct ProxySource {
    running: Option<Running>,
    tape: Arc<Tape>,
    reel: Reel,
    legs: Vec<String>,
    recording: Option<Recording>,
    summaries: Vec<SourceSummary>,
    notices: Arc<Notices>,
    is_stopped: Arc<AtomicBool>,
    until: Option<Instant>,
    next_number: u64,
    next_ordinal: u64,
    /// Why recording ended early.
    failure: Option<io::Error>,
    next_look: Instant,
    /// Routes whose port is not redirected any more.
    lost: Vec<String>,
}

impl ProxySource {
    pub(super) fn new(
        running: Running,
        tape: Arc<Tape>,
        recording: Option<Recording>,
        notices: Arc<Notices>,
        is_stopped: Arc<AtomicBool>,
        until: Option<Instant>,
    ) -> Self {
        let legs = running.legs().to_vec();
        let name = recording.as_ref().map_or_else(|| "proxy".to_owned(), Recording::name);
        let mut source = Self {
            running: Some(running),
            tape,
            reel: Reel::default(),
            legs,
            recording,
            summaries: Vec::new(),
            notices,
            is_stopped,
            until,
            next_number: 1,
            next_ordinal: 1,
            failure: None,
            next_look: Instant::now(),
            lost: Vec::new(),
        };
        source.start_file(name);
        source
    }

    /// Packets in the files.
    pub(super) fn packets_written(&self) -> u64 {
        self.recording.as_ref().map_or(0, Recording::packets)
    }

    /// The files that are there.
    pub(super) fn files(&self) -> Vec<String> {
        let files = self.recording.iter().flat_map(|recording| recording.files());
        files.map(|path| path.display().to_string()).collect()
    }

    /// Why recording ended early, where it did.
    pub(super) const fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Ends the files and says what they hold.
    pub(super) fn finish(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        if self.failure.is_none()
            && let Some(summary) = self.summaries.last()
            && let Err(error) = recording.end(summary)
        {
            self.failure = Some(error);
        }
        let files: Vec<_> = recording.files().map(|path| path.display().to_string()).collect();
        let packets = recording.packets();
        match files.as_slice() {
            [] => {}
            [file] => self.notices.tell(&format!("{packets} packets kept in {}", Untrusted::text(file))),
            [.., last] => self.notices.tell(&format!(
                "{packets} packets recorded; kept are {} files, the last of them {}",
                files.len(),
                Untrusted::text(last)
            )),
        }
    }

    /// Says so where a port is not redirected any more though nobody asked for that.
    fn look_after_interceptions(&mut self) {
        let Some(running) = self.running.as_mut().filter(|_| self.next_look <= Instant::now()) else { return };
        self.next_look = Instant::now() + LOOK_EVERY;
        for name in running.lost_interceptions().into_iter().filter(|name| !self.lost.contains(name)).collect::<Vec<_>>() {
            self.notices.tell(&format!(
                "warning: {name}: the port is NOT REDIRECTED any more, since nft was ended: new connections go past hopwire"
            ));
            self.lost.push(name);
        }
    }

    fn start_file(&mut self, name: String) {
        let interface = |leg: &String| Interface {
            name: Some(leg.clone()),
            description: Some(format!("hopwire proxy: connections of the leg {leg}")),
            link: Some(RAW_IP),
            ..Interface::default()
        };
        self.summaries.push(SourceSummary {
            name,
            format: Some(FileFormat::Live),
            interfaces: self.legs.iter().map(interface).collect(),
            ..SourceSummary::default()
        });
    }

    fn fill(&mut self, batch: &mut Batch) -> (Vec<Secret>, Vec<(usize, Box<str>)>) {
        let mut secrets = Vec::new();
        let mut comments = Vec::new();
        let mut start = 0;
        for (entry, _) in self.reel.entries() {
            match entry {
                Entry::Packet { at, leg, end, comment } => {
                    if let Some(comment) = comment {
                        comments.push((batch.len(), comment.clone()));
                    }
                    batch.push_range(*at, RAW_IP, *leg, start..*end);
                    start = *end;
                }
                Entry::Secret(secret) => {
                    batch.push_secret(secret.clone());
                    secrets.push(secret.clone());
                }
                Entry::Server { leg, server } => {
                    if let Some(name) = self.legs.get(usize::from(*leg)) {
                        batch.push_hop_name(*server, name);
                    }
                }
            }
        }
        self.reel.with_bytes(|bytes| batch.swap_bytes(bytes));
        (secrets, comments)
    }

    fn record(&mut self, batch: &Batch, secrets: &[Secret], comments: &[(usize, Box<str>)]) -> io::Result<()> {
        let (Some(recording), Some(summary)) = (&mut self.recording, self.summaries.last()) else { return Ok(()) };
        if self.failure.is_some() {
            return Ok(());
        }
        for secret in secrets {
            recording.write_secret(secret)?;
        }
        recording.write_commented(batch, summary, comments)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let (Some(recording), Some(summary)) = (&mut self.recording, self.summaries.last()) else { return Ok(()) };
        if self.failure.is_none() && recording.is_due() {
            recording.rotate(summary)?;
            let name = recording.name();
            self.start_file(name);
            self.next_number = 1;
        }
        Ok(())
    }

    /// Traffic goes on and is judged; that it is not recorded any more is said at once, in the report and at the end.
    fn note_failure(&mut self, error: io::Error) {
        let name = self.recording.as_ref().map(Recording::name).unwrap_or_default();
        self.notices.tell(&format!(
            "warning: RECORDING STOPPED: cannot write to {}: {error}. Traffic goes on and is judged, but not kept",
            Untrusted::text(&name)
        ));
        if let Some(summary) = self.summaries.last_mut() {
            summary.failure = Some(format!("recording stopped after {} packets: {error}", self.next_number - 1));
        }
        self.failure = Some(error);
    }

    fn account(&mut self, batch: &Batch) {
        let count = batch.len() as u64;
        self.next_number += count;
        self.next_ordinal += count;
        let Some(summary) = self.summaries.last_mut() else { return };
        summary.packets += count;
        for (index, packet) in batch.packets().enumerate() {
            let length = packet.bytes.len() as u64;
            summary.captured_bytes += length;
            summary.original_bytes += length;
            summary.first = summary.first.or(Some(packet.at));
            summary.last = Some(packet.at);
            if let Some(interface) = summary.interfaces.get_mut(batch.interface(index)) {
                interface.packets += 1;
            }
        }
        summary.file_bytes = self.recording.as_ref().map_or(summary.captured_bytes, Recording::bytes);
    }
}

impl PacketSource for ProxySource {
    fn read_batch(&mut self, batch: &mut Batch) -> Result<bool, CaptureError> {
        let file = self.summaries.len().saturating_sub(1) as u16;
        batch.begin(file, self.next_number, self.next_ordinal);
        let is_over = self.is_stopped.load(Ordering::Relaxed) || self.until.is_some_and(|until| Instant::now() >= until);
        if is_over && let Some(running) = self.running.take() {
            running.stop();
        }
        let goes_on = self.tape.take(&mut self.reel, WAIT);
        let (secrets, comments) = self.fill(batch);
        if let Err(error) = self.record(batch, &secrets, &comments) {
            self.note_failure(error);
        }
        self.account(batch);
        batch.set_now(clock());
        if let Err(error) = self.rotate() {
            self.note_failure(error);
        }
        self.look_after_interceptions();
        self.notices.tick();
        Ok(goes_on)
    }

    fn sources(&self) -> Vec<SourceSummary> {
        self.summaries.clone()
    }
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)).before(LAG)
}

/// What was recorded is taken at least so often, so that findings and files are current.
const WAIT: Duration = Duration::from_millis(50);

/// How often it is looked whether ports are still redirected.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The clock is this much behind, so that no finding comes before a packet that is on its way.
const LAG: Duration = Duration::from_millis(200);
