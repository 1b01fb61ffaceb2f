//! `.../repositories/{repository}/artifacts`: what a repository holds.

use std::collections::BTreeMap;

use axum::extract::State;
use http::StatusCode;
use roadstead_db::{
    artifact::Referrer,
    artifact_views::{Artifact, Named},
};
use roadstead_model::manifest::Descriptor;
use roadstead_registry::{ArtifactDetails, ArtifactsAsked, Config, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{digest, image, searched};
use crate::{
    body::Json,
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::{Params, Segments},
    service::Api,
    time::Time,
};

/// An artifact.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
pub(super) struct ArtifactView {
    /// Its digest.
    digest: String,
    /// The media type it was pushed with.
    media_type: String,
    /// `image`, `index`, `chart`, `signature` or `artifact`.
    kind: String,
    /// Its artifact type, or the media type of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// Digest of what it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The first 20 of its tags.
    tags: Vec<String>,
    /// It has more tags.
    more_tags: bool,
    /// Of an index: those of its first 50 children, such as `linux/amd64`.
    platforms: Vec<String>,
    /// Compressed bytes, as its manifest says, and those of the manifest; of an index with its children.
    size: i64,
    /// When it was pushed for the last time.
    #[schema(inline)]
    pushed: Time,
    /// Id of the access key that it was pushed with.
    pushed_by: String,
    /// When it was pulled for the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pulled: Option<Time>,
    /// How often it was pulled.
    pulls: i64,
}

impl From<Artifact> for ArtifactView {
    fn from(it: Artifact) -> Self {
        Self {
            digest: it.digest.to_string(),
            media_type: it.media_type,
            kind: it.kind,
            artifact_type: it.artifact_type,
            subject: it.subject.map(|subject| subject.to_string()),
            tags: it.tags,
            more_tags: it.more_tags,
            platforms: it.platforms,
            size: it.size,
            pushed: Time(it.pushed),
            pushed_by: it.pushed_by,
            pulled: it.pulled.map(Time),
            pulls: it.pulls,
        }
    }
}

/// An artifact with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = ArtifactDetails)]
pub(super) struct DetailsView {
    #[serde(flatten)]
    artifact: ArtifactView,
    /// Of an index: what it names.
    children: Vec<ChildView>,
    /// Layers, the lowest first.
    layers: Vec<LayerView>,
    /// What its config says.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<ConfigView>,
    /// How it was built, the first step first.
    history: Vec<StepView>,
}

/// A child of an index.
#[derive(Serialize, ToSchema)]
#[schema(as = Child)]
pub(super) struct ChildView {
    /// Its digest.
    digest: String,
    /// Its media type.
    media_type: String,
    /// Such as `linux/arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Its compressed bytes, where it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// Whether the repository has it as an artifact.
    here: bool,
}

impl From<Named> for ChildView {
    fn from(it: Named) -> Self {
        Self {
            digest: it.digest.to_string(),
            media_type: it.media_type,
            platform: it.platform,
            size: it.whole,
            here: it.whole.is_some(),
        }
    }
}

/// A layer.
#[derive(Serialize, ToSchema)]
#[schema(as = Layer)]
pub(super) struct LayerView {
    /// Its digest.
    digest: String,
    /// Its media type.
    media_type: String,
    /// Compressed bytes, as the manifest says.
    size: i64,
}

impl From<Named> for LayerView {
    fn from(it: Named) -> Self {
        Self { digest: it.digest.to_string(), media_type: it.media_type, size: it.size }
    }
}

/// The config of an artifact. What it does not say is absent or empty.
#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
pub(super) struct ConfigView {
    /// Its digest.
    digest: String,
    /// Its media type.
    media_type: String,
    /// Bytes.
    size: i64,
    /// Why its content is not shown: it has more than 1 MiB, is not JSON, or is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
    /// Such as `linux/amd64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// When the image was made, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Who made it, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// As whom it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    /// What runs.
    entrypoint: Vec<String>,
    /// What runs, or what the entry point is told.
    cmd: Vec<String>,
    /// Variables, `NAME=VALUE`.
    env: Vec<String>,
    /// Such as `80/tcp`.
    exposed_ports: Vec<String>,
    /// Folders that are volumes.
    volumes: Vec<String>,
    /// Labels.
    labels: BTreeMap<String, String>,
    /// The signal that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    /// The whole config of what is no image, such as the `Chart.yaml` of a chart as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
}

impl From<Config> for ConfigView {
    fn from(it: Config) -> Self {
        Self {
            digest: it.digest.to_string(),
            media_type: it.media_type,
            size: it.size,
            unread: it.unread,
            platform: it.platform,
            created: it.created,
            author: it.author,
            user: it.user,
            working_dir: it.working_dir,
            entrypoint: it.entrypoint,
            cmd: it.cmd,
            env: it.env,
            exposed_ports: it.exposed_ports,
            volumes: it.volumes,
            labels: it.labels,
            stop_signal: it.stop_signal,
            content: it.content,
        }
    }
}

/// A step of the building of an image, as its config says.
#[derive(Serialize, ToSchema)]
#[schema(as = BuildStep)]
pub(super) struct StepView {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    /// Words about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    /// It made no layer.
    empty_layer: bool,
}

impl From<Step> for StepView {
    fn from(it: Step) -> Self {
        let Step { created, created_by, comment, author, empty_layer } = it;
        Self { created, created_by, comment, author, empty_layer }
    }
}

impl From<ArtifactDetails> for DetailsView {
    fn from(it: ArtifactDetails) -> Self {
        Self {
            artifact: it.artifact.into(),
            children: it.children.into_iter().map(ChildView::from).collect(),
            layers: it.layers.into_iter().map(LayerView::from).collect(),
            config: it.config.map(ConfigView::from),
            history: it.history.into_iter().map(StepView::from).collect(),
        }
    }
}

/// Something that refers to an artifact: a signature, an SBOM.
#[derive(Serialize, ToSchema)]
#[schema(as = Referrer)]
pub(super) struct ReferrerView {
    /// Its digest.
    digest: String,
    /// Its media type.
    media_type: String,
    /// Its artifact type.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// Bytes of its manifest.
    size: i64,
    /// Its annotations.
    annotations: BTreeMap<String, String>,
}

fn referrer(it: &Referrer) -> Result<ReferrerView, Problem> {
    let read: Descriptor =
        serde_json::from_str(&it.descriptor).map_err(|error| Problem::internal(format!("a referrer: {error}")))?;
    Ok(ReferrerView {
        digest: read.digest,
        media_type: read.media_type,
        artifact_type: read.artifact_type,
        size: read.size,
        annotations: read.annotations,
    })
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ArtifactKind {
    Image,
    Index,
    Chart,
    Signature,
    Artifact,
}

impl ArtifactKind {
    fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::Chart => "chart",
            Self::Signature => "signature",
            Self::Artifact => "artifact",
        }
    }
}

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ArtifactFilter {
    /// The beginning of the digest; `sha256:` may be left out.
    #[serde(default)]
    search: String,
    /// What they are.
    #[param(inline)]
    kind: Option<ArtifactKind>,
    /// Those with a tag, or those without one.
    tagged: Option<bool>,
}

/// Artifacts of a repository
///
/// The newest push first. With a filter a page may hold fewer entries than `limit`, even none, while there is a `next`.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/artifacts", tag = "Artifacts",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ArtifactFilter, Paging),
    responses((status = 200, description = "Artifacts.", body = Page<ArtifactView>)))]
pub(super) async fn list_artifacts(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository)): Segments<(String, String)>,
    Params(filter): Params<ArtifactFilter>,
    paging: Paging,
) -> Result<Page<ArtifactView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    let before = match paging.sorted("pushed")? {
        Some((pushed, row)) => Some((pushed, row.parse().map_err(|_| Paging::foreign())?)),
        None => None,
    };
    let asked = ArtifactsAsked {
        search: searched(&filter.search)?.to_owned(),
        kind: filter.kind.map_or("", ArtifactKind::word).to_owned(),
        tagged: filter.tagged,
        before,
        limit: paging.fetch(),
    };
    let found = api.core().artifacts(&image, asked).await?;
    Ok(paging.looked(found, |(pushed, row)| format!("pushed:{pushed}:{row}")).map(ArtifactView::from))
}

/// One artifact
///
/// With its layers, children, config and build history.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/artifacts/{digest}", tag = "Artifacts",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("digest" = String, Path, description = "Digest")),
    responses((status = 200, description = "The artifact.", body = DetailsView)))]
pub(super) async fn get_artifact(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, named)): Segments<(String, String, String)>,
) -> Result<Json<DetailsView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    Ok(Json(api.core().artifact(&image, &digest(&named)?).await?.into()))
}

/// Delete an artifact
///
/// It goes to the trash with its tags, and with the children and referrers that nothing else holds.
#[utoipa::path(delete, path = "/api/v1/registries/{registry}/repositories/{repository}/artifacts/{digest}", tag = "Artifacts",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("digest" = String, Path, description = "Digest")),
    responses((status = 204, description = "The artifact lies in the trash.")))]
pub(super) async fn delete_artifact(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, named)): Segments<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let (allowed, image) = image(&api, &caller, &registry, &repository).await?;
    api.core().delete_artifact(&image, &digest(&named)?, &allowed.by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Referrers of an artifact
///
/// Signatures, SBOMs and whatever names it as its subject, in the order in which they came.
#[utoipa::path(get, path = "/api/v1/registries/{registry}/repositories/{repository}/artifacts/{digest}/referrers", tag = "Artifacts",
    params(("registry" = String, Path, description = "Name"), ("repository" = String, Path, description = "Name, `/` written `%2F`"),
        ("digest" = String, Path, description = "Digest"), Paging),
    responses((status = 200, description = "Referrers.", body = Page<ReferrerView>)))]
pub(super) async fn list_referrers(
    State(api): State<Api>,
    caller: Caller,
    Segments((registry, repository, named)): Segments<(String, String, String)>,
    paging: Paging,
) -> Result<Page<ReferrerView>, Problem> {
    let (_, image) = image(&api, &caller, &registry, &repository).await?;
    let after = paging.row()?.unwrap_or(0);
    let found = api.core().referrers_of(&image, &digest(&named)?, after, paging.fetch()).await?;
    paging.page(found, |one| one.id.to_string()).try_map(|one| referrer(&one))
}
