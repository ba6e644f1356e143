//! A replica's directory made a writer's: from one manifest to the other, in one step. The lines stay where they are, in
//! segments that say that a replica wrote them, so that children go on from where they are.

use super::super::error::OpenError;
use super::super::manifest::Backend;
use super::ReplicaLog;
use headwater_core::id::Id;
use headwater_core::position::EpochTable;

/// What a writer's manifest says and a replica's does not.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The deployment.
    pub cluster: Id,
    /// The highest epoch that the replica has ever seen: the next opening is above.
    pub epoch: u64,
    /// The number of this takeover, above all that anybody is known to have accepted.
    pub takeover: u64,
    /// The openings of the history that is held.
    pub epochs: EpochTable,
}

impl ReplicaLog {
    /// Makes the directory a writer's. Whether what it holds is all that a writer needs is the caller's to know.
    ///
    /// # Errors
    /// [`OpenError::Io`]; the directory is a replica's as before, or a writer's.
    pub fn promote(self, promotion: Promotion) -> Result<(), OpenError> {
        let keeping = self.keeping.clone();
        // Everything is known to be durable then: the first opening has nothing of a replica's to copy.
        self.tail.finish()?;
        let mut manifest = keeping.lock().clone();
        let Promotion { cluster, epoch, takeover, epochs } = promotion;
        (manifest.backend, manifest.cluster) = (Backend::File, Some(cluster));
        (manifest.epoch, manifest.takeover, manifest.epochs) = (epoch, takeover, epochs);
        keeping.replace(manifest)
    }
}
