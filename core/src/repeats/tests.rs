use super::*;
use alloc::format;
use alloc::vec;
use proptest::collection::vec;
use proptest::prelude::*;

fn mark(key: u32, request: u32) -> Mark {
    Mark::new("alice", &format!("{key}"), &[&request.to_le_bytes()])
}

fn answered(seq: u64, timestamp: u64, versions: usize) -> Answered {
    Answered { position: Position { epoch: 7, seq }, timestamp, versions: vec![seq; versions] }
}

fn bounds(writes: usize, versions: usize, age_ms: u64) -> Repeats {
    Repeats::new(Bounds { writes, versions, age_ms })
}

#[test]
fn a_mark_is_of_who_which_key_and_what() {
    let one = Mark::new("alice", "k", &[b"PUT", b"/a", b"1"]);
    assert_eq!(one, Mark::new("alice", "k", &[b"PUT", b"/a", b"1"]));
    for (credential, key) in [("bob", "k"), ("alice", "K"), ("alic", "ek"), ("", "alicek")] {
        assert_ne!(one.key, Mark::new(credential, key, &[]).key, "{credential} {key}");
    }
    let others: [&[&[u8]]; 6] = [
        &[b"POST", b"/a", b"1"],
        &[b"PUT", b"/b", b"1"],
        &[b"PUT", b"/a", b"2"],
        &[b"PUT", b"/a1", b""],
        &[b"PUT/a1"],
        &[],
    ];
    for request in others {
        let other = Mark::new("alice", "k", request);
        assert_eq!(one.key, other.key);
        assert_ne!(one.request, other.request, "{request:?}");
    }
}

#[test]
fn a_mark_is_stored_as_text() {
    // SHA-256 of the eight bytes of the length 0, twice, and of nothing.
    let text = format!("{}", Mark::new("", "", &[]));
    assert_eq!(text, "374708fff7719dd5979ec875d56cd228-e3b0c44298fc1c149afbf4c8996fb924");
    assert_eq!(text.parse(), Ok(Mark::new("", "", &[])));
    for text in ["", "-", &text[1..], &text[..64], &text.replace('-', ""), &text.to_uppercase()] {
        assert!(text.parse::<Mark>().is_err(), "{text}");
    }
}

#[test]
fn a_request_is_new_or_repeated_or_another() {
    let mut repeats = Repeats::default();
    assert_eq!(repeats.look(mark(1, 1), 5), Seen::New);
    repeats.note(mark(1, 1), answered(9, 5, 2));
    assert_eq!(repeats.look(mark(1, 1), 5), Seen::Repeated(answered(9, 5, 2)));
    assert_eq!(repeats.look(mark(1, 2), 5), Seen::Other);
    assert_eq!(repeats.look(mark(2, 1), 5), Seen::New);
}

#[test]
fn what_was_not_written_is_new_again() {
    let mut repeats = Repeats::default();
    for seq in 1..=4 {
        repeats.note(mark(seq, 1), answered(seq.into(), 5, 1));
    }
    repeats.forget_after(2);
    let seen = [1, 2, 3, 4].map(|key| repeats.look(mark(key, 1), 5) != Seen::New);
    assert_eq!((seen, repeats.len()), ([true, true, false, false], 2));
    repeats.forget_after(0);
    assert!(repeats.is_empty() && repeats.seqs.is_empty() && repeats.versions == 0);
}

#[test]
fn the_oldest_goes_by_number_by_versions_and_by_age() {
    let mut repeats = bounds(2, 100, 1_000);
    for seq in 1..=3 {
        repeats.note(mark(seq, 1), answered(seq.into(), 5, 1));
    }
    assert_eq!([1, 2, 3].map(|key| repeats.look(mark(key, 1), 5) == Seen::New), [true, false, false]);
    let mut repeats = bounds(10, 4, 1_000);
    repeats.note(mark(1, 1), answered(1, 5, 3));
    repeats.note(mark(2, 1), answered(2, 5, 1));
    repeats.note(mark(3, 1), answered(3, 5, 1));
    assert_eq!([1, 2, 3].map(|key| repeats.look(mark(key, 1), 5) == Seen::New), [true, false, false]);
    let mut repeats = bounds(10, 100, 1_000);
    repeats.note(mark(1, 1), answered(1, 5, 1));
    repeats.note(mark(2, 1), answered(2, 6, 1));
    // A clock behind the log's makes nothing older.
    assert_ne!(repeats.look(mark(1, 1), 0), Seen::New);
    assert_ne!(repeats.look(mark(1, 1), 1_004), Seen::New);
    assert_eq!([1, 2].map(|key| repeats.look(mark(key, 1), 1_005) == Seen::New), [true, false]);
    for mut nothing in [bounds(0, 9, 9), bounds(9, 9, 0)] {
        nothing.note(mark(1, 1), answered(1, 5, 1));
        assert_eq!(nothing.look(mark(1, 1), 5), Seen::New);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A write under this key, which was this request, of so many versions.
    Ask(u32, u32, usize),
    Lose(u64),
    Clock(u64),
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6_u32, 0..2_u32, 0..4_usize).prop_map(|(key, request, versions)| Step::Ask(key, request, versions)),
        1 => (0..4_u64).prop_map(Step::Lose),
        1 => (0..30_u64).prop_map(Step::Clock),
        1 => (0..20_u64).prop_map(Step::Restart),
    ]
}

proptest! {
    /// Held against a plain list, through lost writes and through restarts from a baseline and the log behind it.
    #[test]
    fn it_is_the_newest_writes_within_the_bounds(steps in vec(step(), 1..80), writes in 0..5_usize, versions in 0..7_usize) {
        let limits = Bounds { writes, versions, age_ms: 40 };
        let mut repeats = Repeats::new(limits);
        let mut model: Vec<(u32, u32, Answered)> = Vec::new();
        let (mut now, mut seq) = (100, 0);
        for step in steps {
            match step {
                Step::Ask(key, request, versions_written) => {
                    now += 1;
                    model.retain(|(_, _, written)| now < written.timestamp + limits.age_ms);
                    let known = model.iter().find(|(known, ..)| *known == key);
                    let expected = match known {
                        None => Seen::New,
                        Some((_, same, written)) if *same == request => Seen::Repeated(written.clone()),
                        Some(_) => Seen::Other,
                    };
                    prop_assert_eq!(repeats.look(mark(key, request), now), expected.clone());
                    if expected == Seen::New {
                        seq += 1;
                        let written = answered(seq, now, versions_written);
                        repeats.note(mark(key, request), written.clone());
                        model.push((key, request, written));
                        let total = |model: &[(u32, u32, Answered)]| -> usize {
                            model.iter().map(|(_, _, written)| written.versions.len()).sum()
                        };
                        while model.len() > writes || total(&model) > versions {
                            model.remove(0);
                        }
                    }
                }
                Step::Lose(count) => {
                    seq = seq.saturating_sub(count);
                    repeats.forget_after(seq);
                    model.retain(|(_, _, written)| written.position.seq <= seq);
                }
                Step::Clock(ms) => now += ms,
                Step::Restart(baseline) => {
                    let mut found = Repeats::new(limits);
                    for (after, through) in [(0, baseline), (baseline, seq)] {
                        for (mark, written) in repeats.between(after, through) {
                            found.note(mark, written.clone());
                        }
                    }
                    repeats = found;
                }
            }
            prop_assert_eq!(repeats.len(), repeats.seqs.len());
            let held: Vec<_> = repeats.between(0, u64::MAX).map(|(_, written)| written.clone()).collect();
            let newest: Vec<_> = model.iter().map(|(_, _, written)| written.clone()).collect();
            prop_assert!(held.ends_with(&newest), "{:?} and {:?}", held, newest);
        }
    }
}
