//! Names without what is new in every run: UUIDs, attempt and task ids of Hadoop, long numbers and digests.

/// Replaces what differs between two runs of one job. `attempt_202611231327_0002_m_000001_3` becomes `attempt_*_m_000001_*`.
pub(super) fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut follows_word = false;
    while let Some(letter) = rest.chars().next() {
        let replaced = match follows_word {
            true => None,
            false => uuid(rest).or_else(|| hadoop_id(rest)).or_else(|| long_number(rest)),
        };
        let (shown, length) = replaced.unwrap_or_else(|| (letter.to_string(), letter.len_utf8()));
        out += &shown;
        let taken = rest.get(..length).unwrap_or_default();
        follows_word = taken.chars().next_back().is_some_and(char::is_alphanumeric) && length == letter.len_utf8();
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// `bd449e53-59dd-43c2-923e-ccace90e186f`
fn uuid(text: &str) -> Option<(String, usize)> {
    const LENGTH: usize = 36;
    let word = text.get(..LENGTH)?;
    let fits = word.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    let ends = !text.get(LENGTH..)?.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    (fits && ends).then(|| ("{uuid}".to_owned(), LENGTH))
}

/// The number of the task stays: it says which part of the work it is.
fn hadoop_id(text: &str) -> Option<(String, usize)> {
    const WORDS: [&str; 6] = ["attempt_", "task_", "job_", "application_", "driver-", "app-"];
    let word = WORDS.iter().find(|word| text.starts_with(**word))?;
    let rest = text.get(word.len()..)?;
    if !rest.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let end =
        rest.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, '_' | '-' | 'm' | 'r')).unwrap_or(rest.len());
    let id = rest.get(..end)?.trim_end_matches(['_', '-']);
    let shown = match id.split_once("_m_").map(|parts| ("m", parts)).or_else(|| id.split_once("_r_").map(|parts| ("r", parts))) {
        Some((kind, (_, task))) => match task.split_once('_') {
            Some((task, _)) => format!("{word}*_{kind}_{task}_*"),
            None => format!("{word}*_{kind}_{task}"),
        },
        None => format!("{word}*"),
    };
    Some((shown, word.len() + id.len()))
}

/// Numbers of ten digits and more (times, random numbers), and digests of 16 hexadecimal digits and more.
fn long_number(text: &str) -> Option<(String, usize)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let hex = text.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(text.len());
    let has_digit = text.get(..hex)?.contains(|letter: char| letter.is_ascii_digit());
    let ends = |at: usize| !text.get(at..).unwrap_or_default().starts_with(char::is_alphanumeric);
    match () {
        () if digits >= 10 && ends(digits) => Some(("{number}".to_owned(), digits)),
        () if hex >= 16 && has_digit && ends(hex) => Some(("{hex}".to_owned(), hex)),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_in_every_run_is_replaced_and_names_stay() {
        for (name, normal) in [
            (
                "a12/_temporary/0/_temporary/attempt_202611231327552589643176804087927_0002_m_000001_3/part-00001-bd449e53-59dd-43c2-923e-ccace90e186f-c000.snappy.parquet",
                "a12/_temporary/0/_temporary/attempt_*_m_000001_*/part-00001-{uuid}-c000.snappy.parquet",
            ),
            ("task_202611231327552589643176804087927_0002_m_000000/x", "task_*_m_000000/x"),
            (".spark-staging-bd449e53-59dd-43c2-923e-ccace90e186f", ".spark-staging-{uuid}"),
            ("job_202611231327_0001/_SUCCESS", "job_*/_SUCCESS"),
            ("report-20261123/part-7.bin", "report-20261123/part-7.bin"),
            ("app-20261123132755-0000", "app-*"),
            ("events/1795440475074", "events/{number}"),
            ("d41d8cd98f00b204e9800998ecf8427e.bin", "{hex}.bin"),
            ("jobs/applications/tasks", "jobs/applications/tasks"),
            ("\u{e4}\u{f6}/feedface", "\u{e4}\u{f6}/feedface"),
        ] {
            assert_eq!(normalize(name), normal, "{name}");
        }
    }
}
