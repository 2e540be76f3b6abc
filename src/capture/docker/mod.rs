//! The container engine's networks and containers: what their interfaces are on this machine, and which address bears which name.
//!
//! A small client of the Docker API over its Unix socket. It only reads. Podman answers the same questions.

mod error;
mod events;
mod http;
mod near;
mod socket;
mod whereabouts;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

use crate::capture::docker::whereabouts::PodmanInfo;

pub use error::DockerError;
pub use events::{NameFollower, Named};
pub use near::nearest;
pub use whereabouts::Elsewhere;

/// A container engine that answered.
#[derive(Clone, Debug)]
pub struct Docker {
    socket: PathBuf,
}

/// A network of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name; under compose `PROJECT_NAME`.
    pub name: String,
    /// `bridge`, `host`, `macvlan`, …
    pub driver: String,
    /// The bridge on the engine's machine, where it has one.
    pub bridge: Option<String>,
    /// The engine's own addresses in it.
    pub gateways: Vec<IpAddr>,
    /// Its address ranges, as the engine gives them.
    pub subnets: Vec<String>,
}

/// A container of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its service in compose.
    pub service: Option<String>,
    /// Whether it runs.
    pub is_running: bool,
    /// Its places in networks.
    pub attachments: Vec<Attachment>,
}

/// A container's place in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The network's id; it may be empty for a container that does not run.
    pub network_id: String,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address there.
    pub hardware: Option<String>,
}

impl Docker {
    /// Finds the engine: `DOCKER_HOST`, docker's context, then the usual sockets, rootless and Podman's too.
    ///
    /// # Errors
    /// Where none answers, with what was tried.
    pub fn connect() -> Result<Self, DockerError> {
        let candidates = socket::Surroundings::from_environment().candidates()?;
        let mut tried = Vec::new();
        for socket in candidates {
            match (Self { socket: socket.clone() }).ping() {
                Ok(docker) => return Ok(docker),
                Err(error) => tried.push((socket, error)),
            }
        }
        Err(DockerError::NoEngine { tried })
    }

    /// The engine behind one socket.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn at(socket: &Path) -> Result<Self, DockerError> {
        let docker = Self { socket: socket.to_owned() };
        docker.ping().map_err(|error| DockerError::NoEngine { tried: vec![(socket.to_owned(), error)] })
    }

    /// The socket it listens on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// All networks, by name.
    ///
    /// # Errors
    /// Where the engine does not answer as it should.
    pub fn networks(&self) -> Result<Vec<Network>, DockerError> {
        let found: Vec<NetworkAnswer> = self.get("/networks")?;
        let mut networks: Vec<_> = found.into_iter().map(Network::from).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// The network of a name, an id, or (under compose) of a name without its project.
    ///
    /// # Errors
    /// Where there is none, or more than one; with the names that are near.
    pub fn network(&self, name: &str) -> Result<Network, DockerError> {
        let mut networks = self.networks()?;
        let is_id = |network: &Network| name.len() >= ID_PREFIX_MIN && network.id.starts_with(name);
        if let Some(at) = networks.iter().position(|network| network.name == name || is_id(network)) {
            return Ok(networks.swap_remove(at));
        }
        let suffix = format!("_{name}");
        let of_projects: Vec<_> = networks.iter().filter(|network| network.name.ends_with(&suffix)).collect();
        match of_projects.as_slice() {
            [one] => Ok((*one).clone()),
            [] => {
                let names: Vec<_> = networks.iter().map(|network| network.name.as_str()).collect();
                Err(DockerError::NoNetwork { name: name.to_owned(), near: nearest(name, &names), known: owned(&names) })
            }
            several => {
                let among = several.iter().map(|network| network.name.clone()).collect();
                Err(DockerError::Ambiguous { what: "network", name: name.to_owned(), among })
            }
        }
    }

    /// The bridge of a network: as the engine tells, or for Podman as its own interface tells.
    pub fn bridge(&self, network: &Network) -> Option<String> {
        let guess = network.bridge.clone()?;
        if crate::capture::is_interface(&guess) {
            return Some(guess);
        }
        let podman: Option<PodmanNetwork> = self.get(&format!("/v4.0.0/libpod/networks/{}/json", quoted(&network.name))).ok();
        podman.and_then(|podman| podman.network_interface).or(Some(guess))
    }

    /// The virtual machine that this engine runs in, where it does; what is not known is taken to be here.
    pub fn machine(&self) -> Option<Elsewhere> {
        self.info().machine(whereabouts::own_kernel().as_deref())
    }

    /// Where an interface of this engine is that is not here.
    pub fn why_missing(&self) -> Elsewhere {
        let podman = self.get::<PodmanInfo>("/v4.0.0/libpod/info").ok();
        if podman.is_some_and(|podman| podman.is_rootless()) {
            return Elsewhere::RootlessPodman;
        }
        self.info().why_missing(whereabouts::own_kernel().as_deref())
    }

    fn info(&self) -> whereabouts::InfoAnswer {
        self.get("/info").unwrap_or_default()
    }

    /// All containers, also those that do not run, by name.
    ///
    /// # Errors
    /// Where the engine does not answer as it should.
    pub fn containers(&self) -> Result<Vec<Container>, DockerError> {
        let found: Vec<ContainerAnswer> = self.get("/containers/json?all=true")?;
        let mut containers: Vec<_> = found.into_iter().map(Container::from).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// The running container of a name, an id, or a compose service.
    ///
    /// # Errors
    /// Where there is none, more than one, or it does not run.
    pub fn container(&self, name: &str) -> Result<Container, DockerError> {
        let containers = self.containers()?;
        let is_id = |container: &Container| name.len() >= ID_PREFIX_MIN && container.id.starts_with(name);
        let is_named = |container: &&Container| container.name == name || is_id(container);
        let found = match containers.iter().find(is_named) {
            Some(found) => found,
            None => of_service(&containers, name)?,
        };
        match found.is_running {
            true => Ok(found.clone()),
            false => Err(DockerError::NotRunning { name: found.name.clone() }),
        }
    }

    /// The first process of a container on the engine's machine.
    ///
    /// # Errors
    /// Where the engine does not answer as it should, or the container does not run.
    pub fn process(&self, container: &Container) -> Result<u32, DockerError> {
        let answer: InspectAnswer = self.get(&format!("/containers/{}/json", quoted(&container.id)))?;
        match answer.state.pid {
            0 => Err(DockerError::NotRunning { name: container.name.clone() }),
            pid => Ok(pid),
        }
    }

    /// The names of addresses: containers by compose service where it has one container only, else by their own name; the
    /// engine's machine in its networks as `docker-host`. With `network` only what is in that one.
    ///
    /// # Errors
    /// Where the engine does not answer as it should.
    pub fn names(&self, network: Option<&Network>) -> Result<Vec<(IpAddr, String)>, DockerError> {
        let networks = match network {
            Some(network) => vec![network.clone()],
            None => self.networks()?,
        };
        let containers = self.containers()?;
        let mut names = names_of(&containers, network);
        for gateway in networks.iter().flat_map(|network| &network.gateways) {
            if names.iter().all(|(known, _)| known != gateway) {
                names.push((*gateway, HOST_NAME.to_owned()));
            }
        }
        Ok(names)
    }

    fn ping(self) -> io::Result<Self> {
        let mut answer = http::get(&self.socket, "/_ping", PATIENCE)?;
        answer.content.read_all(1024)?;
        match answer.status {
            200 => Ok(self),
            status => Err(io::Error::other(format!("it answered {status} when asked whether it lives"))),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DockerError> {
        let failed = |source| DockerError::Read { socket: self.socket.clone(), path: path.to_owned(), source };
        let mut answer = http::get(&self.socket, path, PATIENCE).map_err(failed)?;
        let content = answer.content.read_all(ANSWER_BYTES_MAX).map_err(failed)?;
        if answer.status != 200 {
            let message = serde_json::from_slice::<ErrorAnswer>(&content).map(|error| error.message).unwrap_or_default();
            return Err(DockerError::Refused { path: path.to_owned(), status: answer.status, message });
        }
        serde_json::from_slice(&content).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))
    }
}

/// The one container of a compose service.
fn of_service<'a>(containers: &'a [Container], name: &str) -> Result<&'a Container, DockerError> {
    let of_service: Vec<_> =
        containers.iter().filter(|container| container.is_running && container.service.as_deref() == Some(name)).collect();
    match of_service.as_slice() {
        [one] => Ok(one),
        [] => {
            let names: Vec<_> = containers.iter().filter(|it| it.is_running).map(|it| it.name.as_str()).collect();
            Err(DockerError::NoContainer { name: name.to_owned(), near: nearest(name, &names), known: owned(&names) })
        }
        several => {
            let among = several.iter().map(|container| container.name.clone()).collect();
            Err(DockerError::Ambiguous { what: "container", name: name.to_owned(), among })
        }
    }
}

/// The names of the running containers' addresses, all or those in one network.
fn names_of(containers: &[Container], network: Option<&Network>) -> Vec<(IpAddr, String)> {
    let running = || containers.iter().filter(|container| container.is_running);
    let mut names = Vec::new();
    for container in running() {
        let alone = |service: &&String| running().filter(|other| other.service.as_ref() == Some(service)).count() == 1;
        let name = container.service.as_ref().filter(alone).unwrap_or(&container.name);
        let inside = |attachment: &&Attachment| network.is_none_or(|network| attachment.network == network.name);
        for address in container.attachments.iter().filter(inside).flat_map(|attachment| &attachment.addresses) {
            names.push((*address, name.clone()));
        }
    }
    names
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A name as part of a path: what is neither letter, digit nor one of `-._~` is percent-encoded.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

impl From<NetworkAnswer> for Network {
    fn from(answer: NetworkAnswer) -> Self {
        let options = answer.options.unwrap_or_default();
        let bridge = match (options.get("com.docker.network.bridge.name"), answer.driver.as_str()) {
            (Some(name), _) if !name.is_empty() => Some(name.clone()),
            (_, "bridge") if answer.name == "bridge" => Some("docker0".to_owned()),
            (_, "bridge") => answer.id.get(..12).map(|id| format!("br-{id}")),
            _ => None,
        };
        let ranges = answer.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateways = ranges.iter().filter_map(|range| address(range.gateway.as_deref()?)).collect();
        let subnets = ranges.into_iter().filter_map(|range| range.subnet).collect();
        Self { id: answer.id, name: answer.name, driver: answer.driver, bridge, gateways, subnets }
    }
}

impl From<ContainerAnswer> for Container {
    fn from(answer: ContainerAnswer) -> Self {
        let name = answer.names.unwrap_or_default().into_iter().next();
        let name = name.map_or_else(|| answer.id.chars().take(12).collect(), |name| name.trim_start_matches('/').to_owned());
        let networks = answer.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let attachments = networks.into_iter().map(|(network, place)| Attachment {
            network,
            network_id: place.network_id.unwrap_or_default(),
            addresses: [place.ip_address, place.global_ipv6_address].iter().flatten().filter_map(|text| address(text)).collect(),
            hardware: place.mac_address.filter(|text| !text.is_empty()),
        });
        Self {
            attachments: attachments.collect(),
            name,
            service: answer.labels.and_then(|mut labels| labels.remove("com.docker.compose.service")),
            is_running: answer.state.as_deref().is_some_and(|state| state == "running" || state == "paused"),
            id: answer.id,
        }
    }
}

/// An address, with or without the length of its prefix.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: String,
}

#[derive(Deserialize)]
struct PodmanNetwork {
    network_interface: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkAnswer {
    id: String,
    name: String,
    driver: String,
    options: Option<BTreeMap<String, String>>,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    config: Option<Vec<Range>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    subnet: Option<String>,
    gateway: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerAnswer {
    id: String,
    names: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    state: Option<String>,
    network_settings: Option<Settings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    networks: Option<BTreeMap<String, Place>>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(rename = "NetworkID")]
    network_id: Option<String>,
    #[serde(rename = "IPAddress")]
    ip_address: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: Option<String>,
    #[serde(rename = "MacAddress")]
    mac_address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectAnswer {
    state: InspectState,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectState {
    pid: u32,
}

/// How long the engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Octets of one answer; a machine with a thousand containers needs some megabytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Shorter beginnings of an id are not taken for one: they may be a name.
const ID_PREFIX_MIN: usize = 4;

/// The engine's machine as the containers see it.
const HOST_NAME: &str = "docker-host";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_of_a_network_follows_its_options_then_its_id() {
        let bridge = |text: &str| Network::from(serde_json::from_str::<NetworkAnswer>(text).unwrap()).bridge;
        let id = "3f2a9b7c0d1e4455667788990011223344556677889900112233445566778899";
        let own =
            format!(r#"{{"Id": "{id}", "Name": "spark-net", "Driver": "bridge", "Options": {{}}, "IPAM": {{"Config": null}}}}"#);
        assert_eq!(bridge(&own).as_deref(), Some("br-3f2a9b7c0d1e"));
        let named = own.replace("{}", r#"{"com.docker.network.bridge.name": "spark0"}"#);
        assert_eq!(bridge(&named).as_deref(), Some("spark0"));
        assert_eq!(bridge(&own.replace("\"spark-net\"", "\"bridge\"")).as_deref(), Some("docker0"));
        assert_eq!(bridge(&own.replace("\"bridge\"", "\"macvlan\"")), None);
    }

    fn containers() -> Vec<Container> {
        let text = r#"[
            {"Id": "aa11bb", "Names": ["/lab-spark-1"], "State": "running", "Labels": {"com.docker.compose.service": "spark"},
             "NetworkSettings": {"Networks": {"lab_spark-net": {"NetworkID": "n1", "IPAddress": "172.18.0.3", "MacAddress": "02:42:ac:12:00:03",
              "GlobalIPv6Address": "fd00::3"}}}},
            {"Id": "aa22bb", "Names": ["/lab-worker-1"], "State": "running", "Labels": {"com.docker.compose.service": "worker"},
             "NetworkSettings": {"Networks": {"lab_spark-net": {"NetworkID": "n1", "IPAddress": "172.18.0.4"}}}},
            {"Id": "aa33bb", "Names": ["/lab-worker-2"], "State": "running", "Labels": {"com.docker.compose.service": "worker"},
             "NetworkSettings": {"Networks": {"lab_spark-net": {"NetworkID": "n1", "IPAddress": "172.18.0.5"}, "other": {"IPAddress": "172.19.0.5"}}}},
            {"Id": "aa44bb", "Names": ["/gone"], "State": "exited", "Labels": null,
             "NetworkSettings": {"Networks": {"lab_spark-net": {"NetworkID": "", "IPAddress": ""}}}}
        ]"#;
        let answers: Vec<ContainerAnswer> = serde_json::from_str(text).unwrap();
        answers.into_iter().map(Container::from).collect()
    }

    #[test]
    fn containers_are_named_by_service_where_that_is_clear() {
        let named = |text: &str, name: &str| (text.parse::<IpAddr>().unwrap(), name.to_owned());
        let all = [
            named("172.18.0.3", "spark"),
            named("fd00::3", "spark"),
            named("172.18.0.4", "lab-worker-1"),
            named("172.18.0.5", "lab-worker-2"),
            named("172.19.0.5", "lab-worker-2"),
        ];
        assert_eq!(names_of(&containers(), None), all);
    }

    #[test]
    fn a_container_is_found_by_service_or_its_near_names_are_told() {
        let containers = containers();
        assert_eq!(of_service(&containers, "spark").unwrap().name, "lab-spark-1");
        assert!(matches!(of_service(&containers, "worker"), Err(DockerError::Ambiguous { among, .. }) if among.len() == 2));
        assert!(
            matches!(of_service(&containers, "lab-spark-2"), Err(DockerError::NoContainer { near, .. }) if near == ["lab-spark-1"])
        );
    }

    #[test]
    fn names_cannot_change_the_path_that_is_asked_for() {
        assert_eq!(quoted("a/../b c?x=1"), "a%2F..%2Fb%20c%3Fx%3D1");
    }
}
