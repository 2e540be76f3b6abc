//! The calls of a recording as their clients made them: captures and sessions in, one item per call out.

use std::sync::Arc;

use clap::Args;

use crate::analysis::{Analysis, Judged, Options, Sink};
use crate::cli::failure::Failure;
use crate::cli::inputs::{self, Inputs, Ran, analyze_sessions};
use crate::cli::interrupt::Stop;
use crate::cli::packets::{Resources, analyze_packets};
use crate::decode::http1::{MessageHead, Observe, Retain};
use crate::model::{Endpoints, Loss, Secret};
use crate::s3::Call;

/// What it takes to read a recording.
#[derive(Args, Clone)]
pub(super) struct Reading {
    /// A TLS key log (SSLKEYLOGFILE); secrets inside pcapng are used without asking
    #[arg(long, value_name = "FILE")]
    pub(super) keylog: Vec<String>,
    /// A base domain of virtual-host style buckets, as in BUCKET.s3.example.org
    #[arg(long, value_name = "DOMAIN")]
    pub(super) domain: Vec<String>,
}

/// Collects an item of each call.
struct Collected<T, F> {
    items: Vec<(String, Endpoints, T)>,
    make: F,
}

impl<T, F: FnMut(&Call<'_>, &str) -> Option<T>> Sink for Collected<T, F> {
    fn exchange(&mut self, record: &Judged<'_>) {
        let Some(call) = record.call.filter(|call| !call.is_health_check()) else { return };
        if record.trace.is_some_and(|trace| trace != record.exchange.id) {
            return;
        }
        if let Some(item) = (self.make)(call, record.hop) {
            self.items.push((record.hop.to_owned(), record.exchange.endpoints, item));
        }
    }

    fn loss(&mut self, _loss: &Loss) {}
}

/// Reads recordings; `make` is given every S3 call and the name of its hop. Calls that a proxy sent on are left out where the
/// client's own are there: each call counts once, as its client made it. Memory grows with the calls.
pub(super) fn read_nearest<T: Send, F: FnMut(&Call<'_>, &str) -> Option<T> + Send>(
    files: &[String],
    reading: &Reading,
    observe: Option<Arc<dyn Observe>>,
    make: F,
) -> Result<(Vec<T>, Ran), Failure> {
    let mut secrets = Vec::new();
    for path in &reading.keylog {
        secrets.push(Secret::new(inputs::read_whole(path, "key log")?));
    }
    let analysis = Analysis::new(Options { domains: reading.domain.clone(), ..Options::default() });
    let mut sink = Collected { items: Vec::new(), make };
    let ran = match inputs::open(files, &Stop::default())? {
        Inputs::Sessions(sessions) => analyze_sessions(sessions, analysis, &mut sink, &mut |_| Ok(true))?,
        Inputs::Packets(packets) => {
            let retain: Option<fn(&MessageHead<'_>) -> Retain> = Some(|_| Retain::All);
            let resources = Resources { threads: None, memory_bytes_max: None, verify_records: true, retain, observe };
            analyze_packets(packets, secrets, resources, analysis, &mut sink)?
        }
    };
    let hops = &ran.summary.hops;
    let fronts: Vec<_> = hops.iter().filter(|hop| hop.upstream.is_some() && hop.calls > 0).collect();
    let is_sent_on = |name: &str, ends: &Endpoints| {
        let Some(hop) = hops.iter().find(|hop| hop.name == name) else { return false };
        fronts
            .iter()
            .any(|front| front.upstream == Some(hop.id) && front.servers.iter().any(|server| server.ip == ends.client.ip))
    };
    let items = sink.items.into_iter().filter(|(name, ends, _)| !is_sent_on(name, ends)).map(|(_, _, item)| item).collect();
    Ok((items, ran))
}
