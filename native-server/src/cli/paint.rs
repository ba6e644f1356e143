//! Colours, and what a text from elsewhere may do to a terminal: nothing.

use std::borrow::Cow;
use std::fmt;

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

/// A text between two control sequences, or without them.
pub(super) struct Painted<'a>(Option<&'static str>, &'a str);

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(style) if !self.1.is_empty() => write!(f, "\x1b[{style}m{}\x1b[0m", self.1),
            _ => f.write_str(self.1),
        }
    }
}

/// Defines one ink each: a name and the parameters of its SGR sequence.
macro_rules! inks {
    ($($name:ident $style:literal)*) => {
        $(pub(super) fn $name(self, text: &str) -> Painted<'_> {
            Painted(self.0.then_some($style), text)
        })*
    };
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` (<https://no-color.org>) or a terminal without any says otherwise.
    pub(super) fn of(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(is_terminal && !refused && !dumb)
    }

    inks! {
        dim "2"
        bad "1;31"
        good "32"
        red "31"
        yellow "33"
        blue "34"
        cyan "36"
    }
}

/// A text as it can be shown: nothing in it moves the cursor, is invisible, breaks the line or turns the direction of
/// writing around. The console page shows texts by the same rule.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unseen(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_control_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\nc\u{9b}d\u{202e}e"), "a\\u001b[2Jb\\u000ac\\u009bd\\u202ee");
        assert!(matches!(visible("checkout:é☃"), Cow::Borrowed(_)));
    }

    #[test]
    fn without_colours_only_the_text_is_written() {
        assert_eq!(Paint(false).red("a").to_string(), "a");
        assert_eq!(Paint(true).red("a").to_string(), "\x1b[31ma\x1b[0m");
        assert_eq!(Paint(true).red("").to_string(), "");
    }
}
