//! Requests that the service makes itself to addresses that others chose: issuers of tokens now, receivers of webhooks later.
//!
//! Guards one rule: what somebody wrote into a field never makes the service reach a machine inside its own network. Unless the
//! configuration says that an address lies inside, only `https` and only addresses of the public internet are connected to; a name is
//! resolved once, its addresses are looked at, and one of just these is connected to. Redirects are not followed, no proxy is asked, an
//! answer has a bound and a time.

mod client;
mod guard;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

pub use self::{
    client::{Options, WITHIN},
    guard::is_public,
};

/// Makes requests. Clones share their connections.
#[derive(Clone)]
pub struct Outgoing(Arc<dyn Fetch>);

/// What makes them: the client of this crate, or that of a test.
pub trait Fetch: Send + Sync {
    /// The answer to a request, whatever its status.
    fn fetch(&self, request: Request) -> BoxFuture<'_, Result<Answer, OutgoingError>>;
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// Where to.
    pub address: String,
    /// The configuration says that it lies inside: plain `http` and private addresses are allowed.
    pub internal: bool,
    /// A form to be posted; without one it is a GET.
    pub form: Option<Vec<(String, String)>>,
    /// User name and password, as HTTP Basic has them.
    pub basic: Option<(String, String)>,
    /// The most bytes of an answer.
    pub most: usize,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer. The texts are for the log and for whoever runs the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// It must not be reached.
    #[error("{0}")]
    Refused(String),
    /// It was not reached, or broke off.
    #[error("{0}")]
    Failed(String),
    /// It is too long.
    #[error("the answer of {0} has more than {1} bytes")]
    TooLarge(String, usize),
}

impl Outgoing {
    /// Requests by the network.
    ///
    /// # Errors
    /// In words: of the certificates.
    pub fn new(options: &Options) -> Result<Self, String> {
        Ok(Self(Arc::new(client::Client::new(options)?)))
    }

    /// Requests that something else answers.
    pub fn of(fetch: impl Fetch + 'static) -> Self {
        Self(Arc::new(fetch))
    }

    /// The answer to a request, whatever its status.
    ///
    /// # Errors
    /// See [`OutgoingError`].
    pub async fn fetch(&self, request: Request) -> Result<Answer, OutgoingError> {
        self.0.fetch(request).await
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}
