//! Whole messages out of a connection: the head and the body of each, as soon as it has ended.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::decode::http1::{Config, Connection, MessageHead, Observer, Retain};
use crate::model::{
    Body, Close, Endpoint, Endpoints, FlowId, Frame, HeaderName, Request, Response, Side, Stamp, Timestamp, Transport,
};

/// A message that has ended.
pub(super) enum Message {
    Request(Box<Request>, Vec<u8>),
    Response(Box<Response>, Vec<u8>),
}

/// The reader of one connection.
pub(super) struct Mailbox {
    connection: Connection,
    mail: Arc<Mutex<Mail>>,
}

#[derive(Default)]
struct Mail {
    request: Option<Box<Request>>,
    response: Option<Box<Response>>,
    content: [Vec<u8>; 2],
    ended: VecDeque<Message>,
    /// Whether the last request waits for an interim response.
    expects: bool,
}

struct Collector(Arc<Mutex<Mail>>);

impl Mailbox {
    pub(super) fn new(client: SocketAddr, server: SocketAddr) -> Self {
        let mail = Arc::new(Mutex::new(Mail::default()));
        let endpoint = |address: SocketAddr| Endpoint::new(address.ip(), address.port());
        let endpoints = Endpoints { client: endpoint(client), server: endpoint(server) };
        let connection = Connection::new(FlowId(1), endpoints, Transport::Clear, &Arc::new(Config::default()));
        Self { connection: connection.observed(Box::new(Collector(Arc::clone(&mail)))), mail }
    }

    /// Takes bytes that one side sent.
    pub(super) fn handle_data(&mut self, from: Side, bytes: &[u8]) {
        self.connection.handle_data(from, now(), bytes);
        while self.connection.poll().is_some() || self.connection.poll_loss().is_some() {}
    }

    /// Takes the end of what one side sends.
    pub(super) fn handle_close(&mut self, from: Side) {
        self.connection.handle_close(from, now(), Close::Finished);
    }

    /// The next message that has ended.
    pub(super) fn poll(&self) -> Option<Message> {
        lock(&self.mail).ended.pop_front()
    }

    /// Whether a request waits for `100 Continue`; asked once for each.
    pub(super) fn expects_continue(&self) -> bool {
        std::mem::take(&mut lock(&self.mail).expects)
    }
}

impl Observer for Collector {
    fn head(&mut self, head: &MessageHead<'_>) -> Retain {
        let mut mail = lock(&self.0);
        match head {
            MessageHead::Request(request) => {
                mail.expects = request.headers.get(HeaderName::Expect).is_some();
                mail.request = Some(Box::new((*request).clone()));
            }
            MessageHead::Response { response, .. } => mail.response = Some(Box::new((*response).clone())),
        }
        Retain::All
    }

    fn content(&mut self, from: Side, content: &[u8]) {
        let mut mail = lock(&self.0);
        let [client, server] = &mut mail.content;
        let body = if from == Side::Client { client } else { server };
        body.extend_from_slice(content);
    }

    fn end(&mut self, from: Side, body: &mut Body) {
        let mut mail = lock(&self.0);
        let [client, server] = &mut mail.content;
        let content = std::mem::take(if from == Side::Client { client } else { server });
        let message = match from {
            Side::Client => mail.request.take().map(|mut request| {
                request.body = body.clone();
                Message::Request(request, content)
            }),
            Side::Server => mail.response.take().map(|mut response| {
                response.body = body.clone();
                Message::Response(response, content)
            }),
        };
        mail.ended.extend(message);
    }
}

fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Stamp { at: Timestamp::EPOCH.after(since), frame: Frame::default() }
}
