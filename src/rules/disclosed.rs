//! What the rules for leaks share: counts per hop, with the clients that showed it.

use std::net::IpAddr;

use crate::hops::{ClientId, HopId};
use crate::rules::aggregate::Distinct;
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Disclosure, Finding, Rule, View};

/// How many hops are told apart; a run has few.
const HOPS_MAX: usize = 256;
/// How many clients a finding counts one by one.
const CLIENTS_MAX: usize = 64;
/// How many of them it names.
const CLIENTS_SHOWN: usize = 4;

/// Who sent something: an S3 client, or an address.
type Sender = (Option<ClientId>, IpAddr);

/// One row for each hop, made when first needed.
#[derive(Debug)]
pub(super) struct PerHop<V> {
    rows: Vec<HopRow<V>>,
}

/// What is counted on one hop.
#[derive(Debug)]
pub(super) struct HopRow<V> {
    pub(super) hop: HopId,
    /// Where it was seen.
    pub(super) sights: Sights,
    clients: Distinct<Sender, CLIENTS_MAX>,
    /// What else is remembered.
    pub(super) value: V,
}

impl<V> Default for PerHop<V> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<V: Default> PerHop<V> {
    /// Counts an exchange on a hop; gives its row, and whether it is the first there. `None` beyond the bound.
    pub(super) fn add(
        &mut self,
        hop: HopId,
        client: Option<ClientId>,
        ip: IpAddr,
        sight: Sight,
    ) -> Option<(&mut HopRow<V>, bool)> {
        let index = match self.rows.iter().position(|row| row.hop == hop) {
            Some(index) => index,
            None if self.rows.len() < HOPS_MAX => {
                self.rows.push(HopRow { hop, sights: Sights::default(), clients: Distinct::default(), value: V::default() });
                self.rows.len() - 1
            }
            None => return None,
        };
        let row = self.rows.get_mut(index)?;
        row.sights.add(sight);
        row.clients.add(&(client, ip), |have, new| have == new, |new| *new);
        let is_first = row.sights.count == 1;
        Some((row, is_first))
    }

    /// Counts an exchange that disclosed something.
    pub(super) fn add_disclosed(&mut self, disclosed: &Disclosure<'_>, sight: Sight) -> Option<(&mut HopRow<V>, bool)> {
        self.add(disclosed.hop, disclosed.client, disclosed.exchange.endpoints.client.ip, sight)
    }

    /// The row of a hop, where there is one.
    pub(super) fn row(&mut self, hop: HopId) -> Option<&mut HopRow<V>> {
        self.rows.iter_mut().find(|row| row.hop == hop)
    }

    /// All rows, in order of first sight.
    pub(super) fn iter(&self) -> impl Iterator<Item = &HopRow<V>> {
        self.rows.iter()
    }
}

impl<V> HopRow<V> {
    /// A finding of the bytes themselves, about the hop and its clients.
    pub(super) fn finding(&self, rule: &'static Rule, message: String, view: &View<'_>) -> Finding {
        let named = |(client, ip): &Sender| client.map_or_else(|| ip.to_string(), |client| view.client_text(client));
        let mut shown: Vec<String> = self.clients.values().iter().take(CLIENTS_SHOWN).map(named).collect();
        let rest = self.clients.values().len().saturating_sub(CLIENTS_SHOWN);
        if rest > 0 {
            let more = if self.clients.is_cut { "at least " } else { "" };
            shown.push(format!("and {more}{rest} more"));
        }
        Finding::new(rule, Confidence::Certain, Some(self.hop), self.sights.count, message)
            .about("client", shown.join(", "))
            .shown_by(self.sights.evidence())
    }
}
