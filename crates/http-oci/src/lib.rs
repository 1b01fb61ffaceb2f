//! The OCI Distribution API under `/v2` and the token endpoint `/token`: from an HTTP request to calls of the core and back.
//!
//! | module | what |
//! | --- | --- |
//! | `service` | the door: origin, route, credentials, endpoint, what all answers have |
//! | `route` | the one parser of paths |
//! | `origin` | scheme and host as the client sees them; host style and path style |
//! | `private` | which registry a private host name is of |
//! | `call` | one request on its way: who calls, what place it means, whether that is allowed |
//! | `endpoints` | one file an endpoint |
//! | `incoming`, `body` | bodies of requests and answers |
//! | `answer`, `error` | building answers, and the one mapping from errors to status and code |
//! | `range`, `link`, `query`, `warning` | single headers and parameters |
//!
//! Rules are named by their numbers in protocol.md (A1 to N6).

mod answer;
mod body;
mod call;
mod endpoints;
mod error;
mod incoming;
mod link;
mod origin;
mod private;
mod query;
pub mod range;
pub mod route;
mod service;
mod warning;

pub use body::Body;
pub use error::{RequestId, refusal};
pub use incoming::{CollectError, Collected, DRAIN_BYTES, DRAIN_TIME, Incoming, Room, Watch};
pub use origin::{Addressing, Connection, Endpoint, Naming, Origin, PrivateNaming, client_of, is_host};
pub use service::{CallerLabel, OciService, Settings, authorization};
pub use warning::warning;
