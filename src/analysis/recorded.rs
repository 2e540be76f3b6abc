//! A run over a recording: its records instead of the events of a decoder.

use crate::analysis::{Analysis, Counts, Sink};
use crate::model::{Event, FlowOpened};
use crate::rules::{Regular, Unseen};
use crate::session::jsonl::{Record, Totals, UndecryptedClient};

impl Analysis {
    /// A record of a recorded run, in order.
    pub fn handle_record(&mut self, record: Record, sink: &mut dyn Sink) {
        match record {
            Record::Exchange(recorded) => {
                self.handle_hop_name(recorded.exchange.endpoints.server, &recorded.hop);
                self.handle_event(Event::Exchange(Box::new(recorded.exchange)), sink);
            }
            Record::Opened(opened) => {
                self.recorded_open.insert(opened.flow);
                self.handle_event(Event::FlowOpened(opened), sink);
            }
            Record::Flow(recorded) => {
                let closed = recorded.closed;
                let (flow, endpoints, first) = (closed.flow, closed.endpoints, closed.first);
                if let Some(hop) = &recorded.hop {
                    self.handle_hop_name(endpoints.server, hop);
                }
                if !self.recorded_open.remove(&flow) {
                    // Of this connection only the end was recorded.
                    self.handle_event(Event::FlowOpened(FlowOpened { flow, endpoints, first, syn: None }), sink);
                }
                self.handle_event(Event::FlowClosed(Box::new(closed)), sink);
            }
            Record::Sealed(recorded) => {
                self.handle_hop_name(recorded.exchange.endpoints.server, &recorded.hop);
                self.handle_recorded_sealed(Box::new(recorded.exchange), recorded.partner, sink);
            }
            Record::Loss(loss) => self.handle_event(Event::Lost(loss), sink),
            Record::Source(_) | Record::Summary(_) => {}
        }
    }

    /// What the recording run counted.
    pub fn handle_totals(&mut self, totals: &Totals) {
        let mut counts = Counts {
            packets: totals.packets,
            packets_truncated: totals.packets_truncated,
            packets_undecodable: totals.packets_undecodable,
            packets_dropped: totals.packets_dropped,
            ..Counts::default()
        };
        for unseen in &totals.unseen {
            // All else is in the lines of connections and losses.
            match Unseen::ALL.iter().find(|kind| kind.label() == unseen.reason) {
                Some(Unseen::Quic) => counts.packets_quic += unseen.count,
                Some(Unseen::EncryptedPackets) => counts.packets_encrypted += unseen.count,
                Some(Unseen::FileBytes) => {
                    counts.file_places_unread += unseen.count;
                    counts.file_bytes_unread += unseen.bytes;
                }
                _ => {}
            }
        }
        self.handle_counts(&counts);
        for one in &totals.undecrypted_clients {
            let UndecryptedClient { client, requests, irregular, request_bytes, last } = *one;
            self.stage.handle_undecrypted_client(Regular { client, requests, irregular, request_bytes, last });
        }
    }
}
