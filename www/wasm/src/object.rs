//! Writes small JSON objects; serde would weigh more than the rest of this crate.

use headwater_core::json::write_string;
use std::fmt::Display;

/// A JSON object that is being written.
#[derive(Default)]
pub(crate) struct Object(Vec<u8>);

impl Object {
    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_string(&mut self.0, name);
        self.0.push(b':');
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(&mut self.0, value);
    }

    /// A number, a word or a text that is JSON already.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<u64>) {
        match value {
            Some(number) => self.plain(name, number),
            None => self.plain(name, "null"),
        }
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8(self.0).expect("names and texts are UTF-8")
    }
}
