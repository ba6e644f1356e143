//! Counts since the start, and their JSON form.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a node counts. Every count only grows.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics { $($(#[$doc])* pub(crate) $name: Count,)* }

        impl Metrics {
            /// Appends `"name":count` for each, separated by commas.
            fn write_json(&self, out: &mut String) {
                let counts = [$((stringify!($name), &self.$name),)*];
                for (index, (name, count)) in counts.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    out.push_str(&format!("{comma}\"{name}\":{}", count.value()));
                }
            }
        }
    };
}

counts! {
    /// Writes acknowledged.
    writes_total,
    /// Writes refused by the writer's rules.
    writes_refused_total,
    /// Writes whose outcome is not known, or that found no room.
    writes_failed_total,
    /// Writes handed on to the parent.
    writes_forwarded_total,
    /// Reads of entries and lists answered from this node's state.
    reads_total,
    /// Reads handed on to the parent, because this node does not hold what was asked for.
    reads_forwarded_total,
    /// Requests of any kind.
    requests_total,
    /// Requests with wrong or missing credentials, or without the right to what they ask for.
    requests_forbidden_total,
    /// Groups the log made durable.
    log_groups_total,
    /// Failures of the log.
    log_failures_total,
    /// Streams opened by children.
    replication_streams_total,
    /// Streams read from the log because their place had left the feed.
    replication_log_reads_total,
    /// Commands and baseline entries handed to children.
    replication_commands_sent_total,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// The JSON object of `GET /v1/metrics`; `more` are further members, `"name":value` each.
    pub(crate) fn to_json(&self, more: &[(&str, String)]) -> String {
        let mut out = String::from("{");
        self.write_json(&mut out);
        for (name, value) in more {
            out.push_str(&format!(",\"{name}\":{value}"));
        }
        out.push('}');
        out
    }
}
