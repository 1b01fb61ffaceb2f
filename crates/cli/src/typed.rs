//! Flags that several commands share, and bodies made of flags.

use std::fmt;

use clap::Args;
use serde_json::{Map, Value};

use crate::{client::Path, failure::Failure, terminal::Terminal};

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug, Args)]
pub struct Paging {
    /// At most so many entries; without it all, however many pages there are
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// So many entries are asked for at once, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 1000, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) page_size: u64,
}

/// What a command is about: a project, or one registry.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Scope {
    /// A project, with each of its registries
    #[arg(long)]
    project: Option<String>,
    /// One registry alone
    #[arg(long)]
    registry: Option<String>,
}

impl Scope {
    /// Which of both.
    pub(crate) fn place(&self) -> Place<'_> {
        match &self.project {
            Some(project) => Place::Project(project),
            None => Place::Registry(self.registry.as_deref().unwrap_or_default()),
        }
    }
}

/// A project or a registry, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Project(&'a str),
    Registry(&'a str),
}

impl Place<'_> {
    /// The path of what it has under this name.
    pub(crate) fn path(self, what: &str) -> Path {
        match self {
            Self::Project(name) => Path::of(&["projects", name, what]),
            Self::Registry(name) => Path::of(&["registries", name, what]),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(name) => write!(f, "project {name}"),
            Self::Registry(name) => write!(f, "registry {name}"),
        }
    }
}

/// How a deletion is confirmed.
#[derive(Clone, Debug, Args)]
pub struct Deletion {
    /// Do it without asking
    #[arg(short, long, conflicts_with = "confirm")]
    yes: bool,
    /// The name again, instead of being asked for it
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Deletion {
    /// Makes sure that it is meant. `what` and what becomes of it make a sentence: "The registry team", "goes to the trash".
    ///
    /// # Errors
    /// When it is not, or when there is nobody to ask.
    pub fn confirm(&self, terminal: &dyn Terminal, what: &str, fate: &str, name: &str) -> Result<(), Failure> {
        let again = match &self.confirm {
            _ if self.yes => return Ok(()),
            Some(again) => again.clone(),
            None if !terminal.can_ask() => {
                return Err(Failure::usage("nothing was deleted: say `--yes`, since nobody can be asked here"));
            }
            None => {
                let question = format!("{what} {fate}. Type {name} to go on: ");
                terminal.ask(&question).map_err(|error| Failure::other(format!("nothing was deleted: {error}")))?
            }
        };
        if again == name {
            Ok(())
        } else {
            Err(Failure::other(format!("nothing was deleted: {again:?} is not {name:?}")))
        }
    }
}

/// A JSON object of what was typed.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// With a member, if it has a value.
    pub(crate) fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The object.
    pub(crate) fn value(self) -> Value {
        Value::Object(self.0)
    }

    /// The object of a change.
    ///
    /// # Errors
    /// When nothing is to change.
    pub(crate) fn change(self) -> Result<Value, Failure> {
        match self.0.is_empty() {
            true => Err(Failure::usage("nothing was said that is to change: `--help` shows what can be")),
            false => Ok(self.value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Code, tests::Paper};

    fn deletion(yes: bool, confirm: Option<&str>) -> Deletion {
        Deletion { yes, confirm: confirm.map(str::to_owned) }
    }

    #[test]
    fn a_deletion_is_meant() {
        let ask = |deletion: Deletion, paper: &Paper| {
            deletion.confirm(paper, "The registry team", "goes to the trash", "team").map_err(|failure| failure.code())
        };
        let nobody = Paper::default();
        assert_eq!(ask(deletion(true, None), &nobody), Ok(()));
        assert_eq!(ask(deletion(false, Some("team")), &nobody), Ok(()));
        assert_eq!(ask(deletion(false, Some("tean")), &nobody), Err(Code::Other));
        assert_eq!(ask(deletion(false, None), &nobody), Err(Code::Usage));
        for (answer, outcome) in [("team", Ok(())), ("yes", Err(Code::Other)), ("", Err(Code::Other))] {
            let paper = Paper::answering(&[answer]);
            assert_eq!(ask(deletion(false, None), &paper), outcome, "{answer}");
            assert!(paper.asked()[0].contains("The registry team goes to the trash"));
        }
    }

    #[test]
    fn a_change_changes_something() {
        assert_eq!(Body::default().change().expect_err("nothing").code(), Code::Usage);
        let body = Body::default().with("a", Some(true)).with("b", None::<bool>);
        assert_eq!(body.change().expect("something"), serde_json::json!({"a": true}));
    }
}
