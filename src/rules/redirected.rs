//! Calls that were redirected without an error of S3.

use crate::hops::HopId;
use crate::model::HeaderName;
use crate::rules::quote::{counted, list, quote};
use crate::rules::sight::{Sight, Sights};
use crate::rules::{Confidence, Context, Finding, Findings, Fix, View, Watch, rule};
use crate::s3::Call;

rule! {
    /// ## What it reports
    /// Calls that were answered with 301, 302, 303, 307 or 308 without an error of S3, by status and by the scheme, host and port of `Location`.
    /// Redirects of a store to another region (`PermanentRedirect`, `TemporaryRedirect`) are errors and reported by `error-response`. It is
    /// reported on any decoded hop, in plaintext or TLS, once: on the one nearest the client.
    ///
    /// ## Why it matters
    /// A proxy that redirects to https, or to another host, breaks the signature, which covers the host. Most S3 clients do not follow, or
    /// send the request again unsigned.
    ///
    /// ## Example
    /// nginx with `return 308 https://$host$request_uri;` before the store: boto3 raises an error for the status 308.
    ///
    /// ## What to do
    /// Configure the endpoint to which the redirect points in the client.
    "redirected" Note since "0.2.0"
}

/// How many groups of hop, status and target are kept.
const ROWS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct State {
    rows: Vec<Row>,
}

struct Row {
    hop: HopId,
    status: u16,
    target: String,
    operations: Vec<&'static str>,
    sights: Sights,
}

impl Watch for State {
    fn handle_call(&mut self, call: &Call<'_>, context: &Context<'_>, findings: &mut Findings) {
        let Some(status) = call.status().filter(|status| matches!(status, 301..=303 | 307 | 308)) else { return };
        let Some(response) = call.exchange.response().filter(|_| call.error().is_none()) else { return };
        let target = response.headers.get(HeaderName::Location).map_or_else(|| "no Location".to_owned(), origin_of);
        let known = self.rows.iter().position(|row| row.hop == context.hop && row.status == status && row.target == target);
        let index = match known {
            Some(index) => index,
            None if self.rows.len() < ROWS_MAX => {
                let (operations, sights) = (Vec::new(), Sights::default());
                self.rows.push(Row { hop: context.hop, status, target, operations, sights });
                self.rows.len() - 1
            }
            None => return,
        };
        let Some(row) = self.rows.get_mut(index) else { return };
        row.sights.add(Sight::of_both(call.exchange));
        if row.operations.len() < 8 && !row.operations.contains(&call.operation.name()) {
            row.operations.push(call.operation.name());
        }
        if known.is_none() {
            let finding = render(row, &context.view);
            findings.raise(finding);
        }
    }

    fn handle_end(&mut self, view: &View<'_>, findings: &mut Findings) {
        for row in self.rows.iter().filter(|row| view.is_nearest_client(row.hop)) {
            findings.report(render(row, view));
        }
    }
}

/// Scheme, host and port of a location; its path and query can hold secrets.
fn origin_of(location: &[u8]) -> String {
    let Some(after) = memchr::memmem::find(location, b"://").map(|at| at + 3) else {
        return "another path of the same server".to_owned();
    };
    let rest = location.get(after..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let host = memchr::memrchr(b'@', authority).and_then(|at| authority.get(at + 1..)).unwrap_or(authority);
    quote(&[location.get(..after).unwrap_or_default(), host].concat())
}

fn render(row: &Row, view: &View<'_>) -> Finding {
    let operations: Vec<String> = row.operations.iter().map(|name| (*name).to_owned()).collect();
    let message = format!(
        "The server of {1} redirected {0} with {2} to {3} ({4}).",
        counted(row.sights.count, "call", "calls"),
        view.hop_name(row.hop),
        row.status,
        row.target,
        list(&operations)
    );
    Finding::new(&RULE, Confidence::Certain, Some(row.hop), row.sights.count, message)
        .about("status", row.status.to_string())
        .about("location", row.target.clone())
        .shown_by(row.sights.evidence())
        .fixed_by(Fix::untested("configure the endpoint to which the redirect points in the client: a signature covers the host", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_of_a_location_are_shown() {
        for (location, wanted) in [
            ("https://store.example:9443/b/k?X-Amz-Signature=ab", "https://store.example:9443"),
            ("http://user:secret@store/b", "http://store"),
            ("/b/k", "another path of the same server"),
            ("https://store", "https://store"),
        ] {
            assert_eq!(origin_of(location.as_bytes()), wanted);
        }
    }
}
