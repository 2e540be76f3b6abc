//! Exchanges of any text, read as S3 calls: everything that can be asked of a call is asked.

use hopwire::model::{
    Endpoint, Endpoints, Exchange, ExchangeId, FlowId, Framing, HeaderName, Outcome, Request, Response, Transport, Version,
};
use hopwire::s3::{Address, Call, CopySource, Domains, FormFields, Query, is_s3_like};

use super::bytes::Bytes;

/// The input is text: method, target and fields of the request, an empty line, its body up to a line `---`, then status, fields,
/// an empty line and the body of the response.
pub fn call(input: &[u8]) {
    let exchange = exchange(input);
    let domains = Domains::new(vec!["s3.example.org".to_owned()]);
    let host = exchange.request.headers.get(HeaderName::Host);
    let (address, query) = Address::read(exchange.request.method(), exchange.request.target(), host, &domains);
    let _ = (address.level(), is_s3_like(&exchange, query));
    ask_texts(&exchange, query);
    if let Some(call) = Call::read(&exchange, &domains) {
        ask(&call);
    }
}

/// Makes an exchange of the text form.
pub fn exchange(input: &[u8]) -> Exchange {
    let mut input = Bytes(input);
    let mut line = Bytes(input.until(b'\n'));
    let method = line.until(b' ');
    let mut request = Request::from_parts(method, line.0, Version::Http11);
    fields(&mut input, |name, value| request.headers.append(name, value));
    let end = input.0.windows(5).position(|mark| mark == b"\n---\n");
    let body = input.take(end.unwrap_or(input.0.len()));
    input.take(5);
    fill(&mut request.body, body);
    let outcome = if input.is_empty() {
        Outcome::Unanswered
    } else {
        let status = std::str::from_utf8(input.until(b'\n')).ok().and_then(|text| text.trim().parse().ok());
        let mut response = Response::from_parts(status.unwrap_or(200), b"", Version::Http11);
        fields(&mut input, |name, value| response.headers.append(name, value));
        fill(&mut response.body, input.0);
        Outcome::Answered(Box::new(response))
    };
    Exchange {
        id: ExchangeId { flow: FlowId(1), ordinal: 1 },
        endpoints: Endpoints { client: Endpoint::UNKNOWN, server: Endpoint::UNKNOWN },
        transport: Transport::Clear,
        request,
        interim: Vec::new(),
        outcome,
        ending: None,
        tunnel: None,
        anomalies: Vec::new(),
    }
}

fn fields(input: &mut Bytes<'_>, mut add: impl FnMut(&[u8], &[u8])) {
    loop {
        let mut line = Bytes(input.until(b'\n'));
        if line.is_empty() {
            return;
        }
        let name = line.until(b':');
        add(name.trim_ascii(), line.0.trim_ascii());
    }
}

fn fill(body: &mut hopwire::model::Body, content: &[u8]) {
    body.kept = content.to_vec();
    body.length = content.len() as u64;
    body.framing = Framing::Length(body.length);
    body.complete = true;
}

fn ask(call: &Call<'_>) {
    let _ = (call.is_health_check(), call.client(), call.invocation_id(), call.attempt(), call.request_id());
    let _ = (call.version_id(), call.upload_id(), call.part_number(), call.copy_source().is_some(), call.payload());
    let _ = (call.object_bytes(), call.audit(), call.error(), call.status(), call.is_read(), call.is_write(), call.key());
    let (of_request, of_response) = (call.request_encryption(), call.response_encryption());
    let (in_request, in_response) = call.has_encryption_headers();
    // The short question may be answered yes too often, and never no where there is something.
    assert!(in_request || of_request.keys().count() == 0);
    let _ = (in_response, of_response, call.auth());
    assert_eq!(call.is_success(), call.status().is_some_and(|status| (200..300).contains(&status)));
    if let Some(form) = call.form() {
        for (name, _) in form.iter() {
            let _ = std::str::from_utf8(name).ok().and_then(|name| form.get(name));
        }
    }
}

fn ask_texts(exchange: &Exchange, query: Query<'_>) {
    assert_eq!(query.iter().count(), query.raw_pairs().count());
    for (name, value) in query.iter() {
        let Ok(name) = std::str::from_utf8(&name) else { continue };
        assert!(query.has(name) && query.get_ignoring_case(name).is_some(), "{name} = {value:?} is not found again");
    }
    for (_, value) in exchange.request.headers.iter() {
        let _ = CopySource::parse(value);
        if let Some(form) = FormFields::read(value, &exchange.request.body.kept) {
            assert!(form.iter().count() <= exchange.request.body.kept.len());
        }
    }
}
