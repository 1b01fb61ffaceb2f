//! Requests to a region that may be dead at any moment: no answer is an outcome here, not a failure.

use std::net::SocketAddr;

use roadstead_testkit::{
    Request, Response,
    http::path_of,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};

use crate::{
    content::Random,
    ledger::{End, Ledger},
    region::Addresses,
};

/// Why a request had no answer that says what became of it.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// It never reached a server.
    NotAsked(String),
    /// It did, or parts of it; or the answer leaves it open (5xx, 429).
    InDoubt(String),
}

impl Unanswered {
    /// How it ended, as far as its effect goes.
    pub fn end(&self) -> End {
        match self {
            Self::NotAsked(_) => End::Without,
            Self::InDoubt(_) => End::InDoubt,
        }
    }
}

/// Who asks a region, with the key of its first start.
#[derive(Clone)]
pub struct Talk {
    addresses: Addresses,
    ledger: Ledger,
}

impl Talk {
    /// Counts what happens in `ledger`.
    pub fn new(addresses: Addresses, ledger: Ledger) -> Self {
        Self { addresses, ledger }
    }

    /// Asks any node.
    ///
    /// # Errors
    /// There was no answer that says what became of it.
    pub fn ask(&self, random: &mut Random, request: Request) -> Result<Response, Unanswered> {
        let address = self.addresses.any(random);
        self.ask_at(address, request)
    }

    /// Asks one node.
    ///
    /// # Errors
    /// There was no answer that says what became of it.
    pub fn ask_at(&self, address: SocketAddr, request: Request) -> Result<Response, Unanswered> {
        let mut connection = match Connection::open(address) {
            Ok(connection) => connection,
            Err(error) => {
                self.ledger.count("requests refused", 1);
                return Err(Unanswered::NotAsked(error.to_string()));
            }
        };
        let request = request.header("Authorization", &basic(KEY_ID, KEY_SECRET)).header("Connection", "close");
        match connection.send(&request) {
            Ok(answer) if answer.status >= 500 || answer.status == 429 => {
                self.ledger.count(&format!("answers {}", answer.status), 1);
                if answer.status == 500 {
                    eprintln!("answered 500: {answer:?}");
                }
                Err(Unanswered::InDoubt(format!("{answer:?}")))
            }
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.ledger.count("requests without an answer", 1);
                Err(Unanswered::InDoubt(error.to_string()))
            }
        }
    }

    /// Fetches something, from the bucket itself where the answer says so.
    ///
    /// # Errors
    /// There was no answer.
    pub fn fetch(&self, random: &mut Random, request: Request) -> Result<Response, Unanswered> {
        let range = request.header_value("Range").map(str::to_owned);
        let answer = self.ask(random, request)?;
        if answer.status != 307 {
            return Ok(answer);
        }
        let doubt = |words: String| Unanswered::InDoubt(format!("the bucket: {words}"));
        let location = answer.location();
        let host = location.strip_prefix("http://").and_then(|rest| rest.split('/').next()?.parse().ok());
        let address: SocketAddr = host.ok_or_else(|| doubt(format!("no address: {location}")))?;
        let mut request = Request::new("GET", path_of(&location)).header("Connection", "close");
        if let Some(range) = range {
            request = request.header("Range", &range);
        }
        let sent = Connection::open(address).and_then(|mut connection| connection.send(&request));
        let answer = sent.map_err(|error| doubt(error.to_string()))?;
        if answer.status >= 500 { Err(doubt(format!("{answer:?}"))) } else { Ok(answer) }
    }

    /// Whether any node answers.
    pub fn is_answered(&self, random: &mut Random) -> bool {
        self.ask(random, Request::new("GET", "/v2/")).is_ok_and(|answer| answer.status == 200)
    }

    /// The ledger that it counts in.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Bytes that an upload has stored, as its `Range` says (protocol.md D8). `0-0` means none as well as one: then `one` decides.
pub fn stored(answer: &Response, one: bool) -> Option<u64> {
    match answer.get("Range")?.strip_prefix("0-")?.parse().ok()? {
        0 => Some(u64::from(one)),
        last => Some(last + 1),
    }
}
