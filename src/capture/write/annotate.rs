//! Puts comments on frames of a pcapng that is written already: a copy with the comments in it. Everything else stays byte for byte.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// Copies a pcapng that [`crate::capture::write::pcapng::Writer`] wrote (one section, little-endian), with comments on frames by their
/// number from 1. Gives how many frames got one. What is cut at the end is left out.
///
/// # Errors
/// Where reading or writing fails, or a block cannot be one of ours.
pub fn annotate(mut input: impl Read, mut output: impl Write, comments: &BTreeMap<u64, Vec<String>>) -> io::Result<u64> {
    let (mut frame, mut commented) = (0, 0);
    let mut block = Vec::new();
    while read_block(&mut input, &mut block)? {
        if word(&block, 0) == Some(ENHANCED_PACKET) {
            frame += 1;
            if let Some(comments) = comments.get(&frame) {
                add_comments(&mut block, comments)?;
                commented += 1;
            }
        }
        output.write_all(&block)?;
    }
    output.flush()?;
    Ok(commented)
}

/// Reads one whole block; `false` at the end, and at a block that is cut.
fn read_block(input: &mut impl Read, block: &mut Vec<u8>) -> io::Result<bool> {
    block.clear();
    input.by_ref().take(8).read_to_end(block)?;
    let Some(length) = word(block, 4) else { return Ok(false) };
    if !(12..=BLOCK_BYTES_MAX).contains(&length) || !length.is_multiple_of(4) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a block of impossible length"));
    }
    input.by_ref().take(u64::from(length) - 8).read_to_end(block)?;
    Ok(block.len() == length as usize)
}

/// Adds comments to an enhanced packet block, before the options it has.
fn add_comments(block: &mut Vec<u8>, comments: &[String]) -> io::Result<()> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a packet block that contradicts itself");
    let captured = word(block, 20).ok_or_else(wrong)? as usize;
    let options_at = captured.checked_next_multiple_of(4).and_then(|padded| padded.checked_add(28)).ok_or_else(wrong)?;
    let end = block.len().saturating_sub(4);
    let old_options = block.get(options_at..end).ok_or_else(wrong)?.to_vec();
    block.truncate(options_at);
    for comment in comments {
        let text = comment.get(..comment.floor_char_boundary(COMMENT_BYTES_MAX)).unwrap_or_default().as_bytes();
        block.extend_from_slice(&COMMENT.to_le_bytes());
        block.extend_from_slice(&(text.len() as u16).to_le_bytes());
        block.extend_from_slice(text);
        block.resize(block.len().next_multiple_of(4), 0);
    }
    match old_options.is_empty() {
        true => block.extend_from_slice(&[0; 4]),
        false => block.extend_from_slice(&old_options),
    }
    let length = u32::try_from(block.len() + 4).map_err(|_| wrong())?.to_le_bytes();
    block.extend_from_slice(&length);
    block.get_mut(4..8).ok_or_else(wrong)?.copy_from_slice(&length);
    Ok(())
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?))
}

const ENHANCED_PACKET: u32 = 6;
const COMMENT: u16 = 1;

/// Readers take blocks of up to 16 MiB.
const BLOCK_BYTES_MAX: u32 = 16 << 20;

/// An option's length has 16 bits; nobody reads more in one comment.
const COMMENT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::write::pcapng::{InterfaceDescription, PacketRecord, Writer};
    use crate::model::{LinkType, Timestamp};

    fn written(comments: [&[&str]; 3]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), "test", &[]).unwrap();
        let interface = writer.add_interface(LinkType(1), &InterfaceDescription::default()).unwrap();
        for (bytes, comments) in [b"a".as_slice(), b"four", b"five5"].into_iter().zip(comments) {
            writer.write_packet(interface, &PacketRecord { at: Timestamp::EPOCH, bytes, original: 9, comments }).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_copy_with_comments_is_what_would_have_been_written_with_them() {
        let comments = BTreeMap::from([(2, vec!["one".to_owned(), "two".to_owned()]), (3, vec!["new".to_owned()]), (9, vec![])]);
        let mut copy = Vec::new();
        let plain = written([&[], &[], &["old"]]);
        assert_eq!(annotate(plain.as_slice(), &mut copy, &comments).unwrap(), 2);
        assert_eq!(copy, written([&[], &["one", "two"], &["new", "old"]]));
    }

    #[test]
    fn a_cut_block_is_left_out_and_nonsense_refused() {
        let plain = written([&[], &[], &[]]);
        let cut = plain.get(..plain.len() - 5).unwrap();
        let mut copy = Vec::new();
        annotate(cut, &mut copy, &BTreeMap::new()).unwrap();
        assert!(plain.starts_with(&copy) && copy.len() < cut.len());
        assert!(annotate([7_u8; 64].as_slice(), Vec::new(), &BTreeMap::new()).is_err());
    }
}
