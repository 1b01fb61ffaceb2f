//! Log lines: to standard error, for people or for programs. What a request logs carries its id.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, format::FmtSpan};

use crate::config::{Log, LogFormat};

/// Begins logging as configured; a second call changes nothing.
pub fn start(log: &Log) {
    let lines = fmt::fmt()
        .with_env_filter(EnvFilter::new(&log.level))
        .with_writer(stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(log.format == LogFormat::Text && stderr().is_terminal());
    let _ = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
}
