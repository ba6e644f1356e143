//! Structured logs: one JSON object a line, where the provider's log tools read it.

use headwater_core::json::write_string;
use std::fmt::Display;

/// Logs an event with its facts. Never a secret, a value or a key of a user's.
pub(crate) fn log(level: &str, event: &str, facts: &[(&str, &dyn Display)]) {
    let mut line = Vec::from(&b"{\"level\":"[..]);
    write_string(&mut line, level);
    line.extend_from_slice(b",\"event\":");
    write_string(&mut line, event);
    for (name, fact) in facts {
        line.push(b',');
        write_string(&mut line, name);
        line.push(b':');
        write_string(&mut line, &fact.to_string());
    }
    line.push(b'}');
    let line = String::from_utf8_lossy(&line);
    if level == "error" { worker::console_error!("{line}") } else { worker::console_log!("{line}") }
}
