//! Servers that behave as told, and a proxy before them whose recording is kept.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hopwire::decode::{Decoder, Limits};
use hopwire::model::{Event, Exchange, Frame, LinkType, Packet};
use hopwire::proxy::{Entry, Reel, Route, Running, Settings, Tape, start};

/// A server on loopback.
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    received: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    is_closed: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Answers one request and closes.
    Once,
    /// Answers every request.
    Each,
    /// Answers one request, and closes where the second one comes.
    ClosingAtSecond,
    /// Answers and resets.
    Reset,
}

impl Origin {
    /// Answers once it has `request_bytes`, and closes when the client does (or at once, where the response ends so).
    pub(crate) fn answering(request_bytes: usize, response: &[u8]) -> Self {
        Self::start(request_bytes, response, Manner::Once)
    }

    pub(crate) fn answering_each(request_bytes: usize, response: &[u8]) -> Self {
        Self::start(request_bytes, response, Manner::Each)
    }

    pub(crate) fn closing_at_the_second(request_bytes: usize, response: &[u8]) -> Self {
        Self::start(request_bytes, response, Manner::ClosingAtSecond)
    }

    pub(crate) fn resetting(request_bytes: usize, response: &[u8]) -> Self {
        Self::start(request_bytes, response, Manner::Reset)
    }

    fn start(request_bytes: usize, response: &[u8], manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(State { received: Mutex::default(), connections: AtomicUsize::new(0), is_closed: AtomicBool::new(false) });
        let response = response.to_vec();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, response) = (Arc::clone(&shared), response.clone());
                shared.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || shared.serve(socket.unwrap(), request_bytes, &response, manner));
            }
        });
        Self { address, state }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn received(&self) -> Vec<u8> {
        self.state.received.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Listens no more.
    pub(crate) fn close(&self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        // The listener is gone once nobody accepts any more.
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl State {
    fn serve(&self, mut socket: TcpStream, request_bytes: usize, response: &[u8], manner: Manner) {
        for round in 0.. {
            let mut request = vec![0; request_bytes];
            if socket.read_exact(&mut request).is_err() {
                return;
            }
            self.received.lock().unwrap().extend_from_slice(&request);
            if round == 1 && manner == Manner::ClosingAtSecond {
                return;
            }
            socket.write_all(response).unwrap();
            match manner {
                Manner::Each | Manner::ClosingAtSecond => {}
                Manner::Once => {
                    socket.shutdown(Shutdown::Write).unwrap();
                    let mut rest = Vec::new();
                    let _ = socket.read_to_end(&mut rest);
                    self.received.lock().unwrap().extend_from_slice(&rest);
                    return;
                }
                Manner::Reset => {
                    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                    // What was sent shall be there before the reset.
                    std::thread::sleep(Duration::from_millis(100));
                    return;
                }
            }
        }
    }
}

/// A running proxy, and the thread that reads its tape.
pub(crate) struct Started {
    running: Running,
    reader: JoinHandle<Vec<Recorded>>,
    notices: Arc<Mutex<Vec<String>>>,
}

/// One thing of the recording.
pub(crate) enum Recorded {
    Packet(hopwire::model::Timestamp, Vec<u8>),
    Secret(hopwire::model::Secret),
}

/// Starts a proxy with one plaintext route to the origin.
pub(crate) fn start_with(origin: &Origin, settings: Settings) -> Started {
    let route = Route::of("front", "http://127.0.0.1:0", &format!("http://{}", origin.address())).unwrap();
    start_routes(Settings { routes: vec![route], ..settings })
}

pub(crate) fn start_routes(settings: Settings) -> Started {
    let tape = Arc::new(Tape::new(4 << 20));
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    let running = start(settings, Arc::clone(&tape), move |notice| told.lock().unwrap().push(notice.to_string())).unwrap();
    let reader = std::thread::spawn(move || {
        let (mut reel, mut all) = (Reel::default(), Vec::new());
        while tape.take(&mut reel, Duration::from_millis(20)) {
            for (entry, bytes) in reel.entries() {
                match entry {
                    Entry::Packet { at, .. } => all.push(Recorded::Packet(*at, bytes.to_vec())),
                    Entry::Secret(secret) => all.push(Recorded::Secret(secret.clone())),
                    Entry::Server { .. } => {}
                }
            }
        }
        all
    });
    Started { running, reader, notices }
}

impl Started {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.listening()[0].1
    }

    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap().clone()
    }

    /// Ends it; gives what was recorded.
    pub(crate) fn stop(self) -> Vec<Recorded> {
        self.running.stop();
        self.reader.join().unwrap()
    }
}

/// The exchanges of a recording.
pub(crate) fn exchanges(recorded: &[Recorded]) -> Vec<Exchange> {
    let mut decoder = Decoder::new(Limits::default());
    let mut ordinal = 0;
    let mut found = Vec::new();
    for entry in recorded {
        match entry {
            Recorded::Secret(secret) => decoder.handle_secret(secret),
            Recorded::Packet(at, bytes) => {
                ordinal += 1;
                let length = bytes.len() as u32;
                decoder.handle_packet(&Packet {
                    ordinal,
                    frame: Frame::new(0, ordinal),
                    at: *at,
                    link: LinkType(101),
                    bytes,
                    captured: length,
                    original: length,
                    tail: hopwire::model::Tail::default(),
                });
            }
        }
    }
    decoder.handle_end();
    while let Some(event) = decoder.poll() {
        if let Event::Exchange(exchange) = event {
            found.push(*exchange);
        }
    }
    found.sort_by_key(|exchange| exchange.id);
    found
}

/// Reads until so many bytes came, or the other side ended.
pub(crate) fn read_all(socket: &mut TcpStream, bytes: usize) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut received = vec![0; bytes];
    let mut count = 0;
    while count < bytes {
        match socket.read(&mut received[count..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => count += more,
        }
    }
    received.truncate(count);
    received
}
