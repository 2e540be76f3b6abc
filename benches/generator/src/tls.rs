//! TLS 1.3 with TLS_AES_128_GCM_SHA256 (RFC 8446) as both ends of a connection would write it, with random traffic secrets.
//! The key exchange is made up; all that a reader with the key log decrypts is real: records, Finished, key updates.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

use crate::connection::Side;
use crate::random::Random;

/// The TLS state of both ends of one connection.
pub struct Session {
    /// The key log lines of the connection.
    pub key_log: Vec<u8>,
    handshake: [Writer; 2],
    application: [Writer; 2],
    transcript: digest::Context,
    client_random: [u8; 32],
    session_id: [u8; 32],
    host: &'static str,
}

impl Session {
    /// Chooses the secrets of a connection to `host`.
    pub fn new(host: &'static str, random: &mut Random) -> Self {
        let client_random = random.bytes();
        let secrets: [[u8; 32]; 4] = std::array::from_fn(|_| random.bytes());
        let mut key_log = Vec::with_capacity(700);
        for (label, secret) in KEY_LOG_LABELS.iter().zip(&secrets) {
            key_log.extend_from_slice(label.as_bytes());
            key_log.push(b' ');
            hex(&client_random, &mut key_log);
            key_log.push(b' ');
            hex(secret, &mut key_log);
            key_log.push(b'\n');
        }
        let [client_handshake, server_handshake, client, server] = secrets.map(Writer::new);
        Self {
            key_log,
            handshake: [client_handshake, server_handshake],
            application: [client, server],
            transcript: digest::Context::new(&digest::SHA256),
            client_random,
            session_id: random.bytes(),
            host,
        }
    }

    /// The client's first flight: ClientHello.
    pub fn client_hello(&mut self, random: &mut Random) -> Vec<u8> {
        let mut extensions = Vec::with_capacity(300);
        let name_len = self.host.len() as u16;
        let mut sni = Vec::with_capacity(5 + self.host.len());
        sni.extend((name_len + 3).to_be_bytes());
        sni.push(0);
        sni.extend(name_len.to_be_bytes());
        sni.extend_from_slice(self.host.as_bytes());
        extension(0, &sni, &mut extensions);
        extension(10, &[0, 2, 0, 29], &mut extensions);
        extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 2, 1], &mut extensions);
        extension(16, ALPN_HTTP11, &mut extensions);
        extension(43, &[2, 3, 4], &mut extensions);
        extension(45, &[1, 1], &mut extensions);
        extension(51, &key_share(true, random), &mut extensions);
        let mut body = vec![3, 3];
        body.extend(self.client_random);
        body.push(32);
        body.extend(self.session_id);
        body.extend([0, 6, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let hello = self.message(1, &body);
        let mut wire = Vec::with_capacity(hello.len() + 5);
        record(22, 1, &hello, &mut wire);
        wire
    }

    /// The server's flight: ServerHello, ChangeCipherSpec, and encrypted EncryptedExtensions to Finished.
    pub fn server_flight(&mut self, random: &mut Random) -> Vec<u8> {
        let mut extensions = Vec::with_capacity(64);
        extension(51, &key_share(false, random), &mut extensions);
        extension(43, &[3, 4], &mut extensions);
        let mut body = vec![3, 3];
        body.extend(random.bytes::<32>());
        body.push(32);
        body.extend(self.session_id);
        body.extend([0x13, 0x01, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut wire = Vec::with_capacity(1600);
        record(22, 3, &self.message(2, &body), &mut wire);
        record(20, 3, &[1], &mut wire);

        let mut encrypted_extensions = vec![0, ALPN_HTTP11.len() as u8 + 4];
        extension(16, ALPN_HTTP11, &mut encrypted_extensions);
        let mut verify = vec![4, 3, 0, 70];
        verify.extend(random.bytes::<70>());
        for (kind, body) in [(8, encrypted_extensions), (11, certificate(random)), (15, verify)] {
            let message = self.message(kind, &body);
            self.handshake[Side::Server as usize].seal(HANDSHAKE, &message, &mut wire);
        }
        self.finished(Side::Server, &mut wire);
        wire
    }

    /// The client's second flight: ChangeCipherSpec and Finished.
    pub fn client_finished(&mut self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(80);
        record(20, 3, &[1], &mut wire);
        self.finished(Side::Client, &mut wire);
        wire
    }

    /// The server's first application-key record: a session ticket.
    pub fn session_ticket(&mut self, random: &mut Random) -> Vec<u8> {
        let mut body = Vec::with_capacity(220);
        body.extend(604_800_u32.to_be_bytes());
        body.extend(random.bytes::<4>());
        body.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192]);
        body.extend(random.bytes::<192>());
        body.extend([0, 0]);
        let message = self.message(4, &body);
        let mut wire = Vec::with_capacity(message.len() + 22);
        self.application[Side::Server as usize].seal(HANDSHAKE, &message, &mut wire);
        wire
    }

    /// Appends application bytes as one record; at most 16 KiB.
    pub fn seal(&mut self, side: Side, plaintext: &[u8], wire: &mut Vec<u8>) {
        self.application[side as usize].seal(APPLICATION, plaintext, wire);
    }

    /// Appends a KeyUpdate and changes the side's key (RFC 8446 section 7.2).
    pub fn update_key(&mut self, side: Side, wire: &mut Vec<u8>) {
        let writer = &mut self.application[side as usize];
        writer.seal(HANDSHAKE, &[24, 0, 0, 1, 0], wire);
        *writer = Writer::new(expand_label(&writer.secret, "traffic upd"));
    }

    /// The side's close_notify alert.
    pub fn close_notify(&mut self, side: Side) -> Vec<u8> {
        let mut wire = Vec::with_capacity(24);
        self.application[side as usize].seal(ALERT, &[1, 0], &mut wire);
        wire
    }

    fn finished(&mut self, side: Side, wire: &mut Vec<u8>) {
        let key: [u8; 32] = expand_label(&self.handshake[side as usize].secret, "finished");
        let hash = self.transcript.clone().finish();
        let verify = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), hash.as_ref());
        let message = self.message(20, verify.as_ref());
        self.handshake[side as usize].seal(HANDSHAKE, &message, wire);
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(body.len() + 4);
        message.push(kind);
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend_from_slice(body);
        self.transcript.update(&message);
        message
    }
}

// The sending half of one side under one traffic secret.
struct Writer {
    secret: [u8; 32],
    key: Option<LessSafeKey>,
    iv: [u8; 12],
    sequence: u64,
}

impl Writer {
    fn new(secret: [u8; 32]) -> Self {
        let key: [u8; 16] = expand_label(&secret, "key");
        // An AES-128 key of 16 bytes is never refused.
        let key = UnboundKey::new(&AES_128_GCM, &key).ok().map(LessSafeKey::new);
        Self { secret, key, iv: expand_label(&secret, "iv"), sequence: 0 }
    }

    fn seal(&mut self, content_type: u8, plaintext: &[u8], wire: &mut Vec<u8>) {
        let header = record_header(APPLICATION, 3, plaintext.len() + 17);
        wire.extend(header);
        let at = wire.len();
        wire.extend_from_slice(plaintext);
        wire.push(content_type);
        let mut nonce = self.iv;
        for (byte, counter) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counter;
        }
        self.sequence += 1;
        let sealed = self.key.as_ref().and_then(|key| {
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut wire[at..]).ok()
        });
        if let Some(tag) = sealed {
            wire.extend_from_slice(tag.as_ref());
        }
    }
}

const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
const ALERT: u8 = 21;
const ALPN_HTTP11: &[u8] = b"\0\x09\x08http/1.1";
const KEY_LOG_LABELS: [&str; 4] =
    ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];

// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1). N is at most 32, so one HMAC block is enough.
fn expand_label<const N: usize>(secret: &[u8; 32], label: &str) -> [u8; N] {
    let mut info = Vec::with_capacity(32);
    info.extend((N as u16).to_be_bytes());
    info.push(label.len() as u8 + 6);
    info.extend_from_slice(b"tls13 ");
    info.extend_from_slice(label.as_bytes());
    info.extend([0, 1]);
    let block = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &info);
    let mut out = [0; N];
    out.copy_from_slice(&block.as_ref()[..N]);
    out
}

fn extension(kind: u16, body: &[u8], out: &mut Vec<u8>) {
    out.extend(kind.to_be_bytes());
    out.extend((body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
}

fn key_share(is_list: bool, random: &mut Random) -> Vec<u8> {
    let mut share = if is_list { vec![0, 36] } else { Vec::new() };
    share.extend([0, 29, 0, 32]);
    share.extend(random.bytes::<32>());
    share
}

// A chain of one certificate: well-formed DER outside (a sequence of one octet string), made up inside.
fn certificate(random: &mut Random) -> Vec<u8> {
    const DER_BYTES: u16 = 800;
    let mut body = vec![0, 0];
    body.extend((DER_BYTES + 5).to_be_bytes());
    body.push(0);
    body.extend(DER_BYTES.to_be_bytes());
    body.extend([0x30, 0x82]);
    body.extend((DER_BYTES - 4).to_be_bytes());
    body.extend([0x04, 0x82]);
    body.extend((DER_BYTES - 8).to_be_bytes());
    let at = body.len();
    body.resize(at + DER_BYTES as usize - 8, 0);
    random.fill(&mut body[at..]);
    body.extend([0, 0]);
    body
}

const fn record_header(content_type: u8, minor_version: u8, len: usize) -> [u8; 5] {
    let [high, low] = (len as u16).to_be_bytes();
    [content_type, 3, minor_version, high, low]
}

fn record(content_type: u8, minor_version: u8, body: &[u8], wire: &mut Vec<u8>) {
    wire.extend(record_header(content_type, minor_version, body.len()));
    wire.extend_from_slice(body);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Writer, expand_label};

    #[test]
    fn derives_the_keys_of_rfc_8448() {
        // RFC 8448 section 3, the server's handshake traffic secret.
        let secret = bytes("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        assert_eq!(expand_label::<16>(&secret, "key").as_slice(), bytes::<16>("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(Writer::new(secret).iv, bytes("5d313eb2671276ee13000b30"));
        let finished = bytes("008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8");
        assert_eq!(expand_label::<32>(&secret, "finished"), finished);
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap_or_default())
    }
}
