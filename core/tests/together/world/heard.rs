//! What a replica was really told of the writers' clocks, and how long each word was on its way.
//!
//! All writers share the virtual clock, so the World knows how old a word was when it arrived. The youngest of an epoch is
//! what nobody can tell from a clock that differs, and all by which a lag may fall short. What the replica itself makes of
//! the words is not looked at: that is what is to be checked.

use headwater_core::command::{Action, Deframer, Line, Resume, Steer, Trust, decode, lines};
use headwater_core::position::Term;

/// A HELLO that comes so soon after the request, in ms, may replace what was heard before: clocks can be set.
const PROMPT_MS: u64 = 1_000;

/// What one member has heard, over all its connections and, as far as it was stored, its lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    term: Term,
    /// Age, in ms, of the youngest word of `term` when it arrived.
    youngest: Option<u64>,
    /// The same of the epoch before, as long as the proof held may be by that writer's clock.
    former: Option<u64>,
}

impl Heard {
    /// By how much the lag may fall short.
    pub(crate) fn unknowable(&self) -> u64 {
        self.youngest.max(self.former).unwrap_or(0)
    }

    /// The writer's clock as a line told it at `now`. A later writer's is another one.
    fn word(&mut self, term: Term, clock: u64, now: u64) {
        if term > self.term {
            *self = Self { term, youngest: None, former: self.youngest.max(self.former) };
        }
        let age = now.saturating_sub(clock);
        self.youngest = Some(self.youngest.map_or(age, |youngest| youngest.min(age)));
    }
}

/// Reads along on a connection.
pub(crate) struct Witness {
    deframer: Deframer,
    opened: u64,
    term: Term,
    seq: u64,
}

impl Witness {
    /// One that begins at the replica's position.
    pub(crate) fn new(seq: u64, opened: u64) -> Self {
        Self { deframer: Deframer::new(), opened, term: Term::default(), seq }
    }

    /// Notes in `heard` what this piece said. Returns the least that may be known of it on a disk to which something went
    /// anywhere in the piece.
    pub(crate) fn read(&mut self, piece: &[u8], now: u64, heard: &mut Heard) -> Heard {
        let mut least = *heard;
        let Ok(Some(block)) = self.deframer.push(piece) else { return least };
        for (_, line) in lines(&block) {
            self.read_line(line, now, heard);
            if heard.term > least.term || heard.unknowable() > least.unknowable() {
                least = *heard;
            }
        }
        least
    }

    fn read_line(&mut self, line: &[u8], now: u64, heard: &mut Heard) {
        match decode(line, Trust::Checked) {
            Ok(Line::Steer(Steer::Hello(hello))) if hello.resume != Resume::None => {
                if now <= self.opened + PROMPT_MS && hello.term() == heard.term {
                    heard.youngest = None;
                }
                self.term = hello.term();
                heard.word(self.term, hello.clock.unwrap_or(hello.at), now);
            }
            Ok(Line::Steer(Steer::Ready(ready))) => {
                self.seq = ready.seq;
                heard.former = None;
            }
            // One that lines have overtaken proves nothing, and no replica need look at it.
            Ok(Line::Steer(Steer::Ping(Some(ping)))) if ping.seq >= self.seq => {
                heard.word(self.term, ping.clock.unwrap_or(ping.at), now);
                heard.former = None;
            }
            Ok(Line::Log(command)) if command.seq > self.seq => {
                // Its timestamp is no word of the clock, which may have been set back before it was written.
                self.seq = command.seq;
                if let Action::Epoch { epoch, takeover, .. } = command.action {
                    self.term = self.term.max(Term { takeover, epoch });
                }
            }
            _ => {}
        }
    }
}
