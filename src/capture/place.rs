//! EDGE. From what the user names (interfaces, docker networks, containers) to the places where to capture.

use crate::capture::docker::{Container, Docker, DockerError, nearest};
use crate::capture::{interfaces_of_process, is_interface, is_interface_up, local_interfaces, port_of_bridge};
use crate::model::Untrusted;

/// Where to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The interface's name, in the namespace below.
    pub interface: String,
    /// What it is: `docker network spark-net`, `docker container sidekick`.
    pub description: Option<String>,
    /// The process whose network namespace holds the interface; `None` for the namespace this program runs in.
    pub process: Option<u32>,
    /// The container it belongs to, where it is one container's: it gets another interface when it is restarted.
    pub container: Option<String>,
}

impl Place {
    /// Whether its interface is up; `None` where that is not known.
    pub fn is_up(&self) -> Option<bool> {
        is_interface_up(&self.interface, self.process)
    }
}

/// What the user named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Interfaces; of the containers, where there are any.
    pub interfaces: Vec<String>,
    /// Docker networks.
    pub networks: Vec<String>,
    /// Containers.
    pub containers: Vec<String>,
}

/// Why there is no place to capture.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing was named.
    #[error("where to capture?")]
    Nothing,
    /// There is no such interface.
    #[error("no interface {}{}", Untrusted::text(.name), within(.container.as_deref()))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// The container in which it was looked for.
        container: Option<String>,
        /// What is near.
        near: Vec<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// The container has no network of its own.
    #[error("the container {} has no interface of its own", Untrusted::text(.name))]
    NoOwnInterface {
        /// Its name.
        name: String,
    },
    /// The container engine could not say.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl PlaceError {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Nothing => {
                "name it: --network NET (docker), --container NAME or -i INTERFACE; hopwire capture --list shows what there is"
                    .to_owned()
            }
            Self::NoInterface { near, known, .. } => match near.is_empty() {
                false => format!("did you mean {}?", near.join(", ")),
                true => format!("there is: {}; with the docker networks behind them: hopwire capture --list", known.join(", ")),
            },
            Self::NoOwnInterface { .. } => {
                "it shares the machine's network: capture there with -i INTERFACE (-i lo for 127.0.0.1)".to_owned()
            }
            Self::Docker(error) => error.help(),
        }
    }
}

impl Selection {
    /// Whether the container engine has to be asked.
    pub fn needs_docker(&self) -> bool {
        !self.networks.is_empty() || !self.containers.is_empty()
    }

    /// The places it means, in the order named. `docker` may be absent where [`Selection::needs_docker`] says no.
    ///
    /// # Errors
    /// Where one of the names leads nowhere.
    pub fn places(&self, docker: Option<&Docker>) -> Result<Vec<Place>, PlaceError> {
        let mut places = Vec::new();
        if let Some(docker) = docker {
            for name in &self.networks {
                places.push(place_of_network(docker, name)?);
            }
            for name in &self.containers {
                places.extend(places_of_container(docker, name, &self.interfaces)?);
            }
        }
        if self.containers.is_empty() {
            for name in &self.interfaces {
                places.push(place_of_interface(name)?);
            }
        }
        let mut distinct: Vec<Place> = Vec::new();
        for place in places {
            if !distinct.iter().any(|known| known.interface == place.interface && known.process == place.process) {
                distinct.push(place);
            }
        }
        if distinct.is_empty() { Err(PlaceError::Nothing) } else { Ok(distinct) }
    }
}

/// Where a container is now, after it was restarted; `None` while it is not back.
pub fn place_again(docker: &Docker, place: &Place) -> Option<Place> {
    let name = place.container.as_deref()?;
    let wanted = match place.process {
        Some(_) => vec![place.interface.clone()],
        None => Vec::new(),
    };
    places_of_container(docker, name, &wanted).ok()?.into_iter().next()
}

fn place_of_interface(name: &str) -> Result<Place, PlaceError> {
    // libpcap's `any` is no interface that the kernel lists.
    if name == ANY || is_interface(name) {
        return Ok(Place { interface: name.to_owned(), ..Place::default() });
    }
    let known: Vec<_> = local_interfaces().into_iter().map(|interface| interface.name).collect();
    Err(no_interface(name, None, known))
}

fn place_of_network(docker: &Docker, name: &str) -> Result<Place, PlaceError> {
    let network = docker.network(name)?;
    let Some(bridge) = docker.bridge(&network) else {
        return Err(DockerError::NoBridge { name: network.name, driver: network.driver }.into());
    };
    // There may be an interface of that name here all the same, of another engine.
    let elsewhere = docker.machine().or_else(|| (!is_interface(&bridge)).then(|| docker.why_missing()));
    if let Some(elsewhere) = elsewhere {
        let socket = docker.socket().to_owned();
        return Err(DockerError::BridgeElsewhere { name: network.name, bridge, elsewhere, socket }.into());
    }
    let description = Some(format!("docker network {}", network.name));
    Ok(Place { interface: bridge, description, process: None, container: None })
}

/// A container's interfaces: those named, in its own namespace; else the near ends of all it has, or where there are none to
/// be found on this side, its own ends.
fn places_of_container(docker: &Docker, name: &str, wanted: &[String]) -> Result<Vec<Place>, PlaceError> {
    let container = docker.container(name)?;
    if let Some(elsewhere) = docker.machine() {
        // Its process has a number of that machine, which here means another one or none.
        let interface = wanted.first().map_or("eth0", String::as_str).to_owned();
        return Err(DockerError::ContainerElsewhere { name: container.name, interface, elsewhere }.into());
    }
    let process = docker.process(&container)?;
    let description = format!("docker container {}", container.name);
    let place = |interface: String, process: Option<u32>| Place {
        interface,
        description: Some(description.clone()),
        process,
        container: Some(container.name.clone()),
    };
    if container.attachments.iter().any(|attachment| attachment.network == "host") {
        return Err(PlaceError::NoOwnInterface { name: container.name.clone() });
    }
    let own = interfaces_of_process(process);
    if !wanted.is_empty() {
        let known: Vec<_> = own.iter().map(|interface| interface.name.clone()).chain(["lo".to_owned()]).collect();
        if let Some(missing) = wanted.iter().find(|name| !known.contains(name)) {
            return Err(no_interface(missing, Some(container.name.clone()), known));
        }
        return Ok(wanted.iter().map(|name| place(name.clone(), Some(process))).collect());
    }
    let here = local_interfaces();
    let near_ends: Vec<_> = own.iter().filter_map(|own| own.near_end(&here)).map(|near| place(near.name.clone(), None)).collect();
    if !near_ends.is_empty() {
        return Ok(near_ends);
    }
    let ports: Vec<_> = ports_of(docker, &container)?.into_iter().map(|name| place(name, None)).collect();
    if !ports.is_empty() {
        return Ok(ports);
    }
    match own.is_empty() {
        true => Err(PlaceError::NoOwnInterface { name: container.name.clone() }),
        false => Ok(own.into_iter().map(|own| place(own.name, Some(process))).collect()),
    }
}

/// The bridge ports behind which the container's hardware addresses were seen: for who may not look into its process.
fn ports_of(docker: &Docker, container: &Container) -> Result<Vec<String>, DockerError> {
    let networks = docker.networks()?;
    let mut ports = Vec::new();
    for attachment in &container.attachments {
        let network = networks.iter().find(|network| network.name == attachment.network);
        let bridge = network.and_then(|network| docker.bridge(network));
        if let (Some(bridge), Some(hardware)) = (bridge, &attachment.hardware) {
            ports.extend(port_of_bridge(&bridge, hardware));
        }
    }
    Ok(ports)
}

fn no_interface(name: &str, container: Option<String>, known: Vec<String>) -> PlaceError {
    let names: Vec<_> = known.iter().map(String::as_str).collect();
    PlaceError::NoInterface { name: name.to_owned(), container, near: nearest(name, &names), known }
}

fn within(container: Option<&str>) -> String {
    container.map(|name| format!(" in the container {}", Untrusted::text(name))).unwrap_or_default()
}

/// libpcap's word for all interfaces together.
pub const ANY: &str = "any";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_answered_with_those_that_are() {
        let places = |name: &str| Selection { interfaces: vec![name.to_owned()], ..Selection::default() }.places(None);
        let error = places("no-such-one").unwrap_err();
        assert_eq!(error.to_string(), "no interface no-such-one");
        assert!(error.help().starts_with("there is: lo"), "{}", error.help());
        assert_eq!(places("llo").unwrap_err().help(), "did you mean lo?");
        assert!(matches!(Selection::default().places(None), Err(PlaceError::Nothing)));
        assert_eq!(places("lo").unwrap(), [Place { interface: "lo".to_owned(), ..Place::default() }]);
        let hostile = places("\u{1b}[31m").unwrap_err();
        assert_eq!(hostile.to_string(), "no interface \\x1b[31m");
    }
}
