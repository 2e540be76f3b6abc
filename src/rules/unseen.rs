//! The one account of what a run did not see, or saw and did not judge. Verdict, reports and `--strict` look at it alone.

use crate::model::LossReason;

/// What follows from something that was not seen, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It weakens claims that something did not happen.
    Absence,
    /// It was encrypted: not judged, and nobody on the path could read it.
    Encrypted,
    /// Anything may have been in it, in plaintext.
    Plaintext,
}

macro_rules! unseen {
    ($($(#[$doc:meta])* $word:ident $effect:ident $name:literal $one:literal $many:literal,)*) => {
        /// A way in which something was not seen, or seen and not judged.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Unseen {
            $($(#[$doc])* $word,)*
        }

        impl Unseen {
            /// Every way.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// A stable word for reports.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$word => $name,)*
                }
            }

            /// What follows from it.
            pub const fn effect(self) -> Effect {
                match self {
                    $(Self::$word => Effect::$effect,)*
                }
            }

            const fn noun(self, count: u64) -> &'static str {
                match self {
                    $(Self::$word => if count == 1 { $one } else { $many },)*
                }
            }
        }
    };
}

unseen! {
    /// Packets that the capturing program reports as dropped.
    PacketsDropped Plaintext "packets-dropped" "packet dropped while capturing" "packets dropped while capturing",
    /// Packets cut by the snap length.
    PacketsTruncated Plaintext "packets-truncated" "packet cut by the snap length" "packets cut by the snap length",
    /// Packets of a link type that is not decoded.
    LinkType Plaintext "link-type" "packet of a link type that is not decoded" "packets of a link type that is not decoded",
    /// Packets whose headers do not parse.
    Malformed Plaintext "malformed" "packet with headers that cannot be read" "packets with headers that cannot be read",
    /// IP fragments whose datagram never became whole.
    Fragment Plaintext "fragment" "IP datagram of which fragments are missing" "IP datagrams of which fragments are missing",
    /// Packets inside a tunnel that is not decoded.
    Encapsulation Plaintext "encapsulation" "packet in a tunnel that is not decoded" "packets in a tunnel that is not decoded",
    /// QUIC.
    Quic Encrypted "quic" "QUIC packet (not decoded)" "QUIC packets (not decoded)",
    /// Packets of other encrypted protocols, such as ESP and WireGuard.
    EncryptedPackets Encrypted "encrypted-packets" "packet of another encrypted protocol" "packets of other encrypted protocols",
    /// Connections of other encrypted protocols, such as SSH.
    EncryptedFlows Encrypted "encrypted-connections" "connection of another encrypted protocol" "connections of other encrypted protocols",
    /// Bytes of a file that hold packets and could not be read.
    FileBytes Plaintext "file-bytes-unread" "place of a file that could not be read" "places of a file that could not be read",
    /// Stream bytes that the capture lacks.
    StreamBytes Plaintext "stream-bytes-missing" "connection with bytes missing" "connections with bytes missing",
    /// Connections that were dropped because a table was full.
    Evicted Plaintext "evicted" "connection dropped for want of memory" "connections dropped for want of memory",
    /// Connections whose first packet is not in the capture.
    WithoutStart Absence "without-start" "connection that began before the capture" "connections that began before the capture",
    /// Connections of which only one direction was seen.
    OneSided Absence "one-sided" "connection seen in one direction only" "connections seen in one direction only",
    /// Exchanges of which a part is missing.
    ExchangesIncomplete Absence "exchanges-incomplete" "exchange seen in part" "exchanges seen in part",
    /// Heads with more fields than servers usually take: what their servers made of them is not known.
    LongHead Absence "long-head" "head with more fields than servers usually take" "heads with more fields than servers usually take",
    /// Stream bytes before the first message.
    BeforeFirstMessage Plaintext "before-first-message" "connection joined in the middle of a message" "connections joined in the middle of a message",
    /// Stream bytes after a gap, up to the next message.
    AfterGap Plaintext "after-gap" "connection not decoded behind a gap" "connections not decoded behind a gap",
    /// Plaintext that is not HTTP.
    NotHttp Plaintext "not-http" "plaintext connection with bytes that are not HTTP/1" "plaintext connections with bytes that are not HTTP/1",
    /// Content behind the response to HEAD.
    BodyAfterHead Plaintext "body-after-head" "connection with a body behind a response to HEAD" "connections with a body behind a response to HEAD",
    /// Plaintext inside a tunnel or after an upgrade.
    Tunnel Plaintext "tunnel" "plaintext tunnel or upgraded connection that is not decoded" "plaintext tunnels or upgraded connections that are not decoded",
    /// Plaintext HTTP/2.
    Http2 Plaintext "http2-not-decoded" "plaintext HTTP/2 connection (not decoded)" "plaintext HTTP/2 connections (not decoded)",
    /// Parts of heads beyond the limits.
    HeadLimit Plaintext "head-beyond-limits" "plaintext connection with a head beyond the limits" "plaintext connections with heads beyond the limits",
    /// Content of decrypted TLS that is not decoded.
    InsideTls Encrypted "inside-tls-not-decoded" "decrypted TLS connection with content that is not decoded" "decrypted TLS connections with content that is not decoded",
    /// TLS connections with application data that was not decrypted.
    TlsUndecrypted Encrypted "tls-not-decrypted" "TLS connection not decrypted" "TLS connections not decrypted",
}

impl Unseen {
    /// What a loss of this kind counts as, in plaintext.
    pub const fn of_loss(reason: LossReason) -> Self {
        match reason {
            LossReason::BeforeFirstMessage => Self::BeforeFirstMessage,
            LossReason::NotHttp => Self::NotHttp,
            LossReason::BodyAfterHead => Self::BodyAfterHead,
            LossReason::AfterGap => Self::AfterGap,
            LossReason::Tunnel => Self::Tunnel,
            LossReason::Http2 => Self::Http2,
            LossReason::HeadLimit => Self::HeadLimit,
            LossReason::TlsShut => Self::TlsUndecrypted,
            LossReason::Evicted => Self::Evicted,
            LossReason::LinkType => Self::LinkType,
            LossReason::Malformed => Self::Malformed,
            LossReason::Fragment => Self::Fragment,
            LossReason::Truncated => Self::PacketsTruncated,
            LossReason::Encapsulation => Self::Encapsulation,
            LossReason::Quic => Self::Quic,
            LossReason::Encrypted => Self::EncryptedFlows,
        }
    }
}

/// How much of each kind was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account([Row; Unseen::ALL.len()]);

/// What was counted of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    count: u64,
    bytes: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self([Row::default(); Unseen::ALL.len()])
    }
}

impl Account {
    /// Counts `count` things of `bytes` bytes together.
    pub fn add(&mut self, kind: Unseen, count: u64, bytes: u64) {
        if let Some(row) = self.row_mut(kind) {
            row.count = row.count.saturating_add(count);
            row.bytes = row.bytes.saturating_add(bytes);
        }
    }

    /// Raises a count to a total that only grows.
    pub fn raise(&mut self, kind: Unseen, count: u64, bytes: u64) {
        if let Some(row) = self.row_mut(kind) {
            row.count = row.count.max(count);
            row.bytes = row.bytes.max(bytes);
        }
    }

    /// How many of a kind.
    pub fn count(&self, kind: Unseen) -> u64 {
        self.rows().find(|(one, ..)| *one == kind).map_or(0, |(_, count, _)| count)
    }

    /// The kinds of which there is something, with how many and how many bytes (0 where bytes are not known).
    pub fn rows(&self) -> impl Iterator<Item = (Unseen, u64, u64)> + '_ {
        let all = Unseen::ALL.iter().zip(&self.0).map(|(kind, row)| (*kind, row.count, row.bytes));
        all.filter(|(_, count, bytes)| *count > 0 || *bytes > 0)
    }

    /// Whether there is nothing of any kind.
    pub fn is_empty(&self) -> bool {
        self.rows().next().is_none()
    }

    /// The strongest consequence; `None` where nothing is missing.
    pub fn effect(&self) -> Option<Effect> {
        self.rows().map(|(kind, ..)| kind.effect()).max()
    }

    /// Whether plaintext may have passed that was not judged.
    pub fn is_partial(&self) -> bool {
        self.effect() == Some(Effect::Plaintext)
    }

    /// Every kind in words: `3 QUIC packets (not decoded)`, `1 connection with bytes missing (512 bytes)`. `number` and `size`
    /// write a count and a number of bytes.
    pub fn texts(&self, number: impl Fn(u64) -> String, size: impl Fn(u64) -> String) -> Vec<String> {
        self.texts_of(|_| true, number, size)
    }

    /// The same for the kinds that are wanted.
    pub fn texts_of(
        &self,
        wanted: impl Fn(Unseen) -> bool,
        number: impl Fn(u64) -> String,
        size: impl Fn(u64) -> String,
    ) -> Vec<String> {
        let text = |(kind, count, bytes): (Unseen, u64, u64)| {
            let bytes = if bytes > 0 { format!(" ({})", size(bytes)) } else { String::new() };
            format!("{} {}{bytes}", number(count), kind.noun(count))
        };
        self.rows().filter(|(kind, ..)| wanted(*kind)).map(text).collect()
    }

    fn row_mut(&mut self, kind: Unseen) -> Option<&mut Row> {
        self.0.get_mut(kind as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hops::{Clients, Topology};
    use crate::model::{
        Endpoint, Endpoints, Exchange, ExchangeId, Outcome, Request, Timestamp, TlsVersion, TlsView, Transport, Version,
    };
    use crate::rules::{Completeness, Confidence, Gaps, Judge, Outcome as Verdict, Selection, View};

    /// The verdict over one call inside TLS, beside what this account says was not seen.
    fn verdict(unseen: Account) -> (Verdict, Option<Confidence>) {
        let mut hops = Topology::default();
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        let view = TlsView { version: Some(TlsVersion::Tls13), ..TlsView::default() };
        let call = Exchange {
            id: ExchangeId::default(),
            endpoints: Endpoints { client: end(40_000), server: end(443) },
            transport: Transport::Tls(std::sync::Arc::new(view)),
            request: Request::from_parts(b"GET", b"/bucket/key", Version::Http11),
            interim: Vec::new(),
            outcome: Outcome::Unanswered,
            ending: None,
            tunnel: None,
            anomalies: Vec::new(),
        };
        let hop = hops.count_exchange(&call);
        hops.count_call(hop);
        let completeness = Completeness { unseen, ..Completeness::default() };
        let (clients, gaps) = (Clients::default(), Gaps::default());
        let view = View {
            hops: &hops,
            clients: &clients,
            gaps: &gaps,
            completeness: &completeness,
            shut: &[],
            undecoded: &[],
            tls_failures: &[],
            proxied: &[],
            regular: &[],
            logs: &[],
            credentials: &[],
            now: Timestamp::EPOCH,
        };
        let verdict = Judge::new(Selection::default()).finish(&view).verdict;
        (verdict.outcome, verdict.confidence)
    }

    #[test]
    fn no_kind_of_unseen_traffic_leaves_a_clean_verdict_untouched() {
        assert_eq!(verdict(Account::default()), (Verdict::Clean, Some(Confidence::Strong)));
        for kind in Unseen::ALL {
            let mut account = Account::default();
            account.add(*kind, 1, 0);
            assert_eq!(account.texts(|count| count.to_string(), |bytes| bytes.to_string()).len(), 1, "{kind:?}");
            let (outcome, confidence) = verdict(account);
            let at_most = match kind.effect() {
                // The capture begins and ends somewhere in any case.
                Effect::Absence => Confidence::Strong,
                Effect::Encrypted => Confidence::Likely,
                Effect::Plaintext => Confidence::Possible,
            };
            assert!(outcome != Verdict::Clean || confidence <= Some(at_most), "{kind:?}: {outcome:?} {confidence:?}");
        }
    }

    #[test]
    fn every_kind_has_a_label_of_its_own_and_every_loss_has_a_kind() {
        for (at, kind) in Unseen::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert!(Unseen::ALL.iter().skip(at + 1).all(|other| other.label() != kind.label()), "{kind:?}");
        }
        for reason in LossReason::ALL {
            let kind = Unseen::of_loss(*reason);
            assert_eq!(kind.effect() == Effect::Encrypted, reason.is_encrypted(), "{reason:?}");
        }
    }

    #[test]
    fn an_account_counts_and_tells_its_strongest_consequence() {
        let mut account = Account::default();
        assert!(account.is_empty() && account.effect().is_none());
        account.add(Unseen::OneSided, 1, 0);
        assert_eq!(account.effect(), Some(Effect::Absence));
        account.add(Unseen::Quic, 2, 0);
        account.add(Unseen::Quic, 1, 0);
        assert_eq!(account.effect(), Some(Effect::Encrypted));
        account.raise(Unseen::Quic, 2, 0);
        assert_eq!(account.count(Unseen::Quic), 3);
        account.add(Unseen::Http2, 1, 70);
        assert!(account.is_partial());
        let texts = account.texts(|count| count.to_string(), |bytes| format!("{bytes} B"));
        let expected = [
            "3 QUIC packets (not decoded)",
            "1 connection seen in one direction only",
            "1 plaintext HTTP/2 connection (not decoded) (70 B)",
        ];
        assert_eq!(texts, expected);
    }
}
