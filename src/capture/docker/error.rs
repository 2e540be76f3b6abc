//! What can go wrong between a name and an interface, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::capture::docker::Elsewhere;
use crate::model::Untrusted;

/// Why the container engine could not say where to capture.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No socket of an engine answers.
    #[error("no container engine answers: {}", attempts(.tried))]
    NoEngine {
        /// What was tried, and why it failed.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// The engine is on another machine.
    #[error("the container engine at {host} is not on this machine")]
    NotHere {
        /// Its address.
        host: String,
    },
    /// It stopped answering.
    #[error("cannot read {path} from {}", socket.display())]
    Read {
        /// Its socket.
        socket: PathBuf,
        /// What was asked for.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It refused to answer.
    #[error("the container engine answered {status} to {path}: {}", Untrusted::text(.message))]
    Refused {
        /// What was asked for.
        path: String,
        /// The status code.
        status: u16,
        /// Its words.
        message: String,
    },
    /// There is no such network.
    #[error("no docker network {}", Untrusted::text(.name))]
    NoNetwork {
        /// What was asked for.
        name: String,
        /// What is near.
        near: Vec<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// There is no such container.
    #[error("no running container {}", Untrusted::text(.name))]
    NoContainer {
        /// What was asked for.
        name: String,
        /// What is near.
        near: Vec<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// Several fit.
    #[error("more than one {what} is called {}", Untrusted::text(.name))]
    Ambiguous {
        /// `network` or `container`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// Those that fit.
        among: Vec<String>,
    },
    /// The container does not run.
    #[error("the container {} does not run", Untrusted::text(.name))]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// The network has no bridge at all.
    #[error("the network {} has no bridge to capture on: its driver is {}", Untrusted::text(.name), Untrusted::text(.driver))]
    NoBridge {
        /// Its name.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// A network's bridge is not on this machine, or not in this network namespace.
    #[error("the bridge {} of the network {} is not here: {}", Untrusted::text(.bridge), Untrusted::text(.name), reason(.elsewhere))]
    BridgeElsewhere {
        /// The network.
        name: String,
        /// The bridge.
        bridge: String,
        /// Where it is.
        elsewhere: Elsewhere,
        /// The engine's socket.
        socket: PathBuf,
    },
    /// A container's interfaces are not on this machine.
    #[error("the container {} is not on this machine: {}", Untrusted::text(.name), reason(.elsewhere))]
    ContainerElsewhere {
        /// The container.
        name: String,
        /// The interface to capture on in its own network.
        interface: String,
        /// Where it is.
        elsewhere: Elsewhere,
    },
}

impl DockerError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::NoEngine { tried } if tried.iter().any(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied) => {
                "reading the socket needs root or its group (usermod -aG docker USER, which is as strong as root); \
                 or capture on the bridge itself: hopwire capture --list, then -i INTERFACE"
                    .to_owned()
            }
            Self::NoEngine { .. } => {
                "start docker, or set DOCKER_HOST=unix:///PATH; a plain interface needs no docker: hopwire capture --list, then -i INTERFACE"
                    .to_owned()
            }
            Self::NotHere { .. } => format!(
                "run hopwire on that machine, or through docker there, in the network of the container to watch{}",
                recipe("container:NAME", "-i eth0", None)
            ),
            Self::Read { .. } | Self::Refused { .. } => "see whether `docker ps` works; or capture on an interface: -i INTERFACE".to_owned(),
            Self::NoNetwork { near, known, .. } => choice("network", near, known),
            Self::NoContainer { near, known, .. } => choice("container", near, known),
            Self::Ambiguous { among, .. } => format!("name one of them in full: {}", listed(among)),
            Self::NotRunning { name } => format!("start it first: docker start {}", Untrusted::text(name)),
            Self::NoBridge { .. } => {
                "capture in a container's own network instead: --container NAME (host network: -i INTERFACE)".to_owned()
            }
            Self::BridgeElsewhere { name, elsewhere, socket, .. } => {
                let what = format!("--network {}", Untrusted::text(name));
                match elsewhere {
                    Elsewhere::Machine(_) => {
                        format!("run hopwire in it, too{}", recipe("host", &what, Some(Path::new(MACHINE_SOCKET))))
                    }
                    Elsewhere::RootlessPodman => format!(
                        "run hopwire in that namespace:\n  podman unshare --rootless-netns hopwire capture {what} -w run.pcapng"
                    ),
                    Elsewhere::Rootless => {
                        format!("run hopwire in that namespace{}", recipe("host", &what, Some(socket)))
                    }
                    Elsewhere::Namespace => format!(
                        "start hopwire in the machine's own network; in a container with --net=host{}",
                        recipe("host", &what, Some(socket))
                    ),
                }
            }
            Self::ContainerElsewhere { name, interface, .. } => format!(
                "run hopwire in it, too, in the network of that container{}",
                recipe(
                    &format!("container:{}", Untrusted::text(name)),
                    &format!("-i {}", Untrusted::text(interface)),
                    None
                )
            ),
        }
    }
}

/// Why something of the engine is not here.
fn reason(elsewhere: &Elsewhere) -> String {
    match elsewhere {
        Elsewhere::Machine(system) => format!("its engine runs in a virtual machine ({})", Untrusted::text(system)),
        Elsewhere::Rootless | Elsewhere::RootlessPodman => {
            "its engine runs without root, in a network namespace of its own".to_owned()
        }
        Elsewhere::Namespace => "this program is in another network namespace than its engine".to_owned(),
    }
}

/// How to capture where the engine's networks are.
fn recipe(network: &str, what: &str, socket: Option<&Path>) -> String {
    let mount = socket.map(|socket| format!("-v {}:{MACHINE_SOCKET} ", socket.display())).unwrap_or_default();
    format!(
        ":\n  docker build -f lab/Dockerfile -t hopwire .\n  \
         docker run --rm --net={network} --cap-add NET_RAW {mount}hopwire capture {what} -w - > run.pcapng"
    )
}

fn attempts(tried: &[(PathBuf, io::Error)]) -> String {
    let each: Vec<_> = tried.iter().map(|(socket, error)| format!("{}: {error}", socket.display())).collect();
    each.join("; ")
}

fn choice(what: &str, near: &[String], known: &[String]) -> String {
    match (near.is_empty(), known.is_empty()) {
        (false, _) => format!("did you mean {}?", listed(near)),
        (true, false) => format!("there is: {}", listed(known)),
        (true, true) => format!("there is no {what} at all; hopwire capture --list shows the interfaces"),
    }
}

/// Names in one line; the first 20.
fn listed(names: &[String]) -> String {
    let mut line = names.iter().take(20).map(|name| Untrusted::text(name).to_string()).collect::<Vec<_>>().join(", ");
    if names.len() > 20 {
        line.push_str(", …");
    }
    line
}

/// Where the engine listens in its own machine, and where it is looked for in a container.
const MACHINE_SOCKET: &str = "/var/run/docker.sock";
