//! The tables for people: the hops with what encryption headers crossed on them, and the operations.

use std::io;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::analysis::{Direction, JoinRow, OperationRow};
use crate::hops::{Hop, HopId, JoinKey};
use crate::report::screen::{Screen, WIDTH};
use crate::report::text::{bytes, counted, number, span};

/// The path of the calls, hop by hop, the client's own first.
pub(super) fn hops(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let mut hops: Vec<&Hop> = screen.report.summary.hops.iter().collect();
    if hops.is_empty() {
        return Ok(());
    }
    hops.sort_by_key(|hop| std::cmp::Reverse(distance(&screen.report.summary.hops, hop.id)));
    screen.heading("Path")?;
    let mut table = table(&["hop", "transport", "server", "exchanges", "S3 calls", "client"]);
    right(&mut table, &[3, 4]);
    for hop in &hops {
        let servers: Vec<_> = hop.server_texts().into_iter().take(2).collect();
        let more = if hop.servers.len() > 2 { format!(" +{}", hop.servers.len() - 2) } else { String::new() };
        let mut clients: Vec<String> = Vec::new();
        for row in screen.report.summary.clients.iter().filter(|row| row.hop == hop.id && row.exchanges > 0) {
            let client = format!("{} {}", row.sdk, row.version.as_deref().unwrap_or_default());
            let client = screen.clean(client.trim());
            if !clients.contains(&client) {
                clients.push(client);
            }
        }
        let others = if clients.len() > 1 { format!(" +{}", clients.len() - 1) } else { String::new() };
        table.add_row([
            screen.clean(&hop.name),
            hop.transport.label().to_owned(),
            format!("{}{more}", servers.join(" ")),
            number(hop.exchanges),
            number(hop.calls),
            format!("{}{others}", clients.first().map(String::as_str).unwrap_or_default()),
        ]);
    }
    write(screen, &table)?;
    hops.iter().try_for_each(|hop| aliases(screen, hop))?;
    hops.iter().try_for_each(|hop| crossed(screen, hop))?;
    screen.report.summary.joins.iter().try_for_each(|row| joins(screen, row))
}

/// Under which other addresses the servers of a hop were seen.
fn aliases(screen: &mut Screen<'_, '_>, hop: &Hop) -> io::Result<()> {
    if hop.aliases.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = hop.aliases.iter().take(ALIASES_SHOWN).map(ToString::to_string).collect();
    let more = if hop.aliases.len() > ALIASES_SHOWN { format!(" +{}", hop.aliases.len() - ALIASES_SHOWN) } else { String::new() };
    let text = format!("{} is also seen as {}{more} (NAT): counted once", screen.clean(&hop.name), names.join(", "));
    screen.paragraph("  ", "    ", &text)
}

const ALIASES_SHOWN: usize = 4;

/// What became of the calls behind the proxy, and where the time went.
fn joins(screen: &mut Screen<'_, '_>, row: &JoinRow) -> io::Result<()> {
    let (from, to) = (screen.clean(screen.report.hop(row.downstream)), screen.clean(screen.report.hop(row.upstream)));
    let mut text = format!("{from} to {to}: {} joined", counted(row.joined, "call"));
    let by_size = row.by.iter().find(|(key, _)| *key == JoinKey::RecordSizes.label()).map_or(0, |(_, count)| *count);
    if by_size > 0 {
        // What stayed shut cannot be said to be missing there.
        text += &format!(", {} of them by time and TLS record sizes", number(by_size));
    }
    let only = if by_size > 0 { "not found behind" } else { "only on" };
    let alone = [(row.unmatched_downstream, only, &from), (row.unmatched_upstream, "only on", &to)];
    for (count, what, hop) in alone.into_iter().filter(|(count, ..)| *count > 0) {
        text += &format!(", {} {what} {hop}", number(count));
    }
    if row.resends > 0 {
        text += &format!(", {} sent again by the proxy", number(row.resends));
    }
    let legs = [("client", row.latency.client_leg), ("inside the proxy", row.latency.proxy), ("store", row.latency.store_leg)];
    let legs: Vec<String> =
        legs.iter().filter_map(|(what, leg)| leg.map(|leg| format!("{what} {} / {}", span(leg.p50), span(leg.p99)))).collect();
    if !legs.is_empty() {
        text += &format!("; p50 / p99: {}", legs.join(", "));
    }
    screen.paragraph("  ", "    ", &text)
}

/// Encryption kinds that crossed a hop in clear.
fn crossed(screen: &mut Screen<'_, '_>, hop: &Hop) -> io::Result<()> {
    let rows = screen.report.summary.encryption.iter();
    let rows: Vec<_> = rows.filter(|row| row.hop == hop.id && row.clear && row.kind != "none").collect();
    if rows.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = rows
        .iter()
        .map(|row| {
            let noun = match row.direction {
                Direction::Request => "request",
                Direction::Response => "response",
            };
            format!("{} in {}", row.kind, counted(row.count, noun))
        })
        .collect();
    let text = format!("encryption headers in plaintext on {}: {}", screen.clean(&hop.name), words.join(", "));
    screen.paragraph("  ", "    ", &text)
}

/// The operations. Without `-v` a hop that repeats what the hop before it shows is left out, and so are the rarest operations.
pub(super) fn operations(screen: &mut Screen<'_, '_>) -> io::Result<()> {
    let all = &screen.report.summary.operations;
    let hops = &screen.report.summary.hops;
    let verbose = screen.style.verbose;
    let echoes: Vec<&Hop> = hops
        .iter()
        .filter(|hop| !verbose && hops.iter().any(|one| one.upstream == Some(hop.id) && is_same(all, one.id, hop.id)))
        .collect();
    let mut rows: Vec<&OperationRow> = all.iter().filter(|row| !echoes.iter().any(|hop| hop.id == row.hop)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    if !verbose {
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    }
    let same: String = echoes.iter().map(|hop| echo(screen, hop)).collect();
    screen.heading(&format!("Operations{same}"))?;
    let mut table = table(&["hop", "operation", "calls", "errors", "sent", "received", "p50", "p99", "max"]);
    right(&mut table, &[2, 3, 4, 5, 6, 7, 8]);
    let shown = if verbose || rows.len() <= OPERATIONS_MAX { rows.len() } else { OPERATIONS_MAX - 1 };
    for row in rows.iter().take(shown) {
        table.add_row(operation(screen, row));
    }
    write(screen, &table)?;
    match rows.get(shown..).unwrap_or_default() {
        [] => Ok(()),
        rest => {
            let calls: u64 = rest.iter().map(|row| row.count).sum();
            writeln!(screen.out, "  and {} with {}: -v", counted(rest.len() as u64, "operation"), counted(calls, "call"))
        }
    }
}

/// What a hop adds that carried the same calls: ` (the same on sidekick-store: 79 of 79 joined, 1.2 ms of p50 in the proxy)`
fn echo(screen: &Screen<'_, '_>, hop: &Hop) -> String {
    let mut text = format!(" (the same on {}", screen.clean(&hop.name));
    if let Some(join) = screen.report.summary.joins.iter().find(|join| join.upstream == hop.id && join.joined > 0) {
        let all = join.joined.saturating_add(join.unmatched_downstream);
        text += &format!(", {} of {} joined", number(join.joined), number(all));
        if let Some(proxy) = &join.latency.proxy {
            text += &format!(", inside the proxy p50 {}, max {}", span(proxy.p50), span(proxy.max));
        }
    }
    text + ")"
}

fn operation(screen: &Screen<'_, '_>, row: &OperationRow) -> Vec<String> {
    let [p50, p99, max] = match &row.latency {
        Some(latency) => [latency.p50, latency.p99, latency.max].map(span),
        None => [const { String::new() }; 3],
    };
    vec![
        screen.clean(screen.report.hop(row.hop)),
        row.operation.to_owned(),
        number(row.count),
        number(row.errors),
        bytes(row.request_bytes),
        bytes(row.response_bytes),
        p50,
        p99,
        max,
    ]
}

/// Whether two hops carried the same operations equally often.
fn is_same(all: &[OperationRow], one: HopId, other: HopId) -> bool {
    let of = |hop: HopId| all.iter().filter(move |row| row.hop == hop).map(|row| (row.operation, row.count, row.errors));
    of(one).eq(of(other))
}

/// How many hops lie between a hop and the store.
fn distance(hops: &[Hop], from: HopId) -> usize {
    let next = |at: HopId| hops.iter().find(|hop| hop.id == at).and_then(|hop| hop.upstream);
    std::iter::successors(Some(from), |at| next(*at)).take(hops.len()).count()
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH - 2).unwrap_or(u16::MAX)).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table
}

pub(super) fn right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

pub(super) fn write(screen: &mut Screen<'_, '_>, table: &Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(screen.out, "  {}", line.trim_end())?;
    }
    Ok(())
}

/// More rows than this push the rest off the screen.
const OPERATIONS_MAX: usize = 6;
