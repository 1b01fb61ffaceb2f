//! `image`: repositories, by the name that people know them by.

use clap::Subcommand;

use crate::{
    client::Path,
    failure::Failure,
    image_name::ImageName,
    output::{Column, age, number, size, text, time, yes_or_no},
    session::{Doomed, Session},
    typed::{Body, Deletion, Paging},
};

const COLUMNS: &[Column] = &[
    text("name", "/name"),
    number("tags", "/tags"),
    number("artifacts", "/artifacts"),
    size("stored", "/size"),
    number("pulls", "/pulls"),
    age("changed", "/changed"),
    text("description", "/description"),
];

const CARD: &[Column] = &[
    text("name", "/name"),
    number("tags", "/tags"),
    number("artifacts", "/artifacts"),
    size("stored", "/size"),
    size("without sharing", "/image_size"),
    number("pulls", "/pulls"),
    yes_or_no("mutable tags", "/mutable_tags"),
    time("created", "/created"),
    time("changed", "/changed"),
    text("description", "/description"),
];

const PULLS: &[Column] = &[text("day", "/day"), number("pulls", "/pulls")];

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the images of a registry
    List {
        /// Name of the registry
        registry: String,
        /// Only those with this in their name
        #[arg(long)]
        search: Option<String>,
        /// By `name`, `changed`, `pulls` or `size`; with `-` before it the other way round
        #[arg(long, value_name = "BY", allow_hyphen_values = true)]
        sort: Option<String>,
        /// How many
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one image
    Show {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// List how often an image was pulled, day by day
    Pulls {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
        /// The first day (UTC), such as 2026-11-01; without it 30 days are shown, and 366 at most
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// The last day (UTC); without it today
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
    },
    /// Change an image; what is not said stays as it is
    Change {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
        /// A few words about it
        #[arg(long)]
        description: Option<String>,
        /// All that is to be said about it, in Markdown
        #[arg(long, value_name = "TEXT")]
        full_description: Option<String>,
        /// Whether tags that exist can be pushed over
        #[arg(long, value_name = "BOOL")]
        mutable_tags: Option<bool>,
    },
    /// Put an image with all its artifacts and tags into the trash
    Delete {
        /// Registry and name of the image, such as team/app
        #[arg(value_name = "IMAGE")]
        image: String,
        /// How it is confirmed
        #[command(flatten)]
        deletion: Deletion,
    },
}

/// The path of an image.
pub(super) fn at(image: &ImageName) -> Path {
    Path::of(&["registries", &image.registry, "repositories", &image.repository])
}

pub(super) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    let read = |text: &str| ImageName::repository(text, &session.service.host());
    match command {
        Command::List { registry, search, sort, paging } => {
            let path = Path::of(&["registries", &registry, "repositories"]).with("search", search).with("sort", sort);
            session.list(&path, paging, COLUMNS, "There is no such image: a push makes one.").await
        }
        Command::Show { image } => session.show(&at(&read(&image)?), CARD).await,
        Command::Pulls { image, from, to } => {
            let path = at(&read(&image)?).at(&["pulls"]).with("from", from).with("to", to);
            let mut answer = session.client.get(&path).await?;
            let days = answer["days"].as_array_mut().map(std::mem::take).unwrap_or_default();
            session.output.all(PULLS, "Nothing is known of pulls on these days.", days)
        }
        Command::Change { image, description, full_description, mutable_tags } => {
            let image = read(&image)?;
            let body = Body::default()
                .with("description", description)
                .with("full_description", full_description)
                .with("mutable_tags", mutable_tags)
                .change()?;
            session.change("PATCH", &at(&image), Some(&body), &format!("The image {} is changed.", image.whole())).await
        }
        Command::Delete { image, deletion } => {
            let image = read(&image)?;
            let (name, fate) = (image.whole(), "with all its artifacts and tags goes to the trash");
            let doomed = Doomed { what: "The image", name: &name, fate, since: "lies in the trash" };
            session.delete(&at(&image), &deletion, &doomed).await
        }
    }
}
