//! EDGE. The interfaces of this machine, as the kernel lists them in its file system.

use std::path::{Path, PathBuf};

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInterface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// The bridge it is a port of.
    pub bridge: Option<String>,
    /// Where it is one end of a pair: the index of the other end, in the namespace of that.
    pub far: Option<u32>,
}

impl LocalInterface {
    const fn known_by_name(name: String) -> Self {
        Self { name, index: 0, is_up: true, is_bridge: false, bridge: None, far: None }
    }
}

/// An interface of a process, as seen from its own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInterface {
    /// Its name.
    pub name: String,
    /// Where it is one end of a pair: its own index, and that of the other end. Reading them needs the right to look into the
    /// process (root).
    pub pair: Option<(u32, u32)>,
}

impl ProcessInterface {
    /// The other end, if it is in this namespace: indices are counted in each namespace anew, so both ends have to name the other.
    pub fn near_end<'i>(&self, here: &'i [LocalInterface]) -> Option<&'i LocalInterface> {
        let (own, near) = self.pair?;
        here.iter().find(|interface| interface.index == near && interface.far == Some(own))
    }
}

/// The interfaces of this network namespace, by index. Who entered another one still sees the file system of the old (`nsenter
/// -n`): then there are only names.
pub fn local_interfaces() -> Vec<LocalInterface> {
    let shown = interfaces_in(Path::new(CLASS_NET));
    match names_in(Path::new(OWN_TABLE)) {
        Some(own) if !is_same(&own, &shown) => own.into_iter().map(LocalInterface::known_by_name).collect(),
        _ => shown,
    }
}

/// Whether there is an interface of that name in this network namespace.
pub fn is_interface(name: &str) -> bool {
    is_plain(name)
        && match names_in(Path::new(OWN_TABLE)) {
            Some(names) => names.iter().any(|known| known == name),
            None => Path::new(CLASS_NET).join(name).exists(),
        }
}

/// Whether an interface is up, in this namespace or that of a process; `None` where it is not there or cannot be looked at.
pub fn is_interface_up(name: &str, process: Option<u32>) -> Option<bool> {
    let class = match process {
        None => {
            let own = names_in(Path::new(OWN_TABLE));
            if own.is_some_and(|own| !is_same(&own, &interfaces_in(Path::new(CLASS_NET)))) {
                return None;
            }
            PathBuf::from(CLASS_NET)
        }
        Some(process) => PathBuf::from(format!("/proc/{process}/root{CLASS_NET}")),
    };
    Some(read_flags(&class.join(Some(name).filter(|name| is_plain(name))?))? & IFF_UP != 0)
}

/// The port of a bridge behind which a hardware address was seen last. The kernel forgets addresses that are silent for minutes.
pub fn port_of_bridge(bridge: &str, hardware: &str) -> Option<String> {
    if !is_plain(bridge) {
        return None;
    }
    let folder = Path::new(CLASS_NET).join(bridge);
    let number = port_number(&std::fs::read(folder.join("brforward")).ok()?, &hardware_bytes(hardware)?)?;
    let ports = std::fs::read_dir(folder.join("brif")).ok()?;
    ports.flatten().find_map(|port| {
        let text = std::fs::read_to_string(port.path().join("port_no")).ok()?;
        let have = u16::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
        (have == number).then(|| port.file_name().to_string_lossy().into_owned())
    })
}

/// A process's interfaces other than the loopback one.
pub fn interfaces_of_process(process: u32) -> Vec<ProcessInterface> {
    let names = names_in(Path::new(&format!("/proc/{process}/net/dev"))).unwrap_or_default();
    let class = PathBuf::from(format!("/proc/{process}/root{CLASS_NET}"));
    names.into_iter().filter(|name| name != "lo").map(|name| ProcessInterface { pair: pair(&class.join(&name)), name }).collect()
}

/// The names in a table of interfaces (`/proc/…/net/dev`).
fn names_in(table: &Path) -> Option<Vec<String>> {
    let table = std::fs::read_to_string(table).ok()?;
    Some(table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect())
}

/// Whether the interfaces in the file system are those of this network namespace.
fn is_same(own: &[String], shown: &[LocalInterface]) -> bool {
    own.len() == shown.len() && shown.iter().all(|interface| own.contains(&interface.name))
}

/// `ifindex` and `iflink`, where the latter is not the interface itself.
fn pair(folder: &Path) -> Option<(u32, u32)> {
    let (own, far) = (read_number(&folder.join("ifindex"))?, read_number(&folder.join("iflink"))?);
    (own != far).then_some((own, far))
}

fn interfaces_in(class: &Path) -> Vec<LocalInterface> {
    let Ok(entries) = std::fs::read_dir(class) else { return Vec::new() };
    let mut all: Vec<_> = entries.flatten().filter_map(|entry| read_interface(&entry.path())).collect();
    all.sort_by_key(|interface| interface.index);
    all
}

fn read_interface(folder: &Path) -> Option<LocalInterface> {
    let flags = read_flags(folder)?;
    let master = std::fs::read_link(folder.join("master")).ok();
    Some(LocalInterface {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        index: read_number(&folder.join("ifindex"))?,
        is_up: flags & IFF_UP != 0,
        is_bridge: folder.join("bridge").exists(),
        bridge: master.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        far: pair(folder).map(|(_, far)| far),
    })
}

fn read_flags(folder: &Path) -> Option<u32> {
    let flags = std::fs::read_to_string(folder.join("flags")).ok()?;
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()
}

fn read_number(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number of the port in a bridge's table: entries of 16 octets, the hardware address first, then the port's low and, at
/// octet 12, high part (`struct __fdb_entry` of the kernel).
fn port_number(table: &[u8], hardware: &[u8; 6]) -> Option<u16> {
    let entry = table.chunks_exact(16).find(|entry| entry.starts_with(hardware))?;
    let (low, is_local, high) = (*entry.get(6)?, *entry.get(7)?, *entry.get(12)?);
    (is_local == 0).then(|| u16::from(low) | (u16::from(high) << 8))
}

fn hardware_bytes(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// Whether a name can be one of an interface, and no path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() < 16 && !name.contains('/') && name != "." && name != ".."
}

const CLASS_NET: &str = "/sys/class/net";

/// The table of the interfaces of this network namespace.
const OWN_TABLE: &str = "/proc/self/net/dev";

/// `IFF_UP` of the kernel.
const IFF_UP: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_lists() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, index: &str, flags: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("ifindex"), index).unwrap();
            std::fs::write(path.join("flags"), flags).unwrap();
            path
        };
        let bridge = make("br-1", "3\n", "0x1003\n");
        std::fs::create_dir(bridge.join("bridge")).unwrap();
        std::os::unix::fs::symlink("../br-1", make("veth7", "9\n", "0x1002\n").join("master")).unwrap();
        std::fs::write(folder.path().join("bonding_masters"), "").unwrap();
        let plain = |name: &str, index, is_up, is_bridge, bridge: Option<&str>| LocalInterface {
            name: name.to_owned(),
            index,
            is_up,
            is_bridge,
            bridge: bridge.map(str::to_owned),
            far: None,
        };
        assert_eq!(
            interfaces_in(folder.path()),
            [plain("br-1", 3, true, true, None), plain("veth7", 9, false, false, Some("br-1"))]
        );
    }

    #[test]
    fn both_ends_of_a_pair_name_the_other() {
        let here =
            |index, far| LocalInterface { name: format!("veth{index}"), index, is_up: true, is_bridge: false, bridge: None, far };
        let interfaces = [here(5, Some(3)), here(6, Some(2)), here(7, None)];
        let near_end = |pair| {
            let far = ProcessInterface { name: "eth0".to_owned(), pair };
            far.near_end(&interfaces).map(|interface| interface.index)
        };
        assert_eq!(near_end(Some((2, 6))), Some(6));
        assert_eq!(near_end(Some((2, 5))), None, "that index is of another namespace");
        assert_eq!((near_end(Some((2, 7))), near_end(None)), (None, None));
    }

    #[test]
    fn names_of_interfaces_are_no_paths() {
        for name in ["", ".", "..", "../x", "a/b", "a-name-that-is-too-long"] {
            assert!(!is_interface(name), "{name}");
        }
    }

    #[test]
    fn finds_the_port_behind_which_an_address_is() {
        let mut table = Vec::new();
        for (last, port, is_local, high) in [(2, 1, 1, 0), (3, 1, 0, 0), (4, 2, 0, 1)] {
            table.extend_from_slice(&[2, 0x42, 0xac, 0x12, 0, last, port, is_local, 0, 0, 0, 0, high, 0, 0, 0]);
        }
        let port = |text: &str| port_number(&table, &hardware_bytes(text).unwrap());
        assert_eq!(port("02:42:ac:12:00:03"), Some(1));
        assert_eq!(port("02:42:ac:12:00:04"), Some(258));
        assert_eq!(port("02:42:ac:12:00:02"), None, "the bridge itself");
        assert_eq!(port("02:42:ac:12:00:09"), None);
        assert_eq!(hardware_bytes("02:42:ac:12:00"), None);
    }
}
