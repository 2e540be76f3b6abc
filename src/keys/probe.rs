//! The probe: where it is put, how the kernel is asked for it, and what a hit means.
//!
//! `crypto/tls.(*Config).writeKeyLog(label string, clientRandom, secret []byte)` is called in every handshake, also where no key
//! log is configured. The kernel copies the arguments at the first instruction, so nothing races with the program.
//! Syntax: Documentation/trace/uprobetracer.rst.

use std::fmt::Write as _;

use crate::keys::build_info::BuildInfo;
use crate::keys::elf::{Elf, ElfError, Machine};
use crate::keys::pclntab::{self, PclntabError};
use crate::keys::read_at::ReadAt;

/// Where an executable is probed, and how its arguments are read there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePoint {
    /// Offset of the function's first instruction in the file.
    pub offset: u64,
    /// What Go's linker says of the program, where it does.
    pub build: Option<BuildInfo>,
    arguments: Arguments,
}

/// Why an executable cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not an executable that can be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Not a Go program with TLS.
    #[error(transparent)]
    Pclntab(#[from] PclntabError),
    /// The table fits two versions of Go that pass arguments differently, and the version is not recorded.
    #[error("the Go version is not recorded in the program, and Go 1.16 and 1.17 pass arguments differently")]
    UnknownVersion,
}

/// How a function receives its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arguments {
    /// Go's register ABI: x86-64 from Go 1.17, arm64 from Go 1.18.
    Registers(Machine),
    /// On the stack, above the return address: before.
    Stack,
}

/// Finds the place of the probe in an executable.
///
/// # Errors
/// Where it is not a Go program with `crypto/tls` of a known version.
pub fn probe_point(file: &(impl ReadAt + ?Sized)) -> Result<ProbePoint, ProbeError> {
    let elf = Elf::read(file)?;
    let found = pclntab::find(file, &elf, FUNCTION)?;
    let build = BuildInfo::read(file, &elf).map_err(PclntabError::Read)?;
    let machine = elf.machine();
    let arguments = match (found.since_1_18, machine, build.as_ref().and_then(BuildInfo::release)) {
        (true, _, _) | (false, Machine::X86_64, Some((1, 17))) => Arguments::Registers(machine),
        (false, Machine::Aarch64, _) | (false, _, Some((1, 16))) => Arguments::Stack,
        (false, _, _) => return Err(ProbeError::UnknownVersion),
    };
    Ok(ProbePoint { offset: found.offset, build, arguments })
}

impl ProbePoint {
    /// The line for `uprobe_events`, without a newline. `path` must hold no space and no newline.
    pub fn definition(&self, group: &str, name: &str, path: &str) -> String {
        let [label, label_length, random, random_length, secret, secret_length] = match self.arguments {
            Arguments::Registers(Machine::X86_64) => ["%bx", "%cx", "%di", "%si", "%r9", "%r10"],
            Arguments::Registers(Machine::Aarch64) => ["%x1", "%x2", "%x3", "%x4", "%x6", "%x7"],
            Arguments::Stack => ["+16(%sp)", "+24(%sp)", "+32(%sp)", "+40(%sp)", "+56(%sp)", "+64(%sp)"],
        };
        let mut line = format!("p:{group}/{name} {path}:{:#x} llen={label_length}:u64", self.offset);
        for (word, at) in [0, 8, 16, 24].into_iter().enumerate() {
            let _ = write!(line, " l{word}=+{at}({label}):x64");
        }
        let _ = write!(
            line,
            " rlen={random_length}:u64 rnd=+0({random}):x8[32] slen={secret_length}:u64 s0=+0({secret}):x8[32] s1=+32({secret}):x8[16]"
        );
        line
    }
}

/// What a line of `trace_pipe` says.
#[derive(Clone, PartialEq, Eq)]
pub enum Hit {
    /// A secret, as a line of a key log without its newline, and the process that has it.
    Secret {
        /// Process (thread) id on this machine.
        thread: u32,
        /// `LABEL RANDOM SECRET`
        line: String,
    },
    /// The kernel had to drop so many hits.
    Lost(u64),
    /// A hit whose arguments could not be read.
    Unreadable,
}

impl Hit {
    /// Reads a line; `None` where it is not of this probe.
    pub fn parse(line: &str) -> Option<Self> {
        if let Some(lost) = lost_events(line) {
            return Some(Self::Lost(lost));
        }
        let (before, fields) = line.rsplit_once(" llen=")?;
        let thread = thread_of(before).unwrap_or_default();
        Some(match secret_line(fields) {
            Some(line) => Self::Secret { thread, line },
            None => Self::Unreadable,
        })
    }
}

/// `CPU:1 [LOST 12 EVENTS]`: the whole of the kernel's own line, so that no program's name is taken for it.
fn lost_events(line: &str) -> Option<u64> {
    let (cpu, rest) = line.trim().strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let count = rest.strip_suffix(" EVENTS]")?;
    cpu.parse::<u32>().ok()?;
    count.parse().ok()
}

/// `  NAME-123   [000] …`: the name may hold anything, the number comes before the last `[`.
fn thread_of(before: &str) -> Option<u32> {
    let (head, _) = before.rsplit_once('[')?;
    head.trim_end().rsplit_once('-')?.1.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().ok()
}

fn secret_line(fields: &str) -> Option<String> {
    let mut words = fields.split_ascii_whitespace();
    let label_length: usize = words.next()?.parse().ok()?;
    let mut label = Vec::with_capacity(LABEL_BYTES_MAX);
    for word in 0..4 {
        let text = words.next()?.strip_prefix(&format!("l{word}="))?;
        // A word beyond the label may be unreadable: nothing of it is needed.
        let bytes = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        match bytes {
            Some(bytes) => label.extend_from_slice(&bytes.to_le_bytes()),
            None if label.len() >= label_length => {}
            None => return None,
        }
    }
    let label = label.get(..label_length)?;
    let is_label =
        !label.is_empty() && label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    if !is_label {
        return None;
    }
    let random_length: usize = words.next()?.strip_prefix("rlen=")?.parse().ok()?;
    let random = array(words.next()?.strip_prefix("rnd=")?)?;
    let secret_length: usize = words.next()?.strip_prefix("slen=")?.parse().ok()?;
    let mut secret = array(words.next()?.strip_prefix("s0=")?)?;
    if secret_length > secret.len() {
        secret.extend(array(words.next()?.strip_prefix("s1=")?)?);
    }
    let (random, secret) = (random.get(..random_length)?, secret.get(..secret_length)?);
    if random.is_empty() || secret.is_empty() {
        return None;
    }
    Some(format!("{} {} {}", String::from_utf8_lossy(label), hexadecimal(random), hexadecimal(secret)))
}

/// `{0x1,0x2a,…}`
fn array(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    inner.split(',').map(|item| u8::from_str_radix(item.strip_prefix("0x")?, 16).ok()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The function that every TLS handshake of Go's `crypto/tls` calls.
const FUNCTION: &str = "crypto/tls.(*Config).writeKeyLog";

/// The longest label is `CLIENT_HANDSHAKE_TRAFFIC_SECRET`.
const LABEL_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, label: &str, secret_length: usize, second: &str) -> String {
        let mut padded = label.as_bytes().to_vec();
        padded.resize(32, b'x');
        let words: Vec<_> = padded.chunks(8).map(|word| format!("{:#x}", u64::from_le_bytes(word.try_into().unwrap()))).collect();
        let random: Vec<_> = (0..32).map(|at| format!("{at:#x}")).collect();
        let secret: Vec<_> = (0..32).map(|at| format!("{:#x}", 255 - at)).collect();
        format!(
            "  {name}-4711    [001] DNZff  1234.567890: k0: (0x71c3a0) llen={} l0={} l1={} l2={} l3={} rlen=32 rnd={{{}}} slen={secret_length} s0={{{}}} s1={second}",
            label.len(),
            words[0],
            words[1],
            words[2],
            words[3],
            random.join(","),
            secret.join(",")
        )
    }

    fn secret_of(line: &str) -> (u32, String) {
        match Hit::parse(line) {
            Some(Hit::Secret { thread, line }) => (thread, line),
            _ => panic!("no secret in {line}"),
        }
    }

    #[test]
    fn a_hit_is_a_line_of_a_key_log() {
        let (thread, text) = secret_of(&line("minio", "CLIENT_TRAFFIC_SECRET_0", 32, "(fault)"));
        let words: Vec<_> = text.split(' ').collect();
        assert_eq!((thread, words[0], words[1].len(), words[2].len()), (4711, "CLIENT_TRAFFIC_SECRET_0", 64, 64));
        assert!(words[1].starts_with("000102") && words[2].starts_with("fffefd"));
        let second = format!("{{{}}}", vec!["0xab"; 16].join(","));
        let (_, text) = secret_of(&line("minio", "CLIENT_RANDOM", 48, &second));
        assert_eq!(text.split(' ').nth(2).map(str::len), Some(96));
        assert!(text.ends_with("abab"));
    }

    #[test]
    fn names_of_programs_do_not_confuse_it() {
        for name in ["a b", "x-1 [0", "k0: (0x1) llen=", "[LOST 9 EVENTS]", "CPU:0"] {
            let (_, text) = secret_of(&line(name, "CLIENT_RANDOM", 32, "(fault)"));
            assert!(text.starts_with("CLIENT_RANDOM "), "{name}");
        }
    }

    #[test]
    fn what_was_lost_or_unreadable_is_counted() {
        assert!(matches!(Hit::parse("CPU:1 [LOST 12 EVENTS]"), Some(Hit::Lost(12))));
        assert!(matches!(Hit::parse(&line("m", "CLIENT_RANDOM", 48, "(fault)")), Some(Hit::Unreadable)));
        assert!(matches!(Hit::parse(&line("m", "client random", 32, "(fault)")), Some(Hit::Unreadable)));
        assert!(Hit::parse("some other line").is_none());
    }

    #[test]
    fn each_way_of_passing_arguments_has_a_definition() {
        let point = |arguments| ProbePoint { offset: 0x1234, build: None, arguments };
        let registers = point(Arguments::Registers(Machine::X86_64)).definition("g", "k0", "/proc/1/exe");
        assert!(registers.starts_with("p:g/k0 /proc/1/exe:0x1234 llen=%cx:u64 l0=+0(%bx):x64 "), "{registers}");
        let stack = point(Arguments::Stack).definition("g", "k0", "/proc/1/exe");
        assert!(stack.contains(" l1=+8(+16(%sp)):x64 ") && stack.contains(" s1=+32(+56(%sp)):x8[16]"), "{stack}");
        let arm = point(Arguments::Registers(Machine::Aarch64)).definition("g", "k0", "/proc/1/exe");
        assert!(arm.contains(" slen=%x7:u64 s0=+0(%x6):x8[32]"), "{arm}");
    }
}
