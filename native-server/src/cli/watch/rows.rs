//! One change as one row for people.

use super::super::output::Output;
use super::super::paint::{Paint, Painted, visible};
use super::super::table::cut;
use super::difference::Change;
use headwater_core::api::rfc3339;
use headwater_core::command::{Action, Logged};
use unicode_width::UnicodeWidthStr;

/// A column grows with what it shows, up to this.
const GROWN_MAX: usize = 32;

/// Lays rows out. Columns only ever grow, since nobody knows what comes.
pub(super) struct Rows {
    paint: Paint,
    /// Whether the collection is worth a column.
    with_collection: bool,
    collection_width: usize,
    key_width: usize,
}

/// What happened, as the second column says it.
#[derive(Clone, Copy)]
enum Deed {
    Set,
    Delete,
    Gone,
    Create,
    Drop,
    Epoch,
    Other,
}

impl Rows {
    pub(super) fn new(paint: Paint, with_collection: bool) -> Self {
        Self { paint, with_collection, collection_width: 0, key_width: 0 }
    }

    /// The rows of one command: one, or for a batch one for each of its operations.
    pub(super) fn of_command(&mut self, command: &Logged<'_>) -> Vec<String> {
        let collection = command.collection.as_deref().unwrap_or_default();
        let at = Some(command.timestamp);
        match &command.action {
            Action::Set { key, version, value } => {
                vec![self.row(at, Deed::Set, collection, key, Some(*version), value)]
            }
            Action::Delete { key, version } => vec![self.row(at, Deed::Delete, collection, key, Some(*version), "")],
            Action::Create => vec![self.row(at, Deed::Create, collection, "", None, "")],
            Action::Drop => vec![self.row(at, Deed::Drop, collection, "", None, "")],
            Action::Epoch { epoch, node, .. } => {
                let text = format!("writer {node:?} opened the log, epoch {epoch}");
                vec![self.row(at, Deed::Epoch, "", "", None, &text)]
            }
            Action::Unknown { name, .. } => {
                let text = format!("a command this release does not know: {name:?}");
                vec![self.row(at, Deed::Other, collection, "", None, &text)]
            }
            Action::Batch(ops) => {
                let mut row = |op: &headwater_core::command::Op<'_>| match op.value {
                    Some(value) => self.row(at, Deed::Set, collection, &op.key, Some(op.version), value),
                    None => self.row(at, Deed::Delete, collection, &op.key, Some(op.version), ""),
                };
                ops.iter().map(&mut row).collect()
            }
        }
    }

    /// The row of one difference.
    pub(super) fn of_change(&mut self, change: &Change<'_>) -> String {
        match *change {
            Change::Created(name) => self.row(None, Deed::Create, name, "", None, ""),
            Change::Dropped(name) => self.row(None, Deed::Drop, name, "", None, ""),
            Change::Gone(name, key) => self.row(None, Deed::Gone, name, key, None, ""),
            Change::Put(name, record) => {
                let (at, version) = (Some(record.timestamp()), Some(record.version()));
                self.row(at, Deed::Set, name, record.key(), version, record.value())
            }
        }
    }

    fn row(&mut self, at: Option<u64>, deed: Deed, name: &str, key: &str, version: Option<u64>, value: &str) -> String {
        let (name, key, value) = (visible(name), visible(key), visible(value));
        // Creations and the like fill no columns: they name the collection, whatever is watched.
        if !matches!(deed, Deed::Set | Deed::Delete | Deed::Gone) {
            let text = format!("{name} {value}");
            let row = format!("{}  {}  {}", self.time(at), self.deed(deed), text.trim());
            return row.trim_end().into();
        }
        self.collection_width = self.collection_width.max(name.width().min(GROWN_MAX));
        self.key_width = self.key_width.max(key.width().min(GROWN_MAX));
        let mut plain = String::new();
        if self.with_collection {
            plain.push_str(&padded(&name, self.collection_width));
            plain.push_str("  ");
        }
        plain.push_str(&padded(&key, self.key_width));
        let version = version.map_or(String::new(), |version| format!("v{version}"));
        plain.push_str(&format!("  {version:<4}  "));
        // The time and the deed take 22 columns.
        let left = Output::width().saturating_sub(22 + plain.width()).max(20);
        let row = format!("{}  {}  {plain}{}", self.time(at), self.deed(deed), cut(&value, left));
        row.trim_end().into()
    }

    /// The time of day of the write, by the writer's clock, in UTC.
    fn time(&self, at: Option<u64>) -> String {
        let text = at.map(rfc3339);
        // The date is left out: what is watched is now.
        let time = text.as_deref().and_then(|text| text.get(11..23)).unwrap_or("            ");
        self.paint.dim(time).to_string()
    }

    fn deed(&self, deed: Deed) -> Painted<'static> {
        match deed {
            Deed::Set => self.paint.good("set   "),
            Deed::Delete => self.paint.red("delete"),
            Deed::Gone => self.paint.red("gone  "),
            Deed::Create => self.paint.blue("create"),
            Deed::Drop => self.paint.red("drop  "),
            Deed::Epoch => self.paint.dim("epoch "),
            Deed::Other => self.paint.yellow("?     "),
        }
    }
}

fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(gap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::command::{Line, Trust, decode};

    fn rows(with_collection: bool, lines: &[&str]) -> Vec<String> {
        let mut rows = Rows::new(Paint::of(false), with_collection);
        let commands = lines.iter().map(|line| match decode(line.as_bytes(), Trust::Checked) {
            Ok(Line::Log(command)) => command,
            other => panic!("{other:?}"),
        });
        commands.flat_map(|command| rows.of_command(&command)).collect()
    }

    const BATCH: &str = r#"{"type":"BATCH","collection":"flags","seq":6,"prev":5,"timestamp":1763650000000,"commands":[{"op":"set","key":"a","version":1,"value":{"on":true}},{"op":"delete","key":"b","version":2}]}"#;

    #[test]
    fn a_batch_has_a_row_for_each_operation() {
        assert_eq!(
            rows(true, &[BATCH]),
            ["14:46:40.000  set     flags  a  v1    {\"on\":true}", "14:46:40.000  delete  flags  b  v2"]
        );
    }

    #[test]
    fn the_collection_is_left_out_where_only_one_is_watched() {
        assert_eq!(rows(false, &[BATCH])[1], "14:46:40.000  delete  b  v2");
    }

    #[test]
    fn what_concerns_no_entry_is_said_in_words() {
        let create = r#"{"type":"CREATE","collection":"flags","seq":2,"timestamp":1763650000000}"#;
        let unknown = r#"{"type":"NEW_ONE","collection":"flags","seq":3,"prev":2,"timestamp":1763650000000}"#;
        assert_eq!(rows(false, &[create]), ["14:46:40.000  create  flags"]);
        assert!(rows(false, &[unknown])[0].contains("flags a command this release does not know: \"NEW_ONE\""));
    }
}
