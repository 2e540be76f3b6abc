//! The clock of a pcapng interface: ticks to nanoseconds since the epoch.

/// What one tick of an interface's clock is, and from when it counts.
#[derive(Clone, Copy)]
pub(super) struct Resolution {
    tick: Tick,
    /// Seconds added to every time.
    offset_seconds: i64,
}

#[derive(Clone, Copy)]
enum Tick {
    /// So many nanoseconds.
    Nanos(u64),
    /// 10 to the power of minus this many seconds, finer than a nanosecond.
    Decimal(u8),
    /// 2 to the power of minus this many seconds.
    Binary(u8),
}

impl Default for Resolution {
    /// Microseconds, as where an interface says nothing.
    fn default() -> Self {
        Self { tick: Tick::Nanos(1000), offset_seconds: 0 }
    }
}

impl Resolution {
    /// Sets the tick from the value of `if_tsresol`: a negative power of 10, or of 2 where the highest bit is set.
    pub(super) fn set_tick(&mut self, value: u8) {
        let exponent = value & 0x7f;
        self.tick = match (value & 0x80, 9_u32.checked_sub(u32::from(exponent))) {
            (0, Some(power)) => Tick::Nanos(10_u64.saturating_pow(power)),
            (0, None) => Tick::Decimal(exponent),
            _ => Tick::Binary(exponent),
        };
    }

    /// Sets the value of `if_tsoffset`.
    pub(super) fn set_offset(&mut self, seconds: i64) {
        self.offset_seconds = seconds;
    }

    /// Nanoseconds since the epoch, saturating.
    #[inline]
    pub(super) fn nanos(&self, high: u32, low: u32) -> i64 {
        let ticks = (u64::from(high) << 32) | u64::from(low);
        if let (Tick::Nanos(nanos), 0) = (self.tick, self.offset_seconds) {
            return ticks.checked_mul(nanos).and_then(|nanos| i64::try_from(nanos).ok()).unwrap_or(i64::MAX);
        }
        self.nanos_wide(ticks)
    }

    fn nanos_wide(&self, ticks: u64) -> i64 {
        let ticks = i128::from(ticks);
        // 2^64 ticks times 10^9 is below 2^94, so nothing here overflows.
        let nanos = match self.tick {
            Tick::Nanos(nanos) => ticks * i128::from(nanos),
            Tick::Decimal(exponent) => {
                10_i128.checked_pow(u32::from(exponent).saturating_sub(9)).and_then(|d| ticks.checked_div(d)).unwrap_or(0)
            }
            Tick::Binary(exponent) => (ticks * 1_000_000_000) >> u32::from(exponent),
        };
        let total = nanos + i128::from(self.offset_seconds) * 1_000_000_000;
        total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(value: u8, offset: i64, ticks: u64) -> i64 {
        let mut resolution = Resolution::default();
        resolution.set_tick(value);
        resolution.set_offset(offset);
        resolution.nanos((ticks >> 32) as u32, ticks as u32)
    }

    #[test]
    fn every_power_of_ten_and_two() {
        assert_eq!(nanos(0, 0, 3), 3_000_000_000);
        assert_eq!(nanos(6, 0, 3), 3000);
        assert_eq!(nanos(9, 0, 3), 3);
        assert_eq!(nanos(12, 0, 3999), 3);
        assert_eq!(nanos(28, 0, u64::MAX), 1);
        assert_eq!(nanos(127, 0, u64::MAX), 0);
        assert_eq!(nanos(0x80, 0, 2), 2_000_000_000);
        assert_eq!(nanos(0x80 | 10, 0, 1536), 1_500_000_000);
        assert_eq!(nanos(0x80 | 127, 0, u64::MAX), 0);
    }

    #[test]
    fn far_times_saturate() {
        assert_eq!(nanos(6, 0, u64::MAX), i64::MAX);
        assert_eq!(nanos(0, i64::MAX, u64::MAX), i64::MAX);
        assert_eq!(nanos(9, i64::MIN, 0), i64::MIN);
        assert_eq!(nanos(9, -1, 5), -999_999_995);
        // The sum counts, not its parts.
        assert_eq!(nanos(0, -10_000_000_000, 10_000_000_007), 7_000_000_000);
    }
}
