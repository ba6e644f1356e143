//! The canonical spelling of every line. Nothing else in Headwater writes lines, but [`crate::record::Record`], whose
//! baseline line is the same SET without `prev`.

use super::{Action, End, Hello, Logged, Op, Ping, Proof, Ready, Resume, Steer, Word};
use crate::id::Id;
use crate::json::{write_string, write_u64};
use alloc::vec::Vec;

fn text(out: &mut Vec<u8>, lead: &str, value: &str) {
    out.extend_from_slice(lead.as_bytes());
    write_string(out, value);
}

fn number(out: &mut Vec<u8>, lead: &str, value: u64) {
    out.extend_from_slice(lead.as_bytes());
    write_u64(out, value);
}

fn list<T>(out: &mut Vec<u8>, lead: &str, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.extend_from_slice(lead.as_bytes());
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

impl Logged<'_> {
    /// Appends the line without its newline.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let name = match &self.action {
            Action::Epoch { .. } => "EPOCH",
            Action::Create => "CREATE",
            Action::Set { .. } => "SET",
            Action::Delete { .. } => "DELETE",
            Action::Drop => "DROP",
            Action::Batch(_) => "BATCH",
            Action::Unknown { line, .. } => return out.extend_from_slice(line.as_bytes()),
        };
        text(out, "{\"type\":", name);
        if let Some(collection) = &self.collection {
            text(out, ",\"collection\":", collection);
        }
        number(out, ",\"seq\":", self.seq);
        if let Some(prev) = self.prev {
            number(out, ",\"prev\":", prev);
        }
        if let Action::Set { key, version, .. } | Action::Delete { key, version } = &self.action {
            text(out, ",\"key\":", key);
            number(out, ",\"version\":", *version);
        }
        number(out, ",\"timestamp\":", self.timestamp);
        if let Action::Epoch { epoch, cluster, node, requires, takeover } = &self.action {
            number(out, ",\"epoch\":", *epoch);
            text(out, ",\"cluster\":", &alloc::format!("{cluster}"));
            text(out, ",\"node\":", node);
            list(out, ",\"requires\":", requires, |out, name| write_string(out, name));
            write_takeover(out, *takeover);
        }
        out.extend_from_slice(self.extra.as_bytes());
        match &self.action {
            Action::Set { value, .. } => {
                out.extend_from_slice(b",\"value\":");
                out.extend_from_slice(value.as_bytes());
            }
            Action::Batch(ops) => list(out, ",\"commands\":", ops, write_op),
            _ => {}
        }
        out.push(b'}');
    }
}

fn write_op(out: &mut Vec<u8>, op: &Op<'_>) {
    text(out, "{\"op\":", if op.value.is_some() { "set" } else { "delete" });
    text(out, ",\"key\":", &op.key);
    number(out, ",\"version\":", op.version);
    out.extend_from_slice(op.extra.as_bytes());
    if let Some(value) = op.value {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

impl Steer<'_> {
    /// Appends the line without its newline.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => write_hello(out, hello),
            Self::BaselineBegin { collection, created } => {
                text(out, "{\"type\":\"BASELINE_BEGIN\",\"collection\":", collection);
                number(out, ",\"created\":", *created);
            }
            Self::BaselineEnd { collection, keys, digest } => {
                text(out, "{\"type\":\"BASELINE_END\",\"collection\":", collection);
                number(out, ",\"keys\":", *keys);
                text(out, ",\"digest\":", &digest.to_wire());
            }
            Self::Ready(ready) => write_ready(out, ready),
            Self::Ping(None) => out.extend_from_slice(b"{\"type\":\"PING\""),
            Self::Ping(Some(ping)) => write_ping(out, ping),
            Self::Path(path) => write_path(out, "{\"type\":\"PATH\",\"path\":", path),
            Self::End(end) => write_end(out, end),
        }
        out.push(b'}');
    }
}

fn write_hello(out: &mut Vec<u8>, hello: &Hello<'_>) {
    number(out, "{\"type\":\"HELLO\",\"protocol\":", hello.protocol);
    text(out, ",\"cluster\":", &alloc::format!("{}", hello.cluster));
    number(out, ",\"epoch\":", hello.epoch);
    number(out, ",\"seq\":", hello.seq);
    number(out, ",\"at\":", hello.at);
    text(out, ",\"node\":", &hello.node);
    write_path(out, ",\"path\":", &hello.path);
    let (resume, reason) = match hello.resume {
        Resume::Tail => ("tail", None),
        Resume::Baseline(reason) => ("baseline", Some(reason)),
        Resume::None => ("none", None),
    };
    text(out, ",\"resume\":", resume);
    if let Some(reason) = reason {
        text(out, ",\"reason\":", reason.word());
    }
    out.extend_from_slice(b",\"scope\":");
    hello.scope.write_json(out);
    number(out, ",\"pingMs\":", hello.ping_ms);
    list(out, ",\"requires\":", &hello.requires, |out, name| write_string(out, name));
    number(out, ",\"timestamp\":", hello.timestamp);
    if let Some(clock) = hello.clock {
        number(out, ",\"clock\":", clock);
    }
    write_takeover(out, hello.takeover);
}

/// Left out where nobody ever took over, so that such lines are those of releases that knew of no takeover.
fn write_takeover(out: &mut Vec<u8>, takeover: u64) {
    if takeover > 0 {
        number(out, ",\"takeover\":", takeover);
    }
}

fn write_path(out: &mut Vec<u8>, lead: &str, path: &[Id]) {
    list(out, lead, path, |out, instance| write_string(out, &alloc::format!("{instance}")));
}

fn write_ready(out: &mut Vec<u8>, ready: &Ready) {
    number(out, "{\"type\":\"READY\",\"seq\":", ready.seq);
    number(out, ",\"collections\":", ready.collections);
    text(out, ",\"digest\":", &ready.digest.to_wire());
    out.extend_from_slice(b",\"epochs\":");
    ready.epochs.write_json(out);
    if let Some(timestamp) = ready.timestamp {
        number(out, ",\"timestamp\":", timestamp);
    }
}

fn write_ping(out: &mut Vec<u8>, ping: &Ping) {
    number(out, "{\"type\":\"PING\",\"seq\":", ping.seq);
    number(out, ",\"at\":", ping.at);
    if let Some(clock) = ping.clock {
        number(out, ",\"clock\":", clock);
    }
    match ping.proof {
        Proof::Digest(digest) => text(out, ",\"digest\":", &digest.to_wire()),
        Proof::Lines { lines, sent } => {
            number(out, ",\"lines\":", lines);
            if let Some(sent) = sent {
                number(out, ",\"sent\":", sent);
            }
        }
    }
}

fn write_end(out: &mut Vec<u8>, end: &End) {
    text(out, "{\"type\":\"END\",\"reason\":", end.reason.word());
    if !end.detail.is_empty() {
        text(out, ",\"detail\":", &end.detail);
    }
    number(out, ",\"retryMs\":", end.retry_ms);
    list(out, ",\"parents\":", &end.parents, |out, parent| write_string(out, parent));
}
