//! One run of the lab: a client, the stand-in where it takes part, the store, and hopwire's proxy on every hop, which records.

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::sign::CertifiedKey;

use crate::capture::write::pcapng::{InterfaceDescription, PacketRecord, Writer};
use crate::lab::{
    CLIENT_ADDRESS, Certificates, Client, Job, Outcome, Program, Running as Server, SIDEKICK_ADDRESS, STORE_ADDRESS, ServerSide,
    Sidekick, Store,
};
use crate::proxy::{Entry, Identity, Reel, Route, Running, Settings, Tape, Upstream, start};
use crate::session::tcp::RAW_IP;

/// How a client reaches the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    /// By TLS, without a proxy.
    Direct,
    /// Through the proxy's HTTPS front.
    Https,
    /// Through the proxy's HTTP front.
    Http,
}

/// Who takes part in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) program: Program,
    pub(super) through: Through,
    /// The client's key, where it uses SSE-C.
    pub(super) customer_key: Option<[u8; 32]>,
}

/// The parts of the lab that all runs share.
pub(super) struct World {
    store: Arc<Store>,
    front: Server,
    sidekick: Arc<Sidekick>,
    fronts: [Server; 2],
    trust: Arc<ClientConfig>,
    certificate: Arc<CertifiedKey>,
    certificates: Certificates,
}

/// A run that has ended.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    /// Calls that the client made.
    pub(super) calls: usize,
}

impl World {
    /// Starts store and stand-in. `folder` is where the CA is kept.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let certificates = Certificates::make(folder)?;
        let names = [CLIENT_ADDRESS, SIDEKICK_ADDRESS, STORE_ADDRESS].map(|address| address.to_string());
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["localhost", "sidekick", "aistor"]).collect();
        let certificate = certificates.key_for(&names)?;
        let serving = certificates.serving(&names)?;
        let trust = certificates.trusting()?;
        let store = Store::new(ACCESS_KEY, SECRET, Some(KMS_KEY), true);
        let front = store.listen(Some(Arc::clone(&serving)))?;
        let sidekick = Sidekick::new(Arc::clone(&trust));
        let fronts = [sidekick.listen(None)?, sidekick.listen(Some(serving))?];
        let world = Self { store, front, sidekick, fronts, trust, certificate, certificates };
        let direct = ServerSide { address: world.front.address(), tls: Some(Arc::clone(&world.trust)) };
        world.client(Program::S3a33, direct).create_bucket()?;
        Ok(world)
    }

    /// The store's own account.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The stand-in's HTTPS front, before the store itself: where a replay is sent.
    pub(super) fn https_front(&self) -> SocketAddr {
        self.sidekick.connect_to(self.front.address());
        let [_, https] = &self.fronts;
        https.address()
    }

    /// Runs a job and writes what passed on every hop to a file.
    pub(super) fn run(&self, part: &Part, table: &str, file: &Path) -> anyhow::Result<Ran> {
        let Part { program, through, customer_key } = *part;
        let tape = Arc::new(Tape::new(TAPE_BYTES));
        let running = self.proxies(through, &tape)?;
        let address = |name: &str| running.listening().iter().find(|(have, _)| have == name).map(|(_, address)| *address);
        if let Some(store) = address(STORE_HOP) {
            self.sidekick.connect_to(store);
        }
        let front = address(CLIENT_HOP).ok_or_else(|| anyhow::anyhow!("the proxy does not listen"))?;
        let tls = (through != Through::Http).then(|| Arc::clone(&self.trust));
        let mut client = self.client(program, ServerSide { address: front, tls });
        if let Some(key) = customer_key {
            client = client.with_customer_key(key);
        }
        let job = Job { table, tasks: 2, waits: &WAITS };
        let outcome = job.run(&mut client);
        let calls = client.calls();
        drop(client);
        let legs = running.legs().to_vec();
        running.stop();
        write(&tape, &legs, through, file)?;
        Ok(Ran { outcome, calls })
    }

    fn client(&self, program: Program, server: ServerSide) -> Client {
        Client::new(program, server, BUCKET, ACCESS_KEY, SECRET)
    }

    /// hopwire's proxy: before the stand-in, and between it and the store.
    fn proxies(&self, through: Through, tape: &Arc<Tape>) -> anyhow::Result<Running> {
        let [http, https] = &self.fronts;
        let store = format!("https://{}", self.front.address());
        let route =
            |name, listen: String, target: String| Route::of(name, &listen, &target).map_err(|text| anyhow::anyhow!(text));
        let to_store = route(STORE_HOP, format!("https://{STORE_ADDRESS}:0"), store.clone());
        let routes = match through {
            Through::Direct => vec![route(CLIENT_HOP, format!("https://{STORE_ADDRESS}:0"), store)?],
            Through::Https => {
                let target = format!("https://{}", https.address());
                vec![route(CLIENT_HOP, format!("https://{SIDEKICK_ADDRESS}:0"), target)?, to_store?]
            }
            Through::Http => {
                let target = format!("http://{}", http.address());
                vec![route(CLIENT_HOP, format!("http://{SIDEKICK_ADDRESS}:0"), target)?, to_store?]
            }
        };
        let upstream = Upstream { roots: vec![self.certificates.root()], ..Upstream::default() };
        let identity = Some(Identity::Fixed(Arc::clone(&self.certificate)));
        let settings = Settings { routes, identity, upstream, threads: 1, ..Settings::default() };
        start(settings, Arc::clone(tape), |_| {}).map_err(|error| anyhow::anyhow!(error))
    }
}

/// Writes the legs that a capture of the lab's network would hold: not those that hopwire's proxy adds.
fn write(tape: &Tape, legs: &[String], through: Through, file: &Path) -> io::Result<()> {
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let mut writer = Writer::new(BufWriter::new(out), concat!("hopwire ", env!("CARGO_PKG_VERSION"), " demo"), &[])?;
    let kept: Vec<bool> = legs.iter().map(|leg| leg == CLIENT_HOP || leg == STORE_HOP).collect();
    let mut interfaces = Vec::new();
    for leg in legs {
        let description = InterfaceDescription { name: Some(leg), description: None, snap_length: 0 };
        interfaces.push(writer.add_interface(RAW_IP, &description)?);
    }
    let mut names: Vec<(IpAddr, &str)> = vec![(CLIENT_ADDRESS.into(), "spark"), (STORE_ADDRESS.into(), "aistor")];
    if through != Through::Direct {
        names.push((SIDEKICK_ADDRESS.into(), "sidekick"));
    }
    writer.write_names(names)?;
    let mut reel = Reel::default();
    while tape.take(&mut reel, Duration::ZERO) {
        for (entry, bytes) in reel.entries() {
            match entry {
                Entry::Packet { at, leg, .. } => {
                    let leg = usize::from(*leg);
                    let (Some(interface), Some(true)) = (interfaces.get(leg), kept.get(leg)) else { continue };
                    let original = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    writer.write_packet(*interface, &PacketRecord { at: *at, bytes, original, comments: &[] })?;
                }
                Entry::Secret(secret) => writer.write_secret(secret)?,
                _ => {}
            }
        }
    }
    writer.finish().map(drop)
}

/// The lab's user.
pub(super) const ACCESS_KEY: &str = "demo-access-key";
pub(super) const SECRET: &str = "demo-secret-key";
pub(super) const BUCKET: &str = "spark-data";
const KMS_KEY: &str = "minio-default-key";
const CLIENT_HOP: &str = "spark-front";
const STORE_HOP: &str = "sidekick-store";
const TAPE_BYTES: usize = 64 << 20;
/// S3A tries eight times within two minutes; here it waits less.
const WAITS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];
