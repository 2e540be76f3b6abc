//! Hellos in the form of SSL 2.0, by which old clients also begin later versions (RFC 5246 appendix E.2).

use crate::decode::tls::Probe;
use crate::decode::tls::connection::Connection;
use crate::decode::tls::hello::Hello;
use crate::model::{Shut, TlsVersion};

/// Whether a stream begins with a ClientHello of that form.
pub(super) fn probe(start: &[u8]) -> Probe {
    let tests: [fn(u8) -> bool; 5] =
        [|high| high & 0x80 != 0, |_| true, |kind| kind == CLIENT_HELLO, |major| major == 3 || major == 0, |minor| minor <= 3];
    if start.is_empty() || !start.iter().zip(tests).all(|(byte, test)| test(*byte)) {
        return Probe::No;
    }
    match start {
        [_, _, _, 0, minor, ..] if *minor != 2 => Probe::No,
        [_, _, _, _, _, ..] if message(start).is_some_and(|message| message.len() < HELLO_BYTES_MIN) => Probe::No,
        [_, _, _, _, _, ..] => Probe::Yes,
        _ => Probe::Unsure,
    }
}

/// Whether a stream begins with the ServerHello of SSL 2.0.
pub(super) fn is_server_hello(start: &[u8]) -> bool {
    matches!(start, [high, _, SERVER_HELLO, ..] if high & 0x80 != 0)
}

/// Whether bytes of a side that has sent nothing before are such a hello.
pub(super) fn is_client_hello(start: &[u8]) -> bool {
    probe(start) == Probe::Yes
}

/// The length of the message that starts here, with its header of two bytes.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let &[high, low, ..] = start else { return None };
    Some(2 + usize::from(u16::from_be_bytes([high & 0x7f, low])))
}

impl Connection {
    /// Takes a ClientHello of that form, which is whole.
    pub(super) fn sslv2_hello(&mut self, octets: &[u8]) {
        self.has_client_hello = true;
        let Some((random, is_sslv2_only)) = message(octets).and_then(read) else {
            return self.client.shut(Shut::Malformed);
        };
        if is_sslv2_only {
            self.view.version = Some(TlsVersion::Ssl20);
            self.client.shut(Shut::VersionNotSupported);
            return self.server.shut(Shut::VersionNotSupported);
        }
        self.hello = Some(Box::new(Hello::of_random(random)));
    }
}

/// The random that stands for the challenge, and whether the client offers nothing later than SSL 2.0.
fn read(message: &[u8]) -> Option<([u8; 32], bool)> {
    let half = |at: usize| Some(usize::from(u16::from_be_bytes(*message.get(at..)?.first_chunk()?)));
    let (ciphers, session, challenge) = (half(3)?, half(5)?, half(7)?);
    let start = 9 + ciphers + session;
    let challenge = message.get(start..start + challenge).filter(|challenge| challenge.len() <= 32)?;
    let mut random = [0; 32];
    random.get_mut(32 - challenge.len()..)?.copy_from_slice(challenge);
    Some((random, message.get(1) == Some(&0)))
}

/// The message without its header, as far as it is there.
fn message(octets: &[u8]) -> Option<&[u8]> {
    let end = length(octets)?;
    octets.get(2..end.min(octets.len()).max(2))
}

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 4;
/// Type, version, three lengths.
const HELLO_BYTES_MIN: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: [u8; 2]) -> Vec<u8> {
        let body = [&[1][..], &version, &[0, 3, 0, 0, 0, 16], &[0, 0, 0x2f], &[7; 16]].concat();
        [&[0x80, body.len() as u8][..], &body].concat()
    }

    #[test]
    fn hellos_of_the_old_form_are_told_from_other_protocols_and_read() {
        let tls = hello([3, 1]);
        assert_eq!((probe(&tls), length(&tls)), (Probe::Yes, Some(tls.len())));
        assert_eq!(probe(&tls[..4]), Probe::Unsure);
        assert_eq!(probe(&hello([0, 2])), Probe::Yes);
        for other in [&b"\x80\x00\x01\x05\x00"[..], b"GET / HTTP/1.1", b"\x16\x03\x01\x00\x05", b"\x80\x05\x01\x03\x01abc", b""] {
            assert_eq!(probe(other), Probe::No, "{other:02x?}");
        }
        let (random, is_sslv2_only) = read(message(&tls).unwrap()).unwrap();
        assert_eq!((&random[..16], &random[16..], is_sslv2_only), (&[0; 16][..], &[7; 16][..], false));
        assert!(read(message(&hello([0, 2])).unwrap()).unwrap().1);
    }
}
