//! What each answer of a node is said to mean.

use super::*;

fn answers(status: Value) -> Answers {
    Answers {
        ready: json!({"ready": true, "checks": {}}),
        status: Ok(status),
        metrics: Ok(json!({"log_failures_total": 0})),
        asked_ms: (1_000_000, 1_000_100),
        version: "0.1.0",
    }
}

fn well() -> Value {
    json!({
        "role": "primary", "parent": null, "children": [{"node": "near", "lagSeq": 3}],
        "storage": {"trouble": null}, "audit": {"head": "1:ab", "trouble": null}, "archive": {"missing": [], "failure": null}, "replication": {},
        "setup": {
            "version": "0.1.0", "nowMs": 1_000_050, "beyondLoopback": true, "tls": true, "dev": false, "log": "file",
            "tlsNotAfterMs": 1_000_000 + 60 * DAY_MS, "audit": true,
            "syncMs": null, "diskFreeBytes": 90_u64 << 30, "diskBytes": 100_u64 << 30, "openFds": 10, "maxFds": 1024,
        },
    })
}

/// What is looked at, what is changed of a status that is well, and how bad that is.
type Case<'a> = (&'a str, &'a [(&'a str, Value)], Level);

fn level(answers: &Answers, check: &str) -> Option<Level> {
    examine(answers).iter().find(|finding| finding.check == check).map(|finding| finding.level)
}

#[test]
fn a_writer_that_is_well_set_up_is_fine() {
    let findings = examine(&answers(well()));
    assert!(findings.len() > 8 && findings.iter().all(|found| found.level == Level::Ok), "{findings:?}");
}

#[test]
fn each_thing_that_is_unsafe_is_told_with_what_to_do() {
    let cases: &[Case<'_>] = &[
        ("exposure", &[("/setup/tls", json!(false))], Level::Bad),
        ("certificate", &[("/setup/tlsNotAfterMs", json!(1_000_000 + 13 * DAY_MS))], Level::Warn),
        ("certificate", &[("/setup/tlsNotAfterMs", json!(1_000_000 + 2 * DAY_MS))], Level::Bad),
        ("certificate", &[("/setup/tlsNotAfterMs", json!(1_000_100))], Level::Bad),
        ("certificate", &[("/setup/tlsNotAfterMs", json!(0))], Level::Bad),
        ("audit log", &[("/audit/trouble", json!({"message": "full", "since": "x"}))], Level::Bad),
        ("audit log", &[("/audit", Value::Null), ("/setup/audit", json!(false))], Level::Warn),
        ("credentials", &[("/setup/dev", json!(true))], Level::Warn),
        ("version", &[("/setup/version", json!("0.2.0"))], Level::Warn),
        ("clock", &[("/setup/nowMs", json!(1_005_000))], Level::Warn),
        ("clock", &[("/setup/nowMs", json!(900_000))], Level::Bad),
        ("disk space", &[("/setup/diskFreeBytes", json!(10_u64 << 30))], Level::Warn),
        ("disk space", &[("/setup/diskFreeBytes", json!(4_u64 << 30))], Level::Bad),
        ("descriptors", &[("/setup/openFds", json!(900))], Level::Warn),
        ("durability", &[("/setup/log", json!("memory"))], Level::Bad),
        ("durability", &[("/setup/syncMs", json!(100))], Level::Warn),
        ("replicas", &[("/children", json!([]))], Level::Warn),
        ("replicas", &[("/children/0/lagSeq", json!(10_001))], Level::Warn),
        ("disk", &[("/storage/trouble", json!({"message": "full", "since": "x"}))], Level::Bad),
        ("archive", &[("/archive/failure", json!("no such directory"))], Level::Bad),
        ("archive", &[("/archive/missing", json!([{"first": 1, "last": 2}]))], Level::Warn),
        ("backup", &[("/archive", Value::Null)], Level::Warn),
    ];
    for (check, changes, expected) in cases {
        let mut status = well();
        for (pointer, value) in *changes {
            *status.pointer_mut(pointer).unwrap() = value.clone();
        }
        let findings = examine(&answers(status));
        let found = findings.iter().find(|finding| finding.check == *check).unwrap();
        assert_eq!(found.level, *expected, "{changes:?}: {found:?}");
        assert!(found.advice.is_some_and(|advice| advice.len() > 15), "{found:?}");
        let others = findings.iter().filter(|other| other.level != Level::Ok && other.check != *check);
        assert_eq!(others.count(), 0, "{changes:?} has to do with {check} alone: {findings:?}");
    }
}

#[test]
fn a_replica_is_looked_at_as_one() {
    let mut status = well();
    status["role"] = json!("replica");
    status["parent"] = json!("http://127.0.0.1:4077");
    status["replication"] = json!({"parent_connected": true, "lagMs": 3, "notFollowing": null});
    assert!(examine(&answers(status.clone())).iter().all(|found| found.level == Level::Ok));
    status["replication"]["lagMs"] = json!(30_000);
    assert_eq!(level(&answers(status.clone()), "lag"), Some(Level::Bad));
    status["replication"]["parent_connected"] = json!(false);
    status["replication"]["notFollowing"] = json!({"why": "http://a: connection refused", "retryInMs": 5});
    assert_eq!(level(&answers(status.clone()), "following"), Some(Level::Bad));
    for (parent, is_told) in [("http://10.0.0.5:1", true), ("https://10.0.0.5:1", false), ("http://[::1]:1", false)] {
        status["parent"] = json!(parent);
        assert_eq!(level(&answers(status.clone()), "parent").is_some(), is_told, "{parent}");
    }
}

#[test]
fn what_it_could_not_look_at_is_bad_and_told_once_with_what_helps() {
    let refused = |code: &str| Refusal { code: code.into(), message: "no, so".into() };
    let mut shut = answers(Value::Null);
    shut.ready = json!({"ready": false, "checks": {"log_writable": false, "wal_replayed": true}});
    for (code, helps) in
        [("forbidden", "role admin or node"), ("rate_limited", "--rate-per-credential"), ("x", "later")]
    {
        (shut.status, shut.metrics) = (Err(refused(code)), Err(refused(code)));
        let findings = examine(&shut);
        assert_eq!(findings.iter().map(|found| found.level).collect::<Vec<_>>(), [Level::Bad, Level::Bad]);
        assert!(
            findings[0].says.ends_with("log_writable")
                && findings[1].says.contains(if code == "forbidden" { "no pair was given" } else { "no, so" }),
            "{findings:?}"
        );
        assert!(findings[1].advice.is_some_and(|advice| advice.contains(helps)), "{findings:?}");
    }
    let mut half = answers(well());
    half.metrics = Err(refused("rate_limited"));
    assert_eq!(level(&half, "look"), Some(Level::Bad));
}

#[test]
fn what_went_wrong_since_the_start_is_counted() {
    let mut late = answers(well());
    late.metrics = Ok(json!({
        "log_failures_total": 2, "writes_failed_total": 0, "audit_lost_total": 1, "audit_failures_total": 1,
        "requests_shed_total": 3,
    }));
    for check in ["log failures", "audit gaps", "audit failures", "overload"] {
        assert_eq!(level(&late, check), Some(Level::Warn), "{check}");
    }
    assert_eq!(level(&late, "failed writes"), None);
}
