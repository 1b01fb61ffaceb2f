//! `/api/v1/registries/{registry}/repositories/{repository}/pulls`: how often an image was pulled, day by day (product.md 8).

use axum::extract::State;
use roadstead_registry::Days;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::image;
use crate::{
    body::Json,
    caller::Caller,
    problem::Problem,
    query::{Params, Segments},
    service::Api,
    time::Day,
};

/// Pulls of a repository, day by day.
#[derive(Serialize, ToSchema)]
pub(super) struct PullsByDay {
    /// The first day first, also days without pulls. Days that are not yet are left out, and those further back than `history.tag_days`.
    days: Vec<PullsOfDay>,
}

/// Pulls of one day.
#[derive(Serialize, ToSchema)]
pub(super) struct PullsOfDay {
    /// The day, UTC.
    #[schema(inline)]
    day: Day,
    /// How many manifests were pulled.
    pulls: i64,
}

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PullsFilter {
    /// The first day, UTC; left out: 30 days up to `to`. At most 366 days are shown.
    #[param(inline)]
    from: Option<Day>,
    /// The last day, UTC; left out: today.
    #[param(inline)]
    to: Option<Day>,
}

/// Pulls of a repository by day
///
/// What was pulled a few seconds ago may be missing still.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/pulls", tag = "Repositories",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        PullsFilter),
    responses((status = 200, description = "The days of the range, each with its pulls.", body = PullsByDay)))]
pub(super) async fn list_pulls(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
    Params(filter): Params<PullsFilter>,
) -> Result<Json<PullsByDay>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    let days = Days { from: filter.from.map(|day| day.0), to: filter.to.map(|day| day.0) };
    let found = api.core().pulls_by_day(&image, days).await?;
    let days = found.into_iter().map(|(day, pulls)| PullsOfDay { day: Day(day), pulls }).collect();
    Ok(Json(PullsByDay { days }))
}
