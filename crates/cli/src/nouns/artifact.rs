//! `artifact`: manifests, each named by its digest.

use clap::Subcommand;
use serde_json::Value;

use super::{image, tag};
use crate::{
    client::Path,
    failure::Failure,
    image_name::ImageName,
    output::{Column, age, by, number, size, text, texts, time},
    session::{Doomed, Session},
    typed::{Deletion, Paging},
};

const TAGS: Column = by("tags", "", |artifact| {
    let names = artifact["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    if artifact["more_tags"] == true { format!("{names}, ...") } else { names }
});

const COLUMNS: &[Column] = &[
    text("digest", "/digest"),
    text("kind", "/kind"),
    TAGS,
    texts("platforms", "/platforms"),
    size("size", "/size"),
    age("pushed", "/pushed"),
    age("pulled", "/pulled"),
];

const CARD: &[Column] = &[
    text("digest", "/digest"),
    text("kind", "/kind"),
    text("media type", "/media_type"),
    text("artifact type", "/artifact_type"),
    text("subject", "/subject"),
    TAGS,
    by("platforms", "", |artifact| {
        let listed = artifact["platforms"].as_array().map(Vec::as_slice).unwrap_or_default();
        let own = artifact.pointer("/config/platform").and_then(Value::as_str);
        listed.iter().filter_map(Value::as_str).chain(own).collect::<Vec<_>>().join(", ")
    }),
    size("size", "/size"),
    by("layers", "/layers", count),
    by("children", "/children", count),
    time("pushed", "/pushed"),
    text("pushed by", "/pushed_by"),
    time("last pulled", "/pulled"),
    number("pulls", "/pulls"),
];

const REFERRERS: &[Column] = &[
    text("digest", "/digest"),
    text("artifact type", "/artifact_type"),
    text("media type", "/media_type"),
    size("size", "/size"),
];

fn count(list: &Value) -> String {
    list.as_array().filter(|all| !all.is_empty()).map(|all| all.len().to_string()).unwrap_or_default()
}

/// What can be done with artifacts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the artifacts of an image, the newest first
    List {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
        /// Only those whose digest begins so
        #[arg(long)]
        search: Option<String>,
        /// Only `image`, `index`, `chart`, `signature` or `artifact`
        #[arg(long)]
        kind: Option<String>,
        /// Only those with a tag, or without one
        #[arg(long, value_name = "BOOL")]
        tagged: Option<bool>,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one artifact; `-o json` shows layers, configuration and history
    Show {
        /// Image and tag or digest, such as team/app:1.4 or team/app@sha256:...
        #[arg(value_name = "ARTIFACT")]
        artifact: String,
    },
    /// List what refers to an artifact: signatures, SBOMs
    Referrers {
        /// Image and tag or digest, such as team/app:1.4 or team/app@sha256:...
        #[arg(value_name = "ARTIFACT")]
        artifact: String,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Put an artifact into the trash, with its tags and what it alone holds
    Delete {
        /// Image and digest, such as team/app@sha256:...
        #[arg(value_name = "ARTIFACT")]
        artifact: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

/// The path of an artifact; a tag is looked up.
async fn find(text: &str, session: &Session<'_>) -> Result<Path, Failure> {
    let name = ImageName::read(text, &session.service.host())?;
    let digest = match (&name.digest, &name.tag) {
        (Some(digest), _) => digest.clone(),
        (None, Some(tag)) => tag::digest(&name, tag, session).await?,
        (None, None) => {
            let words = format!(
                "{text:?} names no artifact: it is like REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:..."
            );
            return Err(Failure::usage(words));
        }
    };
    Ok(image::at(&name).at(&["artifacts", &digest]))
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        Command::List { image, search, kind, tagged, paging } => {
            let image = ImageName::repository(&image, &session.service.host())?;
            let path =
                image::at(&image).at(&["artifacts"]).with("search", search).with("kind", kind).with("tagged", tagged);
            session.list(&path, paging, COLUMNS, "There is no such artifact.").await
        }
        Command::Show { artifact } => session.show(&find(&artifact, session).await?, CARD).await,
        Command::Referrers { artifact, paging } => {
            let path = find(&artifact, session).await?.at(&["referrers"]);
            session.list(&path, paging, REFERRERS, "Nothing refers to it.").await
        }
        Command::Delete { artifact, deletion } => {
            let name = ImageName::read(&artifact, &session.service.host())?;
            // A tag may have moved since somebody looked.
            let (Some(digest), None) = (&name.digest, &name.tag) else {
                let words =
                    format!("{artifact:?} names no digest: an artifact is deleted by that; `tag delete` deletes a tag");
                return Err(Failure::usage(words));
            };
            let path = image::at(&name).at(&["artifacts", digest]);
            let whole = format!("{}@{digest}", name.whole());
            let fate = "goes to the trash, with its tags and what it alone holds";
            let doomed = Doomed { what: "The artifact", name: &whole, fate, since: "lies in the trash" };
            session.delete(&path, &deletion, &doomed).await
        }
    }
}
