//! The invariants of the core (ARCHITECTURE.md, "What never breaks"), each on both engines: SQLite with a directory, and
//! PostgreSQL with an S3. Where one of the programs is missing, the tests say so in one line and pass.
//!
//! Interleavings: on PostgreSQL a transaction is stopped before its commit while another one runs into it
//! ([`scene::Scene::interleave`]); SQLite has one writer, so there both orders run one after the other.

#![expect(clippy::unwrap_used, reason = "what is around the tests is tests as well")]

mod buckets;
mod collect;
mod concurrent;
mod content;
mod deletes;
mod locks;
mod marker;
mod nodes;
mod property;
mod registries;
mod restore;
mod restore_locks;
mod scene;
mod small_blobs;
mod tags;
mod trash;
mod types;
mod uploads;
mod views;
