//! The integration tests of the service: each talks to the real program over its socket.
//!
//! A test is named after what it holds: `c3_ranges` is protocol.md C3. The groups of the protocol run four times:
//! `blobs::c3_ranges::directory::basic` (SQLite and a directory, the key with each request), `..::directory::token`
//! (the token flow), `..::s3::basic` and `..::s3::token` (PostgreSQL and S3). See [`scene`]. The list T1 to T16 of
//! protocol.md 2.6 is in [`token`] and [`token_rights`], the bugs of protocol.md 4 are in [`wild`].
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod api;
mod api_buckets;
mod api_images;
mod api_input;
mod api_repositories;
mod api_trash;
mod attacks;
mod audit;
mod bad_credentials;
mod bad_input;
mod bad_manifests;
mod bad_requests;
mod bad_uploads;
mod beside;
mod blobs;
mod buckets;
mod catalog;
mod client;
mod client_commands;
mod client_images;
mod client_quotas;
mod commands;
mod concurrency;
mod datasets;
mod delete;
mod enumeration;
mod errors;
mod faults;
mod faults_clients;
mod faults_disk;
mod faults_files;
mod faults_postgres;
mod faults_s3;
mod guide;
mod h2_floods;
mod habits;
mod invariants;
mod jobs;
mod layers;
mod management;
mod manifests_get;
mod manifests_put;
mod misc;
mod mounts;
mod names;
mod nodes;
mod older_suite;
mod ping;
mod private;
mod quotas;
mod referrers;
mod restarts;
mod scene;
mod sign_on;
mod smuggling;
mod start;
mod tags;
mod tls;
mod token;
mod token_rights;
mod uploads;
mod uploads_digests;
mod uploads_faults;
mod wild;
