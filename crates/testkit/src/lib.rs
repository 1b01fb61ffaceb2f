//! For tests: a running server, both databases, a real S3, a client that hides nothing, and content to push.
//!
//! Everything here panics with words instead of returning errors: its caller is a test, and a test has nobody to
//! hand an error to. What a test process starts (servers, PostgreSQL, SeaweedFS) stops when the process ends in
//! whatever way, see [`process`].

pub mod client;
pub mod content;
pub mod disk;
pub mod engines;
pub mod frames;
pub mod h2;
pub mod http;
pub mod issuer;
pub mod mix;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod s3_proxy;
pub mod server;
pub mod sigv4;
pub mod token;
pub mod wire;

pub use client::{Client, Login};
pub use content::{Algorithm, digest, random_bytes};
pub use disk::SmallDisk;
pub use http::{Body, Request, Response};
pub use issuer::Issuer;
pub use postgres::Postgres;
pub use process::{eventually, until};
pub use proxy::{Proxy, Way};
pub use s3::S3;
pub use s3_proxy::{S3Fault, S3Proxy};
pub use server::{Cluster, Server, Setup};
