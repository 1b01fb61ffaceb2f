//! The Roadstead service: configuration, listeners, TLS, metrics, logs, wiring, commands.
//!
//! | module | what |
//! | --- | --- |
//! | [`config`] | the one table of settings: file, environment, flags, typed form, reference page |
//! | [`commands`] | what can be typed; `commands/serve` starts and ends a node |
//! | [`listener`], [`tls`], [`drain`] | connections: bounds, clocks, certificates, an end that cuts nothing |
//! | [`front`] | each request's id, figures and log line; `/healthz`, `/readyz`, `/metrics`, and the API |
//! | [`health`], [`metrics`], [`logs`] | what an operator sees |
//! | [`wiring`] | from the configuration to an open database, bucket, rights and core |
//! | `rest` | memory that is given back while nobody asks for anything |
//! | [`first_start`] | the first registry and access key, and the greeting |
//! | [`datadir`], [`secret_key`], [`control`] | what lies in the data directory: lock, key, control socket |
//!
//! Only this crate reads configuration and environment.

pub mod commands;
pub mod config;
pub mod control;
pub mod datadir;
pub mod drain;
pub mod first_start;
pub mod front;
pub mod health;
pub mod listener;
pub mod logs;
pub mod metrics;
mod rest;
pub mod secret_key;
pub mod tls;
pub mod wiring;
