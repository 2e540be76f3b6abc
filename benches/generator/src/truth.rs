//! What the capture holds, counted while it is made, as JSON.

use std::io::{self, Write};

use crate::options::Options;
use crate::s3::{Call, Operation};

/// All counts. Packets are those in the file; everything else is what the programs sent.
#[derive(Default)]
pub struct Truth {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Packets in the file.
    pub packets: u64,
    /// Packets that the capture missed.
    pub dropped: u64,
    /// Packets cut at the snapshot length.
    pub snapped: u64,
    /// TCP connections, all from SYN to FIN.
    pub connections: u64,
    /// Those inside TLS.
    pub tls_connections: u64,
    /// Data segments, each counted once.
    pub data_segments: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Of these, those sent long after.
    pub retransmitted_late: u64,
    /// Segments that stand in another's place.
    pub reordered: u64,
    /// Segments whose only copy comes long after its place.
    pub late: u64,
    /// Acknowledgements with a SACK block.
    pub duplicate_acks: u64,
    /// TCP payload, each byte once.
    pub payload_bytes: u64,
    /// Calls that clients made, attempts counted singly.
    pub calls: u64,
    /// `100 Continue` answers.
    pub continues: u64,
    /// Health checks of the proxy.
    pub health_checks: u64,
    /// Answers that the proxy made itself.
    pub proxy_errors: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// The clients' hop, and the proxy's.
    pub hops: [Hop; 2],
    /// The exchanges of one call on both hops, and its request id.
    pub pairs: Vec<[String; 3]>,
}

/// The counts of one hop.
#[derive(Default)]
pub struct Hop {
    /// Requests per operation, and how many of them were answered with an error.
    pub operations: [(u64, u64); 4],
    /// Health checks.
    pub others: u64,
    /// Answers with status 404.
    pub not_found: u64,
    /// Bodies in `Transfer-Encoding: chunked`.
    pub chunked: u64,
    /// Bodies in signed chunks.
    pub aws_chunked: u64,
    /// Heads of requests and final responses, empty lines included.
    pub header_bytes: u64,
    /// Bodies without transfer coding.
    pub body_bytes: u64,
    /// Bodies without aws-chunked either.
    pub object_bytes: u64,
}

impl Hop {
    /// Counts a call on this hop, with its heads as they stand here.
    pub fn count(&mut self, call: &Call, request: &[u8], response: &[u8]) {
        let (count, errors) = &mut self.operations[call.plan.operation as usize];
        *count += 1;
        *errors += u64::from(call.status >= 400);
        self.not_found += u64::from(call.status == 404);
        self.header_bytes += (request.len() + response.len()) as u64;
        for body in [&call.request_body, &call.response_body] {
            self.chunked += u64::from(body.chunked);
            self.aws_chunked += u64::from(body.aws_chunked);
            self.body_bytes += body.bytes;
            self.object_bytes += body.object_bytes;
        }
    }

    fn requests(&self) -> u64 {
        self.others + self.operations.iter().map(|(count, _)| count).sum::<u64>()
    }
}

impl Truth {
    /// Writes the truth as one JSON object.
    pub fn write_json(&self, options: &Options, out: &mut impl Write) -> io::Result<()> {
        let sum = |of: fn(&Hop) -> u64| self.hops.iter().map(of).sum::<u64>();
        let requests = sum(Hop::requests);
        writeln!(out, "{{\n  \"schema\": \"hopwire.generator/1\",")?;
        writeln!(out, "  \"kind\": \"{}\", \"seed\": {},", options.kind.name(), options.seed)?;
        writeln!(out, "  \"tls\": {}, \"two_hop\": {},", options.tls, options.two_hop)?;
        writeln!(out, "  \"upstream_tls\": {},", options.two_hop && options.upstream_tls)?;
        let counts = [
            ("file_bytes", self.file_bytes),
            ("packets", self.packets),
            ("dropped", self.dropped),
            ("snapped", self.snapped),
            ("connections", self.connections),
            ("tls_connections", self.tls_connections),
            ("data_segments", self.data_segments),
            ("retransmitted", self.retransmitted),
            ("retransmitted_late", self.retransmitted_late),
            ("reordered", self.reordered),
            ("late", self.late),
            ("duplicate_acks", self.duplicate_acks),
            ("payload_bytes", self.payload_bytes),
            ("requests", requests),
            ("responses", requests),
            ("continues", self.continues),
            ("calls", self.calls),
            ("retries", self.retries),
            ("health_checks", self.health_checks),
            ("proxy_errors", self.proxy_errors),
            ("not_found", sum(|hop| hop.not_found)),
            ("chunked", sum(|hop| hop.chunked)),
            ("aws_chunked", sum(|hop| hop.aws_chunked)),
            ("header_bytes", sum(|hop| hop.header_bytes)),
            ("body_bytes", sum(|hop| hop.body_bytes)),
            ("object_bytes", sum(|hop| hop.object_bytes)),
        ];
        for (name, count) in counts {
            writeln!(out, "  \"{name}\": {count},")?;
        }
        let totals = Operation::ALL.map(|operation| self.hops.iter().fold((0, 0), |sum, hop| add(sum, hop, operation)));
        writeln!(out, "  \"operations\": {},", operations_json(&totals))?;
        let names = ["client", "upstream"];
        let hops: Vec<String> = names.iter().zip(&self.hops).map(|(name, hop)| hop_json(name, hop)).collect();
        let hops_len = if options.two_hop { 2 } else { 1 };
        writeln!(out, "  \"hops\": [\n    {}\n  ],", hops[..hops_len].join(",\n    "))?;
        writeln!(out, "  \"pairs\": [")?;
        for (number, [client, upstream, request_id]) in self.pairs.iter().enumerate() {
            let comma = if number + 1 < self.pairs.len() { "," } else { "" };
            writeln!(out, "    [\"{client}\", \"{upstream}\", \"{request_id}\"]{comma}")?;
        }
        writeln!(out, "  ]\n}}")
    }
}

fn add((count, errors): (u64, u64), hop: &Hop, operation: Operation) -> (u64, u64) {
    let (more, more_errors) = hop.operations[operation as usize];
    (count + more, errors + more_errors)
}

fn operations_json(operations: &[(u64, u64); 4]) -> String {
    let seen = Operation::ALL.iter().zip(operations).filter(|(_, (count, _))| *count > 0);
    let fields: Vec<String> = seen
        .map(|(operation, (count, errors))| format!("\"{}\": {{\"count\": {count}, \"errors\": {errors}}}", operation.name()))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn hop_json(name: &str, hop: &Hop) -> String {
    format!(
        "{{\"name\": \"{name}\", \"requests\": {}, \"not_found\": {}, \"header_bytes\": {}, \"body_bytes\": {}, \"operations\": {}}}",
        hop.requests(),
        hop.not_found,
        hop.header_bytes,
        hop.body_bytes,
        operations_json(&hop.operations)
    )
}
