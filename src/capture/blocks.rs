//! Blocks and options of pcapng (draft-ietf-opsawg-pcapng): numbers, names and how to go through them.

use crate::capture::walk::half_at;

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
/// The obsolete Packet Block.
pub(super) const PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const NAMES: u32 = 4;
pub(super) const STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;
pub(super) const JOURNAL: u32 = 9;
pub(super) const SECRETS: u32 = 10;
pub(super) const CUSTOM: u32 = 0x0bad;
pub(super) const CUSTOM_NO_COPY: u32 = 0x4000_0bad;

/// The byte-order mark of a section.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Secrets in the format of an NSS key log ("TLSK").
pub(super) const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Bytes of the smallest block: type and two lengths.
pub(super) const BLOCK_BYTES_MIN: u32 = 12;

/// `opt_comment`
pub(super) const COMMENT: u16 = 1;
/// `if_name`
pub(super) const INTERFACE_NAME: u16 = 2;
/// `if_description`
pub(super) const INTERFACE_DESCRIPTION: u16 = 3;
/// `if_tsresol`
pub(super) const INTERFACE_RESOLUTION: u16 = 9;
/// `if_tsoffset`
pub(super) const INTERFACE_OFFSET: u16 = 14;
/// `shb_userappl`
pub(super) const SECTION_APPLICATION: u16 = 4;
/// `isb_ifrecv`
pub(super) const STATISTICS_RECEIVED: u16 = 4;
/// `isb_ifdrop`
pub(super) const STATISTICS_DROPPED: u16 = 5;
/// `isb_osdrop`
pub(super) const STATISTICS_DROPPED_BY_SYSTEM: u16 = 7;

/// `nrb_record_ipv4`
pub(super) const NAME_IPV4: u16 = 1;
/// `nrb_record_ipv6`
pub(super) const NAME_IPV6: u16 = 2;

/// Whether a block of this type is known; used to recognise blocks after damage.
pub(super) const fn is_known(kind: u32) -> bool {
    matches!(kind, SECTION | INTERFACE..=ENHANCED_PACKET | JOURNAL | SECRETS | CUSTOM | CUSTOM_NO_COPY)
}

/// The options of a block (or the records of a name block): number and value, up to the end mark or what is no option.
pub(super) fn options(mut bytes: &[u8], big: bool) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let number = half_at(bytes, 0, big)?;
        let length = usize::from(half_at(bytes, 2, big)?);
        if number == 0 {
            return None;
        }
        let value = bytes.get(4..4 + length)?;
        bytes = bytes.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// A value of eight bytes.
pub(super) fn long(value: &[u8], big: bool) -> Option<u64> {
    let bytes = *value.first_chunk()?;
    Some(if big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}
