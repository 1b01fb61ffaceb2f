//! What a robot's access key may do: only what one of its limits says (product.md 3).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Place, RegistryName, pattern::Pattern, scope::Actions};

/// The most limits of one key.
const MAX_LIMITS: usize = 50;
/// How much the patterns of one key are together: they are compared with the name of each request, and lie in memory with what is remembered.
const MAX_PIECES: usize = 2048;

/// All limits of a key. One without any may do nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(Box<[Limit]>);

/// Actions on some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In this registry; `None`: in each of its project.
    pub registry: Option<RegistryName>,
    /// On repositories of these names; `None`: on all.
    pub repositories: Option<Pattern>,
    /// These.
    pub actions: Actions,
}

/// As it is stored and as the API has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repositories: Option<String>,
    actions: Vec<String>,
}

/// Why a text says no limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LimitsError(String);

impl Limits {
    /// These, 1 to 50.
    ///
    /// # Errors
    /// None, too many, or one that allows nothing.
    pub fn new(limits: Vec<Limit>) -> Result<Self, LimitsError> {
        if limits.is_empty() || limits.len() > MAX_LIMITS {
            return Err(LimitsError(format!("a key of a robot has 1 to {MAX_LIMITS} limits")));
        }
        if limits.iter().any(|limit| limit.actions.is_empty()) {
            return Err(LimitsError("a limit allows at least one of `pull`, `push` and `delete`".to_owned()));
        }
        if limits.iter().filter_map(|limit| limit.repositories.as_ref()).map(Pattern::pieces).sum::<usize>()
            > MAX_PIECES
        {
            let words = "the patterns of a key are too long together: take fewer, shorter ones, with fewer braces";
            return Err(LimitsError(words.to_owned()));
        }
        Ok(Self(limits.into()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.0.iter()
    }

    /// What they allow on a place of the robot's project.
    pub fn actions(&self, place: &Place) -> Actions {
        let means = |limit: &&Limit| {
            limit.registry.as_ref().is_none_or(|registry| *registry == place.registry)
                && limit.repositories.as_ref().is_none_or(|pattern| pattern.matches(place.repository.as_str()))
        };
        self.0.iter().filter(means).fold(Actions::NONE, |all, limit| all.union(limit.actions))
    }

    /// Whether they allow to pull everything in a registry of the robot's project.
    pub fn pull_all_of(&self, registry: &RegistryName) -> bool {
        let all =
            |limit: &&Limit| limit.registry.as_ref().is_none_or(|it| it == registry) && limit.repositories.is_none();
        self.0.iter().filter(all).any(|limit| limit.actions.contains(Actions::PULL))
    }

    /// The text that [`FromStr`] reads.
    pub fn to_json(&self) -> String {
        let written = |limit: &Limit| Written {
            registry: limit.registry.as_ref().map(ToString::to_string),
            repositories: limit.repositories.as_ref().map(ToString::to_string),
            actions: limit.actions.names().map(str::to_owned).collect(),
        };
        serde_json::to_string(&self.0.iter().map(written).collect::<Vec<_>>()).unwrap_or_default()
    }
}

impl FromStr for Limits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let written: Vec<Written> = serde_json::from_str(text).map_err(|error| LimitsError(error.to_string()))?;
        let limits = written.into_iter().map(|written| {
            let registry = written.registry.map(|name| name.parse()).transpose();
            let repositories = written.repositories.map(|pattern| pattern.parse()).transpose();
            let actions = written.actions.iter().try_fold(Actions::NONE, |all, name| {
                let action = Actions::named(name).ok_or_else(|| {
                    LimitsError(format!("{name:?} is no action: there are `pull`, `push`, `delete` and `*`"))
                })?;
                Ok(all.union(action))
            });
            Ok(Limit {
                registry: registry.map_err(|error: crate::NameError| LimitsError(error.to_string()))?,
                repositories: repositories
                    .map_err(|error: crate::pattern::PatternError| LimitsError(error.to_string()))?,
                actions: actions?,
            })
        });
        Self::new(limits.collect::<Result<_, LimitsError>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_do_what_one_of_its_limits_says() {
        let text = r#"[{"registry":"main","repositories":"team/**","actions":["pull","push"]},{"actions":["pull"]},
                      {"repositories":"tmp/*","actions":["*"]}]"#;
        let limits: Limits = text.parse().expect("limits");
        let actions = |registry: &str, repository: &str| {
            limits.actions(&Place {
                registry: registry.parse().expect("a registry"),
                repository: repository.parse().expect("a repository"),
            })
        };
        assert_eq!(actions("main", "team/a/b"), Actions::PULL.union(Actions::PUSH));
        assert_eq!(actions("other", "team/a"), Actions::PULL);
        assert_eq!(actions("other", "tmp/x"), Actions::ALL);
        assert_eq!(limits.to_json().parse(), Ok(limits.clone()));
        let main = "main".parse().expect("a registry");
        assert!(limits.pull_all_of(&main));
        let some: Limits = r#"[{"registry":"main","repositories":"**","actions":["pull"]},{"actions":["push"]}]"#
            .parse()
            .expect("limits");
        assert!(!some.pull_all_of(&main));
        assert_eq!(
            Limits::default().actions(&Place {
                registry: "main".parse().expect("a registry"),
                repository: "a".parse().expect("a repository"),
            }),
            Actions::NONE
        );
    }

    #[test]
    fn what_says_no_limits_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"[{"actions":[]}]"#,
            r#"[{"actions":["read"]}]"#,
            r#"[{"registry":"A","actions":["pull"]}]"#,
            r#"[{"repositories":"{","actions":["pull"]}]"#,
            r#"[{"actions":["pull"],"more":1}]"#,
            &format!("[{}]", vec![r#"{"actions":["pull"]}"#; 51].join(",")),
            &format!(r#"[{{"repositories":"{}{}","actions":["pull"]}}]"#, "{a,b}".repeat(6), "x".repeat(400)),
        ] {
            assert!(text.parse::<Limits>().is_err(), "{text}");
        }
    }
}
