//! What the time of a 403 tells of the credentials that were wrong. It must tell nothing: neither whether a key of this id
//! exists, nor how much of its secret was right.
//!
//! On one connection, in an order that is drawn, requests are sent that differ in nothing but id and secret, whose lengths
//! are the same. Of each kind many answers are timed. The slowest tenth of all is left out, which is the machine's doing,
//! and Welch's t tells how far the means of two kinds are apart. A difference there is would be seen each time, so it must
//! be seen in all of several rounds, in the same direction, to count: chance shows it in one of ten million runs.

use crate::node::Target;
use crate::table::{Done, Table};
use headwater_tests::Random;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ROUNDS: usize = 4;
/// Answers of each kind in each round.
const SAMPLES: usize = 6_000;
/// Beyond this in each round, in the same direction, a difference is one.
const T_MAX: f64 = 2.5;
/// And only beyond this: that a lookup finds something takes some ten ns more than that it does not, and no clock behind
/// a network sees that.
const LEAST_NS: f64 = 100.0;
/// What is left out at the slow end.
const TRIMMED: f64 = 0.1;

const KINDS: [&str; 4] =
    ["an id that nobody has", "a wrong secret", "a secret wrong in its last byte", "a right one of another key"];

const ROUTES: [(&str, &str); 2] =
    [("reading an entry", "GET /v1/collections/c/keys/k"), ("writing", "PUT /v1/collections/c/keys/k")];

pub(crate) async fn attack(table: &mut Table) {
    let target = Target::start(&[("--rate-of-wrong-pairs", "off"), ("--head-ms", "60000")]).await;
    target.client.create("c").await;
    assert_eq!(target.client.set("c", "k", "1").await.status, 200);
    let (known, other) = (target.key("known-key").await, target.key("other-key").await);
    let last = if known.ends_with('A') { "B" } else { "A" };
    let nearly = format!("{}{last}", &known[..known.len() - 1]);
    let wrong: String = known.chars().rev().collect();
    let pairs = [("wrong-key", &wrong), ("known-key", &wrong), ("known-key", &nearly), ("known-key", &other)];
    for (what, line) in ROUTES {
        let attack = if what == "writing" { "timing of wrong keys, a write" } else { "timing of wrong keys, a read" };
        let requests = pairs.map(|(id, secret)| {
            format!("{line} HTTP/1.1\r\nhost: localhost\r\napikey: {id}\r\nsecret: {secret}\r\n\r\n").into_bytes()
        });
        let authority = target.authority().to_owned();
        table
            .add(attack, "one answer, and nothing to be told by its time", &target, async {
                let measured = tokio::task::spawn_blocking(move || rounds(&authority, &requests)).await;
                let rounds = measured.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                let notes = judge(&rounds);
                let requests = (ROUNDS * SAMPLES * KINDS.len()) as u64;
                Done { requests, notes: notes.unwrap_or_else(|told| panic!("{what}: {told}")) }
            })
            .await;
    }
}

/// Times of one round in ns, by kind.
type Round = [Vec<f64>; KINDS.len()];

fn rounds(authority: &str, requests: &[Vec<u8>; KINDS.len()]) -> Vec<Round> {
    let mut random = Random::announced("order of the wrong keys");
    let mut socket = TcpStream::connect(authority).expect("the node listens");
    socket.set_nodelay(true).expect("a socket can be told");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket can be told");
    let shape = shape_of(&requests[0], &mut socket);
    for request in &requests[1..] {
        assert_eq!(shape_of(request, &mut socket), shape, "all of them are told the same");
    }
    let mut answer = vec![0; shape.1];
    let mut time = |kind: usize| {
        let begun = Instant::now();
        socket.write_all(&requests[kind]).expect("the node goes on");
        socket.read_exact(&mut answer).expect("the node goes on");
        let took = begun.elapsed();
        assert!(answer.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&answer));
        took.as_nanos() as f64
    };
    for number in 0..2_000 {
        time(number % KINDS.len());
    }
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Round::default();
        let mut order = [0, 1, 2, 3];
        for _ in 0..SAMPLES {
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last as u64 + 1) as usize);
            }
            for kind in order {
                round[kind].push(time(kind));
            }
        }
        all.push(round);
    }
    all
}

/// An answer without its date, and how long it is.
fn shape_of(request: &[u8], socket: &mut TcpStream) -> (String, usize) {
    socket.write_all(request).expect("the node listens");
    let mut bytes = Vec::new();
    let whole = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
        (body.len() == length).then_some(text)
    };
    let text = loop {
        if let Some(text) = whole(&bytes) {
            break text;
        }
        let mut piece = [0; 4_096];
        let count = socket.read(&mut piece).expect("an answer comes");
        assert!(count > 0, "the node closed the connection: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("date: ")).collect();
    (lines.join("\n"), bytes.len())
}

/// What the rounds show, in words.
///
/// # Errors
/// What can be told by the times.
fn judge(rounds: &[Round]) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    for (kind, other) in (0..KINDS.len()).flat_map(|kind| (0..kind).map(move |other| (kind, other))) {
        let against: Vec<Compared> = rounds.iter().map(|round| compare(&round[other], &round[kind])).collect();
        let told = |sign: f64| against.iter().all(|one| one.t * sign > T_MAX && one.longer_ns * sign > LEAST_NS);
        let shown: Vec<String> =
            against.iter().map(|one| format!("{:+.0} ns (t = {:+.1})", one.longer_ns, one.t)).collect();
        let median_us = median(&rounds[0][kind]) / 1_000.0;
        let words = format!(
            "{} takes longer than {} by {}, in a median of {median_us:.1} us",
            KINDS[kind],
            KINDS[other],
            shown.join(", "),
        );
        if told(1.0) || told(-1.0) {
            return Err(words);
        }
        notes.push(words);
    }
    Ok(notes)
}

struct Compared {
    /// Welch's t.
    t: f64,
    /// By how much the mean of the other is longer.
    longer_ns: f64,
}

fn compare(one: &[f64], other: &[f64]) -> Compared {
    let mut both = [one, other].concat();
    both.sort_by(f64::total_cmp);
    let most = both[((both.len() - 1) as f64 * (1.0 - TRIMMED)) as usize];
    let moments = |times: &[f64]| {
        let kept: Vec<f64> = times.iter().copied().filter(|time| *time <= most).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    let longer_ns = other_mean - mean;
    Compared { t: longer_ns / (error + other_error).sqrt(), longer_ns }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around 100 us, of which those of one kind take longer by this.
    fn drawn(kind: usize, longer_ns: f64) -> Vec<Round> {
        let mut random = Random::new(7);
        let mut time = |more: f64| 100_000.0 + more + random.below(40_000) as f64;
        let mut round = || -> Round {
            std::array::from_fn(|of| (0..SAMPLES).map(|_| time(if of == kind { longer_ns } else { 0.0 })).collect())
        };
        (0..ROUNDS).map(|_| round()).collect()
    }

    #[test]
    fn a_difference_is_told_and_none_is_not() {
        assert!(judge(&drawn(1, 0.0)).is_ok());
        for kind in 0..KINDS.len() {
            assert!(judge(&drawn(kind, 3_000.0)).is_err());
            assert!(judge(&drawn(kind, -3_000.0)).is_err());
        }
    }
}
