//! EDGE. Packets from interfaces, as they come, through libpcap.

mod namespace;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::pcap::{Active, BreakLoop, Capture, Linktype, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::capture::live::namespace::within;
use crate::capture::{Batch, CaptureError, FileFormat, Interface, PacketSource, Place, SourceSummary};
use crate::model::{LinkType, Timestamp, Untrusted};

/// How to capture.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Which packets, in the language of tcpdump.
    pub filter: Option<String>,
    /// Bytes kept of a packet.
    pub snap_length: u32,
    /// The kernel's ring for each interface, in bytes.
    pub ring_bytes: u32,
    /// Whether to see what is not addressed to this machine. On a bridge nothing else is there to see.
    pub promiscuous: bool,
    /// When to stop by itself.
    pub duration: Option<Duration>,
    /// After how many packets to stop.
    pub packets_max: Option<u64>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            filter: None,
            snap_length: SNAP_BYTES,
            ring_bytes: RING_BYTES,
            promiscuous: true,
            duration: None,
            packets_max: None,
        }
    }
}

/// What a running capture shares with those who watch and stop it.
#[derive(Debug, Default)]
pub struct LiveState {
    stop: Arc<AtomicBool>,
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    failure: Mutex<Option<LiveError>>,
    news: Mutex<Vec<String>>,
}

impl LiveState {
    /// Asks the capture to end; what the kernel holds already is still read.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The flag behind [`LiveState::stop`], for signal handlers.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether the capture was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Packets captured so far.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Bytes on the wire that the captured packets had.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets that kernel and interfaces dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why the capture ended before it was asked to; given once.
    pub fn take_failure(&self) -> Option<LiveError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What happened that a user should know, one line each; given once.
    pub fn take_news(&self) -> Vec<String> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fail(&self, error: LiveError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn tell(&self, line: String) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.len() < NEWS_MAX {
            news.push(line);
        }
    }
}

/// Why an interface cannot be captured on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The privilege is missing.
    #[error("no privilege to capture on {}", Untrusted::text(.interface))]
    Privilege {
        /// The interface.
        interface: String,
    },
    /// Entering the container's network failed.
    #[error("cannot enter the network of {what}")]
    Namespace {
        /// Whose.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// libpcap refused.
    #[error("cannot capture on {}: {reason}", Untrusted::text(.interface))]
    Open {
        /// The interface.
        interface: String,
        /// Its words.
        reason: String,
    },
    /// The filter does not parse.
    #[error("the filter \"{}\" does not parse: {reason}", Untrusted::text(.filter))]
    Filter {
        /// The filter.
        filter: String,
        /// libpcap's words.
        reason: String,
    },
    /// The interface failed while capturing.
    #[error("capturing on {} ended: {reason}", Untrusted::text(.interface))]
    Gone {
        /// The interface.
        interface: String,
        /// libpcap's words.
        reason: String,
    },
}

/// Checks a filter before anything is opened, so that a mistake in it shows without any privilege.
///
/// # Errors
/// Where it does not parse.
pub fn check_filter(filter: &str) -> Result<(), LiveError> {
    let wrong = |error: ::pcap::Error| LiveError::Filter { filter: filter.to_owned(), reason: words(&error) };
    let dead = Capture::dead(Linktype::ETHERNET).map_err(wrong)?;
    dead.compile(filter, true).map(|_| ()).map_err(wrong)
}

/// A capture that runs.
pub struct LiveCapture {
    handles: Vec<Handle>,
    gone: Vec<Place>,
    relocate: Option<Relocate>,
    next_relocation: Instant,
    options: LiveOptions,
    state: Arc<LiveState>,
    deadline: Option<Instant>,
    phase: Phase,
    next_ordinal: u64,
    next_count: Instant,
    /// What was captured, one for each file; the last is the one being filled.
    summaries: Vec<SourceSummary>,
    next_number: u64,
}

/// Finds a place again after its container was restarted.
pub type Relocate = Box<dyn FnMut(&Place) -> Option<Place> + Send>;

struct Handle {
    capture: Capture<Active>,
    place: Place,
    link: LinkType,
    /// Its place among the interfaces of the file being filled.
    interface: u16,
    /// Ends a call of libpcap where the batch is full; and whether it did and that was not heard of yet.
    breaker: BreakLoop,
    is_broken: bool,
    counted: Counted,
}

/// libpcap's 32-bit counters, carried on as 64 bits.
#[derive(Clone, Copy, Default)]
struct Counted {
    last: [u32; 3],
    total: [u64; 3],
    /// Where the file that is being filled began.
    start: [u64; 3],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Asked to end at `asked`; what the kernel holds from before is read, until `until` at most.
    Draining {
        asked: Timestamp,
        until: Instant,
    },
    Ended,
}

impl LiveCapture {
    /// Opens all places. `name` is what the first file will be called in reports.
    ///
    /// # Errors
    /// Where one of them cannot be opened.
    pub fn open(places: Vec<Place>, options: LiveOptions, state: Arc<LiveState>, name: &str) -> Result<Self, LiveError> {
        if let Some(filter) = &options.filter {
            check_filter(filter)?;
        }
        let handles = places.into_iter().map(|place| Handle::open(place, &options)).collect::<Result<Vec<_>, _>>()?;
        let now = Instant::now();
        let deadline = options.duration.map(|span| now + span);
        let mut live = Self {
            handles,
            gone: Vec::new(),
            relocate: None,
            next_relocation: now,
            options,
            state,
            deadline,
            phase: Phase::Running,
            next_ordinal: 1,
            next_count: now + COUNT_EVERY,
            summaries: Vec::new(),
            next_number: 1,
        };
        live.start_file(name);
        Ok(live)
    }

    /// Follows containers that are restarted.
    pub fn relocate_by(&mut self, relocate: Relocate) {
        self.relocate = Some(relocate);
    }

    /// From now on packets count as of another file: frame numbers begin at 1 again. Beyond 65,535 files the last goes on.
    pub fn start_file(&mut self, name: &str) {
        if self.summaries.len() > usize::from(u16::MAX) {
            return;
        }
        let mut summary = SourceSummary { name: name.to_owned(), format: Some(FileFormat::Live), ..SourceSummary::default() };
        for (number, handle) in self.handles.iter_mut().enumerate() {
            handle.interface = number as u16;
            handle.counted.start = handle.counted.total;
            summary.interfaces.push(handle.describe(self.options.snap_length));
        }
        self.summaries.push(summary);
        self.next_number = 1;
    }

    /// Changes what the file that is being filled is called.
    pub fn rename_file(&mut self, name: &str) {
        if let Some(summary) = self.summaries.last_mut() {
            name.clone_into(&mut summary.name);
        }
    }

    /// The summary of the file that is being filled.
    pub fn current(&self) -> Option<&SourceSummary> {
        self.summaries.last()
    }

    /// Notes how long the file that is being filled is by now.
    pub fn note_file_bytes(&mut self, bytes: u64) {
        if let Some(summary) = self.summaries.last_mut() {
            summary.file_bytes = bytes;
        }
    }

    /// Reads the counters of kernel and interfaces.
    pub fn count_drops(&mut self) {
        let Some(summary) = self.summaries.last_mut() else { return };
        let mut dropped = 0;
        for handle in &mut self.handles {
            handle.count();
            dropped += handle.counted.total[1] + handle.counted.total[2];
            if let Some(interface) = summary.interfaces.get_mut(usize::from(handle.interface)) {
                let [received, by_ring, by_interface] = handle.counted.since_start();
                interface.received = Some(received);
                // In one number, as dumpcap gives it: this is the one that Wireshark shows.
                interface.dropped = Some(by_ring.saturating_add(by_interface));
            }
        }
        self.state.dropped.fetch_max(dropped, Ordering::Relaxed);
    }

    fn advance(&mut self) {
        let now = Instant::now();
        if now >= self.next_count {
            self.next_count = now + COUNT_EVERY;
            self.count_drops();
            self.lose_what_is_down();
        }
        if self.phase == Phase::Running {
            let is_over = self.state.is_stopped() || self.deadline.is_some_and(|deadline| now >= deadline);
            self.reopen(now);
            let is_alone = self.handles.is_empty() && (self.gone.is_empty() || self.relocate.is_none());
            if is_over || is_alone {
                self.state.stop();
                self.phase = Phase::Draining { asked: clock(), until: now + DRAIN_FOR };
            }
        }
    }

    /// Opens places again whose container is back.
    fn reopen(&mut self, now: Instant) {
        let Some(relocate) = &mut self.relocate else { return };
        if self.gone.is_empty() || now < self.next_relocation {
            return;
        }
        self.next_relocation = now + RELOCATE_EVERY;
        let mut still_gone = Vec::new();
        for place in std::mem::take(&mut self.gone) {
            let found = relocate(&place).and_then(|found| Handle::open(found, &self.options).ok());
            let (Some(mut handle), Some(summary)) = (found, self.summaries.last_mut()) else {
                still_gone.push(place);
                continue;
            };
            handle.interface = summary.interfaces.len() as u16;
            summary.interfaces.push(handle.describe(self.options.snap_length));
            self.state.tell(format!("capturing again on {}", handle.place));
            self.handles.push(handle);
        }
        self.gone = still_gone;
    }

    /// Fills the batch from all handles in turn; gives whether anything came.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        let end = Instant::now() + FILL_FOR;
        loop {
            let share = batch.room() / self.handles.len().max(1);
            let before = batch.len();
            let mut failed = Vec::new();
            for (index, handle) in self.handles.iter_mut().enumerate() {
                let left = self.options.packets_max.map(|max| max.saturating_sub(self.next_ordinal - 1 + batch.len() as u64));
                if let Err(reason) = handle.read(batch, share, left, self.phase) {
                    failed.push((index, reason));
                }
            }
            for (index, reason) in failed.into_iter().rev() {
                self.lose(index, reason);
            }
            if batch.len() == before || batch.room() < BATCH_RESERVE_BYTES || Instant::now() >= end {
                return !batch.is_empty();
            }
        }
    }

    /// Gives up what was taken down: libpcap would wait there in silence.
    fn lose_what_is_down(&mut self) {
        for index in (0..self.handles.len()).rev() {
            let is_down = self.handles.get(index).is_some_and(|handle| handle.place.is_up() == Some(false));
            if is_down {
                self.lose(index, "it was taken down".to_owned());
            }
        }
    }

    /// Gives up a handle that failed: for good, or until its container is back.
    fn lose(&mut self, index: usize, reason: String) {
        self.count_drops();
        let handle = self.handles.remove(index);
        let error = LiveError::Gone { interface: handle.place.interface.clone(), reason };
        if handle.place.container.is_some() && self.relocate.is_some() {
            self.state.tell(format!("{error}; waiting for the container to come back"));
            self.gone.push(handle.place);
        } else {
            self.state.tell(error.to_string());
            self.state.fail(error);
        }
    }

    /// Waits until there is something to read, a short while at most.
    fn wait(&self) {
        let mut all: Vec<_> = self.handles.iter().map(|handle| PollFd::new(&handle.capture, PollFlags::IN)).collect();
        if all.is_empty() {
            std::thread::sleep(WAIT_FOR);
            return;
        }
        let span = Timespec { tv_sec: 0, tv_nsec: WAIT_FOR.subsec_nanos().into() };
        // A signal, or an interface that failed: reading will tell.
        let _ = poll(&mut all, Some(&span));
    }

    fn account(&mut self, batch: &mut Batch) {
        batch.sort_by_time();
        let Some(summary) = self.summaries.last_mut() else { return };
        let before = summary.original_bytes;
        summary.count(&batch.found.records);
        for record in &batch.found.records {
            if let Some(interface) = summary.interfaces.get_mut(usize::from(record.interface)) {
                interface.packets += 1;
            }
        }
        let count = batch.len() as u64;
        self.next_ordinal += count;
        self.next_number += count;
        self.state.packets.fetch_add(count, Ordering::Relaxed);
        self.state.bytes.fetch_add(summary.original_bytes - before, Ordering::Relaxed);
    }
}

impl PacketSource for LiveCapture {
    fn read_batch(&mut self, batch: &mut Batch) -> Result<bool, CaptureError> {
        let file = self.summaries.len().saturating_sub(1) as u16;
        batch.begin(file, self.next_number, self.next_ordinal);
        self.advance();
        if self.phase == Phase::Ended {
            return Ok(false);
        }
        if !self.fill(batch) {
            self.wait();
            self.fill(batch);
        }
        self.account(batch);
        batch.set_now(clock().before(LAG));
        let is_full = self.options.packets_max.is_some_and(|max| self.next_ordinal > max);
        let is_drained = match self.phase {
            Phase::Draining { until, .. } => batch.is_empty() || Instant::now() >= until,
            Phase::Running | Phase::Ended => false,
        };
        if is_full || is_drained {
            self.state.stop();
            self.count_drops();
            self.phase = Phase::Ended;
        }
        Ok(true)
    }

    fn sources(&self) -> Vec<SourceSummary> {
        self.summaries.clone()
    }
}

impl Handle {
    fn open(place: Place, options: &LiveOptions) -> Result<Self, LiveError> {
        let opened = match place.process {
            None => open_here(&place.interface, options),
            Some(process) => within(process, || open_here(&place.interface, options))
                .map_err(|source| LiveError::Namespace { what: place.to_string(), source })?,
        };
        let mut capture = opened?;
        let breaker = capture.breakloop_handle();
        let link = LinkType(u32::try_from(capture.get_datalink().0).unwrap_or(u32::MAX));
        Ok(Self { capture, place, link: link_type(link), interface: 0, breaker, is_broken: false, counted: Counted::default() })
    }

    fn describe(&self, snap_length: u32) -> Interface {
        Interface {
            name: Some(self.place.interface.clone()),
            description: self.place.description.clone(),
            link: Some(self.link),
            snap_length: Some(snap_length),
            ..Interface::default()
        }
    }

    /// Reads what the kernel holds: until `share_bytes` are there, and no more than `left` packets.
    fn read(&mut self, batch: &mut Batch, share_bytes: usize, left: Option<u64>, phase: Phase) -> Result<(), String> {
        let last = match phase {
            Phase::Draining { asked, .. } => asked,
            Phase::Running | Phase::Ended => Timestamp::from_nanos(i64::MAX),
        };
        let count = left.map_or(DISPATCH_MAX, |left| usize::try_from(left).unwrap_or(usize::MAX).min(DISPATCH_MAX));
        let (link, interface, mut bytes) = (self.link, self.interface, 0);
        let (breaker, is_broken) = (&self.breaker, &mut self.is_broken);
        let read = self.capture.dispatch(Some(count), |packet| {
            let header = packet.header;
            // With nanosecond precision the field for microseconds holds nanoseconds.
            let at = Timestamp::from_parts(header.ts.tv_sec, header.ts.tv_usec);
            if at <= last {
                batch.push(at, link, interface, header.len, packet.data);
            }
            // On a bridge one packet has 66 bytes and the next one 64 KiB, so that counting them would not do: a batch that grows
            // beyond its memory costs more than all the rest.
            bytes += packet.data.len();
            if bytes >= share_bytes && !*is_broken {
                *is_broken = true;
                breaker.breakloop();
            }
        });
        match read {
            Ok(_) => Ok(()),
            // That was the break. Some systems tell of it with the next call.
            Err(_) if std::mem::take(&mut self.is_broken) => Ok(()),
            Err(error) => Err(words(&error)),
        }
    }

    fn count(&mut self) {
        let Ok(now) = self.capture.stats() else { return };
        let now = [now.received, now.dropped, now.if_dropped];
        for ((total, last), now) in self.counted.total.iter_mut().zip(&mut self.counted.last).zip(now) {
            *total += u64::from(now.wrapping_sub(*last));
            *last = now;
        }
    }
}

impl Counted {
    fn since_start(&self) -> [u64; 3] {
        let mut since = self.total;
        for (since, start) in since.iter_mut().zip(self.start) {
            *since = since.saturating_sub(start);
        }
        since
    }
}

/// `br-1f6c (docker network spark-net)`
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Untrusted::text(&self.interface))?;
        match &self.description {
            Some(description) => write!(f, " ({})", Untrusted::text(description)),
            None => Ok(()),
        }
    }
}

fn open_here(interface: &str, options: &LiveOptions) -> Result<Capture<Active>, LiveError> {
    let wrong = |error: ::pcap::Error| refused(interface, &error);
    let mut capture = Capture::from_device(interface)
        .map_err(wrong)?
        .promisc(options.promiscuous)
        .snaplen(i32::try_from(options.snap_length).unwrap_or(i32::MAX))
        .buffer_size(i32::try_from(options.ring_bytes).unwrap_or(i32::MAX))
        .immediate_mode(false)
        .timeout(BLOCK_TIMEOUT_MS)
        .precision(Precision::Nano)
        .open()
        .map_err(wrong)?;
    if let Some(filter) = &options.filter {
        capture.filter(filter, true).map_err(|error| LiveError::Filter { filter: filter.clone(), reason: words(&error) })?;
    }
    capture.setnonblock().map_err(wrong)
}

fn refused(interface: &str, error: &::pcap::Error) -> LiveError {
    let reason = words(error);
    let interface = interface.to_owned();
    if reason.contains("permission") || reason.contains("not permitted") {
        LiveError::Privilege { interface }
    } else {
        LiveError::Open { interface, reason }
    }
}

/// libpcap's words, without the crate's own around them.
fn words(error: &::pcap::Error) -> String {
    match error {
        ::pcap::Error::PcapError(text) => Untrusted::text(text).to_string(),
        other => other.to_string(),
    }
}

/// The file formats' number for libpcap's own number of a link type; they differ for raw IP alone, of what is decoded here.
const fn link_type(own: LinkType) -> LinkType {
    match own.0 {
        12 | 14 => LinkType(101),
        _ => own,
    }
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.after(since)
}

/// libpcap's own maximum: frames on a bridge reach 64 KiB whatever the MTU, because segments are cut later or joined earlier.
const SNAP_BYTES: u32 = 262_144;

/// Measured: 2 MiB lost 20 % of a bulk transfer over a bridge, 64 MiB nothing.
const RING_BYTES: u32 = 64 << 20;

/// When the kernel hands over a block that is not full.
const BLOCK_TIMEOUT_MS: i32 = 50;

/// How long one wait for packets lasts: what is asked of the capture meanwhile waits as long.
const WAIT_FOR: Duration = Duration::from_millis(50);

/// How long a batch is filled when packets do not end.
const FILL_FOR: Duration = Duration::from_millis(50);

/// How long what the kernel holds is read after the end; it has to be more than one block timeout.
const DRAIN_FOR: Duration = Duration::from_secs(2);

/// The kernel hands packets over so much later at most, and what is on its way to the judgement is no older.
const LAG: Duration = Duration::from_millis(200);

/// How often counters are read.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How often a restarted container is looked for.
const RELOCATE_EVERY: Duration = Duration::from_secs(1);

/// With less room a batch counts as full: a frame on a bridge can be this long.
const BATCH_RESERVE_BYTES: usize = 32 << 10;

/// Packets read in one call.
const DISPATCH_MAX: usize = 2048;

/// Lines of news that wait to be taken.
const NEWS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_without_privilege() {
        assert!(check_filter("tcp port 8091 or host 172.18.0.2").is_ok());
        let error = check_filter("tcp prt 80").unwrap_err();
        assert!(error.to_string().starts_with("the filter \"tcp prt 80\" does not parse: "), "{error}");
        assert!(check_filter("tcp\0").is_err());
    }

    #[test]
    fn counters_of_32_bits_are_carried_on() {
        let mut counted = Counted { last: [u32::MAX, 0, 0], total: [u64::from(u32::MAX), 0, 0], start: [10, 0, 0] };
        for ((total, last), now) in counted.total.iter_mut().zip(&mut counted.last).zip([4, 7, 0]) {
            *total += u64::from(u32::wrapping_sub(now, *last));
            *last = now;
        }
        assert_eq!(counted.since_start(), [u64::from(u32::MAX) + 5 - 10, 7, 0]);
    }
}
