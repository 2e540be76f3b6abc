//! The input of a check, taken number by number; zeros once it is used up.

/// The rest of an input.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next octet.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// The next two octets as a number.
    pub fn half(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next four octets as a number.
    pub fn word(&mut self) -> u32 {
        u32::from(self.half()) << 16 | u32::from(self.half())
    }

    /// A number below `bound`, of two octets.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.half()) % bound.max(1)
    }

    /// The next octets, as many as there are.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (now, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        now
    }

    /// The octets up to `separator`, which is passed over, or all that are left.
    pub fn until(&mut self, separator: u8) -> &'a [u8] {
        let end = self.0.iter().position(|octet| *octet == separator).unwrap_or(self.0.len());
        let now = self.take(end);
        self.take(1);
        now
    }
}

/// Cuts `data` into pieces whose lengths are made of the octets of `input`, from its end; repeats them where they run out.
pub fn cut<'d>(data: &'d [u8], input: &[u8], mut piece: impl FnMut(&'d [u8])) {
    let mut sizes = input.iter().rev().map(|octet| usize::from(*octet % 37) + 1).cycle();
    let mut rest = data;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        piece(now);
        rest = later;
    }
}
