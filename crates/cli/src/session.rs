//! What each noun does with the service: show, list, change, delete.

use serde_json::Value;

use crate::{
    Flags, World,
    client::{Client, Path},
    failure::Failure,
    output::{Column, Output},
    service::Service,
    terminal::Terminal,
    typed::{Deletion, Paging},
};

/// One command at one service.
pub(crate) struct Session<'a> {
    pub(crate) client: Client<'a>,
    pub(crate) service: Service,
    pub(crate) output: Output<'a>,
    pub(crate) terminal: &'a dyn Terminal,
}

/// Something that can be deleted.
pub(crate) struct Doomed<'a> {
    /// `The registry`.
    pub(crate) what: &'a str,
    pub(crate) name: &'a str,
    /// What becomes of it, `goes to the trash`.
    pub(crate) fate: &'a str,
    /// What has become of it, `lies in the trash`.
    pub(crate) since: &'a str,
}

impl<'a> Session<'a> {
    /// At the service that is named.
    pub(crate) fn open(flags: &Flags, world: &'a World) -> Result<Self, Failure> {
        let service = Service::named(flags.context.as_deref(), &world.environment)?;
        Self::at(service, flags, world)
    }

    /// At this service.
    pub(crate) fn at(service: Service, flags: &Flags, world: &'a World) -> Result<Self, Failure> {
        let transport = (world.connect)(&service, &world.environment)?;
        let terminal = world.terminal.as_ref();
        let client = Client::new(&service, transport, world.clock.as_ref(), terminal);
        let output = Output::new(terminal, flags.output, world.clock.now());
        Ok(Self { client, service, output, terminal })
    }

    /// Shows what is at a path.
    pub(crate) async fn show(&self, path: &Path, card: &[Column]) -> Result<(), Failure> {
        self.output.one(card, &self.client.get(path).await?)
    }

    /// Shows a list, all pages of it. A page may be empty with others behind it.
    pub(crate) async fn list(
        &self,
        path: &Path,
        paging: Paging,
        columns: &[Column],
        empty: &str,
    ) -> Result<(), Failure> {
        let mut list = self.output.list(columns, empty);
        let (mut left, mut after) = (paging.limit.unwrap_or(u64::MAX), None);
        while left > 0 {
            let asked = path.clone().with("limit", Some(paging.page_size.min(left))).with("after", after.as_ref());
            let (mut items, next) = self.client.page(&asked).await?;
            items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= items.len() as u64;
            list.add(items)?;
            if next.is_none() || next == after {
                break;
            }
            after = next;
        }
        list.end()
    }

    /// Sends a change and says what it did.
    pub(crate) async fn change(
        &self,
        method: &'static str,
        path: &Path,
        body: Option<&Value>,
        sentence: &str,
    ) -> Result<(), Failure> {
        self.output.done(&self.client.send(method, path, body).await?, sentence)
    }

    /// Deletes what is meant to be deleted.
    pub(crate) async fn delete(&self, path: &Path, deletion: &Deletion, doomed: &Doomed<'_>) -> Result<(), Failure> {
        let Doomed { what, name, fate, since } = doomed;
        deletion.confirm(self.terminal, &format!("{what} {name} at {}", self.service.host()), fate, name)?;
        self.change("DELETE", path, None, &format!("{what} {name} {since}.")).await
    }
}
