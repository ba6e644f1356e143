//! The forms of bodies, as JSON Schema.

/// Name, and schema as JSON. References are written as the document has them.
pub(super) const SCHEMAS: &[(&str, &str)] = &[
    (
        "Entry",
        r#"{"type":"object","required":["key","value","version","seq","updatedAt"],"additionalProperties":false,"properties":{"key":{"type":"string"},"value":{"description":"Any JSON value, its text as it was sent"},"version":{"type":"integer","minimum":1,"description":"Writes to the key since it was made"},"seq":{"type":"integer","minimum":1,"description":"Its place in the log"},"updatedAt":{"type":"string","format":"date-time"}}}"#,
    ),
    ("Entries", r##"{"type":"array","items":{"$ref":"#/components/schemas/Entry"}}"##),
    (
        "SetEntry",
        r#"{"type":"object","required":["value"],"properties":{"value":{"description":"Any JSON value"},"ifMatch":{"type":"string","pattern":"^(\\*|(W/)?\"[^\",]*\"( *, *(W/)?\"[^\",]*\")*)$","description":"As the header If-Match"},"ifAbsent":{"type":"boolean","description":"Only if there is no entry"}}}"#,
    ),
    (
        "Written",
        r#"{"type":"object","required":["ok"],"additionalProperties":false,"properties":{"ok":{"enum":[true]},"seq":{"type":"integer","minimum":1},"version":{"type":"integer","minimum":1}}}"#,
    ),
    (
        "Batch",
        r#"{"type":"object","required":["ops"],"properties":{"ops":{"type":"array","minItems":1,"items":{"type":"object","required":["op","key"],"properties":{"op":{"enum":["set","delete"]},"key":{"type":"string","minLength":1},"value":{"description":"Any JSON value; for set"},"ifMatch":{"type":"string","pattern":"^(\\*|(W/)?\"[^\",]*\"( *, *(W/)?\"[^\",]*\")*)$"},"ifAbsent":{"type":"boolean"}}}}}}"#,
    ),
    (
        "BatchWritten",
        r#"{"type":"object","required":["ok"],"additionalProperties":false,"properties":{"ok":{"enum":[true]},"seq":{"type":"integer","minimum":1},"results":{"type":"array","items":{"type":"object","required":["version"],"additionalProperties":false,"properties":{"version":{"type":"integer","minimum":1}}}}}}"#,
    ),
    (
        "Collections",
        r#"{"type":"object","required":["collections"],"additionalProperties":false,"properties":{"collections":{"type":"array","items":{"type":"string"}}}}"#,
    ),
    (
        "NewCollection",
        r#"{"type":"object","required":["name"],"properties":{"name":{"type":"string","pattern":"^[A-Za-z0-9][A-Za-z0-9._:-]*$"}}}"#,
    ),
    (
        "Collection",
        r#"{"type":"object","required":["ok","collection"],"additionalProperties":false,"properties":{"ok":{"enum":[true]},"collection":{"type":"string"}}}"#,
    ),
    (
        "Follow",
        r##"{"type":"object","properties":{"node":{"type":"string","description":"A label for this node's status"},"instance":{"type":"string","pattern":"^[0-9a-f]{32}$"},"cursor":{"type":["object","null"],"required":["epoch","seq","scope"],"properties":{"epoch":{"type":"integer","minimum":0},"seq":{"type":"integer","minimum":0},"takeover":{"type":"integer","minimum":0},"scope":{"$ref":"#/components/schemas/Scope"}}},"takeover":{"type":"integer","minimum":0},"scope":{"$ref":"#/components/schemas/Scope"}}}"##,
    ),
    (
        "Scope",
        r#"{"description":"** for everything, * for what is public, or key prefixes by collection, \"\" for the whole of one","oneOf":[{"enum":["*","**"]},{"type":"object","minProperties":1,"additionalProperties":{"type":"array","minItems":1,"items":{"type":"string"}}}]}"#,
    ),
    (
        "Rights",
        r##"{"type":"object","properties":{"roles":{"type":"array","items":{"$ref":"#/components/schemas/Role"}},"grants":{"type":"array","items":{"type":"object","required":["roles","scope"],"additionalProperties":false,"properties":{"roles":{"type":"array","minItems":1,"items":{"enum":["read","write"]}},"scope":{"type":"object","minProperties":1,"additionalProperties":{"type":"array","minItems":1,"items":{"type":"string"}}}}}}}}"##,
    ),
    ("Role", r#"{"enum":["read","write","admin","node"]}"#),
    (
        "NewKey",
        r##"{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","properties":{"id":{"type":"string","maxLength":64,"pattern":"^[A-Za-z0-9][A-Za-z0-9._:-]*$"}}},{"anyOf":[{"required":["roles"],"properties":{"roles":{"minItems":1}}},{"required":["grants"],"properties":{"grants":{"minItems":1}}}]}]}"##,
    ),
    (
        "KeyRights",
        r##"{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","properties":{"id":{"type":"string"}}},{"anyOf":[{"required":["roles"],"properties":{"roles":{"minItems":1}}},{"required":["grants"],"properties":{"grants":{"minItems":1}}}]}]}"##,
    ),
    (
        "Rotation",
        r#"{"type":"object","additionalProperties":false,"properties":{"graceMs":{"type":"integer","minimum":0,"maximum":604800000,"description":"How long the secret before stays good"}}}"#,
    ),
    (
        "KeyChanged",
        r##"{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","required":["ok","id"],"properties":{"ok":{"enum":[true]},"id":{"type":"string"},"secret":{"type":"string","description":"Told here and nowhere else"},"previousUntil":{"type":"string","format":"date-time"},"created":{"type":"string","format":"date-time"}}}]}"##,
    ),
    (
        "Keys",
        r##"{"type":"object","required":["keys"],"additionalProperties":false,"properties":{"keys":{"type":"array","items":{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","required":["id","roles"],"properties":{"id":{"type":"string"},"previousUntil":{"type":"string","format":"date-time"},"created":{"type":"string","format":"date-time"},"damaged":{"enum":[true]}}}]}}}}"##,
    ),
    (
        "NewToken",
        r##"{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","properties":{"ttlMs":{"type":"integer","minimum":1000,"maximum":86400000,"default":900000,"description":"For how long it is good"}}}]}"##,
    ),
    (
        "TokenMade",
        r##"{"allOf":[{"$ref":"#/components/schemas/Rights"},{"type":"object","required":["ok","token","expiresAt","roles"],"properties":{"ok":{"enum":[true]},"token":{"type":"string","description":"To be sent as authorization: Bearer"},"expiresAt":{"type":"string","format":"date-time"}}}]}"##,
    ),
    (
        "Health",
        r##"{"type":"object","required":["ok","node","role"],"additionalProperties":false,"properties":{"ok":{"enum":[true]},"node":{"type":"string"},"role":{"$ref":"#/components/schemas/NodeRole"}}}"##,
    ),
    ("NodeRole", r#"{"enum":["primary","replica"]}"#),
    (
        "Readiness",
        r##"{"type":"object","required":["ok","node","role","ready","checks"],"additionalProperties":false,"properties":{"ok":{"type":"boolean"},"node":{"type":"string"},"role":{"$ref":"#/components/schemas/NodeRole"},"ready":{"type":"boolean"},"checks":{"type":"object","additionalProperties":{"type":"boolean"}}}}"##,
    ),
    (
        "Status",
        r##"{"type":"object","required":["node","role","parent","collections","children","storage","uptimeSeconds","instance","replication"],"properties":{"node":{"type":"string"},"role":{"$ref":"#/components/schemas/NodeRole"},"parent":{"type":["string","null"]},"collections":{"type":"object","additionalProperties":{"type":"object","required":["keys","lastSeq","walSizeBytes","digest"],"properties":{"keys":{"type":"integer","minimum":0},"lastSeq":{"type":"integer","minimum":0},"walSizeBytes":{"type":"integer","minimum":0},"digest":{"type":"string"}}}},"children":{"type":"array","items":{"type":"object","required":["node","scope","sentSeq","lagSeq","inBaseline"],"properties":{"node":{"type":"string"},"instance":{"type":"string"},"scope":{"$ref":"#/components/schemas/Scope"},"sentSeq":{"type":"integer","minimum":0},"lagSeq":{"type":"integer","minimum":0},"inBaseline":{"type":"boolean"}}}},"storage":{"type":["object","null"]},"archive":{"type":"object"},"backup":{"type":"object"},"audit":{"type":"object"},"readOnly":{"type":"boolean"},"setup":{"type":"object","description":"How the node is set up; what headwater doctor looks at"},"uptimeSeconds":{"type":"integer","minimum":0},"instance":{"type":"string"},"cluster":{"type":"string"},"replication":{"type":"object","required":["enabled","parent_connected","complete","position","epoch","takeover","seq","scope","lagMs"],"properties":{"enabled":{"type":"boolean"},"parent_connected":{"type":"boolean"},"complete":{"type":"boolean"},"position":{"type":"string"},"epoch":{"type":"integer","minimum":0},"takeover":{"type":"integer","minimum":0},"seq":{"type":"integer","minimum":0},"scope":{"$ref":"#/components/schemas/Scope"},"lagMs":{"type":["integer","null"],"minimum":0}}},"deposed":{"type":"boolean"},"deposedBy":{"type":"integer"},"deposedByTakeover":{"type":"integer"}}}"##,
    ),
    (
        "Metrics",
        r#"{"type":"object","required":["writes_total","reads_total","requests_total","lag_ms","position_seq"],"additionalProperties":{"type":["integer","boolean","null"]}}"#,
    ),
    ("Document", r#"{"type":"object","required":["openapi","info","paths","components"]}"#),
];
