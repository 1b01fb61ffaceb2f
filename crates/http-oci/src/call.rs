//! One request on its way through an endpoint: who calls, what place it means, and whether that is allowed.

use std::net::IpAddr;

use http::{HeaderName, request::Parts};
use roadstead_access::{Action, By, Caller, Refusal, Target, decide};
use roadstead_db::facts::{Asker, Facts};
use roadstead_model::{Place, RepositoryName};
use roadstead_registry::{Core, Gate};

use crate::{
    error::{ApiError, RequestId},
    origin::{Addressing, Origin},
    query::Query,
    route::Route,
    service::{Settings, Shared},
};

/// One request under `/v2` whose credentials are right, or that has none.
pub(crate) struct Call<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) origin: Origin,
    pub(crate) addressing: Addressing,
    pub(crate) caller: Caller,
    pub(crate) parts: &'s Parts,
    /// The client's address.
    pub(crate) client: IpAddr,
    pub(crate) id: &'s RequestId,
}

/// What a route asks the right for, and on which repository: also what a challenge names.
pub(crate) fn asks(route: &Route) -> (Action, Option<&RepositoryName>) {
    match route {
        Route::Ping | Route::TokenGet | Route::TokenPost => (Action::Ping, None),
        Route::Catalog => (Action::Catalog, None),
        Route::Tags(name) => (Action::ListTags, Some(name)),
        Route::Referrers(name, _) => (Action::ListReferrers, Some(name)),
        Route::ManifestGet(name, _) | Route::BlobGet(name, _) => (Action::Pull, Some(name)),
        Route::ManifestDelete(name, _) | Route::BlobDelete(name, _) => (Action::Delete, Some(name)),
        Route::ManifestPut(name, _)
        | Route::UploadBegin(name)
        | Route::UploadStatus(name, _)
        | Route::UploadPatch(name, _)
        | Route::UploadPut(name, _)
        | Route::UploadDelete(name, _) => (Action::Push, Some(name)),
    }
}

impl Call<'_> {
    pub(crate) fn core(&self) -> &Core {
        &self.shared.core
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Whose facts are read, and from where it was asked.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker { key: self.caller.key(), view: self.addressing.view(self.origin.reach) }
    }

    /// Who does something, for events and the audit log.
    pub(crate) fn by(&self) -> By {
        By {
            who: self.caller.key_id().to_owned(),
            from: self.client.to_string(),
            request: Some(self.id.0.to_string()),
            project: None,
            key: self.caller.key(),
        }
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(self.parts.uri.query())
    }

    /// A header as text; `None` when it is not there, no text, or there twice.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        let mut all = self.parts.headers.get_all(name).iter();
        all.next()?.to_str().ok().filter(|_| all.next().is_none())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == http::Method::HEAD
    }

    /// The place a name means here, when no registry can have it: an error that tells a caller without rights nothing.
    pub(crate) async fn place(&self, action: Action, name: &RepositoryName) -> Result<Place, ApiError> {
        match self.addressing.place(name) {
            Some(place) => Ok(place),
            None => Err(Box::pin(self.nowhere(action, name)).await),
        }
    }

    /// Place and rights of an operation that needs nothing else from its first read.
    pub(crate) async fn enter(&self, action: Action, name: &RepositoryName) -> Result<(Place, Gate), ApiError> {
        let place = self.place(action, name).await?;
        let gate = self.core().gate(&place, self.asker()).await?;
        self.decide(action, name, &place, &gate)?;
        Ok((place, gate))
    }

    /// The decision, with the challenge that fits it.
    pub(crate) fn decide(
        &self,
        action: Action,
        name: &RepositoryName,
        place: &Place,
        gate: &Gate,
    ) -> Result<(), ApiError> {
        decide(&self.caller, action, Target::Place(place), &gate.facts)
            .map_err(|refusal| self.refused(&refusal, action, Some(name)))
    }

    /// Place and rights of an operation that is about no repository.
    pub(crate) async fn enter_at_large(&self, action: Action, target: Target<'_>) -> Result<(), ApiError> {
        let facts = self.own_facts().await?;
        decide(&self.caller, action, target, &facts).map_err(|refusal| self.refused(&refusal, action, None))
    }

    /// Nobody gets a challenge before anything is read: nobody may do nothing (protocol.md 2.1).
    pub(crate) fn turn_away_nobody(&self, action: Action, name: Option<&RepositoryName>) -> Result<(), ApiError> {
        decide(&self.caller, Action::Ping, Target::Ping, &Facts::default())
            .map_err(|refusal| self.refused(&refusal, action, name))
    }

    pub(crate) fn refused(&self, refusal: &Refusal, action: Action, name: Option<&RepositoryName>) -> ApiError {
        let scope = action.scope_for(name.map_or("", RepositoryName::as_str));
        ApiError::refused(refusal, &self.origin, scope.as_deref())
    }

    /// The answer about a name that no registry can have: the same as for any registry that does not exist, so only those who would
    /// be told so of another one learn that it is unknown. A token can't name such a place, so it is not asked for.
    async fn nowhere(&self, action: Action, name: &RepositoryName) -> ApiError {
        let facts = match self.own_facts().await {
            Ok(facts) => facts,
            Err(error) => return error,
        };
        let administrator = facts.key.as_ref().is_some_and(|key| key.living && key.administrator);
        match decide(&self.caller, action, Target::Place(&nowhere()), &facts) {
            Err(refusal) if !(administrator && refusal == Refusal::InsufficientScope) => {
                self.refused(&refusal, action, Some(name))
            }
            _ => ApiError::name_unknown("no such registry: a name is REGISTRY/REPOSITORY here, such as team/app"),
        }
    }

    /// The facts of the caller's key alone.
    async fn own_facts(&self) -> Result<Facts, ApiError> {
        Ok(self.core().facts_of(self.caller.key()).await?)
    }
}

/// A place for questions that are about none.
fn nowhere() -> Place {
    Place {
        registry: "nowhere".parse().expect("the form of a registry's name"),
        repository: "nowhere".parse().expect("the form of a repository's name"),
    }
}
