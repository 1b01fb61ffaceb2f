//! The core: push, pull, delete, tags, referrers, mounts, trash, garbage collection. Knows no HTTP.
//!
//! | file | what is done there |
//! | --- | --- |
//! | `core`, `buckets` | what all operations share; which bucket is which |
//! | `pull`, `pulls` | manifests and blobs are found and read; pulls are counted |
//! | `upload`, `upload/writer`, `upload/rows` | bytes come in: sessions, chunks, mounts, finishing |
//! | `push` | a manifest comes in; tags are moved |
//! | `delete` | manifests, tags and blobs go to the trash |
//! | `images`, `artifacts`, `configs`, `tagging` | what there is, for management: repositories, artifacts with their configs, tags |
//! | `restore` | what lies in the trash comes back, or goes for good |
//! | `list`, `referrers` | tags, catalog, referrers |
//! | `registries` | registries are made, changed and deleted |
//! | `checks` | buckets are tried from time to time |
//! | `maintain` | the trash ends, the collector collects, uploads expire |

mod artifacts;
mod buckets;
mod checks;
mod configs;
mod core;
mod delete;
mod error;
mod images;
mod list;
mod maintain;
mod pull;
mod pulls;
mod push;
mod quotas;
mod referrers;
mod registries;
mod restore;
mod tagging;
mod upload;

pub use self::{
    artifacts::{ArtifactDetails, ArtifactsAsked},
    buckets::{Buckets, DEFAULT_BUCKET, MARKER_KEY, check_bucket, too_many},
    configs::{Config, Step},
    core::{Core, Gate, Options},
    error::Error,
    images::{Image, ImageError, RepositoryChange},
    list::{CatalogOf, Page},
    pull::{Blob, Download, Manifest},
    pulls::{Days, PULLS_EVERY},
    push::{ManifestPush, Pushed},
    referrers::ReferrersPage,
    registries::{RegistryChange, RegistryError, RegistryPlan, delete_registry, show_registry},
    upload::{Body, BodyError, MountFrom, TicketKey, UploadStatus},
};

pub(crate) type Result<T> = std::result::Result<T, Error>;
