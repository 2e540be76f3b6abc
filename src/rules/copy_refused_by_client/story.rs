//! What is remembered of an object that waits for its copy, and which objects are of one job.

use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::{self, Finder};

use crate::model::{Exchange, Timestamp};
use crate::rules::sight::{Sight, Sights};

/// A HEAD so long after the one before is a retry. A rename HEADs its source two or three times within milliseconds, and jobs
/// stat what they wrote; the first wait of S3A's retries is about half a second.
const RETRY_GAP_MIN: Duration = Duration::from_millis(300);

/// So much silence after the last HEAD means that no further retry comes. S3A's waits reached 58 s in the lab.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(60);

/// The directories of committers that write to the side, and of those that do not rename. Every write is asked for them.
static TEMPORARY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"/_temporary/"));
static MAGIC: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"__magic"));

/// How many times of HEADs are kept.
const TIMES_MAX: usize = 32;

/// An object that was written to be renamed.
pub(super) struct Write {
    pub(super) bucket: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// Its upload, where it was seen.
    pub(super) put: Option<Sight>,
    /// Whether the upload asked for any encryption.
    pub(super) put_asked: bool,
    /// Whether the answer to the upload named a KMS key.
    pub(super) put_told: bool,
    /// HEADs answered with a KMS key id.
    pub(super) heads: Sights,
    pub(super) key_id: Vec<u8>,
    times: Vec<Timestamp>,
    /// When something was last heard of it.
    pub(super) last: Timestamp,
    /// HEADs answered with 403 or 5xx, or not at all.
    pub(super) head_failures: u64,
    /// A digest of the process that HEADed it, where S3A tells.
    pub(super) process: Option<u64>,
    /// The request that deleted it without a copy.
    pub(super) deleted: Option<Sight>,
}

/// A copy that was sent.
pub(super) struct Copy {
    pub(super) bucket: Vec<u8>,
    pub(super) root: Vec<u8>,
    pub(super) at: Timestamp,
    /// A digest of the process that sent it, where S3A tells.
    pub(super) process: Option<u64>,
}

/// The objects of one job that wait for their copies.
pub(super) struct Story<'w> {
    pub(super) bucket: &'w [u8],
    pub(super) root: &'w [u8],
    pub(super) writes: Vec<&'w Write>,
}

impl Write {
    pub(super) fn new(bucket: &[u8], key: &[u8]) -> Self {
        Self {
            bucket: bucket.to_vec(),
            key: key.to_vec(),
            put: None,
            put_asked: false,
            put_told: false,
            heads: Sights::default(),
            key_id: Vec::new(),
            times: Vec::new(),
            last: Timestamp::EPOCH,
            head_failures: 0,
            process: None,
            deleted: None,
        }
    }

    /// Whether a streaming job writes it before it gives it its name, and no committer is involved.
    pub(super) fn is_checkpoint(&self) -> bool {
        is_checkpoint_name(self.key.rsplit(|byte| *byte == b'/').next().unwrap_or(&self.key))
    }

    pub(super) fn add_head(&mut self, exchange: &Exchange, key_id: &[u8]) {
        self.heads.add(Sight::of_both(exchange));
        if self.key_id.is_empty() {
            self.key_id = key_id.get(..256).unwrap_or(key_id).to_vec();
        }
        if self.times.len() < TIMES_MAX {
            self.times.push(exchange.request.start);
        }
        self.last = self.last.max(exchange.request.start);
        self.deleted = None;
    }

    /// When it was first heard of.
    pub(super) fn since(&self) -> Timestamp {
        self.put.map(|put| put.at).or(self.times.first().copied()).unwrap_or_default()
    }

    /// The waits between HEADs that are retries.
    pub(super) fn gaps(&self) -> Vec<Duration> {
        let pairs = self.times.iter().zip(self.times.iter().skip(1));
        pairs.map(|(one, next)| next.since(*one)).filter(|gap| *gap >= RETRY_GAP_MIN).collect()
    }

    /// Whether the waits grow, as those of retries with an exponential and jittered back-off do.
    pub(super) fn gaps_widen(&self) -> bool {
        let gaps = self.gaps();
        let (early, late) = gaps.split_at(gaps.len() / 2);
        late.iter().sum::<Duration>() > early.iter().sum::<Duration>()
    }

    /// Three HEADs or more, of which two at least are retries, at widening gaps.
    pub(super) fn tells_of_refusal(&self) -> bool {
        self.heads.count >= 3 && self.gaps().len() >= 2 && self.gaps_widen()
    }

    /// Whether a list of keys to delete names it. The list is XML, so a key may be escaped in it.
    pub(super) fn is_named_in(&self, list: &[u8]) -> bool {
        let tagged = |key: &[u8]| [b"<Key>", key, b"</Key>"].concat();
        if memmem::find(list, &tagged(&self.key)).is_some() {
            return true;
        }
        let needs_escape = self.key.iter().any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\''));
        let escaped = || {
            let text = String::from_utf8_lossy(&self.key);
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            [text.replace('"', "&quot;").replace('\'', "&apos;"), text]
        };
        needs_escape && escaped().iter().any(|key| memmem::find(list, &tagged(key.as_bytes())).is_some())
    }
}

/// Whether an object is written to be renamed: what file output committers put under `_temporary`, and what streaming jobs write
/// as `.NAME.UUID.tmp` before they give it its name. Objects of the magic committer are never copied.
pub(super) fn is_to_be_renamed(key: &[u8]) -> bool {
    let name = key.rsplit(|byte| *byte == b'/').next().unwrap_or(key);
    if name.is_empty() || MAGIC.find(key).is_some() {
        return false;
    }
    let is_temporary = TEMPORARY.find(key).is_some() || key.starts_with(b"_temporary/");
    is_temporary || is_checkpoint_name(name)
}

/// `.metadata.0f1c…-….tmp`: a dot, a name, a UUID and `tmp`.
fn is_checkpoint_name(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".").and_then(|rest| rest.strip_suffix(b".tmp")) else {
        return false;
    };
    let Some(uuid) = rest.rsplit(|byte| *byte == b'.').next() else {
        return false;
    };
    uuid.len() == 36 && uuid.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

/// The directory that a job writes to: what stands before `_temporary`, or the directory of a checkpoint file.
pub(super) fn job_root(key: &[u8]) -> &[u8] {
    let end = match TEMPORARY.find(key) {
        Some(end) => end,
        None if key.starts_with(b"_temporary/") => 0,
        None => memchr::memrchr(b'/', key).unwrap_or(0),
    };
    key.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_wait_for_a_rename_are_known_by_their_names() {
        let uuid = "1ae94a69-9aa3-4d36-8ba7-3f0ad8d32cf4";
        for (key, wanted) in [
            ("t/_temporary/0/_temporary/attempt_1/part-0".to_owned(), true),
            ("_temporary/0/x".to_owned(), true),
            ("t/_temporary/0/".to_owned(), false),
            (format!("ckpt/.metadata.{uuid}.tmp"), true),
            (format!("ckpt/commits/.0.{uuid}.tmp"), true),
            ("ckpt/.metadata.tmp".to_owned(), false),
            ("t/__magic/job/_temporary/x".to_owned(), false),
            ("t/part-0".to_owned(), false),
            ("t/_SUCCESS".to_owned(), false),
        ] {
            assert_eq!(is_to_be_renamed(key.as_bytes()), wanted, "{key}");
        }
        assert_eq!(job_root(b"t/people/_temporary/0/x"), b"t/people");
        assert_eq!(job_root(b"ckpt/commits/.0.x.tmp"), b"ckpt/commits");
        assert_eq!(job_root(b"_temporary/0/x"), b"");
    }

    #[test]
    fn a_list_of_keys_names_whole_keys_only_also_escaped() {
        let write = Write::new(b"b", b"t/a&b");
        assert!(write.is_named_in(b"<Delete><Object><Key>t/a&amp;b</Key></Object></Delete>"));
        assert!(!write.is_named_in(b"<Delete><Object><Key>t/a&amp;b/</Key></Object></Delete>"));
        assert!(Write::new(b"b", b"t/a").is_named_in(b"<Key>t/a</Key>"));
        assert!(!Write::new(b"b", b"t/a").is_named_in(b"<Key>t/a/b</Key>"));
    }
}
