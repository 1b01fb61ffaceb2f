//! Lists: tags of a repository, repositories of a registry or the region. Paged by the last name, never by number.

use roadstead_db::{facts::View, repository, tag};
use roadstead_model::RegistryName;

use crate::{Core, Gate, Result};

/// One page of a list of names.
#[derive(Clone, Debug)]
pub struct Page {
    /// Sorted by bytes.
    pub names: Vec<String>,
    /// There is more after the last one.
    pub more: bool,
}

/// What a catalog lists.
#[derive(Clone, Debug)]
pub enum CatalogOf {
    /// Everything, as `registry/repository`; for a system administrator.
    Region,
    /// One registry's repositories, by their names in it (host style).
    Registry(RegistryName),
}

impl Core {
    /// Tags after `last`, at most `limit`. [`crate::Error::NameUnknown`] for a repository that nothing was ever pushed to;
    /// one that lost all its tags has an empty list (protocol.md H7).
    pub async fn tags(&self, gate: &Gate, last: Option<&str>, limit: usize) -> Result<Page> {
        let id = gate.repository()?;
        if !repository::is_listed(self.db(), id).await? {
            return Err(crate::Error::NameUnknown);
        }
        let names = tag::list(self.db(), id, last.unwrap_or_default(), one_more(limit)).await?;
        Ok(Page::cut(names, limit))
    }

    /// Repositories that have an artifact, of the registries that there are in this view, after `last`, at most `limit`.
    pub async fn catalog(&self, of: &CatalogOf, view: View<'_>, last: Option<&str>, limit: usize) -> Result<Page> {
        let last = last.unwrap_or_default();
        let names = match of {
            CatalogOf::Region => {
                let after = last.split_once('/').unwrap_or((last, ""));
                let rows = repository::list_region(self.db(), view, after, one_more(limit)).await?;
                rows.into_iter().map(|(registry, repository)| format!("{registry}/{repository}")).collect()
            }
            CatalogOf::Registry(registry) => {
                repository::list(self.db(), view, registry.as_str(), last, one_more(limit)).await?
            }
        };
        Ok(Page::cut(names, limit))
    }
}

impl Page {
    fn cut(mut names: Vec<String>, limit: usize) -> Self {
        let more = names.len() > limit;
        names.truncate(limit);
        Self { names, more }
    }
}

/// One row more than asked tells whether there is another page.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}
