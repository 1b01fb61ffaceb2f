//! Which registry a private host name is of.
//!
//! It names a random id, and names and ids of registries never change, so what was looked up once is remembered: a pull stays one read.
//! After a registry is gone for good another one may have its name. The facts of a request are read for name and id together, so what
//! is remembered of the old one leads nowhere.

use std::time::Duration;

use moka::sync::Cache;
use roadstead_model::RegistryName;
use roadstead_registry::{Core, Error};

use crate::{error::ApiError, origin::Addressing};

/// Ids that are remembered at most.
const REMEMBERED: u64 = 10_000;
/// How long; it costs nothing but a look.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// What was looked up.
pub(crate) struct PrivateNames(Cache<String, RegistryName>);

impl PrivateNames {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBERED_FOR).build())
    }

    /// Finds the registry, if a private host name was asked. What is not found stays without: it is answered as one that is not there.
    pub(crate) async fn find(&self, core: &Core, addressing: &mut Addressing) -> Result<(), ApiError> {
        let Addressing::Private { id, registry } = addressing else { return Ok(()) };
        *registry = self.0.get(id.as_str());
        if registry.is_none()
            && let Some(found) = Box::pin(core.private_registry(id)).await.map_err(Error::from)?
        {
            self.0.insert(id.clone(), found.clone());
            *registry = Some(found);
        }
        Ok(())
    }
}
