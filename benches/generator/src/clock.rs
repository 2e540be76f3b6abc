//! The capture's clock: microseconds since 1970, moved on by every packet, and the spellings of time that S3 uses.

use crate::random::Random;

/// The time of the next packet.
pub struct Clock {
    micros: u64,
    step_micros: u64,
}

impl Clock {
    /// Starts on 2026-11-23 at 13:00 UTC; packets come `step_micros` apart on average.
    pub const fn starting(step_micros: u64) -> Self {
        Self { micros: DAY_SECONDS * 1_000_000 + START_SECONDS * 1_000_000, step_micros }
    }

    /// Moves on by one packet and tells its time.
    pub const fn tick(&mut self, random: &mut Random) -> u64 {
        self.micros += random.within(1..=self.step_micros * 2 - 1);
        self.micros
    }

    /// Microseconds since 1970.
    pub const fn micros(&self) -> u64 {
        self.micros
    }

    /// Milliseconds as a TCP timestamp.
    pub const fn tcp_millis(&self) -> u32 {
        (self.micros / 1000) as u32
    }

    /// `20261123T130000Z`
    pub fn amz_date(&self) -> String {
        let (hours, minutes, seconds) = self.of_day();
        format!("{DAY_BASIC}T{hours:02}{minutes:02}{seconds:02}Z")
    }

    /// `Mon, 23 Nov 2026 13:00:00 GMT`
    pub fn http_date(&self) -> String {
        let (hours, minutes, seconds) = self.of_day();
        format!("Mon, 23 Nov 2026 {hours:02}:{minutes:02}:{seconds:02} GMT")
    }

    // A capture that runs past midnight starts the same day again: only the spelling suffers.
    const fn of_day(&self) -> (u64, u64, u64) {
        let seconds = self.micros / 1_000_000 % 86_400;
        (seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// The day of the capture in ISO 8601 basic form, as in a credential scope.
pub const DAY_BASIC: &str = "20261123";
// 2026-11-23T00:00:00Z
const DAY_SECONDS: u64 = 20_780 * 86_400;
const START_SECONDS: u64 = 13 * 3600;
