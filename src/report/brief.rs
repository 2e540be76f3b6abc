//! Texts made short for one screen: the first sentence, long paths cut in their middle, one line at most.
//! Rules write their first sentence so that it can stand alone; what follows it is for reports with room.

/// The first sentence, or all where there is but one.
pub(super) fn gist(text: &str) -> &str {
    sentence_ends(text).next().and_then(|end| text.get(..end)).unwrap_or(text)
}

/// As many whole sentences as `fits` allows, and the first in any case.
pub(super) fn sentences(text: &str, fits: impl Fn(&str) -> bool) -> &str {
    if fits(text) {
        return text;
    }
    sentence_ends(text).filter_map(|end| text.get(..end)).take_while(|start| fits(start)).last().unwrap_or_else(|| gist(text))
}

/// Text with its long words cut in their middle. A path keeps its last two segments: they tell objects apart.
pub(super) fn shorten(text: &str) -> String {
    text.split(' ').map(shorten_word).collect::<Vec<_>>().join(" ")
}

/// Text cut to a line of `width` characters.
pub(super) fn one_line(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    let whole = start.rsplit_once(' ').map_or(start.as_str(), |(words, _)| words);
    format!("{}…", whole.trim_end_matches([',', ';', ':', '(']))
}

/// Where sentences end: at a full stop before a space and a capital letter or a digit.
fn sentence_ends(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices(". ").filter_map(|(at, _)| {
        let next = text.get(at + 2..)?.chars().next()?;
        (next.is_ascii_uppercase() || next.is_ascii_digit()).then_some(at + 1)
    })
}

fn shorten_word(word: &str) -> String {
    if let Some(time) = without_fraction(word) {
        return time;
    }
    if word.chars().count() <= WORD_MAX {
        return word.to_owned();
    }
    let mut segments = word.rsplitn(3, '/');
    match (segments.next(), segments.next(), segments.next()) {
        (Some(""), Some(folder), Some(_)) => format!("…/{}/", cut(folder)),
        (Some(name), Some(folder), Some(_)) => format!("…/{}/{}", cut(folder), cut(name)),
        (Some(name), Some(folder), None) => format!("{}/{}", cut(folder), cut(name)),
        _ => cut(word),
    }
}

/// A time of RFC 3339 down to the second: `2026-11-23T13:44:23.245405000Z.` in, `2026-11-23T13:44:23Z.` out.
fn without_fraction(word: &str) -> Option<String> {
    let (second, rest) = word.split_once('.')?;
    let (fraction, end) = rest.split_once('Z')?;
    let is_time = second.len() == "2026-11-23T13:44:23".len() && second.as_bytes().get(10) == Some(&b'T');
    let is_fraction = fraction.len() == 9 && fraction.bytes().all(|digit| digit.is_ascii_digit());
    (is_time && is_fraction).then(|| format!("{second}Z{end}"))
}

/// The two ends of a long name.
fn cut(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= NAME_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(NAME_START).collect();
    let end: String = name.chars().skip(letters - (NAME_MAX - 1 - NAME_START)).collect();
    format!("{start}…{end}")
}

/// Words up to this length stay whole: options, header names, time stamps and key ids are to be copied from the screen.
const WORD_MAX: usize = 60;
/// A segment of a path is shown with at most so many letters.
const NAME_MAX: usize = 30;
/// So many of them are its first.
const NAME_START: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gist_is_the_first_sentence() {
        for (text, expected) in [
            ("One. Two.", "One."),
            ("aws-sdk-java-v1 1.12.262 refuses. 2 more.", "aws-sdk-java-v1 1.12.262 refuses."),
            ("Only a.b. and no more", "Only a.b. and no more"),
            ("", ""),
        ] {
            assert_eq!(gist(text), expected);
        }
        assert_eq!(sentences("One. Two. Three.", |text| text.len() < 10), "One. Two.");
        assert_eq!(sentences("Much too long. Two.", |_| false), "Much too long.");
    }

    #[test]
    fn long_paths_keep_what_tells_them_apart() {
        let key = "spark-data/a12/people/_temporary/0/_temporary/attempt_202611231327552589643176804087927_0002_m_000001_3/part-00001-bd449e53-59dd-43c2-923e-ccace90e186f-c000.snappy.parquet";
        assert_eq!(
            shorten(&format!("PUT {key} carried")),
            "PUT …/attempt_202…27_0002_m_000001_3/part-00001-…000.snappy.parquet carried"
        );
        assert_eq!(shorten("bucket/short key"), "bucket/short key");
        assert_eq!(shorten(&format!("a/b/{}/", "c".repeat(80))), format!("…/{}…{}/", "c".repeat(11), "c".repeat(18)));
        assert_eq!(shorten("until 2026-11-23T13:44:23.245405000Z."), "until 2026-11-23T13:44:23Z.");
        assert!(shorten(&"é".repeat(200)).chars().count() <= WORD_MAX);
    }

    #[test]
    fn a_line_is_cut_between_words() {
        assert_eq!(one_line("one two three", 13), "one two three");
        assert_eq!(one_line("one two, three", 13), "one two…");
        assert_eq!(one_line("onetwothree", 5), "onet…");
    }
}
