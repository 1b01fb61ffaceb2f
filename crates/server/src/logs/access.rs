//! The line of a request, written without the detours that all other lines take: it is one for each request, and cost as much as
//! reading its answer from the database.

use std::{cell::RefCell, fmt::Write as _, net::IpAddr, time::Duration};

use jiff::Timestamp;
use tracing::Level;

use super::Logs;
use crate::config::LogFormat;

const TARGET: &str = "roadstead_server::access";
/// What the log says of a request.
pub(crate) struct Line<'a> {
    pub(crate) request: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) remote: IpAddr,
    pub(crate) key: Option<&'a str>,
    pub(crate) failure: Option<&'a str>,
}

impl Line<'_> {
    /// Writes it, where the level that is configured lets it through.
    pub(crate) fn log(&self, logs: &Logs) {
        thread_local! {
            static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
        }
        if !tracing::enabled!(target: TARGET, Level::INFO) {
            return;
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            self.format(logs.format, Timestamp::now(), text);
            logs.lines.gather(text.as_bytes());
        });
    }

    fn format(&self, format: LogFormat, now: Timestamp, text: &mut String) {
        let mut fields = Fields { format, text };
        fields.begin(now);
        fields.string("request", self.request);
        fields.string("method", self.method);
        fields.string("path", self.path);
        fields.number("status", self.status.into());
        fields.number("bytes", self.bytes);
        fields.number("seconds", self.took.as_secs());
        fields.micros(self.took.subsec_micros());
        fields.address("remote", self.remote);
        if let Some(key) = self.key {
            fields.string("key", key);
        }
        if let Some(failure) = self.failure {
            fields.string("failure", failure);
        }
        fields.end();
    }
}

/// Writes fields as `tracing` does in each of the formats. Numbers without `std::fmt`: by its way they took half of the time of a line.
struct Fields<'a> {
    format: LogFormat,
    text: &'a mut String,
}

impl Fields<'_> {
    fn begin(&mut self, now: Timestamp) {
        match self.format {
            LogFormat::Text => {
                self.time(now);
                self.text.push_str("  INFO ");
                self.text.push_str(TARGET);
                self.text.push(':');
            }
            LogFormat::Json => {
                self.text.push_str("{\"timestamp\":\"");
                self.time(now);
                self.text.push_str("\",\"level\":\"INFO\"");
            }
        }
    }

    /// Date and time of a second are made once.
    fn time(&mut self, now: Timestamp) {
        thread_local! {
            static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
        }
        SECOND.with_borrow_mut(|(second, known)| {
            if *second != now.as_second() {
                *second = now.as_second();
                *known = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            }
            self.text.push_str(known);
        });
        self.micros(now.subsec_microsecond().unsigned_abs());
        self.text.push('Z');
    }

    /// What follows a number of seconds.
    fn micros(&mut self, micros: u32) {
        self.text.push('.');
        let with_zeros = 1_000_000 + micros;
        self.text.push_str(&itoa::Buffer::new().format(with_zeros)[1..]);
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LogFormat::Text => {
                self.text.push(' ');
                self.text.push_str(name);
                self.text.push('=');
            }
            LogFormat::Json => {
                self.text.push_str(",\"");
                self.text.push_str(name);
                self.text.push_str("\":");
            }
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        let quote = if self.format == LogFormat::Json { "\"" } else { "" };
        self.text.push_str(quote);
        match address {
            IpAddr::V4(address) => {
                for (place, part) in address.octets().into_iter().enumerate() {
                    self.text.push_str(if place > 0 { "." } else { "" });
                    self.text.push_str(itoa::Buffer::new().format(part));
                }
            }
            IpAddr::V6(address) => {
                let _ = write!(self.text, "{address}");
            }
        }
        self.text.push_str(quote);
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        // Nearly all of them need no escape, which is seen far faster than each letter is looked up.
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            self.text.push('"');
            self.text.push_str(value);
            self.text.push('"');
            return;
        }
        match self.format {
            LogFormat::Text => {
                let _ = write!(self.text, "{value:?}");
            }
            LogFormat::Json => self.text.push_str(&serde_json::Value::from(value).to_string()),
        }
    }

    fn end(&mut self) {
        if self.format == LogFormat::Json {
            self.text.push_str(",\"target\":\"");
            self.text.push_str(TARGET);
            self.text.push_str("\"}");
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line<'_> = Line {
        request: "r-1",
        method: "GET",
        path: "/v2/a\"b",
        status: 200,
        bytes: 5,
        took: Duration::from_micros(1_000_027),
        remote: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        key: Some("RSKEY"),
        failure: Some("the client left\nearly"),
    };

    fn text(format: LogFormat, line: &Line<'_>) -> String {
        let mut text = String::new();
        line.format(format, Timestamp::from_microsecond(1_700_000_000_000_042).expect("a time"), &mut text);
        text
    }

    #[test]
    fn a_line_for_people() {
        assert_eq!(
            text(LogFormat::Text, &LINE),
            "2023-11-14T22:13:20.000042Z  INFO roadstead_server::access: request=\"r-1\" method=\"GET\" path=\"/v2/a\\\"b\" \
             status=200 bytes=5 seconds=1.000027 remote=127.0.0.1 key=\"RSKEY\" failure=\"the client left\\nearly\"\n"
        );
    }

    #[test]
    fn an_address_is_written_as_everywhere() {
        for address in ["0.0.0.0", "10.200.3.255", "::1", "2001:db8::5"] {
            let line = Line { remote: address.parse().expect("an address"), ..LINE };
            assert!(text(LogFormat::Text, &line).contains(&format!(" remote={address} ")));
            assert!(text(LogFormat::Json, &line).contains(&format!("\"remote\":\"{address}\"")));
        }
    }

    #[test]
    fn a_line_for_programs() {
        let line = text(LogFormat::Json, &LINE);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            line,
            serde_json::json!({
                "timestamp": "2023-11-14T22:13:20.000042Z", "level": "INFO", "target": TARGET, "request": "r-1", "method": "GET",
                "path": "/v2/a\"b", "status": 200, "bytes": 5, "seconds": 1.000027, "remote": "127.0.0.1", "key": "RSKEY",
                "failure": "the client left\nearly",
            })
        );
    }
}
