//! Which jobs of a CI service a robot trusts: what their tokens have to say (product.md 13).
//!
//! Anybody can have a public CI service make a token. So what a token has to say must name whose job it is, from its beginning on: a
//! branch or a pattern that begins with `*` would let in everybody's jobs.

use std::{collections::BTreeMap, fmt};

use crate::pattern::Pattern;

/// The most claims of one trust.
const MAX_CLAIMS: usize = 20;
/// The longest name of a claim, in bytes.
const MAX_NAME: usize = 100;
/// How much the patterns of one trust are together: they are compared with each token that comes for its robot.
const MAX_PIECES: usize = 2048;

/// Claims that say whose a job is, with the beginning that must be fixed.
const OWNERS: [(&str, Owned); 9] = [
    ("sub", Owned::Subject),
    ("repository", Owned::Path),
    ("repository_id", Owned::Whole),
    ("repository_owner", Owned::Whole),
    ("repository_owner_id", Owned::Whole),
    ("project_path", Owned::Path),
    ("project_id", Owned::Whole),
    ("namespace_path", Owned::Whole),
    ("namespace_id", Owned::Whole),
];

/// How much of a claim must be fixed for it to mean one owner.
#[derive(Clone, Copy)]
enum Owned {
    /// All of it.
    Whole,
    /// What stands before the first `/`, as in `acme/*`.
    Path,
    /// The same, as in `repo:acme/*`, or three parts as in `system:serviceaccount:builds:*`.
    Subject,
}

/// What the claims of a token have to be: each matches its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedClaims(BTreeMap<String, Pattern>);

/// Why claims are nothing to trust. The message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(String);

impl TrustedClaims {
    /// These names and patterns, 1 to 20.
    ///
    /// # Errors
    /// None, too many, what is no pattern, and such as anybody's token would fit.
    pub fn new<N: Into<String>, P: AsRef<str>>(claims: impl IntoIterator<Item = (N, P)>) -> Result<Self, TrustError> {
        let mut patterns = BTreeMap::new();
        for (name, pattern) in claims {
            let name = name.into();
            if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(TrustError(format!("the name of a claim has 1 to {MAX_NAME} bytes")));
            }
            if ["iss", "aud", "exp", "nbf", "iat", "jti"].contains(&name.as_str()) {
                let words = "issuer and audience have members of their own, and times are always looked at";
                return Err(TrustError(format!("the claim `{name}` is not to be listed: {words}")));
            }
            let pattern =
                pattern.as_ref().parse().map_err(|error| TrustError(format!("the claim `{name}`: {error}")))?;
            patterns.insert(name, pattern);
        }
        if patterns.len() > MAX_CLAIMS {
            return Err(TrustError(format!("a trust has {MAX_CLAIMS} claims at most")));
        }
        if patterns.values().map(Pattern::pieces).sum::<usize>() > MAX_PIECES {
            return Err(TrustError("the patterns are too long together: take fewer, shorter ones".to_owned()));
        }
        let narrow = |(name, pattern): (&String, &Pattern)| {
            OWNERS.iter().any(|(owner, owned)| owner == name && owned.is_fixed(pattern.as_str()))
        };
        if patterns.iter().any(narrow) { Ok(Self(patterns)) } else { Err(too_wide()) }
    }

    /// Whether a token fits, whose claims are these texts.
    pub fn fit(&self, claim: impl Fn(&str) -> Option<String>) -> bool {
        self.0.iter().all(|(name, pattern)| claim(name).is_some_and(|value| pattern.matches(&value)))
    }

    /// Each name with its pattern, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Pattern)> {
        self.0.iter().map(|(name, pattern)| (name.as_str(), pattern))
    }

    /// The text that [`Self::read`] reads.
    pub fn to_json(&self) -> String {
        let texts: BTreeMap<_, _> = self.iter().map(|(name, pattern)| (name, pattern.as_str())).collect();
        serde_json::to_string(&texts).unwrap_or_default()
    }

    /// What [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn read(text: &str) -> Result<Self, TrustError> {
        let texts: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|error| TrustError(error.to_string()))?;
        Self::new(texts)
    }
}

impl fmt::Display for TrustedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Owned {
    fn is_fixed(self, pattern: &str) -> bool {
        let fixed = pattern.split(['*', '?', '{', '}']).next().unwrap_or_default();
        let owner = fixed.split_once('/').is_some_and(|(owner, _)| !owner.is_empty() && !owner.ends_with(':'));
        fixed.len() == pattern.len()
            || match self {
                Self::Whole => false,
                Self::Path => owner,
                Self::Subject => {
                    let parts: Vec<_> = fixed.split(':').collect();
                    owner || (parts.len() > 3 && parts[..3].iter().all(|part| !part.is_empty()))
                }
            }
    }
}

fn too_wide() -> TrustError {
    let names: Vec<_> = OWNERS.iter().map(|(name, _)| format!("`{name}`")).collect();
    TrustError(format!(
        "the claims must say whose jobs are meant, or those of everybody would do: give at least one of {}, whole or with its \
         beginning fixed, such as {{\"repository\":\"acme/app\"}}, {{\"project_path\":\"acme/*\"}} or \
         {{\"sub\":\"system:serviceaccount:builds:*\"}}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(claims: &[(&str, &str)]) -> Result<TrustedClaims, TrustError> {
        TrustedClaims::new(claims.iter().copied())
    }

    #[test]
    fn what_everybody_could_have_is_nothing_to_trust() {
        for claims in [
            &[][..],
            &[("ref", "refs/heads/main")],
            &[("repository", "*/app")],
            &[("repository", "**")],
            &[("repository", "/**")],
            &[("repository", "{acme,other}/app")],
            &[("repository_owner", "acme*")],
            &[("project_id", "4?")],
            &[("sub", "**")],
            &[("sub", "repo:**")],
            &[("sub", "repo:*/app:ref:refs/heads/main")],
            &[("sub", "project_path:/**")],
            &[("sub", "system:serviceaccount:*:*")],
            &[("sub", "system:serviceaccount:*")],
            &[("ref", "*"), ("environment", "production")],
            // Whose it is may be up to who writes it.
            &[("email", "ada@example.com")],
            &[("job_workflow_ref", "acme/app/.github/workflows/build.yml@refs/heads/main")],
        ] {
            let error = trust(claims).expect_err(&format!("{claims:?}"));
            assert!(error.to_string().contains("whose jobs are meant"), "{error}");
        }
        for claims in [
            &[("repository", "acme/app")][..],
            &[("repository", "acme/*"), ("ref", "refs/heads/*")],
            &[("repository_owner_id", "4711")],
            &[("sub", "repo:acme/app:ref:refs/heads/main")],
            &[("sub", "repo:acme/**")],
            &[("sub", "project_path:acme/app:ref_type:branch:ref:*")],
            &[("sub", "system:serviceaccount:builds:*")],
            &[("sub", "f3a1")],
        ] {
            let right = trust(claims).expect("a right one");
            assert_eq!(TrustedClaims::read(&right.to_json()), Ok(right));
        }
    }

    #[test]
    fn what_is_not_right_is_refused() {
        for claims in [
            &[("sub", "a"), ("", "a")][..],
            &[("sub", "a"), ("aud", "us")],
            &[("sub", "a"), ("ref", "{")],
            &[("sub", "a"), ("ref", "")],
        ] {
            assert!(trust(claims).is_err(), "{claims:?}");
        }
        let many: Vec<_> = (0..20).map(|number| (format!("c{number}"), "x")).chain([("sub".to_owned(), "a")]).collect();
        assert!(TrustedClaims::new(many).is_err());
    }

    #[test]
    fn all_claims_have_to_fit() {
        let trust = trust(&[("repository", "acme/app"), ("ref", "refs/heads/*")]).expect("a trust");
        let fits = |given: &[(&str, &str)]| {
            trust.fit(|name| given.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(fits(&[("repository", "acme/app"), ("ref", "refs/heads/main"), ("actor", "x")]));
        assert!(!fits(&[("repository", "acme/app")]), "a claim is missing");
        assert!(!fits(&[("repository", "acme/app"), ("ref", "refs/heads/a/b")]));
        assert!(!fits(&[("repository", "acme/app2"), ("ref", "refs/heads/main")]));
        assert!(!fits(&[("repository", "acme/app"), ("ref", "refs/tags/1")]));
    }
}
