//! What the hellos of one handshake have settled, and the keys that follow from it and from the key log.

use std::hint::black_box;

use crate::decode::tls::Secrets;
use crate::decode::tls::cipher::{Epoch, KeyParts, Opener, key_block_lengths};
use crate::decode::tls::handshake::{ClientHello, MESSAGE_BYTES_MAX, ServerHello};
use crate::decode::tls::keylog::{Label, PremasterOf};
use crate::decode::tls::schedule::{MasterSeed, Prf};
use crate::decode::tls::sessions::SessionName;
use crate::decode::tls::suite::{Bulk, Hash, Suite};
use crate::model::{Side, TlsVersion};

/// One handshake, from its ClientHello until both sides use its keys.
pub(super) struct Hello {
    pub(super) client_random: [u8; 32],
    session_offered: Vec<u8>,
    ticket_offered: Option<SessionName>,
    pub(super) early: Early,
    /// Whether a HelloRetryRequest was seen.
    pub(super) is_retried: bool,
    pub(super) server: Option<Settled>,
    /// The ticket that the server gives out (TLS 1.2).
    pub(super) new_ticket: Option<SessionName>,
    encrypted_premaster: Option<[u8; 8]>,
    /// The messages up to ClientKeyExchange, kept only where a premaster secret may need them.
    transcript: Vec<u8>,
    is_transcript_whole: bool,
    is_transcript_closed: bool,
    masters: Masters,
    /// Whether client and server use the last keys of this handshake.
    in_use: [bool; 2],
}

/// What the ServerHello settled.
pub(super) struct Settled {
    pub(super) version: TlsVersion,
    /// Drafts of TLS 1.3 before 25 did not authenticate the record header.
    has_aad: bool,
    suite: Suite,
    random: [u8; 32],
    session_id: Vec<u8>,
    has_encrypt_then_mac: bool,
    has_extended_master_secret: bool,
}

/// What is known of 0-RTT data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// The client sends none.
    NotOffered,
    /// The client sends some, and the server's answer was not seen.
    Offered,
    /// The server took it.
    Accepted,
    /// The server passed over it, so that it never was part of the conversation.
    Rejected,
}

/// Master secrets that may be the right one, or the one that has proven so.
#[derive(Default)]
struct Masters {
    candidates: Vec<[u8; 48]>,
    is_proven: bool,
}

impl Drop for Masters {
    fn drop(&mut self) {
        self.candidates.iter_mut().for_each(|master| master.fill(0));
        black_box(&self.candidates);
    }
}

impl Hello {
    /// A handshake that begins with `hello`.
    pub(super) fn new(hello: &ClientHello) -> Self {
        Self {
            client_random: hello.random,
            session_offered: hello.session_id.clone(),
            ticket_offered: hello.ticket,
            early: if hello.has_early_data { Early::Offered } else { Early::NotOffered },
            is_retried: false,
            server: None,
            new_ticket: None,
            encrypted_premaster: None,
            transcript: Vec::new(),
            is_transcript_whole: true,
            is_transcript_closed: false,
            masters: Masters::default(),
            in_use: [false; 2],
        }
    }

    /// A handshake that begins with a hello of the form of SSL 2.0, which offers neither sessions to resume nor extensions.
    pub(super) fn of_random(random: [u8; 32]) -> Self {
        let offer = ClientHello { random, session_id: Vec::new(), sni: None, alpn: None, ticket: None, has_early_data: false };
        Self::new(&offer)
    }

    /// Takes a HelloRetryRequest, which also means that 0-RTT data was passed over.
    pub(super) fn handle_retry(&mut self) {
        self.is_retried = true;
        if self.early == Early::Offered {
            self.early = Early::Rejected;
        }
    }

    /// The version, once the ServerHello was seen.
    pub(super) fn version(&self) -> Option<TlsVersion> {
        self.server.as_ref().map(|server| server.version)
    }

    /// Whether TLS 1.3 was agreed on.
    pub(super) fn is_tls13(&self) -> bool {
        self.version() == Some(TlsVersion::Tls13)
    }

    /// Takes the ServerHello, whose suite must be one that can be opened.
    pub(super) fn settle(&mut self, hello: &ServerHello, version: TlsVersion, suite: Suite) {
        self.server = Some(Settled {
            version,
            has_aad: !matches!(hello.version, 0x7f00..=0x7f18),
            suite,
            random: hello.random,
            session_id: hello.session_id.clone(),
            has_encrypt_then_mac: hello.has_encrypt_then_mac,
            has_extended_master_secret: hello.has_extended_master_secret,
        });
    }

    /// Keeps what the extended master secret covers (RFC 7627), up to ClientKeyExchange.
    pub(super) fn record(&mut self, octets: &[u8]) {
        if self.is_transcript_closed || !self.is_transcript_whole {
            return;
        }
        if self.transcript.len() + octets.len() > MESSAGE_BYTES_MAX {
            self.transcript = Vec::new();
            self.is_transcript_whole = false;
            return;
        }
        self.transcript.extend_from_slice(octets);
    }

    /// Marks the ClientKeyExchange.
    pub(super) fn handle_key_exchange(&mut self, encrypted_premaster: Option<[u8; 8]>) {
        self.is_transcript_closed = true;
        self.encrypted_premaster = encrypted_premaster;
    }

    /// Openers of one side for every master secret that may fit (TLS 1.2 and below).
    pub(super) fn openers12(&mut self, side: Side, secrets: &mut Secrets<'_>) -> Vec<Opener> {
        if !self.masters.is_proven {
            self.masters.candidates = self.masters(secrets);
        }
        let Some(server) = &self.server else { return Vec::new() };
        let masters = self.masters.candidates.iter().zip(0..);
        let mut openers: Vec<_> =
            masters.filter_map(|(master, origin)| opener12(server, &self.client_random, master, side, origin)).collect();
        openers.extend((server.suite.bulk == Bulk::Null).then(|| Opener::readable(server.suite, None)));
        openers
    }

    /// Takes note that a side uses the last keys of this handshake.
    pub(super) fn handle_use(&mut self, side: Side) {
        let [client, server] = &mut self.in_use;
        *(if side == Side::Client { client } else { server }) = true;
    }

    /// Whether a side uses the last keys of this handshake.
    pub(super) fn is_used_by(&self, side: Side) -> bool {
        let [client, server] = self.in_use;
        if side == Side::Client { client } else { server }
    }

    /// Remembers which of the master secrets is right, and the sessions that can resume with it.
    pub(super) fn handle_proven(&mut self, origin: u8, secrets: &mut Secrets<'_>) {
        if !self.masters.is_proven
            && let Some(&master) = self.masters.candidates.get(usize::from(origin))
        {
            self.masters.candidates = vec![master];
            self.masters.is_proven = true;
        }
        self.remember_session(secrets);
    }

    /// Adds the session and the ticket of this handshake to those that can be resumed, once its master secret is certain.
    pub(super) fn remember_session(&self, secrets: &mut Secrets<'_>) {
        let (Some(server), Some(&master), true) = (&self.server, self.masters.candidates.first(), self.masters.is_proven) else {
            return;
        };
        for name in SessionName::of_id(&server.session_id).into_iter().chain(self.new_ticket) {
            secrets.sessions.add(name, master);
        }
    }

    /// Openers of one side for every traffic secret that may fit (TLS 1.3).
    pub(super) fn openers13(&self, side: Side, epoch: Epoch, secrets: &Secrets<'_>) -> Vec<Opener> {
        let label = match (epoch, side) {
            (Epoch::Early, Side::Client) => Label::ClientEarly,
            (Epoch::Handshake, Side::Client) => Label::ClientHandshake,
            (Epoch::Handshake, Side::Server) => Label::ServerHandshake,
            (Epoch::Application, Side::Client) => Label::ClientTraffic,
            (Epoch::Application, Side::Server) => Label::ServerTraffic,
            (Epoch::Early, Side::Server) => return Vec::new(),
        };
        let Some(server) = &self.server else { return Vec::new() };
        let traffic = secrets.keylog.secrets(label, &self.client_random);
        if server.suite.bulk == Bulk::Null {
            return vec![Opener::readable(server.suite, Some(epoch))];
        }
        traffic.filter_map(|secret| Opener::tls13(server.suite, secret, epoch, server.has_aad)).collect()
    }

    /// Every master secret that may be the one of this handshake.
    fn masters(&self, secrets: &mut Secrets<'_>) -> Vec<[u8; 48]> {
        let keylog = secrets.keylog;
        let logged = keylog.secrets(Label::Master, &self.client_random);
        let mut found: Vec<[u8; 48]> = logged.filter_map(|master| master.try_into().ok()).collect();
        let Some(server) = &self.server else { return found };
        found.extend(keylog.session(&server.session_id));
        let resumed = (server.session_id == self.session_offered).then(|| SessionName::of_id(&server.session_id)).flatten();
        for name in resumed.into_iter().chain(self.ticket_offered) {
            found.extend(secrets.sessions.find(name));
        }
        let named = [Some(PremasterOf::ClientRandom(self.client_random)), self.encrypted_premaster.map(PremasterOf::Encrypted)];
        for premaster in named.iter().flatten().flat_map(|of| keylog.premasters(of)) {
            let seed = if server.has_extended_master_secret {
                MasterSeed::Extended { transcript: &self.transcript }
            } else {
                MasterSeed::Randoms { client: &self.client_random, server: &server.random }
            };
            found.extend(prf(server).master(premaster, seed));
        }
        found.truncate(MASTERS_MAX);
        found
    }
}

/// The keys of one side, cut from the key block (RFC 5246 section 6.3).
fn opener12(server: &Settled, client_random: &[u8; 32], master: &[u8; 48], side: Side, origin: u8) -> Option<Opener> {
    let (mac_length, key_length, iv_length) = key_block_lengths(server.suite);
    let mut block = [0; 2 * (48 + 32 + 16)];
    let block = block.get_mut(..2 * (mac_length + key_length + iv_length))?;
    prf(server).fill(master, b"key expansion", &[&server.random, client_random], block)?;
    let pick = |offset: usize, length: usize| {
        let start = 2 * offset + if side == Side::Client { 0 } else { length };
        block.get(start..start + length)
    };
    let parts =
        KeyParts { mac: pick(0, mac_length)?, key: pick(mac_length, key_length)?, iv: pick(mac_length + key_length, iv_length)? };
    let has_chained_iv = server.version <= TlsVersion::Tls10;
    let mut opener = Opener::tls12(server.suite, &parts, has_chained_iv, server.has_encrypt_then_mac)?;
    opener.origin = origin;
    Some(opener)
}

fn prf(server: &Settled) -> Prf {
    match server.version {
        TlsVersion::Ssl20 | TlsVersion::Ssl30 | TlsVersion::Tls10 | TlsVersion::Tls11 => Prf::Md5AndSha1,
        TlsVersion::Tls12 | TlsVersion::Tls13 => Prf::Tls12(match server.suite.prf {
            Hash::Sha384 => Hash::Sha384,
            _ => Hash::Sha256,
        }),
    }
}

/// Master secrets that are tried for one handshake.
const MASTERS_MAX: usize = 64;
