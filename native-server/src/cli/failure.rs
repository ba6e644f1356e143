//! What can go wrong for a client command: words on stderr, what to do next, and the exit status.

use super::paint::Paint;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// What a script tells apart: one exit status each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The node said no. Asking again changes nothing.
    Refused,
    /// The command line or a value on it is not right; nothing was sent.
    Usage,
    /// The node cannot be reached or cannot do it now; nothing was written.
    Unable,
    /// A write was sent and its answer never came.
    OutcomeUnknown,
    /// Ctrl-C.
    Interrupted,
    /// Who read our output has gone: nobody is left to tell.
    OutputClosed,
}

impl Kind {
    fn exit_status(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unable => 3,
            Self::OutcomeUnknown => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// The API's error code, where the node gave one.
    pub(super) code: Option<String>,
    pub(super) message: String,
    /// What to do about it, one line each.
    pub(super) next: Vec<String>,
    /// The tag of the entry as it is, for a guard that did not hold.
    pub(super) etag: Option<String>,
    /// After how many seconds the node wants to be asked again.
    pub(super) retry_after_s: Option<u64>,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), next: Vec::new(), etag: None, retry_after_s: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(super) fn unable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unable, message)
    }

    /// Adds a line of what to do next.
    #[must_use]
    pub(super) fn next(mut self, line: impl Into<String>) -> Self {
        self.next.push(line.into());
        self
    }

    /// Whether the node gave this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Says it on stderr and gives the exit status.
    pub(super) fn report(&self) -> ExitCode {
        if !matches!(self.kind, Kind::Interrupted | Kind::OutputClosed) {
            let paint = Paint::of(io::stderr().is_terminal());
            // When stderr is gone too, the exit status still tells.
            drop(io::stderr().write_all(self.text(paint).as_bytes()));
        }
        ExitCode::from(self.kind.exit_status())
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = format!("{} {}", paint.bad("error:"), self.message);
        if let Some(code) = &self.code {
            text.push_str(&format!(" {}", paint.dim(&format!("[{code}]"))));
        }
        text.push('\n');
        for line in &self.next {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

/// Of writing our own output; nothing else is an `io::Error` here.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::OutputClosed, "");
        }
        Self::unable(format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_code_and_what_to_do() {
        let failure =
            Failure { code: Some("not_found".into()), ..Failure::new(Kind::Refused, "the key \"a\" does not exist") };
        let text = failure.next("headwater list flags").text(Paint::of(false));
        assert_eq!(text, "error: the key \"a\" does not exist [not_found]\n  headwater list flags\n");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.kind, failure.kind.exit_status()), (Kind::OutputClosed, 0));
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(failure.kind.exit_status(), 3);
    }
}
