//! Signatures of calls, verified with the secrets that the user gave, and counted.

use crate::analysis::SignatureCounts;
use crate::s3::Call;
use crate::s3::sigv4::{Check, Credential, verify};

/// Temporary credentials beyond this number are not used.
const CREDENTIALS_MAX: usize = 1024;

/// What is known of the signatures of a run.
pub(super) struct Signatures {
    credentials: Vec<Credential>,
    counts: SignatureCounts,
}

impl Signatures {
    pub(super) fn new(credentials: Vec<Credential>) -> Self {
        Self { credentials, counts: SignatureCounts::default() }
    }

    pub(super) fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// Verifies the signature of a call; `None` where no secret was given.
    pub(super) fn check(&mut self, call: &Call<'_>) -> Option<Check> {
        if self.credentials.is_empty() {
            return None;
        }
        let check = verify(call, &self.credentials);
        self.learn(call);
        match check {
            Check::Verified => self.counts.verified += 1,
            Check::Differs | Check::BodyDiffers(_) => self.counts.differing += 1,
            Check::NotChecked(reason) => {
                let label = reason.label();
                match self.counts.not_checked.iter_mut().find(|(have, _)| *have == label) {
                    Some((_, count)) => *count += 1,
                    None => self.counts.not_checked.push((label, 1)),
                }
            }
        }
        Some(check)
    }

    /// Temporary credentials that the token service gave to somebody verify what is signed with them.
    fn learn(&mut self, call: &Call<'_>) {
        if call.operation.is_sts()
            && self.credentials.len() < CREDENTIALS_MAX
            && let Some(credential) = call.issued_credential()
        {
            self.credentials.push(credential);
        }
    }

    /// The counts, where secrets were given.
    pub(super) fn counts(self) -> Option<SignatureCounts> {
        (!self.credentials.is_empty()).then_some(self.counts)
    }
}
