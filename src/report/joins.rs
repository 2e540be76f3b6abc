//! What became of the calls behind the proxy, and what the proxy did to them; for those who want it in full.

use std::io;

use crate::analysis::HeaderChanges;
use crate::report::grid::{right, table, write};
use crate::report::screen::Screen;
use crate::report::text::{number, span};

/// One row for each pair of hops, then the headers that differ.
pub(super) fn render(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let report = screen.report;
    let rows = &report.summary.joins;
    if rows.is_empty() || !screen.style.verbose {
        return Ok(());
    }
    screen.heading("Over the hops")?;
    let mut shown =
        table(&["from", "to", "joined", "only from", "only to", "client p50", "p99", "proxy p50", "p99", "store p50", "p99"]);
    right(&mut shown, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for row in rows {
        let (from, to) = (screen.clean(report.hop(row.downstream)), screen.clean(report.hop(row.upstream)));
        let mut cells = vec![from, to];
        cells.extend([row.joined, row.unmatched_downstream, row.unmatched_upstream].map(number));
        for leg in [row.latency.client_leg, row.latency.proxy, row.latency.store_leg] {
            cells.extend(leg.map_or_else(Default::default, |leg| [leg.p50, leg.p99].map(span)));
        }
        shown.add_row(cells);
    }
    write(screen, &shown)?;
    for row in rows {
        for (what, changes) in [("requests", &row.request_headers), ("responses", &row.response_headers)] {
            let text = changed(screen, changes);
            if !text.is_empty() {
                let from = screen.clean(report.hop(row.downstream));
                screen.paragraph("  ", "    ", &format!("{what} of {from}: {text}"))?;
            }
        }
    }
    Ok(())
}

/// Headers by what happened to them on the way, each with how often.
fn changed(screen: &Screen<'_, '_>, changes: &HeaderChanges) -> String {
    let kinds = [
        ("added", &changes.added),
        ("dropped", &changes.dropped),
        ("changed", &changes.changed),
        ("signed among them", &changes.signed),
    ];
    let mut parts = Vec::new();
    for (what, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
        let shown: Vec<_> =
            names.iter().take(NAMES_MAX).map(|(name, count)| format!("{} ({})", screen.clean(name), number(*count))).collect();
        let more = if names.len() > NAMES_MAX { format!(" and {} more", names.len() - NAMES_MAX) } else { String::new() };
        parts.push(format!("{what} {}{more}", shown.join(", ")));
    }
    parts.join("; ")
}

/// Names shown of each kind; the JSON report has them all.
const NAMES_MAX: usize = 8;
