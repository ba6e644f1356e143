//! What is to be imported: the file's collections and entries, all of them checked before anything is sent.

use crate::cli::failure::Failure;
use headwater_core::json::{self, Members};
use headwater_core::limits::LINE_BYTES_MAX;
use headwater_core::name;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Collections by name, each with its values by key.
pub(super) type Wanted<'t> = BTreeMap<Cow<'t, str>, BTreeMap<Cow<'t, str>, Value<'t>>>;

/// A value, and where it stands.
#[derive(Debug)]
pub(super) struct Value<'t> {
    /// In the spelling it is sent in: the file's, less insignificant white space.
    pub(super) text: Cow<'t, str>,
    line: usize,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct Wish<'t> {
    pub(super) collections: Wanted<'t>,
    /// How many entries the first line says a collection has, where the file has another number.
    pub(super) miscounted: Option<(String, u64, u64)>,
}

/// Why a file is refused: the line that is wrong, and what is wrong with it.
fn wrong(line: usize, what: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("line {line}: {what}; nothing was written"))
}

/// Reads an export in either form.
///
/// # Errors
/// Names the first line that is wrong.
pub(super) fn read(bytes: &[u8], is_lines: Option<bool>) -> Result<Wish<'_>, Failure> {
    let text = json::utf8(bytes).map_err(|error| wrong(line_of(bytes, error.offset), error))?;
    let is_lines = is_lines.unwrap_or_else(|| looks_like_lines(text));
    if is_lines { read_lines(text) } else { read_object(text) }
}

/// An object of collections is one value over all lines; of entries there is one a line.
fn looks_like_lines(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let members = json::members(first).unwrap_or_default();
    let is_object = |raw: &str| raw.starts_with('{');
    members.iter().any(|(name, raw)| name == "collection" || (name == "collections" && !is_object(raw)))
}

fn read_lines(text: &str) -> Result<Wish<'_>, Failure> {
    let mut wish = Wish::default();
    let mut counts = Vec::new();
    for (index, line) in text.split('\n').enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() {
            continue;
        }
        let members = json::members(line).map_err(|error| wrong(index, error))?;
        if let Some(listed) = field(&members, "collections") {
            // Of exports put together each has its own, and all of them must be right.
            counts.extend(head(index, &members, listed, &mut wish)?);
            continue;
        }
        let text = |name| field(&members, name).and_then(json::string);
        let collection = text("collection").ok_or_else(|| wrong(index, "there is no \"collection\""))?;
        let key = text("key").ok_or_else(|| wrong(index, "there is no \"key\""))?;
        let value = field(&members, "value").ok_or_else(|| wrong(index, "there is no \"value\""))?;
        let entries = wish.collections.entry(named(index, collection)?).or_default();
        insert(entries, key, value, index)?;
    }
    for (name, keys) in counts {
        let found = wish.collections.get(&*name).map_or(0, BTreeMap::len) as u64;
        if found != keys {
            wish.miscounted.get_or_insert((name, keys, found));
        }
    }
    Ok(wish)
}

/// The first line of an export: which collections there are, empty ones too, and how many entries each has.
fn head<'t>(
    line: usize,
    members: &Members<'t>,
    listed: &'t str,
    wish: &mut Wish<'t>,
) -> Result<Vec<(String, u64)>, Failure> {
    is_known(line, field(members, "format").unwrap_or("1"))?;
    let mut counts = Vec::new();
    let not_listed = |error| wrong(line, format!("\"collections\": {error}"));
    for facts in json::rows(listed).map_err(not_listed)? {
        let facts = facts.map_err(not_listed)?;
        let name = field(&facts, "collection").and_then(json::string);
        let name = named(line, name.ok_or_else(|| wrong(line, "a collection without \"collection\", its name"))?)?;
        counts.extend(field(&facts, "keys").and_then(json::unsigned).map(|keys| (name.clone().into_owned(), keys)));
        wish.collections.entry(name).or_default();
    }
    Ok(counts)
}

/// The two objects around a value are walked through here, so that they do not count for its depth: what one node holds
/// another one takes.
fn read_object(text: &str) -> Result<Wish<'_>, Failure> {
    let mut wish = Wish::default();
    let at = |offset: usize| line_of(text.as_bytes(), offset);
    let value_end = |start: usize| json::value_end(text, start).map_err(|error| wrong(at(error.offset), error));
    let mut has_collections = false;
    let end = object(text, space(text, 0), &mut |name, start| {
        if name == "format" {
            let end = value_end(start)?;
            is_known(at(start), &text[start..end])?;
            return Ok(end);
        }
        if name != "collections" {
            return value_end(start);
        }
        if std::mem::replace(&mut has_collections, true) {
            return Err(wrong(at(start), "\"collections\" is there already"));
        }
        object(text, start, &mut |name, start| {
            let name = named(at(start), name)?;
            let mut wanted = BTreeMap::new();
            let end = object(text, start, &mut |key, start| {
                let end = value_end(start)?;
                insert(&mut wanted, key, &text[start..end], at(start))?;
                Ok(end)
            })?;
            match wish.collections.entry(name) {
                Entry::Vacant(place) => place.insert(wanted),
                Entry::Occupied(taken) => {
                    return Err(wrong(at(start), format!("the collection {:?} is there already", taken.key())));
                }
            };
            Ok(end)
        })
    })?;
    let end = space(text, end);
    if end < text.len() {
        return Err(wrong(at(end), "something follows the object"));
    }
    if !has_collections {
        return Err(wrong(1, "there is no \"collections\": expected {\"collections\":{\"NAME\":{\"KEY\":VALUE}}}"));
    }
    Ok(wish)
}

/// Walks through the object that begins at `start`: `each` gets a name and where its value begins, and says where that
/// ends. Returns where the object ends.
fn object<'t>(
    text: &'t str,
    start: usize,
    each: &mut dyn FnMut(Cow<'t, str>, usize) -> Result<usize, Failure>,
) -> Result<usize, Failure> {
    let expect = |byte: u8, offset: usize| match text.as_bytes().get(offset) {
        Some(&found) if found == byte => Ok(space(text, offset + 1)),
        Some(_) => Err(wrong(line_of(text.as_bytes(), offset), format!("expected {:?}", char::from(byte)))),
        None => Err(wrong(line_of(text.as_bytes(), offset), "the file ends within an object")),
    };
    let mut offset = expect(b'{', start)?;
    let is_end = |offset: usize| text.as_bytes().get(offset) == Some(&b'}');
    while !is_end(offset) {
        let name = json::string_at(text, offset);
        let (name, end) = name.map_err(|error| wrong(line_of(text.as_bytes(), error.offset), error))?;
        let value = expect(b':', space(text, end))?;
        offset = space(text, each(name, value)?);
        if !is_end(offset) {
            offset = expect(b',', offset)?;
            if is_end(offset) {
                return Err(wrong(line_of(text.as_bytes(), offset), "a comma before the end of an object"));
            }
        }
    }
    Ok(offset + 1)
}

/// The first offset from `offset` on that holds no white space.
fn space(text: &str, offset: usize) -> usize {
    let rest = &text.as_bytes()[offset..];
    offset + rest.iter().position(|byte| !b" \t\r\n".contains(byte)).unwrap_or(rest.len())
}

/// Refuses what a later release may write.
fn is_known(line: usize, format: &str) -> Result<(), Failure> {
    match format {
        "1" => Ok(()),
        format => Err(wrong(line, format!("an export of format {format}, and this program reads format 1"))),
    }
}

fn insert<'t>(
    entries: &mut BTreeMap<Cow<'t, str>, Value<'t>>,
    key: Cow<'t, str>,
    value: &'t str,
    line: usize,
) -> Result<(), Failure> {
    if key.is_empty() {
        return Err(wrong(line, "a key is not empty"));
    }
    let text = json::compact(value.as_bytes()).map_err(|error| wrong(line, format!("\"value\": {error}")))?;
    if text.len() > LINE_BYTES_MAX {
        return Err(wrong(line, format!("the value is longer than {LINE_BYTES_MAX} bytes, the most any node takes")));
    }
    match entries.entry(key) {
        Entry::Vacant(place) => {
            place.insert(Value { text, line });
            Ok(())
        }
        Entry::Occupied(taken) => {
            let message = format!("the key {:?} is on line {} already", taken.key(), taken.get().line);
            Err(wrong(line, message))
        }
    }
}

fn named(line: usize, name: Cow<'_, str>) -> Result<Cow<'_, str>, Failure> {
    if name::is_system(&name) {
        return Err(wrong(line, format!("the collection {name:?} belongs to the system")));
    }
    if !name::is_valid(&name) {
        return Err(wrong(line, format!("{name:?} is not the name of a collection")));
    }
    Ok(name)
}

fn field<'t>(members: &Members<'t>, name: &str) -> Option<&'t str> {
    members.iter().find(|(field, _)| field == name).map(|(_, raw)| *raw)
}

/// Lines are counted from 1.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset.min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'t>(wish: &'t Wish<'_>, collection: &str) -> Vec<(&'t str, &'t str)> {
        wish.collections[collection].iter().map(|(key, value)| (&**key, &*value.text)).collect()
    }

    #[test]
    fn both_forms_say_the_same_and_values_keep_their_spelling() {
        let lines = "{\"headwater\":\"export\",\"format\":1,\"collections\":[{\"collection\":\"d\",\"keys\":0}]}\n\
                     {\"collection\":\"c\",\"key\":\"b\",\"value\":1.0E+2}\n{\"key\":\"a\",\"value\":{ \"x\":\"\\u00e9\"},\"collection\":\"c\"}\n";
        let object =
            "{\"format\":1,\n\"collections\": {\"d\":{},\n\"c\":{\"b\":1.0E+2,\n\"a\":{\"x\" : \"\\u00e9\"}}}}";
        for text in [lines, object] {
            let wish = read(text.as_bytes(), None).unwrap();
            assert_eq!(wish.collections.keys().collect::<Vec<_>>(), ["c", "d"], "{text}");
            assert_eq!(values(&wish, "c"), [("a", "{\"x\":\"\\u00e9\"}"), ("b", "1.0E+2")], "{text}");
            assert_eq!(wish.miscounted, None);
        }
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        let entry = "{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n";
        for (text, line, what) in [
            ("{\"collection\":\"c\",\"key\":\"\",\"value\":1}", 1, "not empty"),
            ("\n{\"collection\":\"c\",\"key\":\"a\"}", 2, "\"value\""),
            (
                "{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n\n{\"collection\":\"c\",\"key\":\"a\",\"value\":2}",
                3,
                "line 1",
            ),
            (
                "{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n{\"collection\":\"_keys\",\"key\":\"a\",\"value\":2}",
                2,
                "system",
            ),
            (
                "{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n{\"collection\":\"a/b\",\"key\":\"a\",\"value\":2}",
                2,
                "a/b",
            ),
            (
                "{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n{\"collection\":\"c\",\"key\":\"b\",\"value\":1e999}",
                2,
                "",
            ),
            ("{\"collection\":\"c\",\"key\":\"a\",\"value\":1}\n{\"collection\":\"c\",\"key", 2, ""),
            ("{\"collections\":{\n\"c\":{\n\"a\":1,\n\"a\":2}}}", 4, ""),
            ("{\"collections\":{\n\"c\":{\n\"a\":01}}}", 3, ""),
            ("{\"collections\":{\n\"c\":[]}}", 2, ""),
            ("{\"format\":2,\"collections\":[]}", 1, "format 2"),
            ("[]", 1, ""),
        ] {
            let error = read(text.as_bytes(), None).unwrap_err();
            assert!(
                error.message.starts_with(&format!("line {line}: ")) && error.message.contains(what),
                "{text}: {}",
                error.message
            );
        }
        let error = read(&[entry.as_bytes(), b"\xff"].concat(), None).unwrap_err();
        assert!(error.message.starts_with("line 2: "), "{}", error.message);
    }

    #[test]
    fn a_file_with_other_counts_than_its_first_line_says_is_noticed() {
        let head = "{\"collections\":[{\"collection\":\"c\",\"keys\":2}]}\n";
        let cut = format!("{head}{{\"collection\":\"c\",\"key\":\"a\",\"value\":1}}\n");
        assert_eq!(read(cut.as_bytes(), None).unwrap().miscounted, Some(("c".into(), 2, 1)));
        let other = "{\"collections\":[{\"collection\":\"d\",\"keys\":0}]}\n";
        for joined in [format!("{cut}{other}"), format!("{other}{cut}")] {
            assert_eq!(read(joined.as_bytes(), None).unwrap().miscounted, Some(("c".into(), 2, 1)), "{joined}");
        }
    }
}
