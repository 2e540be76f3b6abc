//! From the arguments to a running proxy, and from its end to the report.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::analysis::Summary;
use crate::capture::{Batch, PacketSource as _};
use crate::cli::Outcome;
use crate::cli::capture::recording::{Recording, Target};
use crate::cli::capture::rotation::Rotation;
use crate::cli::failure::{Exit, Failure, say};
use crate::cli::inputs::{self, Inputs, Ran};
use crate::cli::interrupt::Stop;
use crate::cli::output::{self, Output};
use crate::cli::packets::{analyze_packets, source_of};
use crate::cli::proxy::Arguments;
use crate::cli::proxy::source::ProxySource;
use crate::cli::proxy::watch::{Notices, Watch};
use crate::model::Untrusted;
use crate::pipeline;
use crate::proxy::{
    Authority, AuthorityError, Bounds, Destination, Identity, Route, Running, Settings, StartError, Tape, Upstream,
    make_ca as make_authority, open_certificate, read_certificates, read_key, start,
};

/// Makes a CA and says how clients come to trust it.
pub(super) fn make_ca(folder: &Path) -> Outcome {
    let [certificate, key] = make_authority(folder).map_err(authority_failure)?;
    let certificate = std::path::absolute(&certificate).unwrap_or(certificate);
    let path = certificate.display();
    say(format_args!(
        "made {path} (give it to clients) and {} (keep it: who has it can pretend to be any server to them)",
        key.display()
    ));
    say(format_args!(
        "\nTrust it for one run:\n\
         \x20 Java, Spark:  keytool -importcert -noprompt -alias hopwire -file {path} -keystore truststore.jks -storepass changeit\n\
         \x20               export JDK_JAVA_OPTIONS=\"-Djavax.net.ssl.trustStore=$PWD/truststore.jks -Djavax.net.ssl.trustStorePassword=changeit\"\n\
         \x20 boto3, aws:   export AWS_CA_BUNDLE={path}\n\
         \x20 requests:     export REQUESTS_CA_BUNDLE={path}\n\
         \x20 Go, mc:       export SSL_CERT_FILE={path}   (mc also: cp {path} ~/.mc/certs/CAs/)\n\
         \x20 curl:         curl --cacert {path} …\n\
         A Java trust store that is given so replaces the usual one: import the other CAs that the job needs as well."
    ));
    Ok(Exit::Done)
}

/// Runs the proxy until it is stopped, and reports.
pub(super) fn run(arguments: Arguments) -> Outcome {
    arguments.judging.check()?;
    let arguments = arguments.with_file()?;
    let rotation = arguments.rotation()?;
    let settings = arguments.settings()?;
    let routes = settings.routes.clone();
    let report = output::open(arguments.judging.output.as_deref(), &arguments.judging.inputs(&[]))?;
    let recording = arguments.write.clone().map(|path| open_recording(path, rotation)).transpose()?;
    let is_stopped = Arc::new(AtomicBool::new(false));
    listen_for_signals(&is_stopped).map_err(|error| Failure::capture(error, "try again"))?;
    let notices = Arc::new(Notices::new(arguments.judging.quiet));
    let tape = Arc::new(Tape::new(TAPE_BYTES));
    let told = Arc::clone(&notices);
    let running = start(settings, Arc::clone(&tape), move |notice| told.tell_notice(&notice)).map_err(start_failure)?;
    arguments.announce(&running, &routes, &notices);
    if let Some(recording) = &recording {
        notices.tell(&format!(
            "note: {} holds the TLS secrets too: who has it can read everything",
            Untrusted::text(&recording.name())
        ));
    }
    notices.tell("Ctrl-C ends and reports");
    let until = arguments.duration.map(|span| Instant::now() + span);
    let mut source = ProxySource::new(running, tape, recording, Arc::clone(&notices), Arc::clone(&is_stopped), until);
    let summary = match arguments.judge_at_end {
        true => arguments.judge_files(&mut source, report)?,
        false => arguments.judge_live(&mut source, report, &notices)?,
    };
    if let Some(error) = source.take_failure() {
        return Err(Failure::unwritable(
            error,
            format!("recording stopped early; what was written before opens ({} packets)", source.packets_written()),
        ));
    }
    let judged = arguments.judging.conclude(&summary);
    if is_stopped.load(Ordering::Relaxed) {
        if let Err(failure) = judged {
            failure.tell();
        }
        return Ok(Exit::Interrupted);
    }
    judged
}

impl Arguments {
    fn rotation(&self) -> Result<Rotation, Failure> {
        let rotation = Rotation::new(&self.ring);
        if rotation.files_max.is_some() && !rotation.is_on() {
            return Err(Failure::usage(
                "-b files:N alone never begins another file",
                "add -b filesize:KB or -b duration:SECONDS",
            ));
        }
        Ok(rotation)
    }

    /// Judges what passes while it does.
    fn judge_live(&self, source: &mut ProxySource, report: Output, notices: &Arc<Notices>) -> Result<Summary, Failure> {
        self.judging.judge(report, |analysis, recorder| {
            let resources = self.judging.resources();
            let options = pipeline::Options {
                // What relays needs the processors more.
                threads: resources.threads.unwrap_or(1),
                limits: resources.limits(),
                secrets: Vec::new(),
            };
            let mut watch = Watch { recorder, notices: Arc::clone(notices) };
            let outcome = pipeline::run(source, &options, analysis, &mut watch);
            source.finish();
            let sources = outcome.sources.iter().map(source_of).collect();
            Ok(Ran { summary: outcome.summary, sources })
        })
    }

    /// Records until the end, and then judges the files.
    fn judge_files(&self, source: &mut ProxySource, report: Output) -> Result<Summary, Failure> {
        let mut batch = Batch::new();
        while matches!(source.read_batch(&mut batch), Ok(true)) {}
        source.finish();
        let files = source.files();
        self.judging.judge(report, |analysis, recorder| match inputs::open(&files, &Stop::default())? {
            Inputs::Packets(files) => analyze_packets(files, Vec::new(), self.judging.resources(), analysis, recorder),
            Inputs::Sessions(_) => Err(Failure::not_judged("the recording holds no packets", "see why with -v")),
        })
    }

    fn routes(&self) -> Result<Vec<Route>, Failure> {
        let mut routes = self.route.clone();
        for forward in &self.forward {
            if self.allow_target.is_empty() && !forward.listen.address.ip().is_loopback() {
                return Err(Failure::refused(
                    anyhow::anyhow!("{} would be a proxy for everybody who can reach {}", forward.name, forward.listen.address),
                    "say which targets it may connect to: --allow-target HOST[:PORT]; or listen on loopback",
                ));
            }
            routes.push(forward.clone().allowing(&self.allow_target));
        }
        routes.extend(self.interceptions()?);
        if routes.is_empty() {
            return Err(Failure::usage(
                "there is no route",
                "add one, as in --route 'spark-sidekick=https://:18090->https://sidekick:8090' (with the quotes); \
                 or --intercept CONTAINER:PORT, --forward NAME=http://:3128",
            ));
        }
        Ok(routes)
    }

    /// Says what runs, and loudly what is not as usual.
    fn announce(&self, running: &Running, routes: &[Route], notices: &Notices) {
        for ((name, address), route) in running.listening().iter().zip(routes) {
            match &route.to {
                Destination::Intercepted { port, .. } => notices.tell(&format!("{name}: port {port} is redirected here")),
                Destination::Asked(_) => notices.tell(&format!("{name}: a forward proxy on http://{address}")),
                Destination::Target(target) => notices
                    .tell(&format!("{name}: listening on {}://{address}, forwarding to {target}", route.listen.scheme.label())),
            }
            if !address.ip().is_loopback() && !matches!(route.to, Destination::Intercepted { .. }) {
                notices.tell(&format!("note: {name} can be reached from other machines ({address})"));
            }
        }
        for (name, count) in running.old_connections().filter(|(_, count)| *count > 0) {
            notices.tell(&format!(
                "note: {name}: {count} connections that were open before go on past hopwire until they close; \
                 to end them restart the client, or in the container's network: ss -K state established sport = :PORT"
            ));
        }
        if self.insecure_upstream {
            notices.tell("warning: THE CERTIFICATES OF TARGETS ARE NOT VERIFIED (--insecure-upstream)");
        }
        for experiment in self.drop_response_header.iter().chain(&self.fault) {
            notices.tell(&format!("warning: EXPERIMENT: hopwire changes traffic on purpose: {experiment}"));
        }
        if let Some(name) = &self.wrong_certificate {
            notices.tell(&format!("warning: EXPERIMENT: clients are shown certificates for {name} instead of the right ones"));
        }
    }

    /// The password of encrypted keys: from its file, or asked for where a key needs one and somebody is there to ask.
    fn password(&self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(path) = &self.key_password_file {
            let mut text = inputs::read_whole(&path.display().to_string(), "password")?;
            while matches!(text.last(), Some(b'\n' | b'\r')) {
                text.pop();
            }
            return Ok(Some(text));
        }
        let keys = [&self.ca_key, &self.key, &self.upstream_key];
        let encrypted =
            keys.into_iter().flatten().find(|key| matches!(read_key(key, None), Err(AuthorityError::Encrypted { .. })));
        match encrypted {
            Some(key) if io::stdin().is_terminal() => ask_password(key).map(Some),
            _ => Ok(None),
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let routes = self.routes()?;
        let password = self.password()?;
        let password = password.as_deref();
        let identity = match (&self.ca_cert, &self.ca_key, &self.cert, &self.key) {
            (Some(certificate), Some(key), ..) => {
                let authority = Authority::open(certificate, key, password).map_err(authority_failure)?;
                Some(Identity::Authority(Arc::new(authority)))
            }
            (.., Some(certificate), Some(key)) => {
                Some(Identity::Fixed(open_certificate(certificate, key, password).map_err(authority_failure)?))
            }
            (None, None, None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "a certificate and its private key belong together",
                    "give both: --ca-cert with --ca-key, --cert with --key",
                ));
            }
        };
        let mut upstream = Upstream { is_insecure: self.insecure_upstream, ..Upstream::default() };
        for path in &self.upstream_ca {
            upstream.roots.extend(read_certificates(path).map_err(authority_failure)?);
        }
        if let (Some(certificate), Some(key)) = (&self.upstream_cert, &self.upstream_key) {
            let chain = read_certificates(certificate).map_err(authority_failure)?;
            upstream.client = Some((chain, read_key(key, password).map_err(authority_failure)?));
        }
        let experiments = self.drop_response_header.iter().chain(&self.fault).map(Arc::clone).collect();
        Ok(Settings {
            routes,
            experiments,
            wrong_certificate: self.wrong_certificate.clone(),
            identity,
            allowed_names: self.allow_name.clone(),
            upstream,
            forwards_ambiguous: self.forward_ambiguous,
            threads: self.workers.map_or(0, usize::from),
            bounds: Bounds { connections_max: self.max_connections as usize, ..Bounds::default() },
        })
    }
}

fn open_recording(path: PathBuf, rotation: Rotation) -> Result<Recording, Failure> {
    let name = path.display().to_string();
    Recording::open(Target::File(path), rotation).map_err(|error| Failure::unwritable(error, format!("cannot write {name}")))
}

/// Asks for the password of a key, which the terminal does not show meanwhile.
fn ask_password(key: &Path) -> Result<Vec<u8>, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |error: io::Error| Failure::usage(error, "give the password with --key-password-file FILE");
    let stdin = io::stdin();
    let usual = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let mut silent = usual.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|error| failed(error.into()))?;
    say(format_args!("password of {}:", key.display()));
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    let _ = tcsetattr(&stdin, OptionalActions::Now, &usual);
    read.map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).as_bytes().to_vec())
}

/// The first signal ends the run in good order; the second ends the program.
fn listen_for_signals(is_stopped: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(is_stopped))?;
        flag::register(signal, Arc::clone(is_stopped))?;
    }
    Ok(())
}

fn authority_failure(error: AuthorityError) -> Failure {
    match &error {
        AuthorityError::KeyReadable { path, .. } => {
            let help = format!("who reads it can pretend to be any server: chmod 600 {}", path.display());
            Failure::refused(error, help)
        }
        AuthorityError::Read { .. } => {
            Failure::unreadable(error, "cannot use the certificates", "check the name, and that you may read it")
        }
        AuthorityError::Encrypted { .. } => Failure::usage(error, "give its password with --key-password-file FILE"),
        AuthorityError::OldEncryption { path } => {
            let help = format!("convert it: openssl pkcs8 -topk8 -in {} -out new.key", path.display());
            Failure::usage(error, help)
        }
        AuthorityError::Password { .. } => Failure::usage(error, "check the password in --key-password-file FILE"),
        AuthorityError::Mismatch { .. } => Failure::usage(error, "give the key that the certificate was made with"),
        AuthorityError::NoPem { .. } => {
            Failure::usage(error, "give it in PEM (-----BEGIN …); openssl x509 -inform der or openssl pkey converts")
        }
        AuthorityError::KeyKind { .. } | AuthorityError::Certificate { .. } => {
            Failure::usage(error, "hopwire proxy --make-ca DIR makes a CA that can be used")
        }
        AuthorityError::Make(_) => Failure::capture(error, "try again"),
        AuthorityError::Write { .. } => {
            Failure::unreadable(error, "cannot make a CA", "name a new folder: what is there is never overwritten")
        }
    }
}

fn start_failure(error: StartError) -> Failure {
    let help = match &error {
        StartError::NoRoute => "add --route".to_owned(),
        StartError::SameName { .. } => "give each route a name of its own".to_owned(),
        StartError::NoIdentity { .. } => {
            "give a CA that the clients trust (--ca-cert, --ca-key), or a certificate (--cert, --key); hopwire proxy --make-ca DIR makes a CA"
                .to_owned()
        }
        StartError::Listen { source, address, .. } => match source.kind() {
            io::ErrorKind::AddrInUse => format!("another program listens there (ss -ltnp 'sport = :{}'): choose another port", address.port()),
            io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher port".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine does not have the address (ip addr)".to_owned(),
            _ => "choose another address".to_owned(),
        },
        StartError::Intercept { source, .. } => source.help().to_owned(),
        StartError::Tls(_) | StartError::Thread(_) => "try again".to_owned(),
    };
    match &error {
        StartError::NoRoute | StartError::SameName { .. } | StartError::NoIdentity { .. } => Failure::usage(error, help),
        _ => Failure::capture(anyhow::Error::new(error), help),
    }
}

/// So much may wait to be recorded and judged before connections are slowed down.
const TAPE_BYTES: usize = 32 << 20;
