//! `hopwire capture --list`: the interfaces, with the docker networks and containers behind them.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::capture::docker::{Container, Docker, DockerError, Network};
use crate::capture::{LocalInterface, interfaces_of_process, local_interfaces, port_of_bridge};
use crate::cli::Outcome;
use crate::cli::failure::{Exit, Failure, say};
use crate::model::Untrusted;

/// What the engine knows, with the interfaces of this machine that belong to it.
#[derive(Default)]
struct Behind {
    networks: Vec<(Network, Option<String>)>,
    containers: Vec<Container>,
    /// Interfaces by container name.
    ports: Vec<(String, String)>,
}

/// Prints the list.
pub(super) fn run() -> Outcome {
    let behind = match Docker::connect().and_then(|docker| Behind::read(&docker)) {
        Ok(behind) => behind,
        Err(error) => {
            say(format_args!("note: without docker networks: {error}"));
            Behind::default()
        }
    };
    let text = behind.render(&local_interfaces());
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::unwritable(error, "cannot write to stdout"))?;
    Ok(Exit::Done)
}

impl Behind {
    fn read(docker: &Docker) -> Result<Self, DockerError> {
        let networks = docker.networks()?;
        if docker.machine().is_some() {
            // What has the same name or number here is something else.
            let networks = networks.into_iter().map(|network| (network, None)).collect();
            return Ok(Self { networks, ..Self::default() });
        }
        let networks: Vec<_> = networks
            .into_iter()
            .map(|network| (docker.bridge(&network), network))
            .map(|(bridge, network)| (network, bridge))
            .collect();
        let containers: Vec<_> = docker.containers()?.into_iter().filter(|container| container.is_running).collect();
        let interfaces = local_interfaces();
        let mut ports = Vec::new();
        for container in containers.iter().take(CONTAINERS_MAX) {
            let own = interfaces_of_process(docker.process(container)?);
            for interface in own.iter().filter_map(|own| own.near_end(&interfaces)) {
                ports.push((interface.name.clone(), container.name.clone()));
            }
            for attachment in &container.attachments {
                let bridge = networks
                    .iter()
                    .find(|(network, _)| network.name == attachment.network)
                    .and_then(|(_, bridge)| bridge.clone());
                let port =
                    bridge.zip(attachment.hardware.as_ref()).and_then(|(bridge, hardware)| port_of_bridge(&bridge, hardware));
                if let Some(port) = port.filter(|port| ports.iter().all(|(known, _)| known != port)) {
                    ports.push((port, container.name.clone()));
                }
            }
        }
        Ok(Self { networks, containers, ports })
    }

    fn render(&self, interfaces: &[LocalInterface]) -> String {
        let width = interfaces.iter().map(|interface| interface.name.len()).max().unwrap_or(0).max(INTERFACE.len());
        let mut text = format!("{INTERFACE:width$}  STATE  WHAT IT IS\n");
        for interface in interfaces {
            let state = if interface.is_up { "up" } else { "down" };
            let name = Untrusted::text(&interface.name).to_string();
            let line = format!("{name:width$}  {state:5}  {}", self.what(interface));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let is_here =
            |bridge: &Option<String>| bridge.as_ref().is_some_and(|bridge| interfaces.iter().any(|it| it.name == *bridge));
        for (network, bridge) in self
            .networks
            .iter()
            .filter(|(network, bridge)| !is_here(bridge) && !matches!(network.driver.as_str(), "null" | "host"))
        {
            let bridge = bridge.as_ref().map(|bridge| format!(" {}", Untrusted::text(bridge))).unwrap_or_default();
            let (name, driver) = (Untrusted::text(&network.name), Untrusted::text(&network.driver));
            let _ = writeln!(
                text,
                "{:width$}  {:5}  docker network {name} ({driver}{bridge}), not here: --network {name} tells where to capture it",
                "-", ""
            );
        }
        text
    }

    fn what(&self, interface: &LocalInterface) -> String {
        if let Some((network, _)) = self.networks.iter().find(|(_, bridge)| bridge.as_ref() == Some(&interface.name)) {
            return self.describe(network);
        }
        let bridge = interface.bridge.as_ref().map(|bridge| format!("port of {}", Untrusted::text(bridge)));
        let container = self.ports.iter().find(|(port, _)| *port == interface.name);
        let container = container.map(|(_, name)| format!("docker container {}", Untrusted::text(name)));
        match (container, bridge) {
            (Some(container), Some(bridge)) => format!("{container}, {bridge}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) if interface.is_bridge => "bridge".to_owned(),
            (None, None) => String::new(),
        }
    }

    /// `docker network spark-net (172.18.0.0/16): sidekick 172.18.0.3, spark 172.18.0.2`
    fn describe(&self, network: &Network) -> String {
        let mut text = format!("docker network {}", Untrusted::text(&network.name));
        if !network.subnets.is_empty() {
            let _ = write!(text, " ({})", Untrusted::text(&network.subnets.join(", ")));
        }
        let mut separator = ": ";
        for container in &self.containers {
            for attachment in container.attachments.iter().filter(|attachment| attachment.network == network.name) {
                let addresses: Vec<_> = attachment.addresses.iter().map(ToString::to_string).collect();
                let _ = write!(text, "{separator}{} {}", Untrusted::text(&container.name), addresses.join(" "));
                separator = ", ";
            }
        }
        text
    }
}

const INTERFACE: &str = "INTERFACE";

/// Containers whose interfaces are looked up.
const CONTAINERS_MAX: usize = 256;
