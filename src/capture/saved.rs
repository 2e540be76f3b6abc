//! A saved capture: one file, or several as one in the order of time.

use std::sync::Arc;

use crate::capture::merge::Merge;
use crate::capture::reader::Reader;
use crate::capture::{Batch, CaptureError, Input, PacketSource, ReadAt, SourceSummary};

/// A capture that was saved in one or several files.
pub struct SavedCapture {
    packets: Packets,
    /// One for each input: its summary where it failed, `None` where a reader keeps it.
    failed: Vec<Option<SourceSummary>>,
    files: Arc<[Option<Arc<dyn ReadAt>>]>,
    next_ordinal: u64,
}

enum Packets {
    One(Box<Reader>),
    Many(Merge),
}

impl SavedCapture {
    /// Opens the inputs. Several are one capture in the order of time. Of several, those that cannot be read are left out and
    /// named in [`PacketSource::sources`].
    ///
    /// # Errors
    /// Where no input can be read: the reason of the first.
    pub fn open(inputs: Vec<Input>) -> Result<Self, CaptureError> {
        let count = inputs.len();
        if count > INPUTS_MAX {
            return Err(CaptureError::TooManyInputs { count, max: INPUTS_MAX });
        }
        let mut files = Vec::with_capacity(count);
        let mut failed = Vec::with_capacity(count);
        let mut readers = Vec::with_capacity(count);
        let mut first_error = None;
        for (index, input) in inputs.into_iter().enumerate() {
            let name = input.name.clone();
            files.push(input.positioned.clone());
            match Reader::open(input, index as u16) {
                Ok(reader) => {
                    readers.push(reader);
                    failed.push(None);
                }
                Err(error) => {
                    let failure = Some(with_causes(&error));
                    failed.push(Some(SourceSummary { name, failure, ..SourceSummary::default() }));
                    first_error = first_error.or(Some(error));
                }
            }
        }
        let packets = match (readers.len(), readers.pop()) {
            (1, Some(reader)) => Packets::One(Box::new(reader)),
            (_, Some(last)) => {
                readers.push(last);
                Packets::Many(Merge::new(readers))
            }
            (_, None) => return Err(first_error.unwrap_or(CaptureError::NoInput)),
        };
        Ok(Self { packets, failed, files: files.into(), next_ordinal: 1 })
    }
}

impl PacketSource for SavedCapture {
    fn read_batch(&mut self, batch: &mut Batch) -> Result<bool, CaptureError> {
        batch.clear(&self.files, self.next_ordinal);
        let more = match &mut self.packets {
            Packets::One(reader) => reader.read_batch(batch),
            Packets::Many(merge) => merge.read_batch(batch, &self.files),
        };
        self.next_ordinal += batch.len() as u64;
        Ok(more)
    }

    fn sources(&self) -> Vec<SourceSummary> {
        let mut read = match &self.packets {
            Packets::One(reader) => vec![reader.summary().clone()],
            Packets::Many(merge) => merge.summaries(),
        }
        .into_iter();
        self.failed.iter().filter_map(|failed| failed.clone().or_else(|| read.next())).collect()
    }
}

/// An error with its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Frame numbers have 16 bits for the file.
const INPUTS_MAX: usize = 65_535;
