//! What rules count per client: rows by the client's number, so that the common case is an index and no look-up.

use crate::hops::ClientId;
use crate::rules::sight::{Sight, Sights};

/// One row per client, made when first needed. Bounded by the number of clients that are told apart.
#[derive(Debug)]
pub(super) struct PerClient<V> {
    rows: Vec<Option<Box<Row<V>>>>,
}

/// What is counted of one client.
#[derive(Debug, Default)]
pub(super) struct Row<V> {
    /// Where it was seen.
    pub(super) sights: Sights,
    /// What else is remembered.
    pub(super) value: V,
}

impl<V> Default for PerClient<V> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<V: Default> PerClient<V> {
    /// The row of a client; made where there is none.
    pub(super) fn row(&mut self, client: ClientId) -> Option<&mut Row<V>> {
        let index = client.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize_with(index + 1, || None);
        }
        Some(self.rows.get_mut(index)?.get_or_insert_with(Box::default))
    }

    /// Counts a sight; gives the row, and whether it is the first of this client.
    pub(super) fn add(&mut self, client: ClientId, sight: Sight) -> Option<(&mut Row<V>, bool)> {
        let row = self.row(client)?;
        row.sights.add(sight);
        let is_first = row.sights.count == 1;
        Some((row, is_first))
    }

    /// The row of a client, where there is one.
    pub(super) fn find(&self, client: ClientId) -> Option<&Row<V>> {
        self.rows.get(client.0 as usize)?.as_deref()
    }

    /// All rows, by client.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &Row<V>)> {
        (0..).map(ClientId).zip(&self.rows).filter_map(|(client, row)| Some((client, row.as_deref()?)))
    }
}

/// A few values that differ: counted exactly up to the bound, "at least" beyond it.
#[derive(Debug, Clone)]
pub(super) struct Distinct<T, const MAX: usize> {
    values: Vec<T>,
    /// Whether there were more than the bound.
    pub(super) is_cut: bool,
}

impl<T, const MAX: usize> Default for Distinct<T, MAX> {
    fn default() -> Self {
        Self { values: Vec::new(), is_cut: false }
    }
}

impl<T: PartialEq, const MAX: usize> Distinct<T, MAX> {
    /// Adds a value; `make` builds it where it is new and there is room.
    pub(super) fn add<Q: ?Sized>(&mut self, value: &Q, is_same: impl Fn(&T, &Q) -> bool, make: impl FnOnce(&Q) -> T) {
        if self.values.iter().any(|have| is_same(have, value)) {
            return;
        }
        if self.values.len() < MAX {
            self.values.push(make(value));
        } else {
            self.is_cut = true;
        }
    }

    /// The values, in order of first sight.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    /// `3`, or `at least 64`.
    pub(super) fn count_text(&self) -> String {
        if self.is_cut { format!("at least {}", self.values.len()) } else { self.values.len().to_string() }
    }
}

impl<const MAX: usize> Distinct<Vec<u8>, MAX> {
    /// Adds bytes from the wire, cut to a length that reports can bear.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        const BYTES_MAX: usize = 512;
        let bytes = bytes.get(..BYTES_MAX).unwrap_or(bytes);
        self.add(bytes, |have, value| have.as_slice() == value, <[u8]>::to_vec);
    }
}
