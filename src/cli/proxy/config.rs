//! Routes and certificates from a file: TOML in, arguments out.
//!
//! ```toml
//! ca-cert = "lab-ca/ca.crt"
//! ca-key = "lab-ca/ca.key"
//! upstream-ca = ["sidekick-ca.crt"]
//!
//! [[route]]
//! name = "spark-sidekick"
//! listen = "https://0.0.0.0:18090"
//! target = "https://sidekick:8090"
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::failure::Failure;
use crate::cli::inputs;
use crate::cli::proxy::Arguments;
use crate::proxy::{AllowedTarget, Route};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    route: Vec<FileRoute>,
    forward: Vec<FileForward>,
    ca_cert: Option<PathBuf>,
    ca_key: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    allow_name: Vec<String>,
    allow_target: Vec<String>,
    upstream_ca: Vec<PathBuf>,
    insecure_upstream: bool,
    forward_ambiguous: bool,
    write: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoute {
    name: String,
    listen: String,
    target: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForward {
    name: String,
    listen: String,
}

impl Arguments {
    /// Adds what the file says. What the command line says comes first; paths are relative to the file.
    pub(super) fn with_file(mut self) -> Result<Self, Failure> {
        let Some(path) = self.config.clone() else { return Ok(self) };
        let name = path.display().to_string();
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("{name}: {what}"), "the guide shows a whole file (docs/guide/proxy.md)")
        };
        let text = inputs::read_whole(&name, "configuration")?;
        let text = String::from_utf8(text).map_err(|error| wrong(&error))?;
        let file: File = toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let beside = |path: PathBuf| folder.join(path);
        for FileRoute { name, listen, target } in &file.route {
            self.route.push(Route::of(name, listen, target).map_err(|error| wrong(&error))?);
        }
        for FileForward { name, listen } in &file.forward {
            self.forward.push(Route::parse_forward(&format!("{name}={listen}")).map_err(|error| wrong(&error))?);
        }
        for target in &file.allow_target {
            self.allow_target.push(AllowedTarget::parse(target).map_err(|error| wrong(&error))?);
        }
        if self.cert.is_none() && self.ca_cert.is_none() {
            self.ca_cert = file.ca_cert.map(beside);
            self.ca_key = self.ca_key.or(file.ca_key.map(beside));
            self.cert = file.cert.map(beside);
            self.key = self.key.or(file.key.map(beside));
        }
        self.upstream_ca.extend(file.upstream_ca.into_iter().map(beside));
        self.allow_name.extend(file.allow_name);
        self.insecure_upstream |= file.insecure_upstream;
        self.forward_ambiguous |= file.forward_ambiguous;
        self.write = self.write.or(file.write.map(beside));
        Ok(self)
    }
}
