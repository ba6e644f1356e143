//! Every operation of the API, once: what it takes, what it answers, and which errors it may be answered with. The document
//! and the reference are written from it; tests hold it against the router, and against what nodes answer.

use super::super::error::Code;
use super::super::{
    CONTENT_JSON, CONTENT_METRICS, CONTENT_NDJSON, HEADER_IDEMPOTENCY_KEY, HEADER_MIN_POSITION, HEADER_WAIT,
};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, without credentials.
    Public,
    /// A pair, whatever its roles.
    Pair,
    /// A pair with one of these roles.
    Roles(&'static str),
    /// As [`Access::Roles`], and a token that carries them.
    RolesOrToken(&'static str),
    /// As [`Access::RolesOrToken`], and everybody as far as the key `anonymous` allows.
    RolesOrAnonymous(&'static str),
    /// As [`Access::Roles`], by basic authorization too.
    RolesOrBasic(&'static str),
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `path`, `query` or `header`.
    pub(super) place: &'static str,
    pub(super) required: bool,
    pub(super) about: &'static str,
    /// JSON Schema.
    pub(super) schema: &'static str,
}

/// A body that is answered or taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) kind: &'static str,
    /// Name of a schema; `None` for a text that is none of JSON.
    pub(super) schema: Option<&'static str>,
}

/// An answer that is no error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Good {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: &'static [Content],
    /// Headers besides those of every answer.
    pub(super) headers: &'static [&'static str],
}

/// What decides which errors there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    /// It has a body that is read.
    pub(super) body: bool,
    /// It waits for a position if it is told to.
    pub(super) waits: bool,
    /// A replica may hand it to its parent.
    pub(super) forwarded: bool,
    /// It goes through the log.
    pub(super) writes: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) about: &'static str,
    pub(super) access: Access,
    pub(super) parameters: &'static [Parameter],
    /// The body, and whether it must be there.
    pub(super) body: Option<(&'static str, bool)>,
    pub(super) answers: &'static [Good],
    pub(super) traits: Traits,
    /// Errors beyond those that follow from the above.
    pub(super) also: &'static [Code],
}

impl Operation {
    /// The errors that it may be answered with, by status.
    pub(super) fn errors(&self) -> Vec<Code> {
        use Code::{
            Diverged, Forbidden, HeadersTooLarge, IdempotencyMismatch, InternalError, InvalidJson, InvalidKey,
            InvalidRequest, Loop, Misdirected, NotReady, OutcomeUnknown, Overloaded, ParentUnavailable, RateLimited,
            ReadOnly, RequestTimeout, Stale, StorageFull, TooLarge, UriTooLong,
        };
        let Traits { body, waits, forwarded, writes } = self.traits;
        // What the listener and the name in Host decide comes before any route.
        let mut codes: Vec<Code> =
            [InvalidRequest, RequestTimeout, UriTooLong, Misdirected, HeadersTooLarge, InternalError, Overloaded]
                .into();
        let mut add = |is_so: bool, more: &[Code]| codes.extend(more.iter().filter(|_| is_so));
        add(self.access != Access::Public, &[Forbidden, NotReady]);
        add(self.path.contains('{'), &[InvalidKey]);
        add(body, &[InvalidJson, TooLarge]);
        add(waits, &[Diverged, Stale]);
        add(forwarded, &[ParentUnavailable, OutcomeUnknown, Loop]);
        add(writes, &[OutcomeUnknown, ReadOnly, StorageFull, TooLarge]);
        // Whether a node lives may always be asked.
        add(!["/healthz", "/livez", "/startupz", "/readyz"].contains(&self.path), &[RateLimited]);
        let named = |parameter: &&Parameter| parameter.name == HEADER_IDEMPOTENCY_KEY;
        add(self.parameters.iter().any(|parameter| named(&parameter)), &[IdempotencyMismatch]);
        add(true, self.also);
        let given: BTreeSet<usize> = codes.iter().map(|code| *code as usize).collect();
        Code::ALL.iter().copied().filter(|code| given.contains(&(*code as usize))).collect()
    }
}

const NONE: Traits = Traits { body: false, waits: false, forwarded: false, writes: false };
const READS: Traits = Traits { waits: true, forwarded: true, ..NONE };
const WRITES: Traits = Traits { body: true, forwarded: true, writes: true, ..NONE };

const TEXT: &str = r#"{"type":"string"}"#;
const TAGS: &str = r#"{"type":"string","pattern":"^(\\*|(W/)?\"[^\",]*\"( *, *(W/)?\"[^\",]*\")*)$"}"#;
const COLLECTION: Parameter = Parameter {
    name: "collection",
    place: "path",
    required: true,
    about: "Name of the collection: letters, digits, '.', '_', ':' and '-', beginning with a letter or digit",
    schema: r#"{"type":"string","pattern":"^[A-Za-z0-9_][A-Za-z0-9._:-]*$"}"#,
};
const KEY: Parameter = Parameter {
    name: "key",
    place: "query",
    required: true,
    about: "The key: any text but the empty one",
    schema: r#"{"type":"string","minLength":1}"#,
};
const KEY_IN_PATH: Parameter = Parameter {
    name: "key",
    place: "path",
    required: true,
    about: "The key: everything behind /keys/, slashes too, percent-decoded once. Keys with an empty, '.' or '..' segment or \
            a backslash are reached by entry?key= alone",
    schema: r#"{"type":"string","minLength":1}"#,
};
const PREFIX: Parameter = Parameter {
    name: "prefix",
    place: "query",
    required: false,
    about: "Only keys that begin with this",
    schema: TEXT,
};
const AFTER: Parameter =
    Parameter { name: "after", place: "query", required: false, about: "Only keys behind this one", schema: TEXT };
const LIMIT: Parameter = Parameter {
    name: "limit",
    place: "query",
    required: false,
    about: "At most so many; without it all",
    schema: r#"{"type":"integer","minimum":1,"maximum":10000}"#,
};
const IF_MATCH: Parameter = Parameter {
    name: "if-match",
    place: "header",
    required: false,
    about: "Only if the entry's ETag is one of these, or, for *, if there is an entry",
    schema: TAGS,
};
const IF_NONE_MATCH: Parameter = Parameter {
    name: "if-none-match",
    place: "header",
    required: false,
    about: "For a read: 304 if the ETag is one of these. For a write: * for an entry that is not there yet",
    schema: TAGS,
};
const IDEMPOTENCY_KEY: Parameter = Parameter {
    name: HEADER_IDEMPOTENCY_KEY,
    place: "header",
    required: false,
    about: "By which the write is known when it is sent again",
    schema: r#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#,
};
const MIN_POSITION: Parameter = Parameter {
    name: HEADER_MIN_POSITION,
    place: "header",
    required: false,
    about: "Waits until the node has reached this position",
    schema: r#"{"type":"string","pattern":"^[0-9]+\\.[0-9]+$"}"#,
};
const WAIT: Parameter = Parameter {
    name: HEADER_WAIT,
    place: "header",
    required: false,
    about: "For how long at most, in ms; 5000 unless it is said",
    schema: r#"{"type":"integer","minimum":0,"maximum":30000}"#,
};
const ID: Parameter = Parameter {
    name: "id",
    place: "path",
    required: true,
    about: "The key's id",
    schema: r#"{"type":"string","minLength":1}"#,
};

const fn json(schema: &'static str) -> Content {
    Content { kind: CONTENT_JSON, schema: Some(schema) }
}

const fn ok(about: &'static str, content: &'static [Content]) -> Good {
    Good { status: 200, about, content, headers: &[] }
}

const UNCHANGED: Good = Good { status: 304, about: "Nothing has changed", content: &[], headers: &["ETag"] };
const ENTRY: &[Good] =
    &[Good { status: 200, about: "The entry", content: &[json("Entry")], headers: &["ETag"] }, UNCHANGED];
const WRITTEN: &[Good] = &[ok("It is done, and durable", &[json("Written")])];
const READ_ENTRY: &[Code] = &[Code::MissingCollection, Code::NotFound];
const SET_ENTRY: &[Code] = &[Code::MissingCollection, Code::PreconditionFailed];
const DELETE_ENTRY: &[Code] = &[Code::MissingCollection, Code::NotFound, Code::PreconditionFailed];
const READERS: Access = Access::RolesOrAnonymous("read");
const WRITERS: Access = Access::RolesOrToken("write");
const ADMINS: Access = Access::Roles("admin");
const INSIGHT: &str = "admin or node";

const fn of(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    about: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        id,
        tag,
        about,
        access: Access::Public,
        parameters: &[],
        body: None,
        answers: &[],
        traits: NONE,
        also: &[],
    }
}

const fn entry(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    parameters: &'static [Parameter],
) -> Operation {
    let named = of(method, path, id, "Entries", "");
    let (about, access, answers, traits, also) = match method.as_bytes()[1] {
        // GET, POST, PUT, DELETE by their second letter.
        b'E' if method.len() == 3 => ("Reads one entry", READERS, ENTRY, READS, READ_ENTRY),
        b'O' | b'U' => ("Writes one entry", WRITERS, WRITTEN, WRITES, SET_ENTRY),
        _ => ("Deletes one entry", WRITERS, WRITTEN, WRITES, DELETE_ENTRY),
    };
    let body = match method.as_bytes()[1] {
        b'O' | b'U' => Some(("SetEntry", true)),
        _ => None,
    };
    Operation { about, access, answers, traits, also, parameters, body, ..named }
}

const ENTRY_PATH: &str = "/v1/collections/{collection}/entry";
const KEY_PATH: &str = "/v1/collections/{collection}/keys/{key}";
const READ_BY_QUERY: &[Parameter] = &[COLLECTION, KEY, IF_NONE_MATCH, MIN_POSITION, WAIT];
const READ_BY_PATH: &[Parameter] = &[COLLECTION, KEY_IN_PATH, IF_NONE_MATCH, MIN_POSITION, WAIT];
const WRITE_BY_QUERY: &[Parameter] = &[COLLECTION, KEY, IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY];
const WRITE_BY_PATH: &[Parameter] = &[COLLECTION, KEY_IN_PATH, IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY];

const HEALTHY: &[Good] = &[ok("The node runs", &[json("Health")])];
const KEY_TOLD: &[Good] = &[ok("The key, with its secret where it is a new one", &[json("KeyChanged")])];

/// See the module.
pub(super) const OPERATIONS: &[Operation] = &[
    entry("GET", ENTRY_PATH, "getEntry", READ_BY_QUERY),
    entry("PUT", ENTRY_PATH, "setEntry", WRITE_BY_QUERY),
    entry("POST", ENTRY_PATH, "postEntry", WRITE_BY_QUERY),
    entry("DELETE", ENTRY_PATH, "deleteEntry", WRITE_BY_QUERY),
    entry("GET", KEY_PATH, "getEntryByPath", READ_BY_PATH),
    entry("PUT", KEY_PATH, "setEntryByPath", WRITE_BY_PATH),
    entry("POST", KEY_PATH, "postEntryByPath", WRITE_BY_PATH),
    entry("DELETE", KEY_PATH, "deleteEntryByPath", WRITE_BY_PATH),
    Operation {
        access: WRITERS,
        parameters: &[COLLECTION, IDEMPOTENCY_KEY],
        body: Some(("Batch", true)),
        answers: &[ok("All of it is done, and durable", &[json("BatchWritten")])],
        traits: WRITES,
        also: DELETE_ENTRY,
        ..of(
            "POST",
            "/v1/collections/{collection}/batch",
            "writeBatch",
            "Entries",
            "Writes and deletes several entries of a collection, all or none",
        )
    },
    Operation {
        access: READERS,
        parameters: &[COLLECTION, PREFIX, AFTER, LIMIT, IF_NONE_MATCH, MIN_POSITION, WAIT],
        answers: &[
            Good {
                status: 200,
                about: "The entries in key order, exact as of one position; one a line where the request accepts that alone",
                content: &[json("Entries"), Content { kind: CONTENT_NDJSON, schema: None }],
                headers: &["ETag", "Link"],
            },
            UNCHANGED,
        ],
        traits: READS,
        also: &[Code::MissingCollection],
        ..of("GET", "/v1/collections/{collection}/keys", "listEntries", "Entries", "Lists the entries of a collection")
    },
    Operation {
        access: READERS,
        parameters: &[MIN_POSITION, WAIT],
        answers: &[ok("Their names, sorted", &[json("Collections")])],
        traits: READS,
        ..of(
            "GET",
            "/v1/collections",
            "listCollections",
            "Collections",
            "Lists the collections that the caller may read anything of",
        )
    },
    Operation {
        access: WRITERS,
        parameters: &[IDEMPOTENCY_KEY],
        body: Some(("NewCollection", true)),
        answers: &[ok("It is there now, or was already", &[json("Collection")])],
        traits: WRITES,
        also: &[Code::UnnamedCollection, Code::InvalidKey],
        ..of("POST", "/v1/collections", "createCollection", "Collections", "Creates a collection")
    },
    Operation {
        access: ADMINS,
        parameters: &[COLLECTION, IDEMPOTENCY_KEY],
        answers: &[ok("It is gone, with its entries", &[json("Collection")])],
        traits: WRITES,
        also: &[Code::MissingCollection, Code::NotFound, Code::Protected],
        ..of(
            "DELETE",
            "/v1/collections/{collection}",
            "dropCollection",
            "Collections",
            "Drops a collection with all its entries",
        )
    },
    Operation {
        access: Access::RolesOrAnonymous("read or node"),
        body: Some(("Follow", false)),
        answers: &[ok(
            "A stream of lines that never ends by itself",
            &[Content { kind: CONTENT_NDJSON, schema: None }],
        )],
        traits: Traits { body: true, ..NONE },
        ..of("POST", "/v1/replicate", "follow", "Following", "Follows what is written: docs/protocol.md has the lines")
    },
    Operation {
        access: ADMINS,
        parameters: &[MIN_POSITION, WAIT],
        answers: &[ok("The keys by id; nothing of their secrets", &[json("Keys")])],
        traits: READS,
        ..of("GET", "/v1/keys", "listKeys", "Keys", "Lists the keys of the API")
    },
    Operation {
        access: ADMINS,
        body: Some(("NewKey", true)),
        answers: KEY_TOLD,
        traits: WRITES,
        also: &[Code::InvalidKey, Code::PreconditionFailed],
        ..of("POST", "/v1/keys", "createKey", "Keys", "Makes a key, and tells its secret once")
    },
    Operation {
        access: ADMINS,
        parameters: &[ID],
        body: Some(("KeyRights", true)),
        answers: KEY_TOLD,
        traits: WRITES,
        also: &[Code::NotFound, Code::PreconditionFailed],
        ..of("PUT", "/v1/keys/{id}", "changeKey", "Keys", "Gives a key other rights")
    },
    Operation {
        access: ADMINS,
        parameters: &[ID],
        answers: KEY_TOLD,
        traits: WRITES,
        also: &[Code::NotFound, Code::PreconditionFailed],
        ..of("DELETE", "/v1/keys/{id}", "revokeKey", "Keys", "Revokes a key")
    },
    Operation {
        access: ADMINS,
        parameters: &[ID],
        body: Some(("Rotation", false)),
        answers: KEY_TOLD,
        traits: WRITES,
        also: &[Code::NotFound, Code::PreconditionFailed],
        ..of("POST", "/v1/keys/{id}/rotate", "rotateKey", "Keys", "Gives a key another secret, and tells it once")
    },
    Operation {
        access: Access::Pair,
        body: Some(("NewToken", false)),
        answers: &[ok("The token", &[json("TokenMade")])],
        traits: Traits { body: true, ..NONE },
        also: &[Code::PreconditionFailed],
        ..of("POST", "/v1/tokens", "createToken", "Keys", "Makes a token: part of what the pair may do, for a while")
    },
    Operation { answers: HEALTHY, ..of("GET", "/healthz", "health", "Health", "Tells that the node runs") },
    Operation { answers: HEALTHY, ..of("GET", "/livez", "liveness", "Health", "The same") },
    Operation { answers: HEALTHY, ..of("GET", "/startupz", "startup", "Health", "The same") },
    Operation {
        answers: &[
            ok("The node is of use", &[json("Readiness")]),
            Good { status: 503, about: "It is not, and checks tell why", content: &[json("Readiness")], headers: &[] },
        ],
        ..of("GET", "/readyz", "readiness", "Health", "Tells whether the node should be asked")
    },
    Operation {
        access: Access::Roles(INSIGHT),
        answers: &[ok("What the node is and how it is", &[json("Status")])],
        ..of(
            "GET",
            "/v1/status",
            "status",
            "Insight",
            "Tells role, collections, children, position, lag, disk and more",
        )
    },
    Operation {
        access: Access::Roles(INSIGHT),
        answers: &[ok("Counts since the start", &[json("Metrics")])],
        ..of("GET", "/v1/metrics", "metrics", "Insight", "Numbers for programs")
    },
    Operation {
        access: Access::RolesOrBasic(INSIGHT),
        answers: &[ok("The same and more", &[Content { kind: CONTENT_METRICS, schema: None }])],
        ..of("GET", "/metrics", "exposition", "Insight", "Numbers for Prometheus")
    },
    Operation {
        answers: &[ok("An OpenAPI 3.1 document", &[json("Document")])],
        ..of("GET", "/openapi.json", "document", "Insight", "This document")
    },
];
