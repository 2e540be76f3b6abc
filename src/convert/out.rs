//! Packets with what is known about them into one of the formats.

use std::io::Write;
use std::net::IpAddr;

use crate::capture::Interface;
use crate::capture::write::pcapng::{InterfaceDescription, InterfaceId, PacketRecord, Statistics, Writer};
use crate::convert::{ConvertError, pcap};
use crate::model::{LinkType, Packet, Secret, Timestamp};

/// A format of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One link type; no names, comments or secrets.
    Pcap,
    /// All there is.
    Pcapng,
}

/// An output being written.
pub(super) enum Out<W: Write> {
    Pcap(pcap::Writer<W>),
    Pcapng { writer: Writer<W>, interfaces: Vec<Option<InterfaceId>> },
}

impl<W: Write> Out<W> {
    pub(super) fn new(out: W, format: Format, nanos: bool) -> Result<Self, ConvertError> {
        Ok(match format {
            Format::Pcap => Self::Pcap(pcap::Writer::new(out, nanos)),
            Format::Pcapng => Self::Pcapng { writer: Writer::new(out, APPLICATION, &[])?, interfaces: Vec::new() },
        })
    }

    /// Whether an interface has to be added before its first packet.
    pub(super) fn needs_interface(&self, index: usize) -> bool {
        match self {
            Self::Pcap(_) => false,
            Self::Pcapng { interfaces, .. } => interfaces.get(index).is_none_or(Option::is_none),
        }
    }

    /// Adds an interface, as its file describes it.
    pub(super) fn add_interface(
        &mut self,
        index: usize,
        link: LinkType,
        interface: Option<&Interface>,
    ) -> Result<(), ConvertError> {
        if let Self::Pcapng { writer, interfaces } = self {
            let description = InterfaceDescription {
                name: interface.and_then(|interface| interface.name.as_deref()),
                description: interface.and_then(|interface| interface.description.as_deref()),
                snap_length: interface.and_then(|interface| interface.snap_length).unwrap_or(0),
            };
            let id = writer.add_interface(link, &description)?;
            if interfaces.len() <= index {
                interfaces.resize(index + 1, None);
            }
            if let Some(place) = interfaces.get_mut(index) {
                *place = Some(id);
            }
        }
        Ok(())
    }

    /// Writes secrets; a format without room for them leaves them out.
    pub(super) fn write_secret(&mut self, secret: &Secret) -> Result<(), ConvertError> {
        if let Self::Pcapng { writer, .. } = self {
            writer.write_secret(secret)?;
        }
        Ok(())
    }

    /// Writes names of addresses, where there is room for them.
    pub(super) fn write_names(&mut self, names: &[(IpAddr, String)]) -> Result<(), ConvertError> {
        if let Self::Pcapng { writer, .. } = self
            && !names.is_empty()
        {
            writer.write_names(names.iter().map(|(address, name)| (*address, name.as_str())))?;
        }
        Ok(())
    }

    /// Writes a packet with other bytes than it had.
    pub(super) fn write_packet(
        &mut self,
        interface: usize,
        packet: &Packet<'_>,
        bytes: &[u8],
        comments: &[&str],
    ) -> Result<(), ConvertError> {
        match self {
            Self::Pcap(writer) => writer.write_packet(packet, bytes)?,
            Self::Pcapng { writer, interfaces } => {
                if let Some(id) = interfaces.get(interface).copied().flatten() {
                    writer.write_packet(id, &PacketRecord { at: packet.at, bytes, original: packet.original, comments })?;
                }
            }
        }
        Ok(())
    }

    /// Writes what the interfaces counted, and ends the file.
    pub(super) fn finish(self, described: &[Interface], last: Option<Timestamp>) -> Result<W, ConvertError> {
        match self {
            Self::Pcap(writer) => Ok(writer.finish()?),
            Self::Pcapng { mut writer, interfaces } => {
                for (id, interface) in interfaces.iter().zip(described) {
                    let Interface { received, dropped, dropped_by_system, .. } = interface;
                    let statistics = Statistics { received: *received, dropped: *dropped, dropped_by_system: *dropped_by_system };
                    if let (Some(id), Some(last)) = (id, last)
                        && statistics != Statistics::default()
                    {
                        writer.write_statistics(*id, last, statistics)?;
                    }
                }
                Ok(writer.finish()?)
            }
        }
    }
}

const APPLICATION: &str = concat!("hopwire ", env!("CARGO_PKG_VERSION"));
