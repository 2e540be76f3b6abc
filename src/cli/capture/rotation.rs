//! When a capture goes on in another file, and how the files are called.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The `-b` of dumpcap and tshark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Rotation {
    /// After this long.
    pub(in crate::cli) duration: Option<Duration>,
    /// After this many bytes.
    pub(in crate::cli) bytes: Option<u64>,
    /// How many files are kept.
    pub(in crate::cli) files_max: Option<usize>,
}

/// One `-b KEY:VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Criterion {
    Duration(Duration),
    Bytes(u64),
    Files(usize),
}

impl Rotation {
    pub(in crate::cli) fn new(criteria: &[Criterion]) -> Self {
        let mut rotation = Self::default();
        for criterion in criteria {
            match *criterion {
                Criterion::Duration(span) => rotation.duration = Some(span),
                Criterion::Bytes(bytes) => rotation.bytes = Some(bytes),
                Criterion::Files(count) => rotation.files_max = Some(count),
            }
        }
        rotation
    }

    /// Whether there is more than one file.
    pub(in crate::cli) const fn is_on(&self) -> bool {
        self.duration.is_some() || self.bytes.is_some()
    }

    pub(in crate::cli) fn is_due(&self, age: Duration, bytes: u64) -> bool {
        self.duration.is_some_and(|max| age >= max) || self.bytes.is_some_and(|max| bytes >= max)
    }
}

/// `duration:SECONDS`, `filesize:KB` (units of 1000 bytes, as dumpcap has it), `files:N`.
pub(in crate::cli) fn parse_criterion(text: &str) -> Result<Criterion, String> {
    let form = || "expected duration:SECONDS, filesize:KB or files:N".to_owned();
    let (key, value) = text.split_once(':').ok_or_else(form)?;
    let number =
        value.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(|| format!("{value:?} is no number above 0"))?;
    match key {
        "duration" => Ok(Criterion::Duration(Duration::from_secs(number.into()))),
        "filesize" => Ok(Criterion::Bytes(u64::from(number) * 1000)),
        "files" => Ok(Criterion::Files(number as usize)),
        _ => Err(form()),
    }
}

/// `run.pcapng` becomes `run_00001_20261123134530.pcapng`: number and UTC time, as dumpcap writes them.
pub(in crate::cli) fn name_of_file(pattern: &Path, number: usize, at: jiff::Timestamp) -> PathBuf {
    let stem = pattern.file_stem().unwrap_or_default().to_string_lossy();
    let suffix = pattern.extension().map(|suffix| format!(".{}", suffix.to_string_lossy())).unwrap_or_default();
    let time: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    pattern.with_file_name(format!("{stem}_{number:05}_{time}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_are_those_of_dumpcap() {
        let parsed: Vec<_> =
            ["duration:300", "filesize:1024", "files:5"].map(parse_criterion).into_iter().map(Result::unwrap).collect();
        let rotation = Rotation::new(&parsed);
        assert!(rotation.is_on() && rotation.files_max == Some(5));
        assert!(rotation.is_due(Duration::from_secs(300), 0) && rotation.is_due(Duration::ZERO, 1_024_000));
        assert!(!rotation.is_due(Duration::from_secs(299), 1_023_999));
        assert!(!Rotation::new(&[Criterion::Files(5)]).is_on());
        for wrong in ["", "300", "duration", "duration:", "duration:0", "filesize:-1", "interval:5", "files:x"] {
            assert!(parse_criterion(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_have_number_and_time() {
        let at = jiff::Timestamp::from_second(1_795_440_475).unwrap();
        let name = |pattern: &str| name_of_file(Path::new(pattern), 12, at).display().to_string();
        assert_eq!(name("/var/x/run.pcapng"), "/var/x/run_00012_20261123132755.pcapng");
        assert_eq!(name("run"), "run_00012_20261123132755");
    }
}
