//! Record after record of a direction that is not opened: only headers are read, to know where the next one is.

use crate::decode::tls::direction::Current;
use crate::decode::tls::record::Header;

/// The place in a direction whose records are followed.
#[derive(Default)]
pub(super) struct Follow {
    /// The record under way, and octets of its body that are still to come.
    current: Option<(Header, usize)>,
    /// The start of a header.
    header: [u8; Header::BYTES],
    header_bytes: usize,
}

impl Follow {
    /// Goes on where reading has stopped: inside a record, or inside a header.
    pub(super) fn from_place(current: Option<&Current>, partial: &[u8]) -> Self {
        let mut follow = Self::default();
        match current {
            Some(current) => follow.current = Some((current.header, current.remaining())),
            None => {
                let _ = follow.take_header(partial);
            }
        }
        follow
    }

    /// How many of the next octets need not be given.
    pub(super) fn skippable(&self) -> u64 {
        self.current.map_or(0, |(_, remaining)| remaining as u64)
    }

    /// Takes octets up to the end of a header or a body; gives the record that ends there, and what is left. `Err` where no
    /// record can start.
    pub(super) fn take<'d>(&mut self, data: &'d [u8]) -> Result<(Option<Header>, &'d [u8]), Lost> {
        if let Some((_, remaining)) = self.current {
            let (now, rest) = data.split_at(remaining.min(data.len()));
            return Ok((self.pass(now.len()), rest));
        }
        let rest = self.take_header(data)?;
        Ok((self.pass(0), rest))
    }

    /// Passes over octets of the body under way; gives the record that ends there. `Err` where there are more than that.
    pub(super) fn skip(&mut self, length: u64) -> Result<Option<Header>, Lost> {
        if length > self.skippable() {
            return Err(Lost);
        }
        Ok(self.pass(usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn pass(&mut self, length: usize) -> Option<Header> {
        let (header, remaining) = self.current?;
        let remaining = remaining.saturating_sub(length);
        self.current = if remaining == 0 { None } else { Some((header, remaining)) };
        (remaining == 0).then_some(header)
    }

    fn take_header<'d>(&mut self, data: &'d [u8]) -> Result<&'d [u8], Lost> {
        let missing = self.header.get_mut(self.header_bytes..).unwrap_or_default();
        let (now, rest) = data.split_at(missing.len().min(data.len()));
        missing.iter_mut().zip(now).for_each(|(place, octet)| *place = *octet);
        self.header_bytes += now.len();
        if self.header_bytes == Header::BYTES {
            self.header_bytes = 0;
            let header = Header::read(&self.header).ok_or(Lost)?;
            self.current = Some((header, usize::from(header.length)));
        }
        Ok(rest)
    }
}

/// The place of the next record is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pieces: &[&[u8]]) -> Result<Vec<u16>, Lost> {
        let mut follow = Follow::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (header, left) = follow.take(rest)?;
                found.extend(header.map(|header| header.length));
                rest = left;
            }
        }
        Ok(found)
    }

    #[test]
    fn records_are_found_however_the_octets_are_cut() {
        let octets = [&[23, 3, 3, 0, 2, 9, 9][..], &[22, 3, 3, 0, 0], &[23, 3, 3, 0, 1, 9]].concat();
        for cut in 0..octets.len() {
            let (one, other) = octets.split_at(cut);
            assert_eq!(records(&[one, other]), Ok(vec![2, 0, 1]), "cut at {cut}");
        }
        assert_eq!(records(&[b"HTTP/1.1 200 OK"]), Err(Lost));
    }

    #[test]
    fn only_octets_of_a_body_can_be_passed_over() {
        let mut follow = Follow::default();
        assert_eq!(follow.skip(1), Err(Lost));
        assert_eq!(follow.take(&[23, 3, 3, 0, 9, 1]).map(|(header, rest)| (header, rest.len())), Ok((None, 1)));
        assert_eq!(follow.skippable(), 9);
        assert_eq!(follow.skip(8), Ok(None));
        assert_eq!(follow.skip(1).map(|header| header.map(|header| header.length)), Ok(Some(9)));
        assert_eq!(follow.skippable(), 0);
    }
}
