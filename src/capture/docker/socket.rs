//! Where the container engine listens: what the environment says, then docker's context, then the usual places.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::capture::docker::DockerError;

/// What the search depends on, so that it can be tested without touching the environment.
pub(super) struct Surroundings {
    /// `DOCKER_HOST`, else `CONTAINER_HOST` (Podman's name for it).
    pub(super) host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub(super) context: Option<String>,
    /// `DOCKER_CONFIG`, else `~/.docker`.
    pub(super) config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where rootless engines listen.
    pub(super) runtime: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn from_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = text("HOME").map(|home| Path::new(&home).join(".docker"));
        Self {
            host: text("DOCKER_HOST").or_else(|| text("CONTAINER_HOST")),
            context: text("DOCKER_CONTEXT"),
            config: text("DOCKER_CONFIG").map(PathBuf::from).or(home),
            runtime: text("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }

    /// The sockets to try, the best first. One that the user named is the only one.
    pub(super) fn candidates(&self) -> Result<Vec<PathBuf>, DockerError> {
        if let Some(host) = &self.host {
            return Ok(vec![socket_of(host)?]);
        }
        if let Some(host) = self.context_host() {
            return Ok(vec![socket_of(&host)?]);
        }
        let mut all = vec![PathBuf::from("/var/run/docker.sock")];
        if let Some(runtime) = &self.runtime {
            all.push(runtime.join("docker.sock"));
            all.push(runtime.join("podman/podman.sock"));
        }
        all.push(PathBuf::from("/run/podman/podman.sock"));
        Ok(all)
    }

    /// The endpoint of docker's chosen context, unless it is the default one.
    fn context_host(&self) -> Option<String> {
        let config = self.config.as_ref()?;
        let name = match &self.context {
            Some(name) => name.clone(),
            None => read_json::<Config>(&config.join("config.json"))?.current_context?,
        };
        if name.is_empty() || name == "default" {
            return None;
        }
        let folder = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let meta = read_json::<Meta>(&config.join("contexts/meta").join(folder).join("meta.json"))?;
        meta.endpoints.docker.host
    }
}

/// The path of a `unix://` address.
fn socket_of(host: &str) -> Result<PathBuf, DockerError> {
    match host.split_once("://") {
        Some(("unix", path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        None if host.starts_with('/') => Ok(PathBuf::from(host)),
        _ => Err(DockerError::NotHere { host: host.to_owned() }),
    }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings { host: None, context: None, config: None, runtime: Some(PathBuf::from("/run/user/7")) }
    }

    #[test]
    fn the_environment_decides_alone() {
        let named = |host: &str| Surroundings { host: Some(host.to_owned()), ..surroundings() }.candidates();
        assert_eq!(named("unix:///x/docker.sock").unwrap(), [Path::new("/x/docker.sock")]);
        assert_eq!(named("/x/docker.sock").unwrap(), [Path::new("/x/docker.sock")]);
        for elsewhere in ["tcp://10.0.0.1:2375", "ssh://build@host", "unix://", "npipe:////./pipe/docker_engine"] {
            assert!(matches!(named(elsewhere), Err(DockerError::NotHere { .. })), "{elsewhere}");
        }
    }

    #[test]
    fn then_the_context_then_the_usual_places() {
        assert_eq!(
            surroundings().candidates().unwrap(),
            [
                Path::new("/var/run/docker.sock"),
                Path::new("/run/user/7/docker.sock"),
                Path::new("/run/user/7/podman/podman.sock"),
                Path::new("/run/podman/podman.sock")
            ]
        );
        let folder = tempfile::tempdir().unwrap();
        let name = "rootless";
        let digest = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let meta = folder.path().join("contexts/meta").join(digest);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"auths": {}, "currentContext": "rootless"}"#).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"rootless","Endpoints":{"docker":{"Host":"unix:///run/user/7/d.sock"}}}"#,
        )
        .unwrap();
        let with_config = Surroundings { config: Some(folder.path().to_owned()), ..surroundings() };
        assert_eq!(with_config.candidates().unwrap(), [Path::new("/run/user/7/d.sock")]);
        let by_default = Surroundings { context: Some("default".to_owned()), ..with_config };
        assert_eq!(by_default.candidates().unwrap().len(), 4);
    }
}
