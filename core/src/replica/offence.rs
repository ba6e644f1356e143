//! What a parent can do wrong, one name each.

use crate::apply::ApplyError;
use crate::command::{DecodeError, LineTooLong};
use crate::id::Id;
use crate::position::{Position, Term};
use crate::store::StoreError;
use alloc::string::String;
use core::fmt;

/// Why a replica drops its connection. Its state and cursor stay as they were before the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A line over the protocol's limit.
    LineTooLong(LineTooLong),
    /// A line that is no command.
    InvalidLine(DecodeError),
    /// A line that has no place here: what came, and what was awaited.
    Unexpected {
        /// The type that came.
        found: &'static str,
        /// What the stream was in.
        awaited: &'static str,
    },
    /// HELLO speaks another protocol.
    Protocol(u64),
    /// HELLO or EPOCH is of another cluster than the one this replica follows.
    OtherCluster {
        /// The one it follows.
        followed: Id,
        /// The one it met.
        met: Id,
    },
    /// HELLO's takeover or, within that, its epoch is below the highest accepted before: a deposed or rewound parent.
    StaleParent {
        /// The highest accepted.
        highest: Term,
        /// The parent's.
        met: Term,
    },
    /// The parent's baseline is older than what is held: taking it in would be going back.
    ParentBehind {
        /// What is held.
        held: Position,
        /// The baseline's position.
        met: Position,
    },
    /// The parent's state comes through this very node.
    Loop,
    /// The parent has this node's instance: one's directory is a copy of the other's, or the parent is this very node.
    SameInstance,
    /// The log needs a feature this release does not know; what is held goes on being served.
    UnsupportedFeature(String),
    /// HELLO grants a scope that was not asked for, or resumes what was not offered.
    WrongResume(&'static str),
    /// A command is missing before this line.
    Gap {
        /// Up to where everything is held.
        held: Position,
        /// The line's seq, or the PING's.
        seq: u64,
    },
    /// The digests differ though no line is missing: the states have diverged.
    Diverged {
        /// At which seq it was seen.
        seq: u64,
    },
    /// A line outside the scope that was granted.
    OutsideScope {
        /// Its seq.
        seq: u64,
    },
    /// The baseline contradicts itself or its counts.
    Baseline(&'static str),
    /// An EPOCH that does not rise.
    Epoch(u64),
    /// This node's own store failed: no fault of the parent.
    Store(StoreError),
}

impl Offence {
    /// A short name for metrics, status and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::LineTooLong(_) => "line_too_long",
            Self::InvalidLine(_) => "invalid_line",
            Self::Unexpected { .. } => "unexpected_line",
            Self::Protocol(_) => "other_protocol",
            Self::OtherCluster { .. } => "other_cluster",
            Self::StaleParent { .. } => "stale_parent",
            Self::ParentBehind { .. } => "parent_behind",
            Self::Loop => "loop",
            Self::SameInstance => "same_instance",
            Self::UnsupportedFeature(_) => "unsupported_feature",
            Self::WrongResume(_) => "wrong_resume",
            Self::Gap { .. } => "gap",
            Self::Diverged { .. } => "diverged",
            Self::OutsideScope { .. } => "outside_scope",
            Self::Baseline(_) => "bad_baseline",
            Self::Epoch(_) => "bad_epoch",
            Self::Store(_) => "store_failed",
        }
    }

    /// Whether another parent may do better at once.
    pub(super) fn blames_parent_choice(&self) -> bool {
        matches!(
            self,
            Self::OtherCluster { .. }
                | Self::StaleParent { .. }
                | Self::ParentBehind { .. }
                | Self::Loop
                | Self::SameInstance
                | Self::Protocol(_)
        )
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong(error) => error.fmt(f),
            Self::InvalidLine(error) => write!(f, "a line is no command: {error}"),
            Self::Unexpected { found, awaited } => write!(f, "{found} has no place in {awaited}"),
            Self::Protocol(met) => write!(f, "the parent speaks protocol {met}, this release speaks 1"),
            Self::OtherCluster { followed, met } => {
                write!(f, "the parent belongs to cluster {met}, this replica follows {followed}")
            }
            Self::StaleParent { highest, met } if highest.takeover > met.takeover => {
                let (highest, met) = (highest.takeover, met.takeover);
                write!(f, "the parent's takeover {met} is below {highest}, which was accepted before")
            }
            Self::StaleParent { highest, met } => {
                let (highest, met) = (highest.epoch, met.epoch);
                write!(f, "the parent's epoch {met} is below {highest}, which was accepted before")
            }
            Self::ParentBehind { held, met } => {
                write!(f, "the parent's baseline is as of {met}, and {held} is held already")
            }
            Self::Loop => f.write_str("the parent's state comes through this node"),
            Self::SameInstance => f.write_str("the parent has this node's instance: it is a copy of it, or itself"),
            Self::UnsupportedFeature(name) => {
                write!(f, "the log needs the feature {name:?}, which this release does not know: upgrade this node")
            }
            Self::WrongResume(why) => write!(f, "HELLO: {why}"),
            Self::Gap { held, seq } => write!(f, "a command between {} and {seq} is missing", held.seq),
            Self::Diverged { seq } => write!(f, "the digests differ at seq {seq}: this state has diverged"),
            Self::OutsideScope { seq } => write!(f, "the command {seq} lies outside the scope granted"),
            Self::Baseline(why) => write!(f, "the baseline is wrong: {why}"),
            Self::Epoch(epoch) => write!(f, "EPOCH {epoch} is not above the ones before it"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Offence {}

impl From<LineTooLong> for Offence {
    fn from(error: LineTooLong) -> Self {
        Self::LineTooLong(error)
    }
}

impl From<DecodeError> for Offence {
    fn from(error: DecodeError) -> Self {
        Self::InvalidLine(error)
    }
}

impl From<StoreError> for Offence {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Offence {
    /// What an application error means on a stream. `held` is the position before the line.
    pub(super) fn from_apply(error: ApplyError, held: Position, seq: u64) -> Self {
        match error {
            ApplyError::CollectionHeld(_) | ApplyError::CollectionMissing(_) => Self::Gap { held, seq },
            ApplyError::EpochNotAbove(epoch) => Self::Epoch(epoch),
            ApplyError::Store(error) => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    /// The words of [`super::Offence::code`], from this file itself.
    fn codes() -> impl Iterator<Item = &'static str> {
        let source = include_str!("offence.rs");
        let body = source.split("pub fn code").nth(1).unwrap().split("\n    }").next().unwrap();
        body.split('"').skip(1).step_by(2)
    }

    #[test]
    fn the_documentation_says_what_to_do_about_each() {
        let page = include_str!("../../../docs/running.md");
        assert_eq!(codes().count(), 17);
        for code in codes() {
            assert!(page.contains(&alloc::format!("`{code}`")), "{code} is not in docs/running.md");
        }
    }
}
