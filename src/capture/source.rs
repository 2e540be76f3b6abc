//! Where packets come from: saved captures now, interfaces when capturing live.

use crate::capture::{Batch, CaptureError, SourceSummary};

/// Something that gives packets in batches, in one order.
pub trait PacketSource: Send {
    /// Clears the batch and fills it with the next packets. `false` means that nothing more will come and the batch is empty.
    /// A batch may hold secrets, names or comments and no packet.
    ///
    /// # Errors
    /// Where the source fails for good. Damage in a saved capture is no error: it is a problem of its [`SourceSummary`].
    fn read_batch(&mut self, batch: &mut Batch) -> Result<bool, CaptureError>;

    /// What was read so far, one entry for each input.
    fn sources(&self) -> Vec<SourceSummary>;
}
