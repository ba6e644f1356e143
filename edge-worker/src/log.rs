//! Structured logs: one JSON object a line, where the provider's log tools read it.

use headwater_core::json::write_string;
use std::fmt::Display;

/// Logs an event with its facts. Never a secret, a value or a key of a user's.
pub(crate) fn log(level: &str, event: &str, facts: &[(&str, &dyn Display)]) {
    write(level == "error", &line(level, event, facts));
}

fn line(level: &str, event: &str, facts: &[(&str, &dyn Display)]) -> String {
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
    String::from_utf8(line).expect("the JSON writer emits UTF-8")
}

cfg_if::cfg_if! {
    if #[cfg(target_family = "wasm")] {
        fn write(is_error: bool, line: &str) {
            if is_error { worker::console_error!("{line}") } else { worker::console_log!("{line}") }
        }
    } else {
        /// The crate's unit tests run natively, where calling the runtime's console would panic.
        fn write(_is_error: bool, line: &str) {
            std::eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_whatever_its_facts_say() {
        let facts: [(&str, &dyn Display); 2] = [("why", &"a \"b\"\nc"), ("retryMs", &5)];
        let line = line("info", "disconnected", &facts);
        assert_eq!(line, r#"{"level":"info","event":"disconnected","why":"a \"b\"\nc","retryMs":"5"}"#);
        log("info", "disconnected", &facts);
    }
}
