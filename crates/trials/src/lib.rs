//! Trials: they break a running region while clients push without pause, and then look whether anything was lost.
//!
//! A trial has four parts that all trials share: a [`region::Region`] (the real program with its database and bucket), a
//! [`load::Load`] of threads that push, the [`ledger::Ledger`] of what the server has acknowledged, and the two that compare
//! afterwards: [`verify`] asks the server as a client does, [`audit`] looks into the database and the bucket themselves.
//! What a trial has seen goes to [`report`], which keeps the table of `docs/reliability.md`.

pub mod audit;
pub mod content;
pub mod engines;
pub mod growth;
pub mod halt;
pub mod kill;
pub mod ledger;
pub mod load;
pub mod mix;
pub mod power;
pub mod region;
pub mod report;
pub mod talk;
pub mod verify;
