//! What lies in the trash comes back, or goes for good before its time (product.md 7).
//!
//! A repository that lives again takes in what lies in the trash in bounded steps. When they are interrupted, what was moved is there, and
//! restoring it once more goes on.

use roadstead_db::{
    Tx,
    audit::{self, By},
    event,
    merge::{self, Merge, Merged},
    registry, repository,
    restore::{self, Back, Choice, Entry, Locked, Tags},
    usage::{self, Change},
};
use roadstead_model::RegistryName;
use serde_json::json;

use crate::{Core, Error, ImageError, push::can_be_moved};

/// So many artifacts, tags or lines of history one step moves.
const STEP: i64 = 100;
/// So many tags that are in the way are named.
const NAMED: usize = 10;

impl Core {
    /// What lies in the trash of a registry (by its row), the newest first, before the row `before`.
    pub async fn trash(&self, registry: i64, before: Option<i64>, limit: usize) -> Result<Vec<Entry>, ImageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(restore::list(self.db(), registry, before, limit).await?)
    }

    /// Brings back what was deleted in one act.
    ///
    /// # Errors
    /// `Missing` when there is no such deletion or its time is over; `InTheWay`, also when somebody ends it meanwhile.
    pub async fn restore(
        &self,
        registry: (i64, &RegistryName),
        deletion: i64,
        choice: Choice,
        by: &By,
    ) -> Result<(), ImageError> {
        let act = Act {
            registry: registry.0,
            registry_name: registry.1.clone(),
            deletion,
            choice,
            by: by.clone(),
            grace: self.options().collect_grace,
        };
        let mut first = true;
        while self.db().write((act.clone(), first), |tx, (act, first)| Box::pin(act.run(tx, *first))).await? {
            first = false;
        }
        Ok(())
    }

    /// Brings a registry back, by its row.
    ///
    /// # Errors
    /// `Missing` when it is not in the trash, or its time is over.
    pub async fn restore_registry(&self, registry: i64, name: &RegistryName, by: &By) -> Result<(), ImageError> {
        self.db()
            .write((registry, name.clone(), by.clone()), |tx, (registry, name, by)| {
                Box::pin(async move {
                    if !restore::registry(tx, *registry).await? {
                        return Err(ImageError::Missing("registry in the trash"));
                    }
                    event::record(tx, "registry.restore", *registry, None, name.as_str(), "{}").await?;
                    audit::record(tx, by, "registry.restore", name.as_str(), None, None).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Ends the time of one deletion: it can't be restored from now on, and the background takes it apart.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn end_deletion(&self, registry: (i64, &RegistryName), deletion: i64, by: &By) -> Result<(), ImageError> {
        let input = (registry.0, registry.1.clone(), deletion, by.clone());
        self.db()
            .write(input, |tx, (registry, name, deletion, by)| {
                Box::pin(async move {
                    let locked = restore::lock_with_inside(tx, *registry, *deletion).await?;
                    let locked = locked.filter(|it| it.kind != "registry").ok_or(ImageError::Missing("entry"))?;
                    restore::end(tx, *registry, &locked).await?;
                    let object = format!("{name}/{}", locked.subject);
                    audit::record(tx, by, "trash.remove", &object, None, None).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Ends the time of all that lies in the trash of a registry, and of the registry itself if that lies there.
    pub async fn empty_trash_of(&self, registry: i64, name: &RegistryName, by: &By) -> Result<(), ImageError> {
        self.db()
            .write((registry, name.clone(), by.clone()), |tx, (registry, name, by)| {
                Box::pin(async move {
                    let ended = restore::end_all(tx, *registry).await?;
                    let before = json!({ "entries": ended }).to_string();
                    audit::record(tx, by, "trash.empty", name.as_str(), Some(&before), None).await?;
                    Ok(())
                })
            })
            .await
    }
}

#[derive(Clone)]
struct Act {
    registry: i64,
    registry_name: RegistryName,
    deletion: i64,
    choice: Choice,
    by: By,
    grace: i64,
}

impl Act {
    /// True: there is more to do.
    async fn run(&self, tx: &mut Tx<'_>, first: bool) -> Result<bool, ImageError> {
        let locked = match first {
            true => restore::lock_with_inside(tx, self.registry, self.deletion).await?,
            false => restore::lock(tx, self.registry, self.deletion).await?,
        };
        let locked = match locked {
            Some(locked) if locked.kind != "registry" => locked,
            // Another one who restored it at the same time was faster.
            None if !first && merge::is_done(tx, self.deletion).await? => return Ok(false),
            None if !first => {
                let words = "the entry was taken out of the trash while it was restored, and not all of it may be back: look what is there";
                return Err(ImageError::InTheWay(words.to_owned()));
            }
            _ => return Err(ImageError::Missing("entry in the trash: it was restored, or its time is over")),
        };
        if registry::hold(tx, self.registry).await?.is_none() {
            return Err(ImageError::Missing("registry"));
        }
        let row = locked.repository.ok_or_else(|| Error::Internal("a deletion without a repository".to_owned()))?;
        if locked.kind == "repository" {
            return self.run_repository(tx, &locked, row, first).await;
        }
        let held = repository::hold(tx, row).await?.ok_or_else(|| {
            ImageError::InTheWay("its repository lies in the trash, or is gone: restore that first".to_owned())
        })?;
        restore::show_blobs(tx, locked.id, row).await?;
        let living = restore::artifacts(tx, locked.id, row).await?;
        let tags = restore::tags_of(tx, locked.id).await?;
        let told = restore::put_back_tags(tx, &self.back(row, held.mutable_tags), &tags).await?;
        refuse(&told)?;
        if locked.kind == "tag" && !told.without.is_empty() {
            let words = "the artifact that the tag led to is not there: restore that first, or push it again";
            return Err(ImageError::InTheWay(words.to_owned()));
        }
        let change = Change { living, tags: told.made, changed: true, ..Change::of(held.registry, row) };
        usage::add(tx, &change).await?;
        restore::close(tx, locked.id).await?;
        self.record(tx, &locked, &held.name).await?;
        Ok(false)
    }

    async fn run_repository(
        &self,
        tx: &mut Tx<'_>,
        locked: &Locked,
        row: i64,
        first: bool,
    ) -> Result<bool, ImageError> {
        let found = restore::find_repository(tx, self.registry, row).await?;
        let (name, living) = found.ok_or(ImageError::Missing("repository"))?;
        let Some(to) = living else {
            restore::repository(tx, self.registry, row, locked.id).await?;
            self.record(tx, locked, &name).await?;
            return Ok(false);
        };
        let held = repository::hold(tx, to).await?.ok_or(ImageError::Missing("repository"))?;
        let back = self.back(to, held.mutable_tags);
        let merge = Merge { registry: self.registry, from: row, deletion: locked, back, grace: self.grace };
        if first {
            let in_the_way = merge::in_the_way(tx, &merge, NAMED as i64 + 1).await?;
            if self.choice == Choice::Ask {
                refuse(&Tags { in_the_way, ..Tags::default() })?;
            } else if self.choice == Choice::Replace {
                let fixed = |tag: &String| !can_be_moved(tag, held.mutable_tags);
                refuse(&Tags { immutable: in_the_way.into_iter().filter(fixed).collect(), ..Tags::default() })?;
            }
            merge::begin(tx, &merge).await?;
            self.record(tx, locked, &name).await?;
        }
        match merge::step(tx, &merge, STEP).await? {
            Merged::More(told) => {
                refuse(&told)?;
                Ok(true)
            }
            Merged::Done(_) => Ok(false),
        }
    }

    fn back(&self, repository: i64, mutable_tags: bool) -> Back<'_> {
        Back { repository, choice: self.choice, mutable: can_be_moved, mutable_tags, by: &self.by.who }
    }

    async fn record(&self, tx: &mut Tx<'_>, locked: &Locked, repository: &str) -> Result<(), ImageError> {
        let (what, body) = (format!("{}.restore", locked.kind), json!({ "by": self.by.who }).to_string());
        event::record(tx, &what, self.registry, Some(repository), &locked.subject, &body).await?;
        let object = format!("{}/{}", self.registry_name, locked.subject);
        audit::record(tx, &self.by, &what, &object, None, None).await?;
        Ok(())
    }
}

/// Tags that are in the way, in words.
fn refuse(told: &Tags) -> Result<(), ImageError> {
    let named = |tags: &[String]| {
        let names = tags.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        if tags.len() > NAMED { format!("{names} and more") } else { names }
    };
    if !told.in_the_way.is_empty() {
        let words = format!(
            "these tags lead to something else now: {}; say in `tags` whether to `keep` them or to `replace` them by those from the trash",
            named(&told.in_the_way)
        );
        return Err(ImageError::InTheWay(words));
    }
    if !told.immutable.is_empty() {
        let words = format!(
            "these tags lead to something else now, and the repository does not let a tag be moved: {}; restore with `keep`",
            named(&told.immutable)
        );
        return Err(ImageError::InTheWay(words));
    }
    Ok(())
}
