//! Values of flags that are more than a word.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use crate::analysis::DeclaredHop;
use crate::cli::failure::Failure;
use crate::report::Format;
use crate::rules::{Severity, all, find};

/// What `--format` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatName {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// A session: one JSON object per line, written while the run goes on
    Jsonl,
    /// A static page
    Html,
    /// HTTP archive (not available yet)
    Har,
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
    /// Prometheus text
    Prometheus,
    /// Apache Arrow (not available yet)
    Arrow,
}

impl FormatName {
    /// The format for a file of that name: by its suffix; the table where it has none.
    pub(super) fn of_path(path: &str) -> Result<Self, Failure> {
        let Some(suffix) = Path::new(path).extension() else { return Ok(Self::Table) };
        let suffix = suffix.to_string_lossy();
        Self::of_suffix(&suffix).ok_or_else(|| {
            Failure::usage(
                format!("no format has the suffix .{suffix} of {path}"),
                "give --format, or one of .txt .json .jsonl .html .sarif .xml .prom",
            )
        })
    }

    fn of_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix.to_ascii_lowercase().as_str() {
            "txt" => Self::Table,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            "html" | "htm" => Self::Html,
            "har" => Self::Har,
            "sarif" => Self::Sarif,
            "xml" => Self::Junit,
            "prom" => Self::Prometheus,
            "arrow" => Self::Arrow,
            _ => return None,
        })
    }

    /// The format to render at the end; `None` for a session, which is written on the way.
    pub(super) fn rendered(self) -> Result<Option<Format>, &'static str> {
        Ok(Some(match self {
            Self::Table => Format::Table,
            Self::Json => Format::Json,
            Self::Html => Format::Html,
            Self::Sarif => Format::Sarif,
            Self::Junit => Format::Junit,
            Self::Prometheus => Format::Prometheus,
            Self::Jsonl => return Ok(None),
            Self::Har => return Err("har"),
            Self::Arrow => return Err("arrow"),
        }))
    }
}

/// What `--fail-on` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Limit {
    /// Any finding
    Note,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
    /// Nothing
    Never,
}

impl Limit {
    pub(super) const fn severity(self) -> Option<Severity> {
        match self {
            Self::Note => Some(Severity::Note),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
            Self::Never => None,
        }
    }
}

/// What `--color` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `NAME=HOST:PORT[,HOST:PORT…]`; the port may be missing.
pub(super) fn parse_hop(text: &str) -> Result<DeclaredHop, String> {
    let (name, servers) =
        text.split_once('=').filter(|(name, servers)| !name.is_empty() && !servers.is_empty()).ok_or(HOP_FORM)?;
    let servers = servers.split(',').map(parse_server).collect::<Result<_, _>>()?;
    Ok(DeclaredHop { name: name.to_owned(), servers })
}

fn parse_server(text: &str) -> Result<(String, Option<IpAddr>, Option<u16>), String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok((text.to_owned(), Some(ip), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| format!("{port:?} is no port"))?)),
        None => (text, None),
    };
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(HOP_FORM.to_owned());
    }
    Ok((host.to_owned(), host.parse().ok(), port))
}

/// `ADDR=NAME`
pub(super) fn parse_name(text: &str) -> Result<(IpAddr, String), String> {
    let (ip, name) =
        text.split_once('=').filter(|(_, name)| !name.is_empty()).ok_or("expected ADDR=NAME, as in 10.0.0.7=sidekick")?;
    Ok((ip.parse().map_err(|_| format!("{ip:?} is no IP address"))?, name.to_owned()))
}

/// A number of bytes: `512M`, `2G`, `1048576`; binary multiples.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: expected a number with K, M, G or nothing after it, as in 512M");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// The name of a rule that exists.
pub(super) fn parse_rule(text: &str) -> Result<String, String> {
    if find(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(match nearest_rule(text) {
        Some(name) => format!("there is no rule {text:?}; did you mean {name}?"),
        None => format!("there is no rule {text:?}; `hopwire rules` lists them"),
    })
}

/// The rule whose name shares most with `text`, if that is much.
pub(super) fn nearest_rule(text: &str) -> Option<&'static str> {
    let words: Vec<_> = text.split(['-', '_']).filter(|word| word.len() > 2).collect();
    let shared = |name: &str| words.iter().filter(|word| name.split('-').any(|have| have == **word)).count();
    all()
        .iter()
        .map(|rule| (shared(rule.name), rule.name))
        .filter(|(count, _)| *count > 0)
        .max_by_key(|(count, _)| *count)
        .map(|(_, name)| name)
}

const HOP_FORM: &str = "expected NAME=HOST:PORT, as in spark-sidekick=10.0.0.7:8091";

/// `90`, `90s`, `1500ms`, `5m`, `2h`.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: expected seconds, or a number with ms, s, m or h");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let span = number.checked_mul(milliseconds).filter(|span| (1..=SPAN_MS_MAX).contains(span)).ok_or_else(wrong)?;
    Ok(Duration::from_millis(span))
}

/// Ten years.
const SPAN_MS_MAX: u64 = 10 * 365 * 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", Some(0)),
            ("512M", Some(512 << 20)),
            ("2gib", Some(2 << 30)),
            ("7k", Some(7 << 10)),
            ("M", None),
            ("-1", None),
            ("5X", None),
            ("99999999999T", None),
        ] {
            assert_eq!(parse_size(text).ok(), size, "{text}");
        }
    }

    #[test]
    fn hops() {
        let hop = parse_hop("front=10.0.0.7:8091,store,[2001:db8::1]:9000,2001:db8::2").unwrap();
        assert_eq!(hop.name, "front");
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(
            hop.servers,
            [
                ("10.0.0.7".to_owned(), ip("10.0.0.7"), Some(8091)),
                ("store".to_owned(), None, None),
                ("2001:db8::1".to_owned(), ip("2001:db8::1"), Some(9000)),
                ("2001:db8::2".to_owned(), ip("2001:db8::2"), None),
            ]
        );
        for wrong in ["front", "=x:1", "front=", "front=x:99999", "front=:80"] {
            assert!(parse_hop(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_rule_is_answered_with_the_nearest() {
        assert!(parse_rule("sse-c-key-in-clear").is_ok());
        assert!(parse_rule("session-token").unwrap_err().contains("session-token-in-clear"));
        assert!(parse_rule("zzz").unwrap_err().contains("hopwire rules"));
    }

    #[test]
    fn spans_have_units() {
        for (text, milliseconds) in [("90", 90_000), ("90s", 90_000), ("1500ms", 1500), ("5m", 300_000), ("2h", 7_200_000)] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "0", "s", "-1", "5 m", "1d", "99999999999999999999", "18446744073709551615h"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
