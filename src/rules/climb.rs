//! The walk of S3A's `mkdirs`: HEADs of a directory that is not there and of its parents, one after the other, after which the
//! marker of the directory is written. Calls in; walks out that no write followed.

use std::time::Duration;

use crate::model::Timestamp;
use crate::rules::Context;
use crate::rules::sight::{Sight, Sights};
use crate::s3::policy::{SseRequest, Verdict, over_http};
use crate::s3::{Call, Operation};

/// How many walks without a write are remembered per client.
const FOUND_MAX: usize = 16;

/// HEADs of one walk follow each other within milliseconds; so much later is another one.
const STEP_MAX: Duration = Duration::from_secs(30);

/// A walk is followed by its write within milliseconds. A write this long before or after it by the same client speaks
/// against a refusal: it shows that the client can write.
const WRITE_WINDOW: Duration = Duration::from_secs(600);

/// A walk as short as two steps is what a reader does that looks for a path.
const STEPS_MIN: u64 = 3;

/// The walks of one client on one hop in clear.
#[derive(Default)]
pub(super) struct Climbs {
    current: Option<Climb>,
    found: Vec<Climb>,
    last_write: Option<Timestamp>,
}

/// One walk.
#[derive(Clone)]
pub(super) struct Climb {
    pub(super) bucket: Vec<u8>,
    /// Where it began.
    pub(super) deepest: Vec<u8>,
    /// The last parent that was looked up.
    highest: Vec<u8>,
    pub(super) sights: Sights,
    pub(super) last: Timestamp,
    /// A request failed with 403 or 5xx meanwhile, which is another reason to stop.
    is_troubled: bool,
}

/// Whether the client is S3A over an SDK that refuses SSE-KMS over http: others refuse as well, but do not walk.
pub(super) fn walks_and_refuses(context: &Context<'_>) -> bool {
    context.view.clients.client(context.client).is_some_and(|client| {
        let policy = over_http(client.sdk, client.version.as_deref(), SseRequest::Kms { key_id: true });
        client.hadoop.is_some() && matches!(policy.verdict, Verdict::Refused { .. })
    })
}

impl Climbs {
    /// Hears a call of the client.
    pub(super) fn handle_call(&mut self, call: &Call<'_>) {
        let at = call.exchange.request.start;
        match call.operation {
            Operation::PUT_OBJECT
            | Operation::COPY_OBJECT
            | Operation::CREATE_MULTIPART_UPLOAD
            | Operation::UPLOAD_PART
            | Operation::POST_OBJECT => self.handle_write(at),
            Operation::HEAD_OBJECT => match call.status() {
                Some(404) => self.handle_absence(call),
                Some(403 | 500..) => self.handle_trouble(),
                _ => {}
            },
            _ if matches!(call.status(), Some(403 | 500..)) => self.handle_trouble(),
            _ => {}
        }
    }

    /// The walks that no write followed, as far as is known at `now`.
    pub(super) fn without_write(&self, now: Timestamp) -> Vec<&Climb> {
        // A write follows within milliseconds; a second is ample, and a capture that ends sooner has not seen it.
        const SILENCE_MIN: Duration = Duration::from_secs(1);
        let is_finding =
            |climb: &&Climb| climb.is_finding() && now.since(climb.last) >= SILENCE_MIN && !self.is_contradicted(climb);
        self.found.iter().chain(&self.current).filter(is_finding).collect()
    }

    fn is_contradicted(&self, climb: &Climb) -> bool {
        let since = climb.sights.since().unwrap_or_default();
        self.last_write.is_some_and(|write| write <= since && since.since(write) < WRITE_WINDOW)
    }

    fn handle_write(&mut self, at: Timestamp) {
        self.current = None;
        self.found.retain(|climb| at.since(climb.last) > WRITE_WINDOW);
        self.last_write = Some(at);
    }

    fn handle_trouble(&mut self) {
        if let Some(climb) = &mut self.current {
            climb.is_troubled = true;
        }
    }

    fn handle_absence(&mut self, call: &Call<'_>) {
        let (Some(bucket), Some(key)) = (call.address.bucket.as_deref(), call.address.key.as_deref()) else {
            return;
        };
        let at = call.exchange.request.start;
        let sight = Sight::of_both(call.exchange);
        if let Some(climb) = &mut self.current
            && climb.bucket == bucket
            && at.since(climb.last) <= STEP_MAX
        {
            if climb.highest == key {
                return;
            }
            if parent(&climb.highest) == Some(key) {
                climb.highest = key.to_vec();
                climb.sights.add(sight);
                climb.last = at;
                return;
            }
        }
        if let Some(done) = self.current.take().filter(|climb| climb.is_finding() && !self.is_contradicted(climb))
            && self.found.len() < FOUND_MAX
        {
            self.found.push(done);
        }
        let mut sights = Sights::default();
        sights.add(sight);
        let (bucket, deepest, highest) = (bucket.to_vec(), key.to_vec(), key.to_vec());
        self.current = Some(Climb { bucket, deepest, highest, sights, last: at, is_troubled: false });
    }
}

impl Climb {
    /// Whether it went up to the top of the bucket, as `mkdirs` does where no ancestor exists.
    pub(super) fn is_complete(&self) -> bool {
        parent(&self.highest).is_none()
    }

    /// Whether it began in the directory that file output committers make first.
    pub(super) fn is_of_committer(&self) -> bool {
        self.deepest.split(|byte| *byte == b'/').any(|part| part == b"_temporary")
    }

    fn is_finding(&self) -> bool {
        self.sights.count >= STEPS_MIN && !self.is_troubled
    }
}

fn parent(key: &[u8]) -> Option<&[u8]> {
    memchr::memrchr(b'/', key).and_then(|at| key.get(..at))
}
