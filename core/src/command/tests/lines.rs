//! Lines of every kind, as random as a line may be.

use crate::command::{
    Action, BaselineReason, End, EndReason, Hello, Line, Logged, Op, Ping, Proof, Ready, Resume, Steer, Word,
};
use crate::digest::Digest;
use crate::id::Id;
use crate::json;
use crate::limits::{INTEGER_MAX, PING_MS_MAX};
use crate::position::{EpochStart, EpochTable};
use crate::scope::{Collections, Scope};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

/// Text that a test may borrow for as long as it runs. Tests are short-lived.
fn lasting(text: String) -> &'static str {
    text.leak()
}

pub(super) fn number() -> BoxedStrategy<u64> {
    prop_oneof![3 => 0..200u64, 2 => 0..=INTEGER_MAX, 1 => INTEGER_MAX - 2..=INTEGER_MAX].boxed()
}

fn ordinal() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number.max(1))
}

pub(super) fn name() -> BoxedStrategy<Cow<'static, str>> {
    "_?[A-Za-z0-9][A-Za-z0-9._:-]{0,9}".prop_map(Cow::Owned).boxed()
}

fn text() -> BoxedStrategy<Cow<'static, str>> {
    prop_oneof![3 => "[a-z]{0,8}", 1 => any::<String>(), 1 => "[\\x00-\\x7f]{0,12}"].prop_map(Cow::Owned).boxed()
}

pub(super) fn key() -> BoxedStrategy<Cow<'static, str>> {
    text().prop_map(|key| if key.is_empty() { Cow::Borrowed("\u{0}\"\\é\u{10000}") } else { key }).boxed()
}

fn string(text: &str) -> String {
    let mut out = Vec::new();
    json::write_string(&mut out, text);
    String::from_utf8(out).unwrap()
}

/// Values in spellings that a reader could be tempted to improve.
const ODD_VALUES: &[&str] = &[
    "null",
    "true",
    "-0",
    "1.50e+02",
    "1e-400",
    "9007199254740993",
    "\"\\u0041\\/\\ud83d\\ude00\"",
    "\"}\"",
    "\"\\\"}\"",
    "{\"b\":1,\"a\":{}}",
];

/// A value's JSON text without insignificant white space.
pub(super) fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![select(ODD_VALUES).prop_map(String::from), text().prop_map(|text| string(&text))];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|elements| format!("[{}]", elements.join(","))),
            btree_map(text(), inner, 0..5).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("{}:{value}", string(key))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
    .boxed()
}

fn value_text() -> impl Strategy<Value = &'static str> {
    value().prop_map(lasting)
}

/// Optional fields of a later release, mostly none. None has the name of a known field.
fn extra() -> BoxedStrategy<Cow<'static, str>> {
    let fields = btree_map("x[a-z\"é]{0,3}", value(), 1..4).prop_map(|fields: BTreeMap<String, String>| {
        Cow::Owned(fields.iter().map(|(name, value)| format!(",{}:{value}", string(name))).collect())
    });
    prop_oneof![3 => Just(Cow::Borrowed("")), 1 => fields].boxed()
}

pub(super) fn id() -> impl Strategy<Value = Id> {
    any::<[u8; 16]>().prop_map(Id::from_bytes)
}

fn words() -> impl Strategy<Value = Vec<Cow<'static, str>>> {
    vec(text(), 0..3)
}

pub(super) fn scope() -> BoxedStrategy<Scope> {
    let prefixes = vec(prop_oneof!["", "[a-b]{1,3}", text().prop_map(Cow::into_owned)], 1..4);
    prop_oneof![
        Just(Scope::Everything),
        Just(Scope::Public),
        btree_map(name().prop_map(Cow::into_owned), prefixes, 1..4)
            .prop_map(|map| Scope::Only(Collections::new(map).unwrap())),
    ]
    .boxed()
}

fn epochs() -> BoxedStrategy<EpochTable> {
    (btree_set(ordinal(), 0..5), btree_set(ordinal(), 0..5))
        .prop_map(|(epochs, firsts)| {
            let starts = epochs.into_iter().zip(firsts).map(|(epoch, first)| EpochStart { epoch, first });
            EpochTable::new(starts.collect()).unwrap()
        })
        .boxed()
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 4]>().prop_map(|bytes| Digest::of(&bytes))
}

fn op() -> BoxedStrategy<Op<'static>> {
    (key(), ordinal(), option::of(value_text()), extra())
        .prop_map(|(key, version, value, extra)| Op { key, version, value, extra })
        .boxed()
}

fn ops() -> BoxedStrategy<Vec<Op<'static>>> {
    vec(op(), 1..5)
        .prop_map(|mut ops| {
            ops.sort_by(|a, b| a.key.cmp(&b.key));
            ops.dedup_by(|a, b| a.key == b.key);
            ops
        })
        .boxed()
}

/// A command of the log that this release knows, or an entry of a baseline.
fn logged() -> impl Strategy<Value = Line<'static>> {
    let set = || (key(), ordinal(), value_text()).prop_map(|(key, version, value)| Action::Set { key, version, value });
    let takeover = || prop_oneof![Just(0), number()];
    let epoch = (ordinal(), id(), text(), words(), takeover());
    let epoch = epoch.prop_map(|(epoch, cluster, node, requires, takeover)| Action::Epoch {
        epoch,
        cluster,
        node,
        requires,
        takeover,
    });
    let actions: Union<BoxedStrategy<(Action<'static>, bool)>> = Union::new([
        epoch.prop_map(|action| (action, false)).boxed(),
        Just((Action::Create, false)).boxed(),
        Just((Action::Drop, true)).boxed(),
        (set(), any::<bool>()).boxed(),
        (set(), any::<bool>()).boxed(),
        (key(), ordinal()).prop_map(|(key, version)| (Action::Delete { key, version }, true)).boxed(),
        ops().prop_map(|ops| (Action::Batch(ops), true)).boxed(),
    ]);
    (actions, ordinal(), ordinal(), name(), number(), extra()).prop_map(
        |((action, has_prev), seq, prev, name, timestamp, extra)| {
            let collection = (!matches!(action, Action::Epoch { .. })).then_some(name);
            let entry = matches!(action, Action::Set { .. }) && !has_prev;
            let command = Logged { seq, prev: has_prev.then_some(prev), collection, timestamp, extra, action };
            if entry { Line::Entry(command) } else { Line::Log(command) }
        },
    )
}

/// A record of a type that a later release may bring.
fn unknown() -> impl Strategy<Value = Line<'static>> {
    let fields = (option::of(name()), ordinal(), option::of(ordinal()), option::of(number()), value());
    fields.prop_map(|(collection, seq, prev, timestamp, value)| {
        let mut line = String::from(r#"{"type":"MERGE""#);
        line += &collection.as_ref().map_or(String::new(), |name| format!(r#","collection":"{name}""#));
        line += &format!(r#","seq":{seq}"#);
        line += &prev.map_or(String::new(), |prev| format!(r#","prev":{prev}"#));
        line += &timestamp.map_or(String::new(), |ms| format!(r#","timestamp":{ms}"#));
        line += &format!(r#","key":{value},"value":{value}}}"#);
        let action = Action::Unknown { name: Cow::Borrowed("MERGE"), line: lasting(line) };
        Line::Log(Logged { seq, prev, collection, timestamp: timestamp.unwrap_or(0), extra: Cow::Borrowed(""), action })
    })
}

fn hello() -> BoxedStrategy<Hello<'static>> {
    let resume = prop_oneof![
        Just(Resume::Tail),
        Just(Resume::None),
        (0..BaselineReason::WORDS.len()).prop_map(|index| Resume::Baseline(BaselineReason::WORDS[index].1)),
    ];
    let numbers = (ordinal(), ordinal(), number(), 1..=PING_MS_MAX, number(), option::of(number()), number());
    (numbers, id(), text(), vec(id(), 0..4), resume, scope(), words(), number())
        .prop_map(
            |(
                (epoch, seq, at, ping_ms, timestamp, clock, takeover),
                cluster,
                node,
                path,
                resume,
                scope,
                requires,
                protocol,
            )| {
                Hello {
                    protocol,
                    cluster,
                    epoch,
                    seq,
                    at,
                    node,
                    path,
                    resume,
                    scope,
                    ping_ms,
                    requires,
                    timestamp,
                    clock,
                    takeover,
                }
            },
        )
        .boxed()
}

fn steer() -> impl Strategy<Value = Steer<'static>> {
    let lines = (number(), option::of(number())).prop_map(|(lines, sent)| Proof::Lines { lines, sent });
    let proof = prop_oneof![digest().prop_map(Proof::Digest), lines].boxed();
    let ping = (ordinal(), number(), option::of(number()), proof);
    let ping = ping.prop_map(|(seq, at, clock, proof)| Ping { seq, at, clock, proof });
    let ready = (ordinal(), number(), digest(), epochs(), option::of(number()));
    let ready = ready.prop_map(|(seq, collections, digest, epochs, timestamp)| Ready {
        seq,
        collections,
        digest,
        epochs,
        timestamp,
    });
    let texts = || vec(text().prop_map(Cow::into_owned), 0..3);
    let end = (0..EndReason::WORDS.len(), text(), number(), texts()).prop_map(|(reason, detail, retry_ms, parents)| {
        End { reason: EndReason::WORDS[reason].1, detail: detail.into_owned(), retry_ms, parents }
    });
    prop_oneof![
        hello().prop_map(Steer::Hello),
        (name(), ordinal()).prop_map(|(collection, created)| Steer::BaselineBegin { collection, created }),
        (name(), number(), digest()).prop_map(|(collection, keys, digest)| Steer::BaselineEnd {
            collection,
            keys,
            digest
        }),
        ready.prop_map(Steer::Ready),
        option::of(ping).prop_map(Steer::Ping),
        vec(id(), 0..4).prop_map(Steer::Path),
        end.prop_map(Steer::End),
    ]
}

/// Any line but one that is ignored, which has no canonical form.
pub(super) fn line() -> BoxedStrategy<Line<'static>> {
    let boxed = [(4, logged().boxed()), (1, unknown().boxed()), (3, steer().prop_map(Line::Steer).boxed())];
    Union::new_weighted(boxed.into()).boxed()
}

/// The line's canonical text.
pub(super) fn encode(line: &Line<'_>) -> String {
    let mut out = Vec::new();
    match line {
        Line::Log(command) | Line::Entry(command) => command.write_line(&mut out),
        Line::Steer(steer) => steer.write_line(&mut out),
        Line::Ignored => {}
    }
    String::from_utf8(out).unwrap()
}
