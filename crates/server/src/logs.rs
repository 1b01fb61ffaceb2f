//! Log lines: to standard error, for people or for programs. What a request logs carries its id.

mod access;
mod lines;

use std::fmt;
use std::io::{IsTerminal as _, stderr};
use std::sync::{Arc, OnceLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, fmt};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use access::Line;
use lines::Lines;

use crate::config::{Log, LogFormat};

tokio::task_local! {
    /// The id of the request that this task answers.
    pub(crate) static REQUEST: Arc<str>;
}

/// Where the lines of requests go. Clones are the same.
#[derive(Clone)]
pub struct Logs {
    format: LogFormat,
    lines: Lines,
}

impl Logs {
    /// In this format, to standard error.
    pub fn new(format: LogFormat) -> Self {
        // One for the whole process, as standard error is.
        static LINES: OnceLock<Lines> = OnceLock::new();
        Self { format, lines: LINES.get_or_init(|| Lines::to(stderr())).clone() }
    }
}

/// On dropping it what is not written yet is, and what comes later is not gathered any more.
pub struct Flush(Lines);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Begins logging as configured; a second call changes nothing.
pub fn start(log: &Log) -> Flush {
    let Logs { lines, .. } = Logs::new(log.format);
    let flush = Flush(lines.clone());
    let builder = fmt().with_env_filter(EnvFilter::new(&log.level)).with_writer(move || lines.clone());
    let _ = match log.format {
        LogFormat::Text => {
            let ansi = stderr().is_terminal();
            let inner = Format::default().with_ansi(ansi);
            builder.with_ansi(ansi).event_format(WithRequest { format: log.format, inner }).try_init()
        }
        LogFormat::Json => {
            let flat = Format::default().json().flatten_event(true).with_span_list(false);
            builder.with_ansi(false).json().event_format(WithRequest { format: log.format, inner: flat }).try_init()
        }
    };
    flush
}

/// A line with the id of the request that its task answers, if it answers one.
struct WithRequest<F> {
    format: LogFormat,
    inner: F,
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Ok(id) = REQUEST.try_with(Arc::clone) else { return self.inner.format_event(context, writer, event) };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        match (self.format, line.strip_suffix('}')) {
            (LogFormat::Json, Some(fields)) => {
                writeln!(writer, "{fields},\"request\":{}}}", serde_json::Value::from(&*id))
            }
            _ => writeln!(writer, "{line} request={id:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a page").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().expect("a page"))).expect("text")
        }
    }

    #[tokio::test]
    async fn a_line_has_the_id_of_its_request() {
        let say = async || {
            tracing::warn!(left = 3, "trouble");
            REQUEST.scope("r-1".into(), async { tracing::warn!(left = 3, "trouble") }).await;
        };
        let page = Page::default();
        let to = page.clone();
        let inner = Format::default().with_ansi(false).without_time();
        let people = fmt().event_format(WithRequest { format: LogFormat::Text, inner }).with_writer(move || to.clone());
        let guard = tracing::subscriber::set_default(people.finish());
        say().await;
        drop(guard);
        let text = page.take();
        let lines: Vec<_> = text.lines().map(|line| line.split_once("tests: ").expect("a target").1).collect();
        assert_eq!(lines, ["trouble left=3", "trouble left=3 request=\"r-1\""], "{text}");

        let to = page.clone();
        let inner = Format::default().json().flatten_event(true);
        let programs =
            fmt().json().event_format(WithRequest { format: LogFormat::Json, inner }).with_writer(move || to.clone());
        let guard = tracing::subscriber::set_default(programs.finish());
        say().await;
        drop(guard);
        let text = page.take();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&lines[0]["request"], &lines[1]["request"]), (&serde_json::Value::Null, &"r-1".into()), "{text}");
        assert_eq!(lines[1]["left"], 3);
    }
}
