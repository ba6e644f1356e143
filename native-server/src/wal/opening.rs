//! What every opening of a log has in common, whatever the backend: its options, the choice of its epoch, the rule that
//! nothing is appended out of place. Pure, apart from drawing random numbers.

use super::error::{AppendCause, OpenError};
use super::group::Group;
use headwater_core::id::Id;
use headwater_core::limits::INTEGER_MAX;
use std::io;
use std::path::Path;

/// Largest step above the previous epoch, exclusive, where the clock is behind it. Wide enough that two openings from
/// one rewound disk are not given the same epoch.
const EPOCH_STEP: u32 = 1 << 20;

/// How to open a log.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The deployment the log must belong to, or is made for when it is new. `None`: whichever it is, or a random one.
    pub cluster: Option<Id>,
    /// Gives the log a new cluster id (`cluster` when that is set), for a copy that lives on beside its original.
    pub new_cluster: bool,
    /// Label of the node, for those who find the log in use.
    pub node: String,
    /// The time now, Unix ms: the epoch, where it is above every earlier one.
    pub now_ms: u64,
    /// An epoch that the new one must be above as well.
    pub epoch_above: Option<u64>,
    /// Records at or below this seq are not handed to replay: the caller holds them already. 0 replays everything.
    pub replay_after: u64,
}

impl OpenOptions {
    /// Decides the cluster id, given the one found in the log.
    pub(super) fn decide_cluster(&self, found: Option<Id>) -> Result<Id, OpenError> {
        match (self.cluster, found) {
            (Some(asked), _) if self.new_cluster => Ok(asked),
            (None, _) if self.new_cluster => random_id(),
            (Some(expected), Some(found)) if expected != found => Err(OpenError::OtherCluster { expected, found }),
            (_, Some(found)) => Ok(found),
            (Some(asked), None) => Ok(asked),
            (None, None) => random_id(),
        }
    }

    /// Decides the epoch, given the highest that the log has ever given out.
    pub(super) fn decide_epoch(&self, previous: Option<u64>) -> Result<u64, OpenError> {
        let step = getrandom::u32().map_err(no_random)? % EPOCH_STEP;
        next_epoch(previous.max(self.epoch_above), self.now_ms, step)
    }
}

/// The epoch of an opening at `now_ms`: the clock, or where that is not above `previous`, `previous` + 1 + `step`.
///
/// # Errors
/// [`OpenError::EpochExhausted`] when the result is above 2^53 - 1.
pub fn next_epoch(previous: Option<u64>, now_ms: u64, step: u32) -> Result<u64, OpenError> {
    let floor = previous.unwrap_or(0);
    let epoch = if now_ms > floor { now_ms } else { floor.saturating_add(1).saturating_add(step.into()) };
    if epoch > INTEGER_MAX { Err(OpenError::EpochExhausted { previous: floor }) } else { Ok(epoch) }
}

/// The number of a takeover at `now_ms`: the clock, or where that is not above `known`, the highest one that anybody is
/// known to have accepted, `known` + 1. `None` where the protocol carries no higher one.
pub fn next_takeover(known: u64, now_ms: u64) -> Option<u64> {
    Some(now_ms.max(known.saturating_add(1))).filter(|&takeover| takeover <= INTEGER_MAX)
}

fn random_id() -> Result<Id, OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(Id::from_bytes(bytes))
}

pub(super) fn no_random(error: getrandom::Error) -> OpenError {
    OpenError::Io { doing: "reading", path: Path::new("the random source").into(), source: io::Error::other(error) }
}

/// Where the next group of one opening belongs, and whether the appender still takes any.
#[derive(Debug)]
pub(super) struct Gate {
    epoch: u64,
    next_seq: u64,
    started: bool,
    poisoned: bool,
}

impl Gate {
    pub(super) fn new(epoch: u64, next_seq: u64) -> Self {
        Self { epoch, next_seq, started: false, poisoned: false }
    }

    /// Lets `group` through, or says why it has no place here. The appender counts as poisoned from now until
    /// [`Gate::done`]: an append that panics, or whose future is dropped, leaves it so.
    pub(super) fn enter(&mut self, fenced: bool, group: &Group) -> Result<(), AppendCause> {
        if fenced {
            return Err(AppendCause::Fenced);
        }
        if self.poisoned {
            return Err(AppendCause::Poisoned);
        }
        self.poisoned = true;
        if group.first() != Some(self.next_seq) {
            let found = group.first().map_or("an empty group".into(), |seq| format!("seq {seq}"));
            return Err(AppendCause::OutOfPlace(format!("expected seq {}, got {found}", self.next_seq)));
        }
        for (index, record) in group.records().enumerate() {
            let expected = if index == 0 && !self.started { Some(self.epoch) } else { None };
            if record.epoch != expected {
                let detail = format!("record {} opens epoch {:?}, expected {expected:?}", record.seq, record.epoch);
                return Err(AppendCause::OutOfPlace(detail));
            }
        }
        Ok(())
    }

    /// Notes that the group that entered last is durable.
    pub(super) fn done(&mut self, group: &Group) {
        self.next_seq += group.len() as u64;
        self.started = true;
        self.poisoned = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_clock_or_a_step_above_the_previous_epoch() {
        for (previous, now, step, epoch) in
            [(None, 50, 9, 50), (Some(49), 50, 9, 50), (Some(50), 50, 0, 51), (Some(90), 50, 9, 100), (None, 0, 0, 1)]
        {
            assert_eq!(next_epoch(previous, now, step).unwrap(), epoch, "{previous:?} {now} {step}");
        }
    }

    #[test]
    fn a_takeover_is_above_every_one_that_is_known() {
        for (known, now, takeover) in [(0, 50, Some(50)), (49, 50, Some(50)), (50, 50, Some(51)), (90, 50, Some(91))] {
            assert_eq!(next_takeover(known, now), takeover, "{known} {now}");
        }
        assert_eq!((next_takeover(INTEGER_MAX, 50), next_takeover(u64::MAX, 50)), (None, None));
    }

    #[test]
    fn refuses_an_epoch_the_protocol_cannot_carry() {
        let error = next_epoch(Some(INTEGER_MAX), 50, 0).unwrap_err();
        assert!(matches!(error, OpenError::EpochExhausted { previous: INTEGER_MAX }));
        assert!(next_epoch(Some(u64::MAX), 50, u32::MAX).is_err());
    }
}
