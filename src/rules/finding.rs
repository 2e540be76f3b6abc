//! Findings: what rules report, always with the frames that show it.

use crate::hops::HopId;
use crate::model::{ExchangeId, FlowId, Frame};
use crate::rules::Rule;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Worth changing.
    Warning,
    /// A failure, or a secret disclosed.
    Error,
}

impl Severity {
    /// `note`, `warning`, `error`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How surely a finding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Other explanations are as good.
    Possible,
    /// More likely than not.
    Likely,
    /// The wire leaves little room for anything else.
    Strong,
    /// The bytes themselves show it, or wire and client log agree.
    Certain,
}

impl Confidence {
    /// `possible`, `likely`, `strong`, `certain`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Strong => "strong",
            Self::Certain => "certain",
        }
    }
}

/// What a rule reports: calls that belong together (one hop, one client, one kind), counted.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here; by default the rule's own severity.
    pub severity: Severity,
    /// How surely it holds.
    pub confidence: Confidence,
    /// The hop concerned, where it is one.
    pub hop: Option<HopId>,
    /// How many calls (or flows, objects: as the message says) it covers.
    pub count: u64,
    /// One or two sentences, without secrets; wire text in it is escaped.
    pub message: String,
    /// Why it happened, as part of a sentence after "Cause:"; `None` where the message says it, or where it is not known.
    pub cause: Option<String>,
    /// Whether it is what clients provoke on purpose, such as 404 to "is it there?".
    pub is_usual: bool,
    /// How many of the calls worked when they were tried again: where all did, nothing failed for it.
    pub recovered: u64,
    /// How many calls were refused for it, and with which status, where it makes calls fail.
    pub refused: Option<(u16, u64)>,
    /// What it is about: `client`, `bucket`, `key`, … without secrets; wire text is escaped.
    pub subject: Vec<(&'static str, String)>,
    /// The steps that lead to the conclusion, where it is one.
    pub chain: Vec<Step>,
    /// The frames that show it: the first few and the last. Never empty.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub fixes: Vec<Fix>,
}

/// One step of a chain.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was seen, or not seen.
    pub step: String,
    /// The frames that show it; empty where the step is an absence.
    pub evidence: Vec<Evidence>,
}

/// Where a claim can be looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Frames of the capture.
    pub frames: Vec<Frame>,
    /// The flow.
    pub flow: Option<FlowId>,
    /// The exchange.
    pub exchange: Option<ExchangeId>,
    /// A line of a client log: file and number from 1.
    pub log_line: Option<(String, u64)>,
}

/// One way out.
#[derive(Clone, Debug)]
pub struct Fix {
    /// What to do.
    pub action: String,
    /// Whether it was tried with real programs and worked.
    pub tested: bool,
    /// Its side effect, or what is not known about it.
    pub note: Option<String>,
    /// Whether it is TLS on the server of the finding's hop; what to do there is filled in once the server is known.
    pub(super) is_front: bool,
}

/// What the run as a whole shows, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A secret that must never be sent in plaintext was.
    Leaked,
    /// A client refused to send a request.
    RefusedBeforeTheWire,
    /// Lesser things were sent in plaintext.
    Exposed,
    /// S3 calls were judged and nothing of the above holds.
    Clean,
    /// Nothing was there to judge, or it could not be decrypted.
    NotJudged,
}

impl Outcome {
    /// `refused-before-the-wire`, `leaked`, `exposed`, `clean`, `not-judged`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RefusedBeforeTheWire => "refused-before-the-wire",
            Self::Leaked => "leaked",
            Self::Exposed => "exposed",
            Self::Clean => "clean",
            Self::NotJudged => "not-judged",
        }
    }
}

/// The one answer of a run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The worst that holds.
    pub outcome: Outcome,
    /// How surely; `None` where nothing was judged.
    pub confidence: Option<Confidence>,
    /// One or two sentences.
    pub message: String,
    /// The rule that decided it, where one did.
    pub rule: Option<&'static str>,
    /// What made the job fail, where something did.
    pub failure: Option<Failed>,
    /// Why nothing could be judged, and what to do next; `None` where something was.
    pub unjudged: Option<Unjudged>,
    /// The directories of jobs that committed (`_SUCCESS` was written).
    pub committed: Vec<String>,
    /// Rules that were left out by the user's choice though they found something, and how much.
    pub left_out: Vec<(&'static str, u64)>,
}

/// What made a job fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The rule whose finding tells of it.
    pub rule: &'static str,
    /// What failed and why, as far as it is known.
    pub message: String,
}

/// Why nothing could be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unjudged {
    /// The reason.
    pub cause: String,
    /// The next step.
    pub action: String,
}

impl Finding {
    /// A finding of a rule with its default severity, about one hop.
    pub(super) fn new(rule: &'static Rule, confidence: Confidence, hop: Option<HopId>, count: u64, message: String) -> Self {
        let (subject, chain, evidence, fixes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let severity = rule.severity;
        Self {
            rule,
            severity,
            confidence,
            hop,
            count,
            message,
            cause: None,
            is_usual: false,
            recovered: 0,
            refused: None,
            subject,
            chain,
            evidence,
            fixes,
        }
    }

    /// With another severity than the rule's own.
    pub(super) const fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// What it is about, by name.
    pub fn subject_of(&self, name: &str) -> Option<&str> {
        self.subject.iter().find(|(have, _)| *have == name).map(|(_, value)| value.as_str())
    }

    /// With its cause.
    pub(super) fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// With the calls that were refused for it.
    pub(super) const fn refusing(mut self, status_and_calls: Option<(u16, u64)>) -> Self {
        self.refused = status_and_calls;
        self
    }

    /// With one more thing that it is about.
    pub(super) fn about(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.subject.push((name, value.into()));
        self
    }

    /// With its evidence.
    pub(super) fn shown_by(mut self, evidence: Vec<Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// With a way out.
    pub(super) fn fixed_by(mut self, fix: Fix) -> Self {
        self.fixes.push(fix);
        self
    }
}

impl Fix {
    /// A way out that was tried with real programs and worked.
    pub(super) fn tested(action: &str, note: &str) -> Self {
        Self {
            action: action.to_owned(),
            tested: true,
            note: Some(note.to_owned()).filter(|note| !note.is_empty()),
            is_front: false,
        }
    }

    /// A way out that follows from what is known, and was not tried.
    pub(super) fn untested(action: &str, note: &str) -> Self {
        Self { tested: false, ..Self::tested(action, note) }
    }

    /// TLS on the server that the clients of this hop talk to: what ends every exposure of the hop.
    pub(super) fn tls_on_the_front() -> Self {
        Self {
            is_front: true,
            ..Self::untested("serve TLS on the endpoint that these clients use, and use https:// in them", "")
        }
    }

    /// The same, for a server that names itself, at that address.
    pub(super) fn tls_on(software: Option<&str>, server: &str) -> Self {
        let how = SOFTWARE.iter().find(|(word, ..)| Some(*word) == software);
        let action = match how {
            Some((_, name, how, _)) => format!("serve TLS on {server} ({name}: {how}), and use https:// in the clients"),
            None => format!("serve TLS on {server}, and use https:// in the clients"),
        };
        Self { tested: how.is_some_and(|(.., tested)| *tested), is_front: true, ..Self::untested(&action, "") }
    }
}

/// How servers are given TLS: by the word of their `Server` header (`store` is MinIO), and whether it was tried in the lab.
const SOFTWARE: [(&str, &str, &str, bool); 8] = [
    ("sidekick", "Sidekick", "--cert and --key", true),
    ("store", "MinIO", "public.crt and private.key in its certs directory", true),
    ("nginx", "nginx", "listen … ssl, ssl_certificate and ssl_certificate_key", false),
    ("openresty", "OpenResty", "listen … ssl, ssl_certificate and ssl_certificate_key", false),
    ("haproxy", "HAProxy", "bind … ssl crt FILE", false),
    ("envoy", "Envoy", "a DownstreamTlsContext on the listener", false),
    ("caddy", "Caddy", "a site address with https://", false),
    ("apache", "Apache", "SSLEngine on, SSLCertificateFile and SSLCertificateKeyFile", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_its_own_options_and_no_others() {
        for (word, own) in
            [(Some("sidekick"), "--cert and --key"), (Some("nginx"), "ssl_certificate"), (Some("store"), "public.crt")]
        {
            assert!(Fix::tls_on(word, "10.0.0.1:80").action.contains(own), "{word:?}");
        }
        for word in [None, Some("nginx"), Some("store"), Some("squid"), Some("proxy")] {
            let fix = Fix::tls_on(word, "10.0.0.1:80");
            assert!(!fix.action.contains("--cert"), "{word:?}: {}", fix.action);
            assert_eq!(fix.tested, word == Some("store"), "{word:?}");
        }
    }
}
