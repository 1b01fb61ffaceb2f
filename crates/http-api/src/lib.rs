//! The management API under `/api/v1`: from an HTTP request to a call of the core and back. `/api` shows its document.
//!
//! | module | what |
//! | --- | --- |
//! | `service` | the door: what all requests and all answers have in common |
//! | `enter` | what comes before each endpoint: who calls, how often, and whether someone must be signed in |
//! | [`endpoints`] | one file an endpoint, and the one list of them |
//! | [`endpoint`] | how an endpoint is registered, with its row of the permission matrix ([`rights`]) |
//! | [`document`], `viewer` | the OpenAPI document and the page that shows it |
//! | [`problem`] | the one form of everything that can go wrong |
//! | [`caller`], [`body`], [`query`], [`paging`], [`version`], [`time`] | what endpoints read and answer with |
//! | `limits` | how often one caller may ask |
//!
//! A new endpoint is a file in `endpoints/` and a line in [`endpoints::all`]; `endpoints/me.rs` is the model.

pub mod body;
pub mod caller;
pub mod document;
pub mod endpoint;
pub mod endpoints;
mod enter;
mod limits;
pub mod paging;
pub mod problem;
pub mod query;
pub mod rights;
mod service;
pub mod time;
pub mod version;
mod viewer;

pub use document::openapi_json;
pub use service::{Api, ApiService};
