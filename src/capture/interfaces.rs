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
}

/// The interfaces of this network namespace, by index.
pub fn local_interfaces() -> Vec<LocalInterface> {
    interfaces_in(Path::new(CLASS_NET))
}

/// Whether there is an interface of that name in this network namespace.
pub fn is_interface(name: &str) -> bool {
    is_plain(name) && Path::new(CLASS_NET).join(name).exists()
}

/// The interface of this namespace that has this index.
pub fn interface_of_index(index: u32) -> Option<String> {
    local_interfaces().into_iter().find(|interface| interface.index == index).map(|interface| interface.name)
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

/// A process's interfaces other than the loopback one, by name, each with the index of the far end where it is one of a pair.
/// Reading the far ends needs the right to look into the process (root); without it they are absent.
pub fn interfaces_of_process(process: u32) -> Vec<(String, Option<u32>)> {
    let Ok(table) = std::fs::read_to_string(format!("/proc/{process}/net/dev")) else { return Vec::new() };
    let class = PathBuf::from(format!("/proc/{process}/root/sys/class/net"));
    let names = table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    names.filter(|name| name != "lo").map(|name| (name.clone(), far_end(&class.join(&name)))).collect()
}

/// `iflink`, where it is not the interface itself.
fn far_end(folder: &Path) -> Option<u32> {
    let far = read_number(&folder.join("iflink"))?;
    (read_number(&folder.join("ifindex"))? != far).then_some(far)
}

fn interfaces_in(class: &Path) -> Vec<LocalInterface> {
    let Ok(entries) = std::fs::read_dir(class) else { return Vec::new() };
    let mut all: Vec<_> = entries.flatten().filter_map(|entry| read_interface(&entry.path())).collect();
    all.sort_by_key(|interface| interface.index);
    all
}

fn read_interface(folder: &Path) -> Option<LocalInterface> {
    let flags = std::fs::read_to_string(folder.join("flags")).ok()?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok()?;
    let master = std::fs::read_link(folder.join("master")).ok();
    Some(LocalInterface {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        index: read_number(&folder.join("ifindex"))?,
        is_up: flags & IFF_UP != 0,
        is_bridge: folder.join("bridge").exists(),
        bridge: master.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
    })
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
        };
        assert_eq!(
            interfaces_in(folder.path()),
            [plain("br-1", 3, true, true, None), plain("veth7", 9, false, false, Some("br-1"))]
        );
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
