//! Latencies counted in a fixed number of buckets, eight per doubling: durations in, quantiles out.

use std::time::Duration;

use crate::analysis::Latency;

/// How many durations fell where.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    total: u64,
    max: Duration,
}

/// Everything below 2^10 ns is one bucket; from 2^42 ns (73 min) on everything is the last one.
const LOW_BITS: u32 = 10;
const HIGH_BITS: u32 = 42;
const SUB_BITS: u32 = 3;
const BUCKETS: usize = ((HIGH_BITS - LOW_BITS) << SUB_BITS) as usize + 2;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.max = self.max.max(duration);
    }

    /// The quantiles, where anything was counted.
    pub(super) fn latency(&self) -> Option<Latency> {
        (self.total > 0).then(|| Latency {
            p50: self.quantile(50),
            p95: self.quantile(95),
            p99: self.quantile(99),
            max: self.max,
        })
    }

    fn quantile(&self, percent: u64) -> Duration {
        // The smallest duration that at least so many are not slower than.
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0_u64;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return middle(index).min(self.max);
            }
        }
        self.max
    }
}

const fn bucket(nanos: u64) -> usize {
    if nanos < 1 << LOW_BITS {
        return 0;
    }
    let exponent = 63 - nanos.leading_zeros();
    if exponent >= HIGH_BITS {
        return BUCKETS - 1;
    }
    let sub = (nanos >> (exponent - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    1 + ((exponent - LOW_BITS) << SUB_BITS) as usize + sub as usize
}

/// The middle of a bucket: at most 1/16 from any duration in it.
fn middle(index: usize) -> Duration {
    let Some(above) = index.checked_sub(1) else {
        return Duration::from_nanos(1 << (LOW_BITS - 1));
    };
    if index == BUCKETS - 1 {
        return Duration::MAX;
    }
    let exponent = (above >> SUB_BITS) as u32 + LOW_BITS;
    let sub = (above & ((1 << SUB_BITS) - 1)) as u64;
    let width = 1_u64 << (exponent - SUB_BITS);
    Duration::from_nanos((1 << exponent) + sub * width + width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_seven_percent_and_the_maximum_is_exact() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        let latency = histogram.latency().unwrap();
        for (found, wanted) in [(latency.p50, 5_000.0), (latency.p95, 9_500.0), (latency.p99, 9_900.0)] {
            let found = found.as_secs_f64() * 1e6;
            assert!((found - wanted).abs() / wanted < 0.07, "{found} for {wanted}");
        }
        assert_eq!(latency.max, Duration::from_micros(10_000));
    }

    #[test]
    fn one_duration_is_all_quantiles_and_none_is_nothing() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), None);
        histogram.add(Duration::from_secs(100_000));
        assert_eq!(histogram.latency().unwrap().p50, Duration::from_secs(100_000));
        histogram = Histogram::default();
        histogram.add(Duration::ZERO);
        assert_eq!(histogram.latency().unwrap().max, Duration::ZERO);
    }

    proptest::proptest! {
        #[test]
        fn every_duration_lies_near_the_middle_of_its_bucket(nanos in 1_u64 << LOW_BITS..1 << HIGH_BITS) {
            let middle = middle(bucket(nanos)).as_nanos() as f64;
            proptest::prop_assert!((middle - nanos as f64).abs() / nanos as f64 <= 1.0 / 15.0);
        }
    }
}
