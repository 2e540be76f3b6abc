//! The report for people: the verdict first, then what led to it and what mends it, then what else crossed, then the numbers.
//! It fits [`WIDTH`] columns, and no text from the wire reaches the terminal unescaped.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::analysis::{HeaderChanges, OperationRow};
use crate::model::Untrusted;
use crate::report::text::{bytes, counted, frames, number, span, wrap};
use crate::report::{Report, Style};
use crate::rules::{Evidence, Finding, Outcome, Severity};

/// Columns of the report.
pub(super) const WIDTH: usize = 100;

/// Writes the report.
pub(super) fn render(report: &Report<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { report, style, out };
    page.head()?;
    page.verdict()?;
    page.hops()?;
    page.joins()?;
    page.crossed()?;
    page.findings()?;
    page.operations()?;
    page.completeness()
}

struct Page<'a, 'o> {
    report: &'a Report<'a>,
    style: Style,
    out: &'o mut dyn Write,
}

impl Page<'_, '_> {
    fn head(&mut self) -> io::Result<()> {
        for source in self.report.sources {
            let span = match (&source.first, &source.last) {
                (Some(first), Some(last)) => format!(", {} to {}", second(first), second(last)),
                _ => String::new(),
            };
            let packets = if source.packets > 0 { format!(" {},", counted(source.packets, "packet")) } else { String::new() };
            let line = format!("{}:{packets} {}{span}", Untrusted::text(&source.file), Untrusted::text(&source.format));
            self.paragraph("", "", &line)?;
        }
        writeln!(self.out)
    }

    /// What happened, why, and what mends it.
    fn verdict(&mut self) -> io::Result<()> {
        let verdict = &self.report.summary.verdict;
        let colour = match verdict.outcome {
            Outcome::RefusedBeforeTheWire | Outcome::Leaked => Colour::Red,
            Outcome::Exposed | Outcome::NotJudged => Colour::Yellow,
            Outcome::Clean => Colour::Green,
        };
        let label = verdict.outcome.label().replace('-', " ").to_uppercase();
        let label = self.paint(colour, &label);
        let rule = verdict.rule.map(|rule| format!(", {rule}")).unwrap_or_default();
        writeln!(self.out, "{label} ({}{rule})", verdict.confidence.label())?;
        let message = self.clean(&verdict.message);
        self.paragraph("  ", "  ", &message)?;
        if let Some(finding) = self.report.deciding() {
            self.chain(finding)?;
            self.fixes(finding)?;
        }
        Ok(())
    }

    fn chain(&mut self, finding: &Finding) -> io::Result<()> {
        if finding.chain.is_empty() {
            let places = self.places(&finding.evidence, 8);
            return if places.is_empty() { Ok(()) } else { self.paragraph("  see ", "      ", &places) };
        }
        self.heading("Why")?;
        for (at, step) in finding.chain.iter().enumerate() {
            let text = self.clean(&step.step);
            self.paragraph(&format!("  {}. ", at + 1), "     ", &text)?;
            let places = self.places(&step.evidence, 6);
            if !places.is_empty() {
                self.faint_paragraph("     ", &places)?;
            }
        }
        Ok(())
    }

    fn fixes(&mut self, finding: &Finding) -> io::Result<()> {
        if finding.fixes.is_empty() {
            return Ok(());
        }
        self.heading("What mends it")?;
        for fix in &finding.fixes {
            let mark = if fix.tested { "[tested]     " } else { "[not tested] " };
            let note = fix.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let text = self.clean(&format!("{}{note}", fix.action));
            self.paragraph(&format!("  {mark}"), "               ", &text)?;
        }
        Ok(())
    }

    fn hops(&mut self) -> io::Result<()> {
        let hops = &self.report.summary.hops;
        if hops.is_empty() {
            return Ok(());
        }
        self.heading("The way")?;
        let mut table = table(&["hop", "transport", "server", "exchanges", "S3 calls", "client"]);
        right(&mut table, &[3, 4]);
        for hop in hops {
            let servers: Vec<_> = hop.servers.iter().take(2).map(ToString::to_string).collect();
            let more = if hop.servers.len() > 2 { format!(" +{}", hop.servers.len() - 2) } else { String::new() };
            let clients: Vec<_> =
                self.report.summary.clients.iter().filter(|row| row.hop == hop.id && row.exchanges > 0).collect();
            let client = clients.first().map(|row| format!("{} {}", row.sdk, row.version.as_deref().unwrap_or_default()));
            let others = if clients.len() > 1 { format!(" +{}", clients.len() - 1) } else { String::new() };
            let client = client.map(|client| self.clean(client.trim())).unwrap_or_default();
            table.add_row([
                self.clean(&hop.name),
                hop.transport.label().to_owned(),
                format!("{}{more}", servers.join(" ")),
                number(hop.exchanges),
                number(hop.calls),
                format!("{client}{others}"),
            ]);
        }
        self.table(&table)
    }

    /// What became of the calls behind the proxy, and what the proxy did to them.
    fn joins(&mut self) -> io::Result<()> {
        let rows = &self.report.summary.joins;
        if rows.is_empty() {
            return Ok(());
        }
        self.heading("Over the hops")?;
        let mut shown =
            table(&["from", "to", "joined", "only from", "only to", "client p50", "p99", "proxy p50", "p99", "store p50", "p99"]);
        right(&mut shown, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
        for row in rows {
            let (from, to) = (self.clean(self.report.hop(row.downstream)), self.clean(self.report.hop(row.upstream)));
            let mut cells = vec![from, to];
            cells.extend([row.joined, row.unmatched_downstream, row.unmatched_upstream].map(number));
            for leg in [row.latency.client_leg, row.latency.proxy, row.latency.store_leg] {
                cells.extend(leg.map_or_else(Default::default, |leg| [leg.p50, leg.p99].map(span)));
            }
            shown.add_row(cells);
        }
        self.table(&shown)?;
        for row in rows {
            for (what, changes) in [("requests", &row.request_headers), ("responses", &row.response_headers)] {
                let text = self.header_changes(changes);
                if !text.is_empty() {
                    let from = self.clean(self.report.hop(row.downstream));
                    self.paragraph("  ", "    ", &format!("{what} of {from}: {text}"))?;
                }
            }
        }
        Ok(())
    }

    fn header_changes(&self, changes: &HeaderChanges) -> String {
        const NAMES_MAX: usize = 8;
        let kinds = [
            ("added", &changes.added),
            ("dropped", &changes.dropped),
            ("changed", &changes.changed),
            ("signed among them", &changes.signed),
        ];
        let mut parts = Vec::new();
        for (what, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            let shown: Vec<_> =
                names.iter().take(NAMES_MAX).map(|(name, count)| format!("{} ({})", self.clean(name), number(*count))).collect();
            let more = if names.len() > NAMES_MAX { format!(" and {} more", names.len() - NAMES_MAX) } else { String::new() };
            parts.push(format!("{what} {}{more}", shown.join(", ")));
        }
        parts.join("; ")
    }

    /// Encryption kinds that crossed in clear.
    fn crossed(&mut self) -> io::Result<()> {
        let rows: Vec<_> = self.report.summary.encryption.iter().filter(|row| row.clear && row.kind != "none").collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.heading("Encryption headers that crossed in clear")?;
        let mut table = table(&["hop", "in", "kind", "messages"]);
        right(&mut table, &[3]);
        for row in rows {
            let place = format!("{}s", row.direction.label());
            table.add_row([self.clean(self.report.hop(row.hop)), place, row.kind.to_owned(), number(row.count)]);
        }
        self.table(&table)
    }

    fn findings(&mut self) -> io::Result<()> {
        let deciding = self.report.deciding().map(std::ptr::from_ref);
        let others: Vec<_> =
            self.report.summary.findings.iter().filter(|one| Some(std::ptr::from_ref(*one)) != deciding).collect();
        if others.is_empty() {
            return Ok(());
        }
        self.heading(if deciding.is_some() { "Other findings" } else { "Findings" })?;
        for finding in others {
            self.finding(finding)?;
        }
        Ok(())
    }

    fn finding(&mut self, finding: &Finding) -> io::Result<()> {
        let colour = match finding.severity {
            Severity::Error => Colour::Red,
            Severity::Warning => Colour::Yellow,
            Severity::Note => Colour::Cyan,
        };
        let hop = finding.hop.map(|hop| format!(" on {}", self.clean(self.report.hop(hop)))).unwrap_or_default();
        let severity = self.paint(colour, &format!("{:<8}", finding.severity.label()));
        let times = counted(finding.count, "time");
        writeln!(self.out, "  {severity}{}{hop}, {times}, {}", finding.rule.name, finding.confidence.label())?;
        // The frames stand at the end of the message: a line for each finding is a line less on the screen.
        let message = self.clean(&finding.message);
        let places = self.places(&finding.evidence, 4);
        let text = if places.is_empty() { message } else { format!("{message} ({places})") };
        self.paragraph("          ", "          ", &text)?;
        if self.style.verbose {
            self.chain(finding)?;
            self.fixes(finding)?;
        }
        Ok(())
    }

    fn operations(&mut self) -> io::Result<()> {
        if self.report.summary.operations.is_empty() {
            return Ok(());
        }
        self.heading("Operations")?;
        let mut table = table(&["hop", "operation", "calls", "errors", "sent", "received", "p50", "p99", "max"]);
        right(&mut table, &[2, 3, 4, 5, 6, 7, 8]);
        let all = &self.report.summary.operations;
        let shown = if self.style.verbose { all.len() } else { OPERATIONS_MAX };
        for row in all.iter().take(shown) {
            table.add_row(self.operation(row));
        }
        self.table(&table)?;
        if all.len() > shown {
            writeln!(self.out, "  and {} more: -v", all.len() - shown)?;
        }
        Ok(())
    }

    fn operation(&self, row: &OperationRow) -> Vec<String> {
        let [p50, p99, max] = match &row.latency {
            Some(latency) => [latency.p50, latency.p99, latency.max].map(span),
            None => [const { String::new() }; 3],
        };
        vec![
            self.clean(self.report.hop(row.hop)),
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

    /// How much was seen, and what was not.
    fn completeness(&mut self) -> io::Result<()> {
        self.heading("Completeness")?;
        let view = &self.report.summary.completeness;
        let mut seen = vec![format!("{} decoded", counted(view.exchanges, "exchange")), counted(view.flows, "connection")];
        if view.packets > 0 {
            seen.push(counted(view.packets, "packet"));
        }
        if view.stream_bytes > 0 {
            seen.push(format!("{} of streams", bytes(view.stream_bytes)));
        }
        let missing = [
            (view.packets_dropped, "packets dropped while capturing"),
            (view.packets_truncated, "packets cut short"),
            (view.packets_undecodable, "packets not decodable"),
            (view.flows_without_start, "connections that began before the capture"),
            (view.stream_bytes_missing, "octets missing in streams"),
            (view.exchanges_incomplete, "exchanges incomplete"),
        ];
        let mut not_seen: Vec<_> =
            missing.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", number(*count))).collect();
        not_seen.extend(
            self.report
                .summary
                .losses
                .iter()
                .map(|row| format!("{}: {} ({})", row.reason.label(), number(row.count), bytes(row.bytes))),
        );
        let tls = view.tls_undecrypted.iter().map(|(reason, count)| format!("{reason}: {count}")).collect::<Vec<_>>().join(", ");
        self.paragraph("  seen:     ", "            ", &seen.join(", "))?;
        let not_seen = if not_seen.is_empty() { "nothing known to be missing".to_owned() } else { not_seen.join(", ") };
        self.paragraph("  not seen: ", "            ", &not_seen)?;
        if view.tls_flows > 0 {
            let shut = if tls.is_empty() { String::new() } else { format!(", shut: {tls}") };
            let text = format!("{} of {} opened{shut}", number(view.tls_flows_decrypted), counted(view.tls_flows, "connection"));
            self.paragraph("  TLS:      ", "            ", &text)?;
        }
        Ok(())
    }

    /// Frames and log lines that show a claim.
    fn places(&self, all: &[Evidence], shown_max: usize) -> String {
        let mut by_file: Vec<(u16, Vec<u64>)> = Vec::new();
        for (file, mut numbers) in all.iter().flat_map(|one| self.report.frames_by_file(one)) {
            match by_file.iter_mut().find(|(have, _)| *have == file) {
                Some((_, have)) => have.append(&mut numbers),
                None => by_file.push((file, numbers)),
            }
        }
        let several = self.report.sources.len() > 1;
        let mut parts: Vec<_> = by_file
            .iter()
            .map(|(file, numbers)| {
                let name = self
                    .report
                    .file(*file)
                    .filter(|_| several)
                    .map(|name| format!(" of {}", Untrusted::text(name)))
                    .unwrap_or_default();
                format!("{}{name}", frames(numbers, shown_max))
            })
            .collect();
        let logs: Vec<_> = all.iter().filter_map(|one| one.log_line.as_ref()).collect();
        parts.extend(logs.iter().take(2).map(|(file, line)| format!("{} line {line}", Untrusted::text(file))));
        if logs.len() > 2 {
            parts.push(format!("{} more log lines", logs.len() - 2));
        }
        parts.join("; ")
    }

    /// Text without secrets and without anything that steers a terminal. Messages of rules are escaped already, and text
    /// that is escaped passes unchanged.
    fn clean(&self, text: &str) -> String {
        Untrusted::text(&self.report.clean(text)).to_string()
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Colour::Bold, text);
        writeln!(self.out, "\n{text}")
    }

    fn paragraph(&mut self, first: &str, other: &str, text: &str) -> io::Result<()> {
        let lines = wrap(text, WIDTH - other.len().max(first.len()));
        for (at, line) in lines.iter().enumerate() {
            writeln!(self.out, "{}{line}", if at == 0 { first } else { other })?;
        }
        Ok(())
    }

    fn faint_paragraph(&mut self, indent: &str, text: &str) -> io::Result<()> {
        for line in wrap(text, WIDTH - indent.len()) {
            let line = self.paint(Colour::Faint, &line);
            writeln!(self.out, "{indent}{line}")?;
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> io::Result<()> {
        for line in table.lines() {
            writeln!(self.out, "  {}", line.trim_end())?;
        }
        Ok(())
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if self.style.colour { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}

/// Numbers of ECMA-48 SGR.
#[derive(Clone, Copy)]
enum Colour {
    Bold = 1,
    Faint = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH - 2).unwrap_or(u16::MAX)).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// An RFC 3339 time down to the second, as people read it.
fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// More rows than this push the rest off the screen.
const OPERATIONS_MAX: usize = 16;
