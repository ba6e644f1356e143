//! What is noted: one kind of event for each thing somebody may ask about later, and its fields.
//!
//! Never a secret and never a value. Keys of entries are left out too: they may be personal, and the log has them by seq.

use headwater_core::api::{Code, KeyFate, rfc3339};
use headwater_core::position::Position;
use serde_json::Value;
use std::net::IpAddr;

/// Ranges of seqs in one line; more begin another.
const RANGES_MAX: usize = 500;

/// What a change of data does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Drop,
    Set,
    Delete,
    Batch,
    Key,
    Read,
    Replicate,
}

impl Op {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Drop => "drop",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Batch => "batch",
            Self::Key => "key",
            Self::Read => "read",
            Self::Replicate => "replicate",
        }
    }
}

/// Changes of one kind by one credential, from one address, in one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) op: Op,
    pub(crate) collection: String,
    /// Id of the credential; empty where it is not known.
    pub(crate) by: String,
    /// `None` where it is not known.
    pub(crate) peer: Option<IpAddr>,
    /// How they came to be known.
    pub(crate) way: Way,
    /// First and last of each range, in order.
    pub(crate) seqs: Vec<(u64, u64)>,
}

/// How a change came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was asked for here, and is durable.
    Written,
    /// It was handed to the parent, which has done it.
    Forwarded,
    /// It was found in the log after a failure: whoever asked for it was not told.
    Recovered,
}

impl Changes {
    /// Takes `other` in, if it is of the same kind and comes behind.
    pub(crate) fn join(&mut self, other: &Self) -> bool {
        let same = (self.op, self.peer, self.way) == (other.op, other.peer, other.way)
            && self.by == other.by
            && self.collection == other.collection;
        let last = self.seqs.last().map_or(0, |range| range.1);
        let behind = other.seqs.first().is_some_and(|range| range.0 > last);
        if !same || !behind || self.seqs.len() + other.seqs.len() > RANGES_MAX {
            return false;
        }
        for &(first, end) in &other.seqs {
            match self.seqs.last_mut() {
                Some(range) if range.1 + 1 == first => range.1 = end,
                _ => self.seqs.push((first, end)),
            }
        }
        true
    }
}

/// A request, or several of one kind, that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) code: Code,
    pub(crate) count: u64,
    /// When the first of them came, Unix ms; `None` for one alone.
    pub(crate) since_ms: Option<u64>,
    /// Address they came from; `None` for many, and where it is not known.
    pub(crate) peer: Option<IpAddr>,
    /// The credential whose pair was right.
    pub(crate) by: Option<String>,
    /// The credential whose secret was wrong.
    pub(crate) claimed: Option<String>,
    pub(crate) op: Option<Op>,
    pub(crate) collection: Option<String>,
}

impl Refusals {
    /// One, of which nothing more is known.
    pub(crate) fn of(code: Code, peer: IpAddr) -> Self {
        let peer = Some(peer);
        Self { code, count: 1, since_ms: None, peer, by: None, claimed: None, op: None, collection: None }
    }
}

/// Version of what the lines mean, in the first line of each file.
const FORMAT: u64 = 1;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A file begins.
    File { number: u64, node: String, instance: String },
    /// What stands before this was cut off by a crash: so many bytes, behind a line with this hash.
    Mended { torn: u64, whole: String },
    /// The node goes on from here.
    Start { role: &'static str, position: Position, takeover: u64, cluster: Option<String>, read_only: bool },
    /// It ends in good order.
    Stop { position: Position, why: &'static str },
    /// Data was changed.
    Changes(Changes),
    /// A credential was.
    Credential { fate: KeyFate, id: String, seq: u64, by: String, peer: Option<IpAddr> },
    /// Somebody was refused.
    Refused(Refusals),
    /// There was no room for so many events since then.
    Lost { count: u64, since_ms: u64 },
    /// Nothing could be written, or made to last, from then on until now.
    Failed { why: String, since_ms: u64 },
    /// All files up to this one are let go of.
    Removed { through: u64 },
    /// The directory became a writer's, by `headwater promote`.
    Promoted { position: Position, takeover: u64 },
    /// The directory was made from a backup, by `headwater restore`.
    Restored { backup: String, position: String, cluster: String },
}

type Fields = Vec<(&'static str, Value)>;

impl Event {
    /// Its name and its fields.
    pub(crate) fn fields(&self) -> (&'static str, Fields) {
        match self {
            Self::File { number, node, instance } => {
                let fields: Fields = vec![
                    ("format", FORMAT.into()),
                    ("file", (*number).into()),
                    ("node", node.as_str().into()),
                    ("instance", instance.as_str().into()),
                ];
                ("file", fields)
            }
            Self::Mended { torn, whole } => {
                ("mended", vec![("torn", (*torn).into()), ("whole", whole.as_str().into())])
            }
            Self::Start { role, position, takeover, cluster, read_only } => {
                let mut fields: Fields = vec![
                    ("version", env!("CARGO_PKG_VERSION").into()),
                    ("role", (*role).into()),
                    ("position", position.to_string().into()),
                    ("takeover", (*takeover).into()),
                    ("cluster", cluster.clone().into()),
                ];
                if *read_only {
                    fields.push(("readOnly", true.into()));
                }
                ("start", fields)
            }
            Self::Stop { position, why } => {
                ("stop", vec![("position", position.to_string().into()), ("why", (*why).into())])
            }
            Self::Changes(changes) => {
                let event = if changes.way == Way::Forwarded { "forward" } else { "write" };
                let mut fields: Fields = vec![
                    ("op", changes.op.as_str().into()),
                    ("collection", changes.collection.as_str().into()),
                    ("by", changes.by.as_str().into()),
                    ("peer", address(changes.peer)),
                ];
                match changes.seqs[..] {
                    [(first, last)] if first == last => fields.push(("seq", first.into())),
                    ref ranges => {
                        let count: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
                        let ranges = ranges.iter().map(|&(first, last)| Value::from(vec![first, last]));
                        fields.extend([("count", count.into()), ("seqs", ranges.collect())]);
                    }
                }
                if changes.way == Way::Recovered {
                    fields.push(("recovered", true.into()));
                }
                (event, fields)
            }
            Self::Credential { fate, id, seq, by, peer } => {
                let mut fields: Fields = vec![("what", fate.word().into()), ("credential", id.as_str().into())];
                fields.extend([("by", Value::from(by.as_str())), ("peer", address(*peer)), ("seq", (*seq).into())]);
                ("credential", fields)
            }
            Self::Refused(refusals) => ("refused", refused(refusals)),
            Self::Lost { count, since_ms } => {
                ("lost", vec![("count", (*count).into()), ("since", rfc3339(*since_ms).into())])
            }
            Self::Failed { why, since_ms } => {
                ("failed", vec![("why", why.as_str().into()), ("since", rfc3339(*since_ms).into())])
            }
            Self::Removed { through } => ("removed", vec![("through", (*through).into())]),
            Self::Promoted { position, takeover } => {
                ("promoted", vec![("position", position.to_string().into()), ("takeover", (*takeover).into())])
            }
            Self::Restored { backup, position, cluster } => {
                let fields: Fields = vec![
                    ("backup", backup.as_str().into()),
                    ("position", position.as_str().into()),
                    ("cluster", cluster.as_str().into()),
                ];
                ("restored", fields)
            }
        }
    }
}

fn refused(refusals: &Refusals) -> Fields {
    let Refusals { code, count, since_ms, peer, by, claimed, op, collection } = refusals;
    let mut fields: Fields = vec![("code", code.word().into()), ("status", code.status().into())];
    fields.extend([("count", Value::from(*count)), ("peer", address(*peer))]);
    fields.extend(since_ms.map(|since_ms| ("since", rfc3339(since_ms).into())));
    for (name, text) in [("by", by), ("claimed", claimed), ("collection", collection)] {
        fields.extend(text.as_deref().map(|text| (name, Value::from(text))));
    }
    fields.extend(op.map(|op| ("op", op.as_str().into())));
    fields
}

fn address(peer: Option<IpAddr>) -> Value {
    peer.map(|peer| peer.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(collection: &str, seqs: &[(u64, u64)]) -> Changes {
        let (by, peer) = ("a".to_owned(), "10.0.0.1".parse().ok());
        Changes { op: Op::Set, collection: collection.into(), by, peer, way: Way::Written, seqs: seqs.to_vec() }
    }

    #[test]
    fn changes_of_one_kind_join_in_the_order_of_the_log() {
        let mut all = changes("c", &[(5, 5)]);
        assert!(all.join(&changes("c", &[(6, 6)])) && all.join(&changes("c", &[(9, 9), (12, 12)])));
        assert_eq!(all.seqs, [(5, 6), (9, 9), (12, 12)]);
        assert!(!all.join(&changes("c", &[(12, 12)])), "what is there already");
        assert!(!all.join(&changes("d", &[(13, 13)])));
        assert!(!all.join(&Changes { by: "b".into(), ..changes("c", &[(13, 13)]) }));
        assert!(!all.join(&Changes { peer: None, ..changes("c", &[(13, 13)]) }));
        assert!(!all.join(&Changes { op: Op::Delete, ..changes("c", &[(13, 13)]) }));
        let mut many = changes("c", &[(1, 1)]);
        let joined =
            (1..).map(|index| (2 * index + 1, 2 * index + 1)).take_while(|&seq| many.join(&changes("c", &[seq])));
        assert_eq!(joined.count() + 1, RANGES_MAX);
    }

    #[test]
    fn one_change_names_its_seq_and_several_their_ranges() {
        let shown = |changes| Value::from_iter(Event::Changes(changes).fields().1);
        let one = shown(changes("c", &[(5, 5)]));
        assert_eq!((&one["seq"], &one["op"], &one["peer"]), (&5.into(), &"set".into(), &"10.0.0.1".into()));
        let several = shown(changes("c", &[(5, 6), (9, 9)]));
        assert_eq!((&several["seqs"], &several["count"]), (&serde_json::json!([[5, 6], [9, 9]]), &3.into()));
    }
}
