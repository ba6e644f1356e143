//! There and back: through bytes in any pieces, through another field order, through a store.

use super::lines::{encode, line, name, value};
use crate::apply::apply;
use crate::command::{Action, Deframer, Line, Logged, Proof, Resume, Steer, Trust, Word, decode, lines};
use crate::json;
use crate::scope::Scope;
use crate::store::memory::{MemoryOptions, MemoryStore};
use crate::store::{Progress, Store};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// Space and escapes that change the spelling of an object and not its meaning.
fn respelled(fields: &[(Cow<'_, str>, &str)], spaces: &[u8]) -> String {
    let mut space = spaces.iter().map(|n| ["", " ", "\t", "\r"][usize::from(n % 4)]).cycle();
    let mut next = || space.next().unwrap_or("");
    let mut out = format!("{}{{", next());
    for (index, (name, raw)) in fields.iter().enumerate() {
        out += if index == 0 { "" } else { "," };
        let first = name.chars().next().unwrap();
        let escaped = format!("\\u{:04x}{}", first as u32, &name[first.len_utf8()..]);
        let plain = escaped.contains(['"', '\u{0}']) || next().is_empty();
        let mut spelled = Vec::new();
        json::write_string(&mut spelled, name);
        let spelled = if plain { String::from_utf8(spelled).unwrap() } else { format!("\"{escaped}\"") };
        out += &format!("{}{spelled}{}:{}{raw}{}", next(), next(), next(), next());
    }
    out + "}" + next()
}

/// The same fields in another order; those no release knows stay in order among each other, as they are kept in order.
fn reordered<'a>(fields: &[(Cow<'a, str>, &'a str)], order: &[Index]) -> Vec<(Cow<'a, str>, &'a str)> {
    let mut shuffled = fields.to_vec();
    for (at, index) in order.iter().enumerate().take(shuffled.len()) {
        let other = index.index(shuffled.len());
        shuffled.swap(at, other);
    }
    let unknown = |name: &str| name.starts_with('x');
    let mut in_order = fields.iter().filter(|(name, _)| unknown(name)).cloned();
    for field in &mut shuffled {
        if unknown(&field.0) {
            *field = in_order.next().unwrap();
        }
    }
    shuffled
}

/// What serde_json reads a line as, written down from what [`decode`] made of it.
fn as_value(line: &Line<'_>) -> Value {
    let mut object = json!({});
    let mut put =
        |name: &str, value: Value| assert_eq!(object.as_object_mut().unwrap().insert(name.into(), value), None);
    match line {
        Line::Log(command) | Line::Entry(command) => {
            put_command(command, &mut put);
        }
        Line::Steer(steer) => put_steer(steer, &mut put),
        Line::Ignored => {}
    }
    object
}

fn parsed(raw: &str) -> Value {
    serde_json::from_str(raw).unwrap()
}

fn put_extra(extra: &str, put: &mut impl FnMut(&str, Value)) {
    let wrapped = format!("{{{}}}", extra.strip_prefix(',').unwrap_or(""));
    for (name, value) in parsed(&wrapped).as_object().unwrap() {
        put(name, value.clone());
    }
}

fn put_command(command: &Logged<'_>, put: &mut impl FnMut(&str, Value)) {
    put("seq", command.seq.into());
    put("timestamp", command.timestamp.into());
    put_extra(&command.extra, put);
    if let Some(prev) = command.prev {
        put("prev", prev.into());
    }
    if let Some(collection) = &command.collection {
        put("collection", (**collection).into());
    }
    let kind = match &command.action {
        Action::Epoch { epoch, cluster, node, requires, takeover } => {
            put("epoch", (*epoch).into());
            put("cluster", cluster.to_string().into());
            put("node", (**node).into());
            put("requires", json!(requires));
            if *takeover > 0 {
                put("takeover", (*takeover).into());
            }
            "EPOCH"
        }
        Action::Create => "CREATE",
        Action::Drop => "DROP",
        Action::Set { key, version, value } => {
            put("key", (**key).into());
            put("version", (*version).into());
            put("value", parsed(value));
            "SET"
        }
        Action::Delete { key, version } => {
            put("key", (**key).into());
            put("version", (*version).into());
            "DELETE"
        }
        Action::Batch(ops) => {
            let ops = ops.iter().map(|op| {
                let mut object = json!({"key": op.key, "version": op.version});
                let fields = object.as_object_mut().unwrap();
                fields.insert("op".into(), if op.value.is_some() { "set" } else { "delete" }.into());
                fields.extend(op.value.map(|value| ("value".into(), parsed(value))));
                put_extra(&op.extra, &mut |name, value| drop(fields.insert(name.into(), value)));
                object
            });
            put("commands", ops.collect());
            "BATCH"
        }
        Action::Unknown { .. } => unreachable!("compared as a whole"),
    };
    put("type", kind.into());
}

fn put_steer(steer: &Steer<'_>, put: &mut impl FnMut(&str, Value)) {
    let kind = match steer {
        Steer::Hello(hello) => {
            put("protocol", hello.protocol.into());
            put("cluster", hello.cluster.to_string().into());
            put("epoch", hello.epoch.into());
            put("seq", hello.seq.into());
            put("at", hello.at.into());
            put("node", (*hello.node).into());
            put("path", hello.path.iter().map(|id| Value::from(id.to_string())).collect());
            let (resume, reason) = match hello.resume {
                Resume::Tail => ("tail", None),
                Resume::None => ("none", None),
                Resume::Baseline(reason) => ("baseline", Some(reason.as_str())),
            };
            put("resume", resume.into());
            if let Some(reason) = reason {
                put("reason", reason.into());
            }
            put("scope", parsed(&hello.scope.to_json()));
            put("pingMs", hello.ping_ms.into());
            put("requires", json!(hello.requires));
            put("timestamp", hello.timestamp.into());
            if let Some(clock) = hello.clock {
                put("clock", clock.into());
            }
            if hello.takeover > 0 {
                put("takeover", hello.takeover.into());
            }
            "HELLO"
        }
        Steer::BaselineBegin { collection, created } => {
            put("collection", (**collection).into());
            put("created", (*created).into());
            "BASELINE_BEGIN"
        }
        Steer::BaselineEnd { collection, keys, digest } => {
            put("collection", (**collection).into());
            put("keys", (*keys).into());
            put("digest", digest.to_wire().into());
            "BASELINE_END"
        }
        Steer::Ready(ready) => {
            put("seq", ready.seq.into());
            put("collections", ready.collections.into());
            put("digest", ready.digest.to_wire().into());
            let starts = ready.epochs.starts().iter();
            put("epochs", starts.map(|start| json!({"epoch": start.epoch, "first": start.first})).collect());
            if let Some(timestamp) = ready.timestamp {
                put("timestamp", timestamp.into());
            }
            "READY"
        }
        Steer::Ping(ping) => {
            if let Some(ping) = ping {
                put("seq", ping.seq.into());
                put("at", ping.at.into());
                if let Some(clock) = ping.clock {
                    put("clock", clock.into());
                }
                match ping.proof {
                    Proof::Digest(digest) => put("digest", digest.to_wire().into()),
                    Proof::Lines { lines, sent } => {
                        put("lines", lines.into());
                        sent.into_iter().for_each(|sent| put("sent", sent.into()));
                    }
                }
            }
            "PING"
        }
        Steer::Path(path) => {
            put("path", path.iter().map(crate::id::Id::to_string).collect());
            "PATH"
        }
        Steer::End(end) => {
            put("reason", end.reason.word().into());
            if !end.detail.is_empty() {
                put("detail", end.detail.clone().into());
            }
            put("retryMs", end.retry_ms.into());
            put("parents", json!(end.parents));
            "END"
        }
    };
    put("type", kind.into());
}

/// Without the raw text that a line of unknown type carries along.
fn without_raw(line: Line<'_>) -> Line<'_> {
    match line {
        Line::Log(Logged { action: Action::Unknown { name, .. }, seq, prev, collection, timestamp, extra }) => {
            let action = Action::Unknown { name, line: "" };
            Line::Log(Logged { seq, prev, collection, timestamp, extra, action })
        }
        line => line,
    }
}

/// The same line, kept out of the reader for canonical heads, which begin with the brace.
fn read_generally(line: &[u8]) -> Result<String, String> {
    let spaced = [b" ", line].concat();
    let found = decode(&spaced, Trust::Checked);
    found.map(|line| format!("{:?}", without_raw(line))).map_err(|error| without_offset(&error))
}

/// An error's text up to where it was noticed.
fn without_offset(error: &impl ToString) -> String {
    let text = error.to_string();
    text.split(" at byte").next().unwrap().into()
}

/// A canonical line with some bytes taken out, put in or replaced, most often by ones that mean something.
fn nearly_a_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&b"{}[]\",:\\0123456789 eE-+.x\r\x00\xc3"[..]).prop_map(|byte| [byte].to_vec()),
        1 => proptest::sample::select(
            &[",\"seq\":0", ",\"prev\":9999999999999999", ",\"value\":", "\"SET\"", ",\"x\":1", ",\"prev\":01"][..]
        ).prop_map(|text: &str| text.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| [byte].to_vec()),
    ];
    (line(), vec((any::<Index>(), 0..3, piece), 1..4)).prop_map(|(line, edits)| {
        let mut bytes = encode(&line).into_bytes();
        for (index, edit, piece) in edits {
            let at = index.index(bytes.len() + 1);
            let end = if edit == 0 { at } else { (at + piece.len()).min(bytes.len()) };
            bytes.splice(at..end, if edit == 2 { Vec::new() } else { piece });
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_is_decoded_is_what_was_encoded(line in line()) {
        let text = encode(&line);
        prop_assert!(!text.contains('\n'));
        for trust in [Trust::Checked, Trust::Canonical] {
            let decoded = decode(text.as_bytes(), trust).unwrap();
            prop_assert_eq!(&decoded, &line);
            prop_assert_eq!(&encode(&decoded), &text);
        }
    }

    #[test]
    fn pieces_of_a_stream_do_not_matter(sent in vec(line(), 1..6), cuts in vec(any::<Index>(), 0..12), bytewise: bool) {
        let mut stream: Vec<u8> = Vec::new();
        for line in &sent {
            stream.extend_from_slice(encode(line).as_bytes());
            stream.push(b'\n');
        }
        let torn = encode(&sent[0]);
        stream.extend_from_slice(&torn.as_bytes()[..torn.len() - 1]);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).chain([stream.len()]).collect();
        if bytewise {
            ends = (1..=stream.len()).collect();
        }
        ends.sort_unstable();
        let (mut deframer, mut start, mut blocks) = (Deframer::new(), 0, Vec::new());
        for end in ends {
            blocks.extend(deframer.push(&stream[start..end]).unwrap());
            start = end;
        }
        let received = blocks.iter().flat_map(|block| lines(block)).map(|(_, line)| decode(line, Trust::Checked).unwrap());
        prop_assert_eq!(received.collect::<Vec<_>>(), sent);
        prop_assert_eq!(deframer.unfinished(), torn.len() - 1);
    }

    #[test]
    fn another_order_or_spelling_of_the_fields_is_the_same_line(
        line in line(),
        order in vec(any::<Index>(), 16),
        spaces in vec(any::<u8>(), 1..30),
    ) {
        let text = encode(&line);
        let fields = json::members(&text).unwrap();
        let other = respelled(&reordered(&fields, &order), &spaces);
        let decoded = without_raw(decode(other.as_bytes(), Trust::Checked).unwrap());
        prop_assert_eq!(&decoded, &without_raw(line), "{}", other);
    }

    #[test]
    fn a_line_says_what_serde_json_reads_in_it(line in line(), order in vec(any::<Index>(), 16)) {
        let canonical = encode(&line);
        let fields = json::members(&canonical).unwrap();
        let text = respelled(&reordered(&fields, &order), &[0]);
        match decode(text.as_bytes(), Trust::Checked).unwrap() {
            Line::Log(Logged { action: Action::Unknown { line, .. }, .. }) => prop_assert_eq!(line, &*text),
            decoded => prop_assert_eq!(as_value(&decoded), parsed(&text)),
        }
    }

    #[test]
    fn the_reader_of_canonical_heads_judges_as_the_general_one_does(line in nearly_a_line()) {
        let found = decode(&line, Trust::Checked);
        let found = found.map(|line| format!("{:?}", without_raw(line))).map_err(|error| without_offset(&error));
        prop_assert_eq!(found, read_generally(&line), "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn no_line_is_taken_that_serde_json_refuses(line in nearly_a_line()) {
        if decode(&line, Trust::Checked).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&line).is_ok_and(|value| value.is_object()));
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(
        bytes in vec(any::<u8>(), 0..60),
        near in nearly_a_line(),
        cut in any::<Index>(),
    ) {
        for trust in [Trust::Checked, Trust::Canonical] {
            drop(decode(&bytes, trust));
            drop(decode(&near, trust));
            drop(decode(&near[..cut.index(near.len() + 1)], trust));
        }
        let mut deframer = Deframer::new();
        drop(deframer.push(&bytes));
        drop(deframer.push(&near));
    }

    #[test]
    fn fields_of_a_later_release_survive_in_the_entry_and_its_baseline_line(
        name in name(), value in value(), label in value(), expires in 0u64..1 << 53,
    ) {
        let extra = format!(r#","expiresAt":{expires},"é\"":{label}"#);
        let set = format!(
            r#"{{"type":"SET","collection":"{name}","seq":2,"prev":1,"key":"k","version":7,"timestamp":9{extra},"value":{value}}}"#
        );
        let batch = format!(
            r#"{{"type":"BATCH","collection":"{name}","seq":2,"prev":1,"timestamp":9,"commands":[{{"op":"set","key":"k","version":7{extra},"value":{value}}}]}}"#
        );
        let entry = set.replace(r#","prev":1"#, "");
        for line in [set, batch] {
            let store = MemoryStore::new(Progress::new(Scope::Everything), MemoryOptions::single_threaded(1));
            let create = format!(r#"{{"type":"CREATE","collection":"{name}","seq":1,"timestamp":1}}"#);
            for line in [create, line] {
                let Line::Log(command) = decode(line.as_bytes(), Trust::Checked).unwrap() else { panic!("{line}") };
                apply(&store, &command, &mut Vec::new()).unwrap();
            }
            let mut baseline = Vec::new();
            store.record(&name, "k").unwrap().unwrap().write_line(&name, &mut baseline);
            prop_assert_eq!(core::str::from_utf8(&baseline).unwrap(), &entry);
            let Line::Entry(read) = decode(&baseline, Trust::Checked).unwrap() else { panic!("no entry") };
            prop_assert_eq!(read.extra, extra.as_str());
        }
    }
}
