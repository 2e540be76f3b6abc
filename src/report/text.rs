//! Text for people: numbers, spans of time, lists of frames, and lines broken to a width.

use std::time::Duration;

use crate::rules::Confidence;

/// Breaks text into lines of at most `width` characters at spaces; longer words are broken anywhere.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() <= width {
            line.push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while used + letters.len() > width {
            let rest = letters.split_off(width.saturating_sub(used).clamp(1, letters.len()));
            line.extend(letters);
            lines.push(std::mem::take(&mut line));
            used = 0;
            letters = rest;
        }
        used += letters.len();
        line.extend(letters);
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// How surely, in the words of people: `strong` reads `very likely`.
pub(super) const fn word(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Strong => "very likely",
        other => other.label(),
    }
}

/// `1,234,567`
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 exchange`, `2 exchanges`
pub(super) fn counted(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(value), if value == 1 { "" } else { "s" })
}

/// `512 B`, `1.5 KiB`, `3.2 GiB`
pub(super) fn bytes(value: u64) -> String {
    let mut amount = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 || unit == "TiB" {
            return if unit == "B" { format!("{value} B") } else { format!("{amount:.1} {unit}") };
        }
        amount /= 1024.0;
    }
    String::new()
}

/// `0.4 ms`, `12 ms`, `1.3 s`, `2 min 20 s`
pub(super) fn span(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {} s", value.as_secs() / 60, value.as_secs() % 60)
    }
}

/// `frame 7`, `frames 3-5, 9 … 40`: the first, and the last where some between are left out. `is_cut` tells that `numbers`
/// themselves are the first few and the last of more.
pub(super) fn frames(numbers: &[u64], shown_max: usize, is_cut: bool) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &number in &sorted {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let range = |(first, last): &(u64, u64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    let noun = if sorted.len() == 1 { "frame" } else { "frames" };
    match ranges.as_slice() {
        [first @ .., last] if ranges.len() > shown_max || (is_cut && ranges.len() > 1) => {
            let shown: Vec<_> = first.iter().take(shown_max.saturating_sub(1)).map(range).collect();
            format!("{noun} {} … {}", shown.join(", "), range(last))
        }
        all => format!("{noun} {}", all.iter().map(range).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_spans_read_well() {
        let cases: &[(String, &str)] = &[
            (number(7), "7"),
            (number(1_234_567), "1,234,567"),
            (counted(1, "call"), "1 call"),
            (counted(1200, "call"), "1,200 calls"),
            (bytes(512), "512 B"),
            (bytes(1536), "1.5 KiB"),
            (bytes(u64::MAX), "16777216.0 TiB"),
            (span(Duration::from_micros(400)), "0.4 ms"),
            (span(Duration::from_millis(140_000)), "2 min 20 s"),
            (frames(&[7], 4, true), "frame 7"),
            (frames(&[9, 3, 4, 5, 12, 13], 3, false), "frames 3-5, 9, 12, 13"),
            (frames(&[9, 3, 4, 5, 12, 13], 2, false), "frames 3-5 … 12, 13"),
            (frames(&[9, 3], 4, true), "frames 3 … 9"),
        ];
        for (text, expected) in cases {
            assert_eq!(text, expected);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_longer_and_no_letter_is_lost(text in "[a-zé]{0,30}( [a-zé]{0,30}){0,8}", width in 1usize..40) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            let letters = |text: &str| text.chars().filter(|letter| *letter != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
