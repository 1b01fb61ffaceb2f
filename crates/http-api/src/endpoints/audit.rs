//! The audit log: who changed what. Of the region for who runs it, of a project for its managers; in pages, or as a whole.

mod export;

use axum::extract::State;
use roadstead_access::Subject;
use roadstead_db::audit::{self, Audited, Filter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

pub(super) use self::export::{__path_export_audit, __path_export_project_audit, export_audit, export_project_audit};
use crate::{
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::{Params, Segments},
    service::Api,
    time::Time,
};

/// A change, or a refused sign-in.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct AuditView {
    /// When it was.
    #[schema(inline)]
    at: Time,
    /// Who did it: a person's name, `PROJECT/ROBOT`, `operator` for who runs commands on the machine, or `anyone` where `access.open` is set.
    who: String,
    /// The address that it came from; empty for commands.
    from: String,
    /// Id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// What was done, such as `registry.create`.
    what: String,
    /// To what.
    object: String,
    /// What was changed, as it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// As it is since; for `session.refused` and `key.refused` how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

impl From<Audited> for AuditView {
    fn from(line: Audited) -> Self {
        let json = |text: Option<String>| text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        Self {
            at: Time(line.at),
            who: line.by.who,
            from: line.by.from,
            request: line.by.request,
            what: line.what,
            object: line.object,
            before: json(line.before),
            after: json(line.after),
        }
    }
}

/// What is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditFilter {
    /// Done by.
    #[serde(default)]
    who: String,
    /// Done to.
    #[serde(default)]
    object: String,
    /// What was done, or its beginning: `key` means `key.create` too.
    #[serde(default)]
    what: String,
    /// Not before.
    #[param(inline)]
    since: Option<Time>,
    /// Before.
    #[param(inline)]
    until: Option<Time>,
}

impl AuditFilter {
    /// As the database takes it; `project` is its row.
    fn rows(self, project: Option<i64>) -> Result<Filter, Problem> {
        for (name, text) in [("who", &self.who), ("object", &self.object), ("what", &self.what)] {
            if text.contains('\0') {
                return Err(Problem::field(name, "no name has a NUL in it"));
            }
        }
        Ok(Filter {
            project,
            who: self.who,
            object: self.object,
            what: self.what,
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
            before: None,
        })
    }
}

/// The audit log
///
/// With filters a page may hold fewer entries than `limit`, even none, while there is a `next`: go on until it is missing.
#[utoipa::path(get, path = "/api/v1/audit", tag = "Audit", params(AuditFilter, Paging),
    responses((status = 200, description = "Changes, refused sign-ins and refused access keys, the newest first.", body = Page<AuditView>)))]
pub(super) async fn list_audit(
    State(api): State<Api>,
    caller: Caller,
    Params(filter): Params<AuditFilter>,
    paging: Paging,
) -> Result<Page<AuditView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    page(&api, filter.rows(None)?, &paging).await
}

/// The audit log of a project
///
/// What was done to the project, its registries, members and robots, for its managers. Lines of before the project was made anew under
/// its name are not in it. With filters a page may hold fewer entries than `limit`, even none, while there is a `next`.
#[utoipa::path(get, path = "/api/v1/projects/{project}/audit", tag = "Audit",
    params(("project" = String, Path, description = "Name"), AuditFilter, Paging),
    responses((status = 200, description = "Changes, and refused keys of robots, the newest first.", body = Page<AuditView>)))]
pub(super) async fn list_project_audit(
    State(api): State<Api>,
    caller: Caller,
    Segments(project): Segments<String>,
    Params(filter): Params<AuditFilter>,
    paging: Paging,
) -> Result<Page<AuditView>, Problem> {
    let allowed = caller.allow(&api, Subject::Project(&project)).await?;
    page(&api, filter.rows(Some(allowed.project()?))?, &paging).await
}

async fn page(api: &Api, filter: Filter, paging: &Paging) -> Result<Page<AuditView>, Problem> {
    let before = paging.after().map(str::parse::<i64>).transpose();
    let before = before.map_err(|_| Problem::field("after", "is not one of ours: take `next` of the page before"))?;
    let limit = i64::try_from(paging.fetch()).unwrap_or(i64::MAX);
    let found = audit::list(api.core().db(), &Filter { before, ..filter }, limit).await?;
    let rest = found.rest.map(|row| row.to_string());
    Ok(paging.page_before(found.rows, |line| line.id.to_string(), rest).map(AuditView::from))
}
