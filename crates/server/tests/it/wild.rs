//! protocol.md 4: fifty bugs of other registries and their clients, each with a test named after its number: `bug13_...`. What only a
//! real client or a real machine can show is shown by a recipe of `e2e/`, which the test then names.

mod blobs;
mod collector;
mod deletes;
mod manifests;
mod parallel;
mod referrers;
mod tags;
mod tokens;
mod uploads;
