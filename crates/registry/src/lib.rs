//! The core: push, pull, delete, tags, referrers, mounts, trash, garbage collection. Knows no HTTP.
//!
//! | file | what is done there |
//! | --- | --- |
//! | `core`, `buckets` | what all operations share; which bucket is which |
//! | `pull` | manifests and blobs are found and read |
//! | `upload`, `upload/writer`, `upload/rows` | bytes come in: sessions, chunks, mounts, finishing |
//! | `push` | a manifest comes in; tags are moved |
//! | `delete` | manifests, tags and blobs go to the trash |
//! | `list`, `referrers` | tags, catalog, referrers |
//! | `registries` | registries are made, changed and deleted |
//! | `maintain` | the trash ends, the collector collects, uploads expire |

mod buckets;
mod core;
mod delete;
mod error;
mod list;
mod maintain;
mod pull;
mod push;
mod quotas;
mod referrers;
mod registries;
mod upload;

pub use self::{
    buckets::{Buckets, DEFAULT_BUCKET, MARKER_KEY, check_bucket},
    core::{Core, Gate, Options},
    error::Error,
    list::{CatalogOf, Page},
    pull::{Blob, Download, Manifest},
    push::{ManifestPush, Pushed},
    referrers::ReferrersPage,
    registries::{RegistryChange, RegistryError, RegistryPlan, delete_registry, show_registry},
    upload::{Body, BodyError, MountFrom, TicketKey, UploadStatus},
};

pub(crate) type Result<T> = std::result::Result<T, Error>;
