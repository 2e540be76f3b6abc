//! Record headers: five octets in, type and length out (RFC 8446 section 5.1).

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The content type, which TLS 1.3 hides behind [`APPLICATION_DATA`].
    pub(super) kind: u8,
    /// The version field, which says little (RFC 8446 appendix D).
    pub(super) version: [u8; 2],
    /// Octets that follow.
    pub(super) length: u16,
}

impl Header {
    /// A record of no type, which stands for none.
    pub(super) const NONE: Self = Self { kind: 0, version: [0; 2], length: 0 };

    /// Octets of a header.
    pub(super) const BYTES: usize = 5;

    /// Reads a header; `None` where no record of TLS can start so.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let &[kind, major, minor, high, low, ..] = octets else { return None };
        let length = u16::from_be_bytes([high, low]);
        let is_possible = matches!(kind, CHANGE_CIPHER_SPEC..=HEARTBEAT) && major == 3 && minor <= 4 && length <= LENGTH_MAX;
        is_possible.then_some(Self { kind, version: [major, minor], length })
    }

    /// The octets of the header.
    pub(super) const fn octets(self) -> [u8; 5] {
        let [high, low] = self.length.to_be_bytes();
        [self.kind, self.version[0], self.version[1], high, low]
    }

    /// Octets of header and body.
    pub(super) const fn total(self) -> usize {
        Self::BYTES + self.length as usize
    }
}

/// change_cipher_spec.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
/// alert.
pub(super) const ALERT: u8 = 21;
/// handshake.
pub(super) const HANDSHAKE: u8 = 22;
/// application_data.
pub(super) const APPLICATION_DATA: u8 = 23;
/// heartbeat (RFC 6520).
pub(super) const HEARTBEAT: u8 = 24;

/// Octets of a record body: 2^14 of content and 2048 of protection, the bound of RFC 5246.
pub(super) const LENGTH_MAX: u16 = (1 << 14) + 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_record_is_one() {
        let header = Header::read(&[23, 3, 3, 0x40, 0x11, 0xff]).unwrap();
        assert_eq!((header.kind, header.length, header.octets()), (23, 0x4011, [23, 3, 3, 0x40, 0x11]));
        for other in [[19, 3, 3, 0, 1], [25, 3, 3, 0, 1], [22, 2, 3, 0, 1], [22, 3, 5, 0, 1], [23, 3, 3, 0x48, 1]] {
            assert_eq!(Header::read(&other), None, "{other:?}");
        }
        assert_eq!(Header::read(b"\x16\x03\x01\x00"), None);
    }
}
