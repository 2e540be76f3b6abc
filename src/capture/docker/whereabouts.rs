//! Where the engine's networks are: here, in a virtual machine, or in a network namespace that is not this one.

use serde::Deserialize;

/// Where an engine's networks are that cannot be captured from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// In a virtual machine, as with Docker Desktop; what the engine calls its system.
    Machine(String),
    /// In the namespace of an engine without root.
    Rootless,
    /// In the namespace of Podman without root, which has a command to enter it.
    RootlessPodman,
    /// On this kernel, in another namespace: this program was started in a container, or in a namespace.
    Namespace,
}

/// What the engine tells of itself.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InfoAnswer {
    operating_system: Option<String>,
    kernel_version: Option<String>,
    security_options: Option<Vec<String>>,
}

impl InfoAnswer {
    /// The virtual machine it runs in, if it does: its kernel is not `own`, which is `None` where it is not known.
    pub(super) fn machine(&self, own: Option<&str>) -> Option<Elsewhere> {
        let is_other = match (self.kernel_version.as_deref(), own) {
            (Some(theirs), Some(own)) if !theirs.is_empty() => release(theirs) != release(own),
            // Engines run on Linux alone; what has no such kernel has them in a machine.
            (_, None) => !cfg!(target_os = "linux") || self.is_desktop(),
            (_, Some(_)) => self.is_desktop(),
        };
        is_other.then(|| Elsewhere::Machine(self.system()))
    }

    /// Why an interface that the engine has is not here, though the kernel may be the same. Under WSL Docker Desktop shares its
    /// kernel with the other systems, and not its networks.
    pub(super) fn why_missing(&self, own: Option<&str>) -> Elsewhere {
        if self.is_desktop() {
            return Elsewhere::Machine(self.system());
        }
        let is_rootless = self.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let same = if is_rootless { Elsewhere::Rootless } else { Elsewhere::Namespace };
        self.machine(own).unwrap_or(same)
    }

    fn is_desktop(&self) -> bool {
        self.operating_system.as_deref() == Some("Docker Desktop")
    }

    fn system(&self) -> String {
        self.operating_system.clone().filter(|system| !system.is_empty()).unwrap_or_else(|| "another kernel".to_owned())
    }
}

/// What Podman tells of itself beyond what docker would.
#[derive(Deserialize)]
pub(super) struct PodmanInfo {
    host: PodmanHost,
}

#[derive(Deserialize)]
struct PodmanHost {
    security: PodmanSecurity,
}

#[derive(Deserialize)]
struct PodmanSecurity {
    rootless: bool,
}

impl PodmanInfo {
    pub(super) const fn is_rootless(&self) -> bool {
        self.host.security.rootless
    }
}

/// The release of this machine's kernel, as `uname -r` prints it.
pub(super) fn own_kernel() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

/// A kernel's release with three numbers before its suffix: engines write a third one where the kernel itself names two.
fn release(text: &str) -> (Vec<&str>, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (numbers, suffix) = text.split_at(end);
    let mut numbers: Vec<&str> = numbers.split('.').collect();
    numbers.resize(numbers.len().max(3), "0");
    (numbers, suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> InfoAnswer {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_engine_on_another_kernel_is_in_a_machine() {
        let desktop = info(r#"{"OperatingSystem": "Docker Desktop", "KernelVersion": "6.10.14-linuxkit"}"#);
        let machine = Some(Elsewhere::Machine("Docker Desktop".to_owned()));
        assert_eq!(desktop.machine(Some("6.1.0-41-amd64")), machine);
        // In a container of that machine the kernel is the same, and the bridge is there.
        assert_eq!(desktop.machine(Some("6.10.14-linuxkit")), None);
        assert_eq!(Some(desktop.why_missing(Some("6.10.14-linuxkit"))), machine);
        assert_eq!(info(r#"{"OperatingSystem": "Docker Desktop"}"#).machine(Some("6.1.0")), machine);
        let colima = info(r#"{"OperatingSystem": "Ubuntu 24.04", "KernelVersion": "6.8.0-64"}"#);
        assert_eq!(colima.machine(Some("6.1.0")), Some(Elsewhere::Machine("Ubuntu 24.04".to_owned())));
    }

    #[test]
    fn an_engine_on_this_kernel_is_here_or_in_another_namespace() {
        let here = info(
            r#"{"OperatingSystem": "Debian", "KernelVersion": "6.1.0", "SecurityOptions": ["name=seccomp,profile=default"]}"#,
        );
        assert_eq!((here.machine(Some("6.1.0")), here.why_missing(Some("6.1.0"))), (None, Elsewhere::Namespace));
        let rootless = info(r#"{"KernelVersion": "6.1.0", "SecurityOptions": ["name=seccomp", "name=rootless"]}"#);
        assert_eq!((rootless.machine(Some("6.1.0")), rootless.why_missing(Some("6.1.0"))), (None, Elsewhere::Rootless));
        let podman: PodmanInfo = serde_json::from_str(r#"{"host": {"arch": "amd64", "security": {"rootless": true}}}"#).unwrap();
        assert!(podman.is_rootless());
        assert_eq!(info(r#"{"SecurityOptions": null}"#).machine(Some("6.1.0")), None);
    }
}
