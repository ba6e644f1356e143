//! Progress: how far a state is along which history, and its text form beside the state.

use crate::command::unknown_feature;
use crate::freshness::ClockOffset;
use crate::id::Id;
use crate::json;
use crate::position::{EpochTable, Position, Term};
use crate::scope::Scope;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// How far a state is along which history; stored in one step with the entries it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The prefix of history that the entries are.
    pub position: Position,
    /// What part of that prefix is held.
    pub scope: Scope,
    /// Whether a whole baseline was ever taken in (or the log replayed), so that reads may be answered.
    pub complete: bool,
    /// Only a baseline leads on: what is held exceeds the scope, which was narrowed since, or is known to lack a line.
    pub baseline_due: bool,
    /// The cluster followed; another one is refused.
    pub cluster: Option<Id>,
    /// The openings of the log as far as they are known.
    pub epochs: Arc<EpochTable>,
    /// The takeover in which what is held was written last; 0 where nobody ever took over.
    pub takeover: u64,
    /// Highest takeover ever accepted from a parent; lower ones are refused. Above [`Progress::takeover`] while what was
    /// written in it is still on its way.
    pub takeover_highest: u64,
    /// Highest epoch accepted of that takeover; lower ones are refused.
    pub epoch_highest: u64,
    /// Timestamp of the newest command that the position covers, Unix ms by the writer's clock, which never runs back in a
    /// log; 0 where it is not known.
    pub timestamp: u64,
    /// Names of features without which this state must not be written on (`requires`).
    pub requires: Arc<[String]>,
    /// Newest proof, in the writer's clock (Unix ms), that nothing older is missing; 0 for none.
    pub at: u64,
    /// The difference between own clock and the writer's, as far as is known.
    pub clock_offset: Option<ClockOffset>,
    /// The lag when this was stored, in ms.
    pub lag_ms: u64,
}

impl Progress {
    /// What a node that holds nothing knows.
    pub fn new(scope: Scope) -> Self {
        Self {
            position: Position::START,
            scope,
            complete: false,
            baseline_due: false,
            cluster: None,
            epochs: Arc::default(),
            takeover: 0,
            takeover_highest: 0,
            epoch_highest: 0,
            timestamp: 0,
            requires: Arc::default(),
            at: 0,
            clock_offset: None,
            lag_ms: 0,
        }
    }

    /// The writer up to whom the state is.
    pub fn term(&self) -> Term {
        Term { takeover: self.takeover, epoch: self.position.epoch }
    }

    /// The highest that was ever accepted; what is below is refused.
    pub fn highest(&self) -> Term {
        Term { takeover: self.takeover_highest, epoch: self.epoch_highest }
    }

    /// From here on nothing below `term` is accepted.
    pub fn accept(&mut self, term: Term) {
        if term > self.highest() {
            (self.takeover_highest, self.epoch_highest) = (term.takeover, term.epoch);
        }
    }

    /// Whether this release knows all that the state needs to be read and written on.
    ///
    /// # Errors
    /// Names the first feature that it does not know.
    pub fn check_features(&self) -> Result<(), UnknownFeature> {
        check_features(self.requires.iter().map(|name| &**name))
    }

    /// The text form, one JSON object, for the medium that keeps the state.
    pub fn to_json(&self) -> String {
        let mut out = self.to_json_without_epochs().into_bytes();
        out.pop();
        out.extend_from_slice(b",\"epochs\":");
        self.epochs.write_json(&mut out);
        out.push(b'}');
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }

    /// The text form without the table of epochs, which is the longest part and seldom changes: for a medium that keeps
    /// the table apart, or holds it already. [`Progress::from_json_with`] reads it.
    pub fn to_json_without_epochs(&self) -> String {
        let mut out = Vec::with_capacity(256);
        let Position { epoch, seq } = self.position;
        let (complete, baseline_due) = (self.complete, self.baseline_due);
        let (highest, at, lag_ms) = (self.epoch_highest, self.at, self.lag_ms);
        out.extend_from_slice(
            alloc::format!(
                "{{\"epoch\":{epoch},\"seq\":{seq},\"scope\":{},\"complete\":{complete},\"baselineDue\":{baseline_due},\
                 \"epochHighest\":{highest},\"at\":{at},\"lagMs\":{lag_ms}",
                self.scope
            )
            .as_bytes(),
        );
        if self.timestamp > 0 {
            out.extend_from_slice(alloc::format!(",\"timestamp\":{}", self.timestamp).as_bytes());
        }
        if let Some(cluster) = self.cluster {
            out.extend_from_slice(alloc::format!(",\"cluster\":\"{cluster}\"").as_bytes());
        }
        // Left out where nobody ever took over, as in the text of releases that knew of no takeover.
        let clock_takeover = self.clock_offset.map_or(0, |offset| offset.term.takeover);
        for (name, takeover) in
            [("takeover", self.takeover), ("takeoverHighest", self.takeover_highest), ("clockTakeover", clock_takeover)]
        {
            if takeover > 0 {
                out.extend_from_slice(alloc::format!(",\"{name}\":{takeover}").as_bytes());
            }
        }
        if let Some(ClockOffset { term, ms }) = self.clock_offset {
            out.extend_from_slice(alloc::format!(",\"clockEpoch\":{},\"clockOffset\":{ms}", term.epoch).as_bytes());
        }
        out.extend_from_slice(b",\"requires\":[");
        for (index, name) in self.requires.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::write_string(&mut out, name);
        }
        out.extend_from_slice(b"]}");
        String::from_utf8(out).expect("the JSON writer emits UTF-8")
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When a field is missing or has a value it cannot have: the state beside it must not be used.
    pub fn from_json(text: &str) -> Result<Self, InvalidProgress> {
        Self::from_json_with(text, None)
    }

    /// Reads either text form; `known` is the table of epochs where the text has none.
    ///
    /// # Errors
    /// Those of [`Progress::from_json`], also when there is no table of epochs at all.
    pub fn from_json_with(text: &str, known: Option<&Arc<EpochTable>>) -> Result<Self, InvalidProgress> {
        let fields = json::members(text).map_err(|_| InvalidProgress("text"))?;
        let raw = |name| fields.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw);
        let number = |name| raw(name).and_then(json::unsigned).ok_or(InvalidProgress(name));
        let takeover = |name| raw(name).map_or(Ok(0), |raw| json::unsigned(raw).ok_or(InvalidProgress(name)));
        let truth = |name| raw(name).and_then(json::boolean).ok_or(InvalidProgress(name));
        let requires = raw("requires").and_then(|list| {
            json::elements(list).ok()?.into_iter().map(|item| json::string(item).map(Cow::into_owned)).collect()
        });
        let clock_offset = match raw("clockOffset") {
            None => None,
            Some(raw) => {
                let ms = raw.parse().map_err(|_| InvalidProgress("clockOffset"))?;
                let term = Term { takeover: takeover("clockTakeover")?, epoch: number("clockEpoch")? };
                Some(ClockOffset { term, ms })
            }
        };
        let epochs = match raw("epochs") {
            None => known.cloned(),
            Some(raw) => EpochTable::from_json(raw).map(Arc::new),
        };
        let cluster = match raw("cluster") {
            None => None,
            Some(raw) => {
                let id = json::string(raw).and_then(|text| text.parse::<Id>().ok());
                Some(id.ok_or(InvalidProgress("cluster"))?)
            }
        };
        Ok(Self {
            position: Position { epoch: number("epoch")?, seq: number("seq")? },
            scope: raw("scope").and_then(|raw| Scope::from_json(raw).ok()).ok_or(InvalidProgress("scope"))?,
            complete: truth("complete")?,
            baseline_due: truth("baselineDue")?,
            cluster,
            epochs: epochs.ok_or(InvalidProgress("epochs"))?,
            takeover: takeover("takeover")?,
            takeover_highest: takeover("takeoverHighest")?,
            epoch_highest: number("epochHighest")?,
            // Releases before it was kept left it out.
            timestamp: if raw("timestamp").is_some() { number("timestamp")? } else { 0 },
            requires: requires.map(|names: Vec<String>| names.into()).ok_or(InvalidProgress("requires"))?,
            at: number("at")?,
            clock_offset,
            lag_ms: number("lagMs")?,
        })
    }
}

/// Whether this release knows every feature of `requires`.
///
/// # Errors
/// Names the first that it does not.
pub fn check_features<'a>(requires: impl IntoIterator<Item = &'a str>) -> Result<(), UnknownFeature> {
    unknown_feature(requires).map_or(Ok(()), |name| Err(UnknownFeature(name.into())))
}

/// A log or state needs a feature that this release does not know; names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFeature(pub String);

impl fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log needs the feature {:?}, which this release does not know: upgrade this node", self.0)
    }
}

impl core::error::Error for UnknownFeature {}

/// A stored progress cannot be read; names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidProgress(pub &'static str);

impl fmt::Display for InvalidProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stored progress has no valid \"{}\"", self.0)
    }
}

impl core::error::Error for InvalidProgress {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::EpochStart;

    #[test]
    fn reads_what_it_wrote() {
        let mut progress = Progress::new(Scope::Public);
        assert_eq!(Progress::from_json(&progress.to_json()), Ok(progress.clone()));
        progress.position = Position { epoch: 20, seq: 7 };
        progress.scope = Scope::from_json(r#"{"a\u0062":["x\""]}"#).unwrap();
        progress.complete = true;
        progress.timestamp = 1_763_650_000_000;
        progress.cluster = Some(Id::from_bytes([7; 16]));
        progress.epochs = Arc::new(EpochTable::new([EpochStart { epoch: 20, first: 1 }].into()).unwrap());
        progress.requires = [String::from("expiry")].into();
        progress.lag_ms = 12;
        progress.clock_offset = Some(ClockOffset { term: Term { takeover: 8, epoch: 20 }, ms: -3 });
        (progress.takeover, progress.takeover_highest, progress.epoch_highest) = (8, 9, 10);
        assert_eq!(Progress::from_json(&progress.to_json()), Ok(progress.clone()));
        let without = progress.to_json_without_epochs();
        assert_eq!(Progress::from_json_with(&without, Some(&progress.epochs)), Ok(progress.clone()));
        assert_eq!(Progress::from_json(&without), Err(InvalidProgress("epochs")));
        assert_eq!(Progress::from_json_with(&progress.to_json(), Some(&Arc::default())), Ok(progress));
    }

    #[test]
    fn names_the_field_that_is_missing() {
        assert_eq!(Progress::from_json("{}"), Err(InvalidProgress("epoch")));
    }
}
