//! Packets from one capture into another file.

use std::collections::BTreeMap;
use std::io::Write;

use crate::capture::{Batch, PacketSource as _, SavedCapture, SourceSummary};
use crate::convert::choice::{Choice, Flows};
use crate::convert::fragments::{Fragments, Plan};
use crate::convert::out::{Format, Out};
use crate::convert::scrub::{Masked, Proof, Scrubber, Undecoded, kept_bytes};
use crate::convert::survey::{Survey, survey};
use crate::convert::walk::{Seen, Walk};
use crate::convert::{ConvertError, Open};
use crate::decode::fragment::Fragment;
use crate::model::{Frame, Packet, Secret};

/// What to do with a capture.
pub struct Options {
    /// The format to write.
    pub format: Format,
    /// Key logs: the lines that belong to connections of the capture are embedded.
    pub keylogs: Vec<Secret>,
    /// Writes no secrets, not even those the capture holds.
    pub strip_secrets: bool,
    /// Leaves out names of addresses.
    pub drop_names: bool,
    /// Leaves out comments.
    pub drop_comments: bool,
    /// Cuts off the payload of connections that cannot be read.
    pub drop_undecrypted: bool,
    /// Masks secrets in plaintext; leaves out comments and secrets.
    pub scrub: bool,
    /// With `scrub`: keeps plaintext that was not decoded, in which nobody knows the names of secrets.
    pub keep_undecoded: bool,
    /// What to keep.
    pub choice: Choice,
    /// The input can be read once only (a pipe): nothing is known of it before.
    pub once: bool,
}

impl Options {
    fn cuts(&self) -> Cuts {
        Cuts { undecrypted: self.drop_undecrypted, undecoded: self.scrub && !self.keep_undecoded }
    }

    /// Whether the input has to be read more than once.
    pub fn needs_survey(&self) -> bool {
        let rewrites = self.scrub || self.drop_undecrypted || !self.choice.is_all();
        rewrites || (!self.keylogs.is_empty() && !self.strip_secrets)
    }
}

/// Of which connections the payload is cut off.
#[derive(Clone, Copy)]
pub(super) struct Cuts {
    /// Those that cannot be read.
    pub(super) undecrypted: bool,
    /// Those of which everybody can read what was not decoded.
    pub(super) undecoded: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Packets read.
    pub packets_read: u64,
    /// Packets written.
    pub packets_written: u64,
    /// Packets in which something was masked.
    pub packets_masked: u64,
    /// Packets of which the end was cut off.
    pub packets_cut: u64,
    /// Bytes of plaintext that was not decoded: removed, or with [`Options::keep_undecoded`] kept.
    pub undecoded_bytes: u64,
    /// Places that were masked, by what they held.
    pub masked: BTreeMap<Masked, u64>,
    /// Key-log lines written.
    pub keys_written: u64,
    /// Key-log lines of connections that are not in the output.
    pub keys_left_out: u64,
    /// Blocks of secrets that were left out.
    pub secrets_dropped: u64,
    /// Comments that were left out.
    pub comments_dropped: u64,
    /// Names that were left out.
    pub names_dropped: u64,
    /// What was read, with what was wrong with it.
    pub source: SourceSummary,
}

/// Copies a capture into `out`. Where it was scrubbed, the proof has to be made of what was written, see
/// [`crate::convert::prove`].
///
/// # Errors
/// Where reading or writing fails, or what was asked for cannot be done; the output is of no use then.
pub fn convert<W: Write>(open: &mut Open<'_>, out: W, options: &Options) -> Result<(Report, W, Option<Proof>), ConvertError> {
    let mut plan = match options.once {
        true => Plans::none(),
        false => Plans::make(open, options)?,
    };
    let is_fine = plan.survey.as_ref().is_none_or(|survey| survey.is_fine);
    let mut copy = Copy { out: Out::new(out, options.format, is_fine)?, options, walk: Walk::new(), report: Report::default() };
    copy.begin(&mut plan)?;
    let capture = open()?;
    let (out, mut report) = copy.run(capture, &plan)?;
    report.undecoded_bytes += plan.kept_bytes;
    let proof = plan.scrubber.map(|scrubber| {
        report.masked.clone_from(&scrubber.counts);
        report.undecoded_bytes += scrubber.undecoded_bytes;
        scrubber.proof()
    });
    Ok((report, out, proof))
}

/// What earlier readings say.
struct Plans {
    survey: Option<Survey>,
    flows: Flows,
    scrubber: Option<Scrubber>,
    fragments: Fragments,
    /// Bytes of undecoded plaintext in decoded streams that are kept on request.
    kept_bytes: u64,
}

impl Plans {
    fn none() -> Self {
        let flows = Flows::new(&Choice::default(), false);
        Self { survey: None, flows, scrubber: None, fragments: Fragments::default(), kept_bytes: 0 }
    }

    fn make(open: &mut Open<'_>, options: &Options) -> Result<Self, ConvertError> {
        let mut survey = survey(open, options)?;
        let flows = std::mem::take(&mut survey.flows);
        let mut undecoded = std::mem::take(&mut survey.undecoded);
        let kept_bytes = if options.keep_undecoded { undecoded.bytes() } else { 0 };
        if options.keep_undecoded {
            undecoded = Undecoded::default();
        }
        let collector = survey.collector.take();
        let scrubber = collector.map(|collector| Scrubber::find(open, collector, undecoded)).transpose()?;
        let rewrites = options.scrub || options.drop_undecrypted || !options.choice.is_all();
        let fragments = match rewrites {
            true => Fragments::plan(open, &flows, scrubber.as_ref(), options.cuts())?,
            false => Fragments::default(),
        };
        Ok(Self { survey: Some(survey), flows, scrubber, fragments, kept_bytes })
    }
}

/// The last reading, which writes.
struct Copy<'a, W: Write> {
    out: Out<W>,
    options: &'a Options,
    walk: Walk,
    report: Report,
}

/// What becomes of a packet.
enum Fate {
    Drop,
    Write,
    /// Written with its bytes changed.
    Masked,
    /// Written up to here.
    Cut(usize),
}

impl<W: Write> Copy<'_, W> {
    /// Writes what has to stand before the packets: interfaces, then secrets, then names.
    fn begin(&mut self, plans: &mut Plans) -> Result<(), ConvertError> {
        let Some(survey) = &mut plans.survey else { return Ok(()) };
        for (index, link) in &survey.interfaces {
            self.out.add_interface(*index, *link, survey.source.interfaces.get(*index))?;
        }
        let keys = std::mem::take(&mut survey.keys);
        if self.options.format == Format::Pcapng {
            (self.report.keys_written, self.report.keys_left_out) = (keys.taken, keys.left_out);
        }
        for secret in keys.into_secrets() {
            self.out.write_secret(&secret)?;
        }
        if self.drops_names() {
            return Ok(());
        }
        if let Some(scrubber) = &plans.scrubber {
            let before = survey.names.len();
            survey.names.retain(|(_, name)| scrubber.first_stray(name.as_bytes()).is_none());
            self.report.names_dropped += (before - survey.names.len()) as u64;
        }
        self.out.write_names(&survey.names)
    }

    fn run(mut self, mut capture: SavedCapture, plans: &Plans) -> Result<(W, Report), ConvertError> {
        let mut batch = Batch::new();
        let (mut bytes, mut whole) = (Vec::new(), Vec::new());
        while capture.read_batch(&mut batch)? {
            self.handle_extras(&batch, plans)?;
            let mut comments = batch.comments().iter().peekable();
            for (index, packet) in batch.packets().enumerate() {
                self.report.packets_read += 1;
                let mut own = Vec::new();
                while let Some((frame, text)) = comments.next_if(|(frame, _)| *frame <= packet.frame) {
                    own.extend((*frame == packet.frame).then_some(text.as_str()));
                }
                if self.drops_comments() {
                    own.clear();
                }
                bytes.clear();
                bytes.extend_from_slice(packet.whole(&mut whole));
                match self.decide(&packet, &mut bytes, plans) {
                    Fate::Drop => continue,
                    Fate::Write => {}
                    Fate::Masked => self.report.packets_masked += 1,
                    Fate::Cut(length) => {
                        self.report.packets_cut += u64::from(length < bytes.len());
                        bytes.truncate(length);
                    }
                }
                let interface = batch.interface(index);
                if self.out.needs_interface(interface) {
                    let sources = capture.sources();
                    let described = sources.first().and_then(|source| source.interfaces.get(interface));
                    self.out.add_interface(interface, packet.link, described)?;
                }
                self.out.write_packet(interface, &packet, &bytes, &own)?;
                self.report.packets_written += 1;
            }
        }
        self.report.source = capture.sources().into_iter().next().unwrap_or_default();
        let Self { out, report, .. } = self;
        let out = out.finish(&report.source.interfaces, report.source.last)?;
        Ok((out, report))
    }

    /// Secrets, names and comments that stand between the packets.
    fn handle_extras(&mut self, batch: &Batch, plans: &Plans) -> Result<(), ConvertError> {
        let (secrets, names, comments) = (batch.secrets(), batch.names(), batch.comments());
        if self.drops_secrets() {
            self.report.secrets_dropped += secrets.len() as u64;
        } else if plans.survey.is_none() {
            for secret in secrets {
                self.out.write_secret(secret)?;
            }
        }
        if self.drops_names() {
            self.report.names_dropped += names.len() as u64;
        } else if plans.survey.is_none() {
            self.out.write_names(names)?;
        }
        // Comments on a section have no place in another one.
        let is_dropped = |frame: &Frame| self.drops_comments() || frame.number() == 0;
        self.report.comments_dropped += comments.iter().filter(|(frame, _)| is_dropped(frame)).count() as u64;
        Ok(())
    }

    /// What becomes of a packet; what is masked is changed in `bytes`.
    fn decide(&mut self, packet: &Packet<'_>, bytes: &mut [u8], plans: &Plans) -> Fate {
        let rewrites = plans.scrubber.is_some() || self.options.drop_undecrypted || !plans.flows.keeps_all();
        if !rewrites {
            return Fate::Write;
        }
        let fate = match self.walk.handle_packet(packet) {
            Seen::Segment(segment, place) => {
                if !plans.flows.keeps(&segment, packet.ordinal, packet.frame.number()) {
                    return Fate::Drop;
                }
                if self.options.scrub && plans.flows.is_undecoded(&segment, packet.ordinal) {
                    self.report.undecoded_bytes += segment.payload(bytes).len() as u64;
                }
                if plans.flows.cuts(&segment, packet.ordinal, self.options.cuts()) {
                    return Fate::Cut(segment.payload_start as usize);
                }
                match &plans.scrubber {
                    Some(scrubber) if scrubber.scrub_segment(bytes, &segment, place) => Fate::Masked,
                    _ => Fate::Write,
                }
            }
            Seen::Datagram(datagram, _) => decide_fragment(&datagram.last, packet.ordinal, bytes, plans),
            Seen::Fragment(fragment) => decide_fragment(&fragment, packet.ordinal, bytes, plans),
            Seen::Other | Seen::Unknown if !plans.flows.keeps_all() => return Fate::Drop,
            // Nobody read what is in it.
            Seen::Unknown if plans.scrubber.is_some() => return Fate::Cut(0),
            Seen::Unknown => Fate::Write,
            Seen::Other if self.options.scrub => {
                let kept = kept_bytes(packet).min(bytes.len());
                self.report.undecoded_bytes += (bytes.len() - kept) as u64;
                if self.options.keep_undecoded || kept == bytes.len() {
                    Fate::Write
                } else {
                    return self.cut_other(bytes, kept, plans);
                }
            }
            Seen::Other => Fate::Write,
        };
        // Secrets where no stream was read: in other protocols, or in bytes after the packet.
        match plans.scrubber.as_ref().and_then(|scrubber| scrubber.first_stray(bytes)) {
            Some(at) if !matches!(fate, Fate::Drop) => Fate::Cut(at),
            _ => fate,
        }
    }

    /// Cuts what nobody read of a packet, and what of its headers is a secret by chance.
    fn cut_other(&self, bytes: &[u8], kept: usize, plans: &Plans) -> Fate {
        let head = bytes.get(..kept).unwrap_or_default();
        Fate::Cut(plans.scrubber.as_ref().and_then(|scrubber| scrubber.first_stray(head)).unwrap_or(kept))
    }

    fn drops_secrets(&self) -> bool {
        self.options.strip_secrets || self.options.scrub || self.options.format == Format::Pcap
    }

    fn drops_names(&self) -> bool {
        self.options.drop_names || self.options.format == Format::Pcap
    }

    fn drops_comments(&self) -> bool {
        self.options.drop_comments || self.options.scrub || self.options.format == Format::Pcap
    }
}

fn decide_fragment(fragment: &Fragment, ordinal: u64, bytes: &mut [u8], plans: &Plans) -> Fate {
    let start = fragment.start as usize;
    match plans.fragments.plan_of(ordinal) {
        Some(Plan::Drop) => Fate::Drop,
        Some(Plan::Keep) => Fate::Write,
        Some(Plan::Cut) => Fate::Cut(start),
        Some(Plan::Replace(payload)) => match bytes.get_mut(start..start + payload.len()) {
            Some(place) => {
                place.copy_from_slice(payload);
                Fate::Masked
            }
            None => Fate::Cut(start),
        },
        None if !plans.flows.keeps_all() => Fate::Drop,
        // Nobody read what is in a piece of a segment that never became whole, or of another protocol.
        None if plans.scrubber.is_some() => Fate::Cut(start),
        None => Fate::Write,
    }
}
