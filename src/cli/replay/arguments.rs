//! The arguments of `replay`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgAction, Args, ValueEnum};
use md5::{Digest as _, Md5};

use crate::cli::compare::parse_pair;
use crate::cli::credentials::{Profile, load};
use crate::cli::failure::Failure;
use crate::cli::inputs;
use crate::cli::recorded::Reading;
use crate::replay::{Pace, PayloadMode, Rules, SseMode};

/// The arguments of `replay`.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The recording: a capture, or a session (with its bodies beside it)
    pub(super) file: String,
    /// The endpoint to send to, as in https://store:9000
    #[arg(long, value_name = "URL")]
    pub(super) to: String,
    #[command(flatten)]
    pub(super) reading: Reading,
    /// Shows the plan and sends nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Sends calls that change the store, too; needs --bucket-map or --original-buckets
    #[arg(long)]
    pub(super) allow_writes: bool,
    /// Sends calls for this bucket to another one
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_pair)]
    pub(super) bucket_map: Vec<(String, String)>,
    /// Puts keys that begin so below another prefix
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_pair)]
    pub(super) prefix_map: Vec<(String, String)>,
    /// The buckets of the recording are meant
    #[arg(long)]
    pub(super) original_buckets: bool,
    /// Says that writing to a public store, or to the recorded one, is meant: its HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) confirm_target: Option<String>,
    /// Access keys: env, a profile of ~/.aws/credentials, or a file with such sections [default: env, or else the profile default]
    #[arg(long, value_name = "PROFILE|env|FILE")]
    pub(super) credentials: Option<String>,
    /// Sends requests unsigned
    #[arg(long, conflicts_with = "credentials")]
    pub(super) anonymous: bool,
    /// The region to sign for [default: of the profile, or us-east-1]
    #[arg(long)]
    pub(super) region: Option<String>,
    /// How buckets are named at the target
    #[arg(long, value_enum, default_value_t = StyleName::Path)]
    pub(super) style: StyleName,
    /// Encryption: keep, drop, s3, kms:KEY, or c (with --sse-c-key)
    #[arg(long, value_name = "MODE", default_value = "keep", value_parser = parse_sse)]
    pub(super) sse: SseMode,
    /// A file with the 32 bytes of a customer key, for requests whose key is redacted, and for --sse c
    #[arg(long, value_name = "FILE")]
    pub(super) sse_c_key: Option<String>,
    /// Replaces a KMS key id
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_pair)]
    pub(super) kms_key: Vec<(String, String)>,
    /// How signatures cover bodies
    #[arg(long, value_enum, default_value_t = PayloadName::Hash)]
    pub(super) payload: PayloadName,
    /// So many times as fast as recorded, or max
    #[arg(long, value_name = "N|max", default_value = "1", value_parser = parse_speed)]
    pub(super) speed: Pace,
    /// So many requests a second at most
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,
    /// Connections at most
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(super) connections: usize,
    /// Seconds that connecting, and each wait for bytes, may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) timeout: u64,
    /// A CA certificate (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Vec<String>,
    /// Sends these operations only
    #[arg(long, value_name = "OPERATION,…", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// Sends what the client refused to send, after the recorded calls
    #[arg(long)]
    pub(super) send_refused: bool,
    /// Sends sub-resources that some stores take for a plain PUT or DELETE
    #[arg(long)]
    pub(super) force_subresources: bool,
    /// Sends customer keys (SSE-C) over http
    #[arg(long)]
    pub(super) force_sse_c_over_http: bool,
    /// Goes on with a replay that did not end, without sending anything twice
    #[arg(long)]
    pub(super) resume: bool,
    /// With --resume: sends again what was sent and got no response
    #[arg(long, requires = "resume")]
    pub(super) resend_unknown: bool,
    /// Begins anew where an earlier replay did not end
    #[arg(long, conflicts_with = "resume")]
    pub(super) force: bool,
    /// Signs with a clock that is so many seconds off, to see what the store makes of it
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_hyphen_values = true)]
    pub(super) clock_offset: i64,
    /// The session of what came out [default: beside the recording, NAME.replay.jsonl]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<String>,
    /// How to report on stdout
    #[arg(long, value_enum, default_value_t = ReportName::Table)]
    pub(super) format: ReportName,
    /// Shows secrets in the result as they were on the wire
    #[arg(long)]
    pub(super) show_secrets: bool,
    /// Shows nothing but the report and errors
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Shows every call
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// How buckets are named.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StyleName {
    /// /bucket/key
    Path,
    /// bucket.host/key
    Vhost,
}

/// How signatures cover bodies.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PayloadName {
    /// Their SHA-256
    Hash,
    /// Not at all
    Unsigned,
    /// Chunk by chunk (aws-chunked)
    Chunks,
}

/// How to report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportName {
    /// Text for people
    Table,
    /// One JSON object
    Json,
}

fn parse_sse(text: &str) -> Result<SseMode, String> {
    match text {
        "keep" => Ok(SseMode::Keep),
        "drop" => Ok(SseMode::Drop),
        "s3" => Ok(SseMode::S3),
        "c" => Ok(SseMode::Customer),
        text => match text.strip_prefix("kms:") {
            Some(key) if !key.is_empty() => Ok(SseMode::Kms(key.to_owned())),
            _ => Err("give keep, drop, s3, kms:KEY or c".to_owned()),
        },
    }
}

fn parse_speed(text: &str) -> Result<Pace, String> {
    match text {
        "max" => Ok(Pace::Max),
        text => parse_rate(text).map(Pace::Times),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("give a number above 0".to_owned()),
    }
}

impl Arguments {
    /// What is changed of the recorded requests.
    pub(super) fn rules(&self) -> Result<Rules, Failure> {
        let customer_key = match &self.sse_c_key {
            Some(path) => Some(customer_key(path)?),
            None if self.sse == SseMode::Customer => {
                return Err(Failure::usage("--sse c needs a key", "give the file with its 32 bytes: --sse-c-key FILE"));
            }
            None => None,
        };
        Ok(Rules {
            buckets: self.bucket_map.clone(),
            prefixes: self.prefix_map.clone(),
            kms_keys: self.kms_key.clone(),
            sse: self.sse.clone(),
            customer_key,
            allows_keys_over_http: self.force_sse_c_over_http,
            payload: match self.payload {
                PayloadName::Hash => PayloadMode::Hash,
                PayloadName::Unsigned => PayloadMode::Unsigned,
                PayloadName::Chunks => PayloadMode::Chunks,
            },
        })
    }

    /// The access key to sign with.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let source = match &self.credentials {
            Some(source) => source.as_str(),
            None if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() => "env",
            None => "default",
        };
        let first = load(source)?.into_iter().next();
        first.ok_or_else(|| Failure::usage(format!("{source} holds no access key"), "name a profile, a file, or env"))
    }

    /// The name of the session with the result.
    pub(super) fn result_name(&self) -> String {
        self.output.clone().unwrap_or_else(|| {
            let name = self.file.trim_end_matches(".gz").trim_end_matches(".zst");
            let stem =
                [".pcapng", ".pcap", ".jsonl", ".ndjson"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            format!("{stem}.replay.jsonl")
        })
    }
}

/// A key of 32 bytes, raw or in base64, as base64 with its MD5.
fn customer_key(path: &str) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let bytes = inputs::read_whole(path, "customer key")?;
    let raw = match bytes.len() {
        32 => bytes,
        _ => STANDARD.decode(bytes.trim_ascii()).unwrap_or_default(),
    };
    if raw.len() != 32 {
        return Err(Failure::usage(format!("{path} holds no key of 32 bytes"), "give the raw bytes, or base64 of them"));
    }
    Ok((STANDARD.encode(&raw).into_bytes(), STANDARD.encode(Md5::digest(&raw)).into_bytes()))
}
