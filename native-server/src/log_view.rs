//! The log as streams see it: what is held behind the feed. The writer changes it at each opening, a replica whenever
//! its disk begins anew.

use crate::wal::{Chunk, LogReader, ReadError};
use headwater_core::stream::Supply;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of lines read from the log for a stream at once.
const READ_BYTES_MAX: usize = 256 << 10;

/// See the module.
#[derive(Default)]
pub(crate) struct LogView(RwLock<Shown>);

#[derive(Default)]
struct Shown {
    reader: Option<Arc<dyn LogReader>>,
    /// The one that met damage. It stays hidden, or a child whose cursor lies before the damage would be sent there
    /// again each time it comes back, instead of getting a baseline.
    unreadable: Option<Arc<dyn LogReader>>,
}

impl Shown {
    fn is_unreadable(&self, reader: &Arc<dyn LogReader>) -> bool {
        self.unreadable.as_ref().is_some_and(|unreadable| Arc::ptr_eq(unreadable, reader))
    }
}

impl LogView {
    /// Shows this log, or none.
    pub(crate) fn show(&self, reader: Option<Arc<dyn LogReader>>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).reader = reader;
    }

    fn reader(&self) -> Option<Arc<dyn LogReader>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shown.reader.clone().filter(|reader| !shown.is_unreadable(reader))
    }

    /// Whether the log shown has not met damage, as far as it was read.
    pub(crate) fn is_readable(&self) -> bool {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !shown.reader.as_ref().is_some_and(|reader| shown.is_unreadable(reader))
    }

    /// The seq after which every line is held; `None` where there is no log to read from.
    pub(crate) fn floor(&self) -> Option<u64> {
        self.reader().map(|reader| reader.floor().saturating_sub(1))
    }

    /// [`LogView::floor`], if what is held leads on to the feed that begins behind `feed_floor`. Not where it is stored so
    /// far behind that there is a hole.
    pub(crate) fn floor_up_to(&self, feed_floor: u64) -> Option<u64> {
        let reaches = self.reader().is_some_and(|reader| reader.through() >= feed_floor);
        self.floor().filter(|_| reaches)
    }

    /// The next lines after `seq`.
    ///
    /// # Errors
    /// When the log cannot be read, which it then is not again; a place that was trimmed meanwhile is no error.
    pub(crate) async fn after(&self, seq: u64) -> Result<Supply, ReadError> {
        let Some(reader) = self.reader() else { return Ok(Supply::Gone) };
        match reader.read(seq + 1, READ_BYTES_MAX).await {
            Ok(Some(Chunk { lines, through })) => Ok(Supply::Lines { bytes: lines, through }),
            Ok(None) => Ok(Supply::NotYet),
            Err(ReadError::Trimmed { .. }) => Ok(Supply::Gone),
            Err(error) => {
                self.0.write().unwrap_or_else(PoisonError::into_inner).unreadable = Some(reader);
                Err(error)
            }
        }
    }
}
