//! What changed since JavaScript last asked: names for redrawing, not values.

use headwater_core::command::{Action, Line, Trust, decode, lines};
use js_sys::Array;
use wasm_bindgen::JsValue;

/// Most changes named one by one; beyond it "anything" is said instead.
const NAMED_MAX: u32 = 20_000;

#[derive(Default)]
pub(crate) struct Changes {
    named: Option<Array>,
}

impl Changes {
    /// Anything may have changed.
    pub(crate) fn everything(&mut self) {
        self.named = Some(Array::of2(&JsValue::NULL, &JsValue::NULL));
    }

    /// Adds what these lines, which were just applied, wrote.
    pub(crate) fn lines(&mut self, block: &[u8]) {
        for (_, line) in lines(block) {
            // The replica checked the line before it applied it, and no value is looked at.
            let Ok(Line::Log(command)) = decode(line, Trust::Canonical) else { continue };
            let Some(collection) = &command.collection else { continue };
            match &command.action {
                Action::Set { key, .. } | Action::Delete { key, .. } => self.add(collection, Some(key)),
                Action::Batch(ops) => ops.iter().for_each(|op| self.add(collection, Some(&op.key))),
                Action::Create | Action::Drop => self.add(collection, None),
                Action::Epoch { .. } | Action::Unknown { .. } => {}
            }
        }
    }

    fn add(&mut self, collection: &str, key: Option<&str>) {
        let named = self.named.get_or_insert_with(Array::new);
        if named.length() >= NAMED_MAX {
            return self.everything();
        }
        named.push(&collection.into());
        named.push(&key.map_or(JsValue::NULL, JsValue::from));
    }

    /// Hands them over and begins anew.
    pub(crate) fn take(&mut self) -> Option<Array> {
        self.named.take()
    }
}
