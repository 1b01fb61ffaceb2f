//! `tag`: names that point to artifacts.

use clap::Subcommand;

use super::image;
use crate::{
    client::Path,
    failure::Failure,
    image_name::ImageName,
    output::{Column, age, size, text, time},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("name", "/name"),
    text("kind", "/kind"),
    size("size", "/size"),
    age("changed", "/changed"),
    text("changed by", "/changed_by"),
    text("digest", "/digest"),
];

const CARD: &[Column] = &[
    text("name", "/name"),
    text("digest", "/digest"),
    text("kind", "/kind"),
    text("media type", "/media_type"),
    size("size", "/size"),
    time("changed", "/changed"),
    text("changed by", "/changed_by"),
];

const HISTORY: &[Column] =
    &[time("at", "/at"), text("by", "/by"), text("why", "/why"), text("from", "/from"), text("to", "/to")];

/// What can be done with tags.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the tags of an image
    List {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
        /// Only those with this in their name
        #[arg(long)]
        search: Option<String>,
        /// By `name` or `changed`; with `-` before it the other way round
        #[arg(long, value_name = "BY", allow_hyphen_values = true)]
        sort: Option<String>,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one tag
    Show {
        /// Image and tag, such as team/app:1.4
        #[arg(value_name = "TAG")]
        tag: String,
    },
    /// Let a tag point to an artifact; one that is there moves
    #[command(visible_alias = "change")]
    Create {
        /// Image and tag, such as team/app:1.4
        #[arg(value_name = "TAG")]
        tag: String,
        /// Digest of the artifact, or another tag of the same image
        #[arg(long, value_name = "DIGEST|TAG")]
        from: String,
        /// Only if there is no such tag yet
        #[arg(long)]
        only_new: bool,
    },
    /// Put tags into the trash; their artifacts stay
    Delete {
        /// Image and tag, such as team/app:1.4
        #[arg(value_name = "TAG", required = true)]
        tags: Vec<String>,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
    /// List where a tag pointed to, the newest first; also of one that is gone
    History {
        /// Image and tag, such as team/app:1.4
        #[arg(value_name = "TAG")]
        tag: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
}

fn at(image: &ImageName, tag: &str) -> Path {
    image::at(image).at(&["tags", tag])
}

/// The digest that a tag points to.
pub(super) async fn digest(image: &ImageName, tag: &str, session: &Session<'_>) -> Result<String, Failure> {
    let found = session.client.get(&at(image, tag)).await?;
    let digest = found["digest"].as_str().map(str::to_owned);
    digest.ok_or_else(|| Failure::other(format!("{} says no digest of {tag}", session.service.host())))
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let host = session.service.host();
    match command {
        Command::List { image, search, sort, paging } => {
            let image = ImageName::repository(&image, &host)?;
            let path = image::at(&image).at(&["tags"]).with("search", search).with("sort", sort);
            session.list(&path, paging, COLUMNS, "There is no such tag.").await
        }
        Command::Show { tag } => {
            let (image, tag) = ImageName::tagged(&tag, &host)?;
            session.show(&at(&image, &tag), CARD).await
        }
        Command::Create { tag, from, only_new } => {
            let (image, tag) = ImageName::tagged(&tag, &host)?;
            // No tag holds a colon.
            let target = if from.contains(':') { from } else { digest(&image, &from, session).await? };
            let body = Body::default().with("digest", Some(target.clone())).value();
            let condition = only_new.then_some(("If-None-Match", "*"));
            let made = session.client.send_if("PUT", &at(&image, &tag), condition, Some(&body)).await?;
            session.output.done(&made, &format!("{}:{tag} is {target} now.", image.whole()))
        }
        Command::Delete { tags, deletion } => {
            // All names are read before the first is deleted.
            let read: Result<Vec<_>, _> = tags.iter().map(|tag| ImageName::tagged(tag, &host)).collect();
            for (image, tag) in read? {
                let name = format!("{}:{tag}", image.whole());
                let doomed =
                    Doomed { what: "The tag", name: &name, fate: "goes to the trash", since: "lies in the trash" };
                session.delete(&at(&image, &tag), &deletion, &doomed).await?;
            }
            Ok(())
        }
        Command::History { tag, paging } => {
            let (image, tag) = ImageName::tagged(&tag, &host)?;
            session
                .list(
                    &at(&image, &tag).at(&["history"]),
                    paging,
                    HISTORY,
                    "There never was such a tag, or it is long ago.",
                )
                .await
        }
    }
}
