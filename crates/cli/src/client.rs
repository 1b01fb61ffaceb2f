//! Requests of the management API: paths, pages, and another try where one may help.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::{
    clock::Clock,
    failure::{Code, Failure},
    service::Service,
    terminal::Terminal,
    transport::{Answer, Request, Sink, Transport},
};

/// So often a request is tried again.
const TRIES: u32 = 4;
/// Who is told to wait longer is told so, instead of waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The wait where the answer names none.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// The address of something: segments of a path below `/api/v1`, and parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Path {
    /// Of these segments; `/` inside one is escaped.
    pub(crate) fn of(segments: &[&str]) -> Self {
        Self { segments: segments.iter().map(|&it| it.to_owned()).collect(), query: Vec::new() }
    }

    /// With further segments.
    pub(crate) fn at(mut self, segments: &[&str]) -> Self {
        self.segments.extend(segments.iter().map(|&it| it.to_owned()));
        self
    }

    /// With a parameter, if it has a value.
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.to_string()));
        }
        self
    }

    fn url(&self, base: &Url) -> Result<Url, Failure> {
        let mut url = base.clone();
        for segment in &self.segments {
            // An address drops these, and would mean something else.
            if matches!(segment.as_str(), "" | "." | "..") {
                return Err(Failure::usage(format!("{segment:?} is no name")));
            }
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(["api", "v1"]).extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query.iter().map(|(name, value)| (*name, value)));
        }
        Ok(url)
    }
}

/// Speaks to one service.
pub(crate) struct Client<'a> {
    transport: Box<dyn Transport>,
    base: Url,
    host: String,
    clock: &'a dyn Clock,
    terminal: &'a dyn Terminal,
}

impl<'a> Client<'a> {
    pub(crate) fn new(
        service: &Service,
        transport: Box<dyn Transport>,
        clock: &'a dyn Clock,
        terminal: &'a dyn Terminal,
    ) -> Self {
        Self { transport, base: service.url.clone(), host: service.host(), clock, terminal }
    }

    /// What is there.
    pub(crate) async fn get(&self, path: &Path) -> Result<Value, Failure> {
        self.json("GET", path, &[], None).await
    }

    /// Sends a change; what it answers, `Null` if that is nothing.
    pub(crate) async fn send(&self, method: &'static str, path: &Path, body: Option<&Value>) -> Result<Value, Failure> {
        self.json(method, path, &[], body).await
    }

    /// Sends a change that holds on a condition.
    pub(crate) async fn send_if(
        &self,
        method: &'static str,
        path: &Path,
        condition: Option<(&'static str, &str)>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let headers: Vec<_> = condition.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        self.json(method, path, &headers, body).await
    }

    /// Hands what is there to the sink, however long it is.
    pub(crate) async fn download(&self, path: &Path, sink: &Sink<'_>) -> Result<(), Failure> {
        let request = Request { method: "GET", url: path.url(&self.base)?, headers: Vec::new(), body: None };
        let answer = self.patiently(&request, Some(sink)).await?;
        match answer.status {
            200..300 => Ok(()),
            _ => Err(self.refused(answer)),
        }
    }

    /// One page of a list, and where the next begins.
    pub(crate) async fn page(&self, path: &Path) -> Result<(Vec<Value>, Option<String>), Failure> {
        let mut page = self.get(path).await?;
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok((items, next)),
            _ => Err(self.not_ours("what comes is no list")),
        }
    }

    async fn json(
        &self,
        method: &'static str,
        path: &Path,
        headers: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let request = Request {
            method,
            url: path.url(&self.base)?,
            headers: headers.to_vec(),
            body: body.map(ToString::to_string),
        };
        let answer = self.patiently(&request, None).await?;
        match answer.status {
            204 => Ok(Value::Null),
            200..300 if answer.body.is_empty() => Ok(Value::Null),
            200..300 if answer.kind.starts_with("application/json") => {
                serde_json::from_slice(&answer.body).map_err(|error| self.not_ours(&error.to_string()))
            }
            _ => Err(self.refused(answer)),
        }
    }

    fn refused(&self, answer: Answer) -> Failure {
        match (answer.status, answer.location) {
            (300..400, Some(to)) => {
                Failure::other(format!("{} sends on to {to:?}: sign in at that address", self.host))
            }
            (status, _) => Failure::of_answer(&self.host, status, &answer.kind, &answer.body),
        }
    }

    /// Sends it, and again after the time that a full or restarting service names. What may not be done twice is sent once.
    async fn patiently(&self, request: &Request, sink: Option<&Sink<'_>>) -> Result<Answer, Failure> {
        let twice = matches!(request.method, "GET" | "PUT" | "DELETE");
        let mut tried = 1;
        loop {
            let answer = self.transport.send(request, sink).await?;
            let wait = answer.retry_after.as_deref().map_or(Some(USUAL_WAIT), seconds);
            match wait.filter(|wait| *wait <= LONGEST_WAIT) {
                Some(wait) if matches!(answer.status, 429 | 503) && twice && tried < TRIES => {
                    self.terminal.progress(&format!("{} is busy: again in {} s", self.host, wait.as_secs()));
                    self.clock.sleep(wait).await;
                    tried += 1;
                }
                _ => return Ok(answer),
            }
        }
    }

    fn not_ours(&self, why: &str) -> Failure {
        Failure::new(Code::Other, format!("{} does not answer in the way of a Roadstead: {why}", self.host))
    }
}

/// `Retry-After` in seconds; as a date it is not understood, and nobody of ours says it so.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
