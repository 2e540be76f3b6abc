//! The command line: which capture to write and what to do to it.

use std::path::PathBuf;

/// The shape of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bodies of 1-8 MiB in segments of 1,448 bytes.
    Bulk,
    /// The same in segments of 17-65 KB, as a bridge shows them with segmentation offload.
    Offload,
    /// Small HEAD, LIST, GET and PUT on kept-alive connections.
    Chatty,
    /// The same, 1-2 requests per connection and 20,000 connections open at once.
    Flows,
}

impl Kind {
    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Offload => "offload",
            Self::Chatty => "chatty",
            Self::Flows => "flows",
        }
    }

    /// Whether bodies are large.
    pub const fn is_bulk(self) -> bool {
        matches!(self, Self::Bulk | Self::Offload)
    }
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shape of the traffic.
    pub kind: Kind,
    /// About how large the capture shall be.
    pub bytes: u64,
    /// The seed of all chance.
    pub seed: u64,
    /// Packets per 1,000 that the capture missed.
    pub loss: u32,
    /// Data segments per 1,000 that stand in another's place.
    pub reorder: u32,
    /// Data segments per 1,000 that are sent twice, at once.
    pub retransmit: u32,
    /// Data segments per 1,000 that come late, or once more long after.
    pub late: u32,
    /// Heads per 1,000 that are cut over two segments.
    pub split_heads: u32,
    /// The capture.
    pub out: PathBuf,
    /// The truth about it.
    pub truth: PathBuf,
    /// The TLS secrets, where there are any.
    pub keys: PathBuf,
    /// pcapng rather than pcap, with the secrets inside.
    pub pcapng: bool,
    /// The client's connections run inside TLS 1.3.
    pub tls: bool,
    /// Clients reach the store through a proxy, and both hops are captured.
    pub two_hop: bool,
    /// The proxy's connections to the store run inside TLS 1.3.
    pub upstream_tls: bool,
    /// The proxy's answers lack the store's request id.
    pub hide_request_ids: bool,
    /// TLS senders change their keys now and then.
    pub key_updates: bool,
    /// IPv6 rather than IPv4.
    pub ipv6: bool,
    /// An 802.1Q tag in every frame.
    pub vlan: bool,
    /// Linux cooked capture v2 rather than Ethernet.
    pub sll2: bool,
    /// Duplicate ACKs with SACK blocks.
    pub sack: bool,
    /// Real TCP checksums rather than 0.
    pub checksums: bool,
    /// Many different sets of headers.
    pub varied: bool,
    /// Object bytes that look like pcap records.
    pub decoys: bool,
    /// Bytes kept of every frame.
    pub snap: Option<u32>,
}

impl Options {
    /// Reads the command line. The error is what is wrong with it.
    pub fn from_args(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = args;
        let kind = match args.next().as_deref() {
            Some("bulk") => Kind::Bulk,
            Some("offload") => Kind::Offload,
            Some("chatty") => Kind::Chatty,
            Some("flows") => Kind::Flows,
            Some(other) => return Err(format!("no such kind of traffic: {other}")),
            None => return Err("which kind of traffic?".to_owned()),
        };
        let mut options = Self::of(kind);
        let (mut truth, mut keys) = (None, None);
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--bytes" => options.bytes = size(&value()?)?,
                "--seed" => options.seed = number(&value()?)?,
                "--loss" => options.loss = permille(&value()?)?,
                "--reorder" => options.reorder = permille(&value()?)?,
                "--retransmit" => options.retransmit = permille(&value()?)?,
                "--late" => options.late = permille(&value()?)?,
                "--split-heads" => options.split_heads = permille(&value()?)?,
                "--out" => options.out = PathBuf::from(value()?),
                "--truth" => truth = Some(PathBuf::from(value()?)),
                "--keys" => keys = Some(PathBuf::from(value()?)),
                "--upstream" => options.upstream_tls = is_tls(&value()?)?,
                "--snap" => options.snap = Some(number(&value()?)?.clamp(64, 262_144) as u32),
                _ => *options.switch(&flag).ok_or_else(|| format!("no such option: {flag}"))? = true,
            }
        }
        if options.out.as_os_str().is_empty() {
            return Err("--out FILE is missing".to_owned());
        }
        if options.vlan && options.sll2 {
            return Err("--vlan and --sll2 exclude each other".to_owned());
        }
        options.truth = truth.unwrap_or_else(|| beside(&options.out, ".json"));
        options.keys = keys.unwrap_or_else(|| beside(&options.out, ".keys"));
        Ok(options)
    }

    fn of(kind: Kind) -> Self {
        // Small traffic comes with 1 % of its segments reordered and 1 % sent twice; bulk comes clean.
        let disorder = if kind.is_bulk() { 0 } else { 10 };
        Self {
            kind,
            bytes: 1_000_000_000,
            seed: 1,
            loss: 0,
            reorder: disorder,
            retransmit: disorder,
            late: 0,
            split_heads: 0,
            out: PathBuf::new(),
            truth: PathBuf::new(),
            keys: PathBuf::new(),
            pcapng: false,
            tls: false,
            two_hop: false,
            upstream_tls: true,
            hide_request_ids: false,
            key_updates: false,
            ipv6: false,
            vlan: false,
            sll2: false,
            sack: false,
            checksums: false,
            varied: false,
            decoys: false,
            snap: None,
        }
    }

    fn switch(&mut self, flag: &str) -> Option<&mut bool> {
        Some(match flag {
            "--pcapng" => &mut self.pcapng,
            "--tls" => &mut self.tls,
            "--two-hop" => &mut self.two_hop,
            "--hide-request-ids" => &mut self.hide_request_ids,
            "--key-updates" => &mut self.key_updates,
            "--ipv6" => &mut self.ipv6,
            "--vlan" => &mut self.vlan,
            "--sll2" => &mut self.sll2,
            "--sack" => &mut self.sack,
            "--checksums" => &mut self.checksums,
            "--varied" => &mut self.varied,
            "--decoys" => &mut self.decoys,
            _ => return None,
        })
    }
}

/// How to call the program.
pub const USAGE: &str = "\
hopwire-generator bulk|offload|chatty|flows --out FILE [option...]

writes FILE, the truth about it (FILE.json) and, with TLS, its secrets (FILE.keys)

  --bytes N            about this many bytes; K, M and G are 10^3, 10^6 and 10^9 (default 1G)
  --seed N             another capture of the same kind (default 1)
  --truth FILE         where the truth goes
  --keys FILE          where the TLS secrets go (NSS key log)
  --pcapng             pcapng, with the TLS secrets inside
  --tls                the client's connections in TLS 1.3, AES-128-GCM
  --two-hop            client -> proxy -> store, both hops in the capture
  --upstream tls|clear the proxy's connections to the store (default tls)
  --hide-request-ids   the proxy's answers lack x-amz-request-id
  --key-updates        TLS senders change their keys now and then
  --reorder, --retransmit, --late, --loss, --split-heads PERMILLE
                       segments swapped, sent twice at once, sent long after, missed; heads over two segments
                       (reorder and retransmit are 10 for chatty and flows, all else 0)
  --ipv6 --vlan --sll2 --sack --checksums --snap N
                       what the frames look like
  --varied             many different sets of headers
  --decoys             object bytes that look like pcap records
";

fn beside(out: &std::path::Path, suffix: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn permille(text: &str) -> Result<u32, String> {
    number(text).and_then(|n| if n <= 1000 { Ok(n as u32) } else { Err(format!("more than 1000 in 1000: {n}")) })
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let amount: f64 = digits.parse().map_err(|_| format!("not a size: {text}"))?;
    if amount.is_finite() && amount > 0.0 { Ok((amount * f64::from(unit)) as u64) } else { Err(format!("not a size: {text}")) }
}

fn is_tls(text: &str) -> Result<bool, String> {
    match text {
        "tls" => Ok(true),
        "clear" => Ok(false),
        other => Err(format!("--upstream is tls or clear, not {other}")),
    }
}
