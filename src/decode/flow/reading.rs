//! Octets in order on their way to what reads them: those that it need not see are counted only.

use crate::decode::content::{Place, Roles};
use crate::decode::ends::Way;
use crate::decode::flow::{Flow, Surroundings, narrow};
use crate::decode::stream::Stream;
use crate::model::{Proxied, Side, Stamp};

/// Octets in order of one side.
pub(super) struct Piece<'a> {
    pub(super) side: Side,
    pub(super) stamp: Stamp,
    /// The first of them.
    pub(super) bytes: &'a [u8],
    /// How many there are.
    pub(super) captured: u32,
    /// How many the content need not read.
    pub(super) skippable: u64,
}

impl Flow {
    /// Gives octets to the content: the body of a message passes by its length, the rest is read. Tells whether it was read.
    pub(super) fn read(
        &mut self,
        piece: &Piece<'_>,
        around: &mut Surroundings<'_, '_>,
        tail: &mut dyn FnMut(u32, &mut Vec<u8>),
    ) -> bool {
        let whole = u64::from(piece.captured);
        let is_read = piece.skippable < whole;
        if is_read {
            self.read_octets(piece, around, tail);
        } else {
            self.content.handle_skip(piece.side, piece.stamp, whole, around.secrets);
        }
        self.drain(around);
        is_read
    }

    /// Gives octets to the content that it has to read, as far as it has.
    fn read_octets(&mut self, piece: &Piece<'_>, around: &mut Surroundings<'_, '_>, tail: &mut dyn FnMut(u32, &mut Vec<u8>)) {
        let side = self.give(piece.side, piece.stamp, piece.bytes, around);
        let seen = narrow(piece.bytes.len());
        let left = u64::from(piece.captured.saturating_sub(seen));
        if left > 0 && self.content.skippable(side) >= left {
            self.content.handle_skip(side, piece.stamp, left, around.secrets);
        } else if left > 0 {
            let mut rest = Vec::new();
            tail(seen, &mut rest);
            rest.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.give(side, piece.stamp, &rest, around);
        }
    }

    /// Gives octets to be read; gives the side that sent them, as they show it.
    fn give(&mut self, side: Side, stamp: Stamp, data: &[u8], around: &mut Surroundings<'_, '_>) -> Side {
        let is_known = self.content.read_on(side, stamp, data);
        let roles = if is_known { Roles::Known } else { self.recognise(side, stamp, data, around) };
        if let Some(rare) = self.rare.as_mut().filter(|rare| rare.untold) {
            let content = &mut self.content;
            rare.untold = !rare.anomalies.iter().all(|anomaly| content.handle_anomaly(Side::Client, *anomaly));
        }
        if roles == Roles::Known {
            return side;
        }
        self.client = self.client.map(Way::other);
        side.other()
    }

    fn recognise(&mut self, side: Side, stamp: Stamp, data: &[u8], around: &mut Surroundings<'_, '_>) -> Roles {
        let place = Place {
            flow: self.id,
            endpoints: self.endpoints(),
            has_start: self.streams.iter().any(Stream::has_syn),
            limits: around.limits,
            proxy_header: None.into(),
        };
        let roles = self.content.handle_data(&place, side, stamp, data, around.secrets);
        if let Some(header) = place.proxy_header.take() {
            let proxied = Proxied { header, status: None, is_refused: false };
            self.rare().proxied.get_or_insert_with(|| Box::new(proxied));
        }
        roles
    }

    pub(super) fn read_gap(&mut self, side: Side, stamp: Stamp, length: u32, around: &mut Surroundings<'_, '_>) {
        self.rare().first_gap.get_or_insert(stamp.frame);
        self.content.handle_gap(side, stamp, u64::from(length), around.secrets);
        self.drain(around);
    }
}
