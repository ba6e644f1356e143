//! Where the program's own log goes: lines on stderr, for people or for machines.

use crate::settings::LogFormat;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// What is logged.
///
/// # Errors
/// A filter that is none.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|error| format!("{text:?}: {error}"))
}

/// Starts logging.
///
/// # Errors
/// A filter that is none.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = self::filter(filter).map_err(|reason| anyhow::anyhow!("--log: {reason}"))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}
