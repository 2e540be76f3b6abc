//! `hopwire predict`: a recording in, what each SDK would do with it over plain HTTP out. Nothing is sent.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::recorded::{Reading, read_nearest};
use crate::model::Untrusted;
use crate::s3::policy::Verdict;
use crate::s3::predict::{Leak, Prediction, Predictor, SDKS};

/// The arguments of `predict`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The recording: a capture or a session
    file: String,
    #[command(flatten)]
    reading: Reading,
    /// How to report
    #[arg(long, value_enum, default_value_t = PredictionFormat::Table)]
    format: PredictionFormat,
    /// Writes the report to a file that only you can read
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

/// How predictions are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PredictionFormat {
    /// Text for people
    Table,
    /// One JSON object, schema hopwire.prediction/1
    Json,
}

/// Reads the recording and predicts.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let output = output::open(arguments.output.as_deref(), std::slice::from_ref(&arguments.file))?;
    let mut predictor = Predictor::default();
    read_nearest(std::slice::from_ref(&arguments.file), &arguments.reading, None, |call, _| {
        predictor.add(call);
        None::<()>
    })?;
    if predictor.calls() == 0 {
        return Err(Failure::not_judged(
            format!("{} holds no decoded S3 call", Untrusted::text(&arguments.file)),
            "give the key log of one end with --keylog FILE, or check the file with `hopwire analyze`",
        ));
    }
    let text = match arguments.format {
        PredictionFormat::Table => table(&arguments.file, &predictor),
        PredictionFormat::Json => format!("{:#}\n", object(&arguments.file, &predictor)),
    };
    let mut out = output.stream;
    out.write_all(text.as_bytes()).map_err(|error| Failure::unwritable(error, format!("cannot write to {}", output.name)))?;
    let is_bad = predictor.rows().any(|row| matches!(row.policy.verdict, Verdict::Refused { .. }) || !row.leaks.is_empty());
    Ok(if is_bad { Exit::Findings } else { Exit::Done })
}

/// `refused in the client`, `sent`, `not verified`
const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Refused { .. } => "refused in the client",
        Verdict::Sent => "sent",
        Verdict::Unverified => "not verified",
    }
}

fn leaks_text(leaks: &[Leak]) -> String {
    leaks.iter().map(|leak| leak.label()).collect::<Vec<_>>().join(", ")
}

fn table(file: &str, predictor: &Predictor) -> String {
    let mut text = format!("{}: {} calls; over plain HTTP, by SDK\n\n", Untrusted::text(file), predictor.calls());
    for sdk in SDKS {
        let rows: Vec<&Prediction> = predictor.rows().filter(|row| row.sdk == sdk).collect();
        let told: Vec<&&Prediction> = rows.iter().filter(|row| row.encryption != "none" || !row.leaks.is_empty()).collect();
        let plain: u64 = rows.iter().filter(|row| row.encryption == "none" && row.leaks.is_empty()).map(|row| row.count).sum();
        let _ = writeln!(text, "{:<18} {plain} requests without encryption headers: sent", sdk.label());
        for row in told {
            let leaks = match row.policy.verdict {
                Verdict::Refused { .. } => String::new(),
                _ if row.leaks.is_empty() => String::new(),
                _ => format!(", readable: {}", leaks_text(&row.leaks)),
            };
            let _ = writeln!(
                text,
                "  {:>5} {:<24} {:<18} {}{leaks}",
                row.count,
                row.operation,
                row.encryption,
                word(row.policy.verdict)
            );
            if let Verdict::Refused { text: refusal } = row.policy.verdict {
                let _ = writeln!(text, "        \"{refusal}\"");
            }
            let _ = writeln!(text, "        source: {}", row.policy.evidence);
        }
    }
    let _ = writeln!(
        text,
        "\nReadable in any case: {} bytes of objects, {} responses with a KMS key id, every signature until it expires.",
        predictor.object_bytes(),
        predictor.returned_key_ids(),
    );
    text
}

fn object(file: &str, predictor: &Predictor) -> serde_json::Value {
    let rows: Vec<_> = predictor
        .rows()
        .map(|row| {
            let (verdict, refusal) = match row.policy.verdict {
                Verdict::Refused { text } => ("refused", Some(text)),
                Verdict::Sent => ("sent", None),
                Verdict::Unverified => ("not-verified", None),
            };
            let leaks: Vec<_> = row.leaks.iter().map(|leak| leak.label()).collect();
            json!({
                "sdk": row.sdk.label(),
                "operation": row.operation,
                "encryption": row.encryption,
                "count": row.count,
                "outcome": verdict,
                "text": refusal,
                "readable": if verdict == "refused" { Vec::new() } else { leaks },
                "source": row.policy.evidence,
            })
        })
        .collect();
    json!({
        "schema": "hopwire.prediction/1",
        "tool": {"name": "hopwire", "version": env!("CARGO_PKG_VERSION")},
        "file": file,
        "calls": predictor.calls(),
        "object_bytes": predictor.object_bytes(),
        "responses_with_kms_key_id": predictor.returned_key_ids(),
        "rows": rows,
    })
}
