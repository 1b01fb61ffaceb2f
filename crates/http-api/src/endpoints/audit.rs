//! `GET /api/v1/audit`: who changed what.

use axum::extract::State;
use roadstead_access::Subject;
use roadstead_db::audit::{self, Audited, Filter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::Caller,
    paging::{Page, Paging},
    problem::Problem,
    query::Params,
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
    /// Who did it: a person's name, `PROJECT/ROBOT`, or `operator` for who runs commands on the machine.
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
    /// As it is since; for `session.refused` how often.
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

/// The audit log
#[utoipa::path(get, path = "/api/v1/audit", tag = "Audit", params(AuditFilter, Paging),
    responses((status = 200, description = "Changes and refused sign-ins, the newest first.", body = Page<AuditView>)))]
pub(super) async fn list_audit(
    State(api): State<Api>,
    caller: Caller,
    Params(filter): Params<AuditFilter>,
    paging: Paging,
) -> Result<Page<AuditView>, Problem> {
    caller.allow(&api, Subject::Region).await?;
    let before = paging.after().map(str::parse::<i64>).transpose();
    let before = before.map_err(|_| Problem::field("after", "is not one of ours: take `next` of the page before"))?;
    for (name, text) in [("who", &filter.who), ("object", &filter.object), ("what", &filter.what)] {
        if text.contains('\0') {
            return Err(Problem::field(name, "no name has a NUL in it"));
        }
    }
    let filter = Filter {
        who: filter.who,
        object: filter.object,
        what: filter.what,
        since: filter.since.map(|time| time.0),
        until: filter.until.map(|time| time.0),
        before,
    };
    let found = audit::list(api.core().db(), &filter, i64::try_from(paging.fetch()).unwrap_or(i64::MAX)).await?;
    Ok(paging.page(found, |line| line.id.to_string()).map(AuditView::from))
}
