//! Which ports are redirected: names of containers and paths of namespaces in, routes out.

use std::path::PathBuf;

use crate::capture::docker::Docker;
use crate::capture::{PlaceError, Selection};
use crate::cli::failure::Failure;
use crate::cli::proxy::Arguments;
use crate::proxy::Route;

impl Arguments {
    /// The routes of `--intercept` and `--netns`.
    pub(super) fn interceptions(&self) -> Result<Vec<Route>, Failure> {
        let mut routes = Vec::new();
        if !self.intercept.is_empty() {
            let docker = Docker::connect().map_err(|error| place_failure(&error.into()))?;
            for text in &self.intercept {
                let (container, port) = split(text).ok_or_else(|| wrong(text, "CONTAINER:PORT, as in sidekick:8090"))?;
                let process = process_of(&docker, container)?;
                routes.push(route(container, PathBuf::from(format!("/proc/{process}/ns/net")), port)?);
            }
        }
        for text in &self.netns {
            let form = "NAME=PATH:PORT, as in store=/run/netns/store:9000";
            let (name, rest) = text.split_once('=').ok_or_else(|| wrong(text, form))?;
            let (path, port) = split(rest).ok_or_else(|| wrong(text, form))?;
            routes.push(route(name, PathBuf::from(path), port)?);
        }
        Ok(routes)
    }
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    Some((name, port.parse().ok().filter(|port| *port > 0)?)).filter(|(name, _)| !name.is_empty())
}

fn route(name: &str, namespace: PathBuf, port: u16) -> Result<Route, Failure> {
    Route::intercept(name, namespace, port).map_err(|error| Failure::usage(error, "name containers as docker ps shows them"))
}

/// A process in the network namespace of a container.
fn process_of(docker: &Docker, container: &str) -> Result<u32, Failure> {
    // Every namespace has a loopback interface; asking for it gives the process.
    let selection =
        Selection { interfaces: vec!["lo".to_owned()], containers: vec![container.to_owned()], ..Selection::default() };
    let places = selection.places(Some(docker)).map_err(|error| place_failure(&error))?;
    places.iter().find_map(|place| place.process).ok_or_else(|| {
        Failure::capture(
            anyhow::anyhow!("the container {container} has no network of its own"),
            "it shares the machine's network: stand in the path with --route",
        )
    })
}

fn place_failure(error: &PlaceError) -> Failure {
    Failure::capture(anyhow::anyhow!("{error}"), error.help())
}

fn wrong(text: &str, form: &str) -> Failure {
    Failure::usage(format!("{text:?} is not a port to redirect"), format!("expected {form}"))
}
