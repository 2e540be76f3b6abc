//! Frame numbers: the evidence that a reader can open in Wireshark.

use crate::model::Timestamp;

/// A frame: the number of its file among the inputs, and its number in that file as Wireshark counts (from 1).
/// A number of 0 stands for data that came without packets (a session file, a socket).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u64);

impl Frame {
    /// Builds from the file's index and the frame's number, which is kept modulo 2^48.
    pub const fn new(file: u16, number: u64) -> Self {
        Self(((file as u64) << 48) | (number & 0xffff_ffff_ffff))
    }

    /// The index of the input file.
    pub const fn file(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The frame's number in its file, from 1.
    pub const fn number(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }
}

/// When and in which frame some bytes were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Capture time of the frame.
    pub at: Timestamp,
    /// The frame.
    pub frame: Frame,
}

/// The frames that carried one message, in order of arrival. The first [`Frames::KEPT_MAX`] are kept, and the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    first: Option<Frame>,
    rest: Vec<Frame>,
    count: u64,
}

impl Frames {
    /// How many frames are kept by number; beyond it the last one seen replaces the last one kept.
    pub const KEPT_MAX: usize = 32;

    /// Adds a frame; the same frame twice in a row counts once.
    pub fn push(&mut self, frame: Frame) {
        let last = self.rest.last().copied().or(self.first);
        if last == Some(frame) {
            return;
        }
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(frame);
        } else if self.rest.len() + 1 < Self::KEPT_MAX {
            self.rest.push(frame);
        } else if let Some(slot) = self.rest.last_mut() {
            *slot = frame;
        }
    }

    /// The first frame.
    pub const fn first(&self) -> Option<Frame> {
        self.first
    }

    /// The last frame.
    pub fn last(&self) -> Option<Frame> {
        self.rest.last().copied().or(self.first)
    }

    /// How many frames there were, also those not kept by number.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The same frames with the count that was told of them, where it is greater than what is kept.
    #[must_use]
    pub fn with_count(mut self, count: u64) -> Self {
        self.count = self.count.max(count);
        self
    }

    /// The kept frames.
    pub fn iter(&self) -> impl Iterator<Item = Frame> + '_ {
        self.first.into_iter().chain(self.rest.iter().copied())
    }
}

impl FromIterator<Frame> for Frames {
    fn from_iter<I: IntoIterator<Item = Frame>>(frames: I) -> Self {
        let mut all = Self::default();
        for frame in frames {
            all.push(frame);
        }
        all
    }
}
