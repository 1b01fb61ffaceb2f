//! One file an endpoint: a handler authorises, makes one call of the core, and builds the answer.

pub(crate) mod blob_delete;
pub(crate) mod blob_get;
pub(crate) mod catalog;
pub(crate) mod manifest_delete;
pub(crate) mod manifest_get;
pub(crate) mod manifest_put;
pub(crate) mod ping;
pub(crate) mod referrers;
pub(crate) mod tags;
pub(crate) mod token;
pub(crate) mod upload;
pub(crate) mod upload_begin;
pub(crate) mod upload_delete;
pub(crate) mod upload_patch;
pub(crate) mod upload_put;
pub(crate) mod upload_status;
