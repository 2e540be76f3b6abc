//! What a running capture says on stderr: findings as they come, and on a terminal a line with the rates.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::capture::LiveState;
use crate::model::Untrusted;

/// The state of a running capture as its user sees it.
pub(super) struct Status {
    is_quiet: bool,
    is_terminal: bool,
    begun: Instant,
    findings: AtomicU64,
    shown: Mutex<Shown>,
}

struct Shown {
    hops: Vec<(String, u64)>,
    next: Instant,
    packets: u64,
    bytes: u64,
    /// Drops that were told of.
    told_drops: u64,
    has_line: bool,
    is_silence_told: bool,
}

impl Status {
    pub(super) fn new(is_quiet: bool) -> Self {
        let now = Instant::now();
        let shown = Shown {
            hops: Vec::new(),
            next: now + EVERY,
            packets: 0,
            bytes: 0,
            told_drops: 0,
            has_line: false,
            is_silence_told: false,
        };
        let is_terminal = io::stderr().is_terminal() && std::env::var("TERM").map_or(true, |term| term != "dumb");
        Self { is_quiet, is_terminal, begun: now, findings: AtomicU64::new(0), shown: Mutex::new(shown) }
    }

    /// Time since the capture began.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Counts an exchange of a hop.
    pub(super) fn count(&self, hop: &str) {
        let mut shown = self.shown();
        if let Some((_, count)) = shown.hops.iter_mut().find(|(name, _)| name == hop) {
            *count += 1;
        } else if shown.hops.len() < HOPS_MAX {
            shown.hops.push((hop.to_owned(), 1));
        }
    }

    /// Tells of a finding.
    pub(super) fn tell_finding(&self, line: &str) {
        self.findings.fetch_add(1, Ordering::Relaxed);
        self.tell(line);
    }

    /// Prints a line, unless quiet was asked for.
    pub(super) fn tell(&self, line: &str) {
        if !self.is_quiet {
            self.clear();
            // Where nobody listens there is nobody to tell.
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Looks once a second whether there is something to tell. `where_to` is what is captured on.
    pub(super) fn tick(&self, live: &LiveState, where_to: &str) {
        for line in live.take_news() {
            self.tell(&format!("warning: {line}"));
        }
        let now = Instant::now();
        let mut shown = self.shown();
        if now < shown.next {
            return;
        }
        shown.next = now + EVERY;
        let dropped = live.dropped();
        let is_worse = dropped > shown.told_drops.saturating_mul(2);
        let is_silent = live.packets() == 0 && !shown.is_silence_told && self.age() >= SILENCE;
        shown.told_drops = if is_worse { dropped } else { shown.told_drops };
        shown.is_silence_told |= is_silent;
        let line = shown.line(self, live);
        drop(shown);
        if is_worse {
            self.tell(&format!(
                "warning: {dropped} packets dropped so far, the report cannot be complete; a larger --buffer-size helps, or -f FILTER"
            ));
        }
        if is_silent {
            self.tell(&format!(
                "warning: nothing came in {} s on {where_to}; is it the right place (hopwire capture --list), and does the filter let it through?",
                SILENCE.as_secs()
            ));
        }
        if self.is_terminal && !self.is_quiet {
            let _ = write!(io::stderr().lock(), "\r{line}\x1b[K");
            self.shown().has_line = true;
        }
    }

    /// Removes the line with the rates.
    pub(super) fn clear(&self) {
        if std::mem::take(&mut self.shown().has_line) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// `12 s  10231 packets, 3.4 MB/s, 0 dropped  spark-sidekick 120/s  2 findings`, cut to the width of a narrow terminal.
    fn line(&mut self, status: &Status, live: &LiveState) -> String {
        let (packets, bytes) = (live.packets(), live.bytes());
        let rate = (bytes - std::mem::replace(&mut self.bytes, bytes)) as f64 / EVERY.as_secs_f64();
        let packet_rate = packets - std::mem::replace(&mut self.packets, packets);
        let mut line = format!("{} s  {packets} packets, {packet_rate}/s, {}/s", status.age().as_secs(), size(rate));
        if live.dropped() > 0 {
            line.push_str(&format!(", {} dropped", live.dropped()));
        }
        for (hop, count) in &mut self.hops {
            line.push_str(&format!("  {} {}/s", Untrusted::text(hop), std::mem::take(count)));
        }
        line.push_str(&format!("  {} findings", status.findings.load(Ordering::Relaxed)));
        let end = line.floor_char_boundary(LINE_BYTES_MAX);
        line.truncate(end);
        line
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        b if b < 1e3 => format!("{b:.0} B"),
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

const EVERY: Duration = Duration::from_secs(1);

/// With nothing captured for so long, the place may be wrong.
const SILENCE: Duration = Duration::from_secs(5);

/// Hops that are shown.
const HOPS_MAX: usize = 4;

/// A line that wraps cannot be removed again.
const LINE_BYTES_MAX: usize = 110;
