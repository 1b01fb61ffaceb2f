//! `audit`: what was changed, by whom, from where.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use crate::{
    client::Path,
    failure::Failure,
    output::{self, Column, text, time},
    session::Session,
    typed::Paging,
};

const COLUMNS: &[Column] =
    &[time("at", "/at"), text("who", "/who"), text("from", "/from"), text("what", "/what"), text("object", "/object")];

/// Which lines are wanted.
#[derive(Debug, Args)]
pub struct Filter {
    /// About this project, its registries, members and robots; for its managers
    #[arg(long)]
    project: Option<String>,
    /// Done by this person
    #[arg(long)]
    who: Option<String>,
    /// Done to this
    #[arg(long)]
    object: Option<String>,
    /// Such as `key.create`, or what stands before the dot
    #[arg(long)]
    what: Option<String>,
    /// Not before this time (RFC 3339, UTC), or so long ago: 30m, 12h, 7d, 4w
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    /// The path of the log, `below` it, with what is asked for.
    fn path(self, below: &[&str], now: Timestamp) -> Result<Path, Failure> {
        let when = |text: Option<String>| text.map(|text| moment(&text, now)).transpose();
        let log = match &self.project {
            Some(project) => Path::of(&["projects", project, "audit"]),
            None => Path::of(&["audit"]),
        };
        Ok(log
            .at(below)
            .with("who", self.who)
            .with("object", self.object)
            .with("what", self.what)
            .with("since", when(self.since)?)
            .with("until", when(self.until)?))
    }
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A JSON object on each line
    #[default]
    Json,
    /// For spreadsheets
    Csv,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List its lines, the newest first; `-o json` shows what was before and is since
    List {
        /// Which
        #[command(flatten)]
        filter: Filter,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Print all lines as JSON lines or CSV, however many they are
    Export {
        /// Which
        #[command(flatten)]
        filter: Filter,
        /// How they are written
        #[arg(long, value_enum, default_value_t)]
        format: Form,
    },
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let now = session.output.now();
    match command {
        Command::List { filter, paging } => {
            session.list(&filter.path(&[], now)?, paging, COLUMNS, "There is no such line.").await
        }
        Command::Export { filter, format } => {
            let format = if format == Form::Csv { "csv" } else { "json" };
            let path = filter.path(&["export"], now)?.with("format", Some(format));
            let terminal = session.terminal;
            session.client.download(&path, &|bytes: &[u8]| output::raw(terminal, bytes)).await
        }
    }
}

/// A time, a day, or how long ago.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = || Failure::usage(format!("{text:?} is no time: it is like 2026-11-28T12:00:00Z, 2026-11-28, or 7d"));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| wrong());
    }
    let length = match text.chars().next_back() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    now.checked_sub(SignedDuration::from_secs(i64::from(count) * length)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        for (text, time) in [
            ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
            ("2026-11-01T10:00:00+09:00", "2026-11-01T01:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("30m", "2026-11-28T11:30:00Z"),
            ("12h", "2026-11-28T00:00:00Z"),
            ("7d", "2026-11-21T12:00:00Z"),
            ("4w", "2026-10-31T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now).expect(text).to_string(), time, "{text}");
        }
        for wrong in ["", "7", "d", "-7d", "7y", "yesterday", "2026-13-01", "4294967295w", "7日"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
