//! `whoami`: whose key is used, and where.

use serde_json::Value;

use crate::{
    client::Path,
    failure::Failure,
    output::{Column, Format, text},
    session::Session,
};

const CARD: &[Column] = &[
    text("service", "/service"),
    text("named by", "/named_by"),
    text("signed in with", "/kind"),
    text("key id", "/key_id"),
];

pub(super) async fn run(session: &Session<'_>) -> Result<(), Failure> {
    let mut me = session.client.get(&Path::of(&["me"])).await?;
    // People want to know where they are, programs what the API says.
    if session.output.format() == Format::Table
        && let Some(members) = me.as_object_mut()
    {
        members.insert("service".to_owned(), Value::from(session.service.url.as_str().trim_end_matches('/')));
        members.insert("named_by".to_owned(), Value::from(session.service.named_by()));
    }
    session.output.one(CARD, &me)
}
