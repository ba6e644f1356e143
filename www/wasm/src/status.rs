//! The replica's condition as JSON, for the page's status line and for tests.

use crate::object::Object;
use headwater_core::clock::Now;
use headwater_core::name;
use headwater_core::position::Position;
use headwater_core::replica::Replica;
use headwater_core::store::{Collection, Store};

/// Position, lag and counts.
pub(crate) fn of_replica<S: Store>(replica: &Replica<S>, now: Now) -> String {
    let node = replica.node();
    let progress = node.store().progress();
    let stats = replica.stats();
    let mut object = Object::default();
    match progress.position {
        Position::START => object.plain("position", "null"),
        position => object.text("position", &position.to_string()),
    }
    object.plain("scope", &progress.scope);
    object.plain("ready", progress.complete);
    object.optional("lagMs", node.lag_ms(now));
    match replica.parent_node() {
        Some(label) => object.text("parent", label),
        None => object.plain("parent", "null"),
    }
    object.plain("connected", replica.is_connected());
    object.plain("staging", replica.is_staging());
    object.plain("caughtUp", replica.is_caught_up());
    for (name, count) in stats.fields() {
        object.plain(name, count);
    }
    match replica.last_offence() {
        Some(offence) => object.text("lastOffence", offence.code()),
        None => object.plain("lastOffence", "null"),
    }
    object.end()
}

/// An array of what is known of each collection, the system's left out.
pub(crate) fn of_collections(collections: &[Collection]) -> String {
    let shown = collections.iter().filter(|collection| !name::is_system(&collection.name));
    let objects: Vec<String> = shown
        .map(|collection| {
            let mut object = Object::default();
            object.text("name", &collection.name);
            object.plain("keys", collection.keys);
            object.plain("lastSeq", collection.last_seq);
            object.text("digest", &collection.digest.to_wire());
            object.end()
        })
        .collect();
    format!("[{}]", objects.join(","))
}
