//! What unit tests have in the place of network, time and terminal.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    clock::Clock,
    failure::Failure,
    terminal::Terminal,
    transport::{Answer, Request, Sink, Transport},
};

/// Paper to print on; nobody is there but who was asked beforehand.
#[derive(Debug, Default)]
pub(crate) struct Paper(Mutex<Sheets>);

#[derive(Debug, Default)]
struct Sheets {
    printed: String,
    answers: Option<VecDeque<String>>,
    asked: Vec<String>,
}

impl Paper {
    /// With somebody who gives these answers.
    pub(crate) fn answering(answers: &[&str]) -> Self {
        let answers = Some(answers.iter().map(|&it| it.to_owned()).collect());
        Self(Mutex::new(Sheets { answers, ..Sheets::default() }))
    }

    pub(crate) fn printed(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).printed.clone()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

impl Terminal for Paper {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).printed.push_str(text);
        Ok(())
    }

    fn note(&self, _: &str) {}

    fn progress(&self, _: &str) {}

    fn can_ask(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answers.is_some()
    }

    fn ask(&self, question: &str) -> io::Result<String> {
        let mut sheets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sheets.asked.push(question.to_owned());
        let answer = sheets.answers.as_mut().and_then(VecDeque::pop_front);
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn ask_secret(&self, question: &str) -> io::Result<String> {
        self.ask(question)
    }

    fn input(&self) -> io::Result<String> {
        self.ask("")
    }
}

/// A clock that stands until somebody waits.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Vec<Duration>>);

impl Standing {
    /// What was waited for.
    pub(crate) fn waited(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        Box::pin(std::future::ready(()))
    }
}

/// A service that gives these answers in turn, and remembers what it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<(VecDeque<Answer>, Vec<Request>)>>);

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new()))))
    }

    /// The requests that came, `METHOD ADDRESS`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.1.iter().map(|request| format!("{} {}", request.method, request.url)).collect()
    }
}

impl Transport for Script {
    fn send<'a>(&'a self, request: &'a Request, sink: Option<&'a Sink<'a>>) -> BoxFuture<'a, Result<Answer, Failure>> {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        script.1.push(request.clone());
        let answer = script.0.pop_front().ok_or_else(|| Failure::other("the script is at its end"));
        let answer = answer.and_then(|answer| match sink {
            Some(sink) if answer.status < 300 => sink(&answer.body).map(|()| Answer { body: Vec::new(), ..answer }),
            _ => Ok(answer),
        });
        Box::pin(std::future::ready(answer))
    }
}

/// 200 with this.
pub(crate) fn answer(value: &Value) -> Answer {
    let kind = "application/json".to_owned();
    Answer { status: 200, kind, body: value.to_string().into_bytes(), ..Answer::default() }
}

/// A problem of this status.
pub(crate) fn problem(status: u16, retry_after: Option<&str>) -> Answer {
    let kind = "application/problem+json".to_owned();
    let body = br#"{"detail":"not now"}"#.to_vec();
    Answer { status, kind, retry_after: retry_after.map(str::to_owned), location: None, body }
}
