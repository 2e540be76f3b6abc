//! Clients: who asks on a hop, told apart by address and program. Bounded; the last row stands for all beyond the bound.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::HopId;
use crate::s3::{Client, Sdk};

/// Names a client: its number in order of first sight, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// One client: the calls of one address on one hop with one program.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// The hop it asks on.
    pub hop: HopId,
    /// Its address.
    pub ip: IpAddr,
    /// Its SDK.
    pub sdk: Sdk,
    /// The version of its SDK; wire text.
    pub version: Option<String>,
    /// The Hadoop version it names; wire text.
    pub hadoop: Option<String>,
    /// Its `User-Agent` as first sent, at most [`ClientView::AGENT_BYTES_MAX`]; wire text.
    pub agent: Option<String>,
    /// Its S3 calls.
    pub calls: u64,
    /// Whether it stands for all clients beyond the bound.
    pub is_rest: bool,
}

impl ClientView {
    /// How much of an agent is kept.
    pub const AGENT_BYTES_MAX: usize = 512;
}

/// All clients of a run.
#[derive(Debug)]
pub struct Clients {
    rows: Vec<ClientView>,
    /// By the agent as sent: the fast way.
    raw: HashMap<(HopId, IpAddr, u64), ClientId>,
    /// By the agent without what differs from call to call.
    stable: HashMap<(HopId, IpAddr, u64), ClientId>,
    last: Option<((HopId, IpAddr, u64), ClientId)>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { rows: Vec::new(), raw: HashMap::new(), stable: HashMap::new(), last: None }
    }
}

impl Clients {
    /// How many clients are told apart.
    pub const ROWS_MAX: usize = 4096;
    /// How many spellings of agents are remembered for the fast way.
    const RAW_MAX: usize = 4 * Self::ROWS_MAX;

    /// The client of a call, counted; `read` is asked only where the agent is new.
    pub fn count_call<'x>(
        &mut self,
        hop: HopId,
        ip: IpAddr,
        agent: Option<&[u8]>,
        read: impl FnOnce() -> Client<'x>,
    ) -> ClientId {
        let key = (hop, ip, hash(agent.unwrap_or_default()));
        let id = match self.last {
            Some((last, id)) if last == key => id,
            _ => match self.raw.get(&key) {
                Some(id) => *id,
                None => self.add(key, agent, read),
            },
        };
        self.last = Some((key, id));
        if let Some(row) = self.rows.get_mut(id.0 as usize) {
            row.calls += 1;
        }
        id
    }

    /// The client of a call that was counted before.
    pub fn find(&self, hop: HopId, ip: IpAddr, agent: Option<&[u8]>) -> Option<ClientId> {
        let key = (hop, ip, hash(agent.unwrap_or_default()));
        let stable = || self.stable.get(&(hop, ip, hash_stable(agent.unwrap_or_default())));
        self.raw.get(&key).or_else(stable).copied()
    }

    /// What is known of a client.
    pub fn client(&self, id: ClientId) -> Option<&ClientView> {
        self.rows.get(id.0 as usize)
    }

    /// All clients, in order of first sight.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &ClientView)> {
        (0..).map(ClientId).zip(&self.rows)
    }

    fn add<'x>(&mut self, key: (HopId, IpAddr, u64), agent: Option<&[u8]>, read: impl FnOnce() -> Client<'x>) -> ClientId {
        let stable = (key.0, key.1, hash_stable(agent.unwrap_or_default()));
        let id = match self.stable.get(&stable) {
            Some(id) => *id,
            None if self.rows.len() < Self::ROWS_MAX => {
                let id = ClientId(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
                let client = read();
                self.rows.push(ClientView {
                    hop: key.0,
                    ip: key.1,
                    sdk: client.sdk,
                    version: client.version.map(str::to_owned),
                    hadoop: client.hadoop.map(str::to_owned),
                    agent: agent.map(shorten),
                    calls: 0,
                    is_rest: self.rows.len() + 1 == Self::ROWS_MAX,
                });
                self.stable.insert(stable, id);
                id
            }
            None => ClientId(u32::try_from(self.rows.len().saturating_sub(1)).unwrap_or(u32::MAX)),
        };
        if self.raw.len() < Self::RAW_MAX {
            self.raw.insert(key, id);
        }
        id
    }
}

fn shorten(agent: &[u8]) -> String {
    String::from_utf8_lossy(agent.get(..ClientView::AGENT_BYTES_MAX).unwrap_or(agent)).into_owned()
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Hashes an agent without the words by which SDKs tell what one call uses: the AWS SDK for Java v1 adds its transfer manager
/// on COPY alone, botocore and newer SDKs add feature letters (`m/…`, `ft/…`), the
/// AWS SDK for Go 1 adds `S3Manager` on uploads and downloads alone. With them a COPY would seem another client's.
fn hash_stable(agent: &[u8]) -> u64 {
    let mut words = Vec::with_capacity(agent.len());
    for word in agent.split(|byte| *byte == b' ') {
        let varies = word.starts_with(b"com.amazonaws.services.")
            || word.starts_with(b"m/")
            || word.starts_with(b"ft/")
            || word.starts_with(b"md/command")
            || word == b"S3Manager"
            || word == b"Resource";
        if !varies {
            words.extend_from_slice(word);
            words.push(b' ');
        }
    }
    hash(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(clients: &mut Clients, ip: &str, agent: &str) -> ClientId {
        let ip = ip.parse().unwrap();
        clients.count_call(HopId(0), ip, Some(agent.as_bytes()), || Client {
            sdk: Sdk::Other,
            version: None,
            hadoop: None,
            agent: None,
        })
    }

    #[test]
    fn a_copy_with_the_transfer_manager_is_the_same_client() {
        let mut clients = Clients::default();
        let plain = id_of(&mut clients, "10.0.0.5", "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.1");
        let copy = "Hadoop 3.3.4, aws-sdk-java/1.12.262 Linux/6.1 com.amazonaws.services.s3.transfer.TransferManager/1.12.262";
        assert_eq!(id_of(&mut clients, "10.0.0.5", copy), plain);
        assert_ne!(id_of(&mut clients, "10.0.0.6", copy), plain);
        assert_ne!(id_of(&mut clients, "10.0.0.5", "Hadoop 3.4.1, aws-sdk-java/2.24.6"), plain);
        assert_eq!(clients.client(plain).unwrap().calls, 2);
    }

    #[test]
    fn beyond_the_bound_the_last_row_takes_all() {
        let mut clients = Clients::default();
        for number in 0..=Clients::ROWS_MAX {
            id_of(&mut clients, "10.0.0.5", &format!("agent/{number}"));
        }
        assert_eq!(clients.rows.len(), Clients::ROWS_MAX);
        assert!(clients.rows[Clients::ROWS_MAX - 1].is_rest);
        assert_eq!(clients.rows[Clients::ROWS_MAX - 1].calls, 2);
    }
}
