//! What can go wrong between a name and an interface, and what to do about it.

use std::io;
use std::path::PathBuf;

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
    /// The bridge is not on this machine, or not in this network namespace.
    #[error("the bridge {} of the network {} is not on this machine", Untrusted::text(.bridge), Untrusted::text(.name))]
    BridgeElsewhere {
        /// The network.
        name: String,
        /// The bridge.
        bridge: String,
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
            Self::NotHere { .. } => "run hopwire on that machine, or there in a container beside the one to watch: \
                 docker run --rm --net=container:NAME --cap-add NET_RAW IMAGE capture -i eth0 -w - | hopwire analyze -"
                .to_owned(),
            Self::Read { .. } | Self::Refused { .. } => "see whether `docker ps` works; or capture on an interface: -i INTERFACE".to_owned(),
            Self::NoNetwork { near, known, .. } => choice("network", near, known),
            Self::NoContainer { near, known, .. } => choice("container", near, known),
            Self::Ambiguous { among, .. } => format!("name one of them in full: {}", listed(among)),
            Self::NotRunning { name } => format!("start it first: docker start {}", Untrusted::text(name)),
            Self::NoBridge { .. } => {
                "capture in a container's own network instead: --container NAME (host network: -i INTERFACE)".to_owned()
            }
            Self::BridgeElsewhere { .. } => "Docker Desktop and rootless engines keep it in a machine or namespace of their own: \
                 use --container NAME, or run hopwire there: docker run --rm --net=host --cap-add NET_RAW IMAGE capture -i BRIDGE -w -"
                .to_owned(),
        }
    }
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
