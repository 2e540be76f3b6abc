//! What all connections share: the capture, the clock, chance, the truth so far, and a block of object bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use crate::capture::Capture;
use crate::clock::Clock;
use crate::options::{Kind, Options};
use crate::packet::Segment;
use crate::random::Random;
use crate::truth::Truth;

/// The wire that is being captured.
pub struct Wire {
    /// What the command line asked for.
    pub options: Options,
    /// The only source of chance.
    pub random: Random,
    /// The time.
    pub clock: Clock,
    /// What has been sent.
    pub truth: Truth,
    /// Payload bytes of the calls under way that were not sent yet.
    pub outstanding_bytes: u64,
    capture: Capture,
    keys: Option<BufWriter<File>>,
    noise: Vec<u8>,
    headers: Vec<u8>,
    ip_id: u16,
    failure: Option<io::Error>,
}

impl Wire {
    /// Creates the capture and, where TLS is asked for, the file of its secrets.
    pub fn create(options: Options) -> io::Result<Self> {
        let mut random = Random::seeded(options.seed);
        let clock = Clock::starting(match options.kind {
            Kind::Bulk => 8,
            Kind::Offload => 40,
            Kind::Chatty | Kind::Flows if options.two_hop => 12,
            Kind::Chatty | Kind::Flows => 4,
        });
        let noise = if options.decoys { decoys(&clock, &mut random) } else { plain_noise(&mut random) };
        let has_tls = options.tls || options.two_hop && options.upstream_tls;
        let keys = if has_tls { Some(BufWriter::new(File::create(&options.keys)?)) } else { None };
        Ok(Self {
            capture: Capture::create(&options)?,
            random,
            clock,
            truth: Truth::default(),
            outstanding_bytes: 0,
            keys,
            noise,
            headers: Vec::with_capacity(128),
            ip_id: 0,
            failure: None,
            options,
        })
    }

    /// Puts a segment on the wire; the capture may miss it. A write error is kept until [`Wire::finish`].
    pub fn emit(&mut self, segment: &Segment) {
        let micros = self.clock.tick(&mut self.random);
        self.ip_id = self.ip_id.wrapping_add(1);
        if self.options.loss > 0 && self.random.chance(self.options.loss) {
            self.truth.dropped += 1;
            return;
        }
        segment.headers(&self.options, self.ip_id, &mut self.headers);
        if let Err(failure) = self.capture.packet(micros, &self.headers, segment.payload) {
            self.failure.get_or_insert(failure);
        }
    }

    /// Publishes the secrets of a connection, as key log lines.
    pub fn publish_secrets(&mut self, key_log: &[u8]) {
        let to_file = self.keys.as_mut().map_or(Ok(()), |keys| keys.write_all(key_log));
        if let Err(failure) = to_file.and_then(|()| self.capture.secrets(key_log)) {
            self.failure.get_or_insert(failure);
        }
    }

    /// Object bytes: at most [`NOISE_READ_MAX`] from anywhere.
    pub fn noise(&self, at: usize, len: usize) -> &[u8] {
        let at = at % NOISE_BYTES;
        &self.noise[at..at + len]
    }

    /// Whether there is room for another call.
    pub fn has_room(&self) -> bool {
        self.failure.is_none() && self.capture.written_bytes + self.outstanding_bytes < self.options.bytes
    }

    /// Writes what is buffered and the truth. The error is the first that any write met.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.capture.finish()?;
        if let Some(keys) = &mut self.keys {
            keys.flush()?;
        }
        self.truth.packets = self.capture.packets;
        self.truth.snapped = self.capture.snapped;
        self.truth.file_bytes = self.capture.written_bytes;
        let mut out = BufWriter::new(File::create(&self.options.truth)?);
        self.truth.write_json(&self.options, &mut out)?;
        out.flush()
    }
}

/// The most object bytes that one read may ask for: a TLS record's worth.
pub const NOISE_READ_MAX: usize = 16_384;
const NOISE_BYTES: usize = 1 << 20;

fn plain_noise(random: &mut Random) -> Vec<u8> {
    let mut noise = vec![0; NOISE_BYTES + NOISE_READ_MAX];
    random.fill(&mut noise);
    noise
}

// Chains of records that lie within the time of the capture: a reader that guesses where a record starts must survive them.
fn decoys(clock: &Clock, random: &mut Random) -> Vec<u8> {
    let mut noise = Vec::with_capacity(NOISE_BYTES + NOISE_READ_MAX + 4096);
    let mut micros = clock.micros();
    while noise.len() < NOISE_BYTES + NOISE_READ_MAX {
        let captured = random.within(54..=1514) as usize;
        micros += random.within(1..=50);
        noise.extend(((micros / 1_000_000) as u32).to_le_bytes());
        noise.extend(((micros % 1_000_000) as u32).to_le_bytes());
        noise.extend((captured as u32).to_le_bytes());
        noise.extend((captured as u32).to_le_bytes());
        let at = noise.len();
        noise.resize(at + captured, 0);
        random.fill(&mut noise[at..]);
    }
    noise.truncate(NOISE_BYTES + NOISE_READ_MAX);
    noise
}
