//! A table of values by slot number, in pages: it grows without moving what it holds, and without a second copy meanwhile.

/// Values in slots. A slot that was given free is the next to be used.
pub(super) struct Slab<T> {
    pages: Vec<Vec<Option<T>>>,
    /// Slots that were used before and are empty.
    free: Vec<u32>,
    len: usize,
}

/// A size class of the allocator, which a page fills as far as whole values do.
const PAGE_BYTES: usize = 32 << 10;

impl<T> Slab<T> {
    const PAGE_SLOTS: usize = {
        let slots = PAGE_BYTES / size_of::<Option<T>>();
        if slots == 0 { 1 } else { slots }
    };

    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a value in; gives its slot.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.place(slot) {
                *place = Some(value);
            }
            return slot;
        }
        let before = self.pages.len().saturating_sub(1) * Self::PAGE_SLOTS;
        let slot = match self.pages.last_mut().filter(|page| page.len() < Self::PAGE_SLOTS) {
            Some(page) => {
                page.push(Some(value));
                before + page.len() - 1
            }
            None => {
                let mut page = Vec::with_capacity(Self::PAGE_SLOTS);
                page.push(Some(value));
                self.pages.push(page);
                (self.pages.len() - 1) * Self::PAGE_SLOTS
            }
        };
        u32::try_from(slot).unwrap_or(u32::MAX)
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.place(slot)?.take()?;
        self.len -= 1;
        self.free.push(slot);
        Some(value)
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        self.pages.get(slot / Self::PAGE_SLOTS)?.get(slot % Self::PAGE_SLOTS)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.place(slot)?.as_mut()
    }

    /// All values in order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.pages.iter().flatten()).filter_map(|(slot, place)| Some((slot, place.as_ref()?)))
    }

    #[inline]
    fn place(&mut self, slot: u32) -> Option<&mut Option<T>> {
        let slot = slot as usize;
        self.pages.get_mut(slot / Self::PAGE_SLOTS)?.get_mut(slot % Self::PAGE_SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_values_stay_where_they_are() {
        let mut slab: Slab<[u64; 100]> = Slab::new();
        let page = Slab::<[u64; 100]>::PAGE_SLOTS as u64;
        let slots: Vec<u32> = (0..page + 2).map(|value| slab.insert([value; 100])).collect();
        assert_eq!(slots, (0..page as u32 + 2).collect::<Vec<_>>());
        let first = std::ptr::from_ref(slab.get(0).unwrap());
        assert_eq!(slab.remove(3).map(|value| value[0]), Some(3));
        assert!(slab.remove(3).is_none() && slab.get(3).is_none());
        assert_eq!(slab.remove(page as u32).map(|value| value[0]), Some(page));
        assert_eq!(slab.len() as u64, page);
        assert_eq!([slab.insert([7; 100]), slab.insert([8; 100]), slab.insert([9; 100])], [page as u32, 3, page as u32 + 2]);
        assert_eq!(std::ptr::from_ref(slab.get(0).unwrap()), first);
        slab.get_mut(0).unwrap()[0] = 6;
        let values: Vec<u64> = slab.iter().map(|(_, value)| value[0]).collect();
        assert_eq!((values.len() as u64, &values[..5]), (page + 3, &[6, 1, 2, 8, 4][..]));
        assert!(slab.get(u32::MAX).is_none());
    }

    #[test]
    fn a_value_larger_than_a_page_has_one_of_its_own() {
        let mut slab: Slab<[u8; PAGE_BYTES + 1]> = Slab::new();
        assert_eq!([slab.insert([1; PAGE_BYTES + 1]), slab.insert([2; PAGE_BYTES + 1])], [0, 1]);
        assert_eq!(slab.get(1).map(|value| value[0]), Some(2));
    }
}
