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

/// Beginnings of subjects that say whose a job is, with how much of the part behind them must be fixed. Everybody chooses which claims the
/// subjects of a GitHub repository begin with, and some say what everybody has: `ref:`, `environment:`, `job_workflow_ref:`.
const SUBJECTS: [(&str, Owned); 15] = [
    ("repo:", Owned::Path),
    ("repository:", Owned::Path),
    ("repository_id:", Owned::Whole),
    ("repository_owner:", Owned::Whole),
    ("repository_owner_id:", Owned::Whole),
    ("project_path:", Owned::Path),
    ("project_id:", Owned::Whole),
    ("namespace_path:", Owned::Whole),
    ("namespace_id:", Owned::Whole),
    ("system:serviceaccount:", Owned::Whole),
    // Buildkite and HCP Terraform, Semaphore, Vercel.
    ("organization:", Owned::Whole),
    ("org:", Owned::Whole),
    ("owner:", Owned::Whole),
    // Addresses.
    ("spiffe://", Owned::Path),
    ("https://", Owned::Path),
];

/// How much of a claim must be fixed for it to mean one owner.
#[derive(Clone, Copy)]
enum Owned {
    /// All of it; in a subject, up to the next `:`.
    Whole,
    /// What stands before the first `/`, as in `acme/*`.
    Path,
    /// What [`SUBJECTS`] says, as in `repo:acme/*`; or all of what has no such parts, as the id of a service account.
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
        if patterns.iter().any(narrow) { Ok(Self(patterns)) } else { Err(too_wide(patterns.contains_key("sub"))) }
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
        let whole = fixed.len() == pattern.len();
        match self {
            Self::Whole => whole,
            Self::Path => whole || fixed.split_once('/').is_some_and(|(owner, _)| is_owner(owner)),
            Self::Subject => match fixed.find([':', '/']) {
                Some(at) if fixed[at..].starts_with(':') => SUBJECTS
                    .iter()
                    .any(|(name, owned)| fixed.strip_prefix(name).is_some_and(|it| owned.begins(it, whole))),
                // No service that many have writes such: they name each part.
                Some(at) => whole || at > 0,
                None => whole,
            },
        }
    }

    /// Whether this rest of a subject begins with an owner. `whole`: nothing comes after it.
    fn begins(self, rest: &str, whole: bool) -> bool {
        match (self, rest.split_once(if matches!(self, Self::Path) { '/' } else { ':' })) {
            (_, Some((owner, _))) => is_owner(owner),
            (Self::Whole, None) => whole && is_owner(rest),
            (_, None) => false,
        }
    }
}

fn is_owner(text: &str) -> bool {
    !text.is_empty() && !text.contains(':')
}

fn too_wide(of_subject: bool) -> TrustError {
    let listed =
        |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let names = listed(&mut OWNERS.iter().map(|(name, _)| *name));
    let mut words = format!(
        "the claims must say whose jobs are meant, or those of everybody would do: give at least one of {names}, whole or with its \
         beginning fixed, such as {{\"repository\":\"acme/app\"}}, {{\"project_path\":\"acme/*\"}} or \
         {{\"sub\":\"system:serviceaccount:builds:*\"}}"
    );
    if of_subject {
        let beginnings = listed(&mut SUBJECTS.iter().map(|(name, _)| *name));
        words.push_str(&format!(
            "; a `sub` with `:` has to begin with one of {beginnings} and then the owner, as `repo:acme/**` does, since anybody can have \
             GitHub write one that begins otherwise, such as with `ref:` or `environment:`"
        ));
    }
    TrustError(words)
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
            // Every repository of GitHub can have a `sub` that begins so.
            &[("sub", "ref:refs/**")],
            &[("sub", "ref:refs/heads/main")],
            &[("sub", "environment:production")],
            &[("sub", "environment:prod:repository_owner:*")],
            &[("sub", "environment:prod:repo:acme/app")],
            &[("sub", "job_workflow_ref:acme/app/.github/workflows/x.yml@refs/heads/main")],
            &[("sub", "workflow:x")],
            &[("sub", "workflow://acme/x")],
            &[("sub", "actor:ada")],
            &[("sub", "event_name:push:ref:refs/heads/main")],
            &[("sub", "context:x"), ("ref", "refs/heads/main")],
            &[("sub", "repository_visibility:public:a:b:c")],
            &[("sub", "repo_property_team:acme/app")],
            &[("sub", "re{f,po}:acme/app")],
            // Not up to the owner's end.
            &[("sub", "repo:acme")],
            &[("sub", "repo:acme*")],
            &[("sub", "repo:ref:refs/**")],
            &[("sub", "repository_owner:acme*")],
            &[("sub", "repository_owner:")],
            &[("sub", "repository_owner::ref:x")],
            &[("sub", "repository_owner_id:47??:**")],
            &[("sub", "system:serviceaccount:builds*")],
            &[("sub", "system:serviceaccount::kaniko")],
            &[("sub", "system:node:one")],
            &[("sub", "spiffe://*/ns/builds")],
            &[("sub", "f3a1*")],
            &[("sub", "/*")],
            // Whose it is may be up to who writes it.
            &[("email", "ada@example.com")],
            &[("job_workflow_ref", "acme/app/.github/workflows/build.yml@refs/heads/main")],
        ] {
            let error = trust(claims).expect_err(&format!("{claims:?}"));
            assert!(error.to_string().contains("whose jobs are meant"), "{error}");
            let of_subject = claims.iter().any(|(name, _)| *name == "sub");
            assert_eq!(error.to_string().contains("`repo:acme/**`"), of_subject, "{error}");
        }
        for claims in [
            &[("repository", "acme/app")][..],
            &[("repository", "acme/*"), ("ref", "refs/heads/*")],
            &[("repository_owner_id", "4711")],
            &[("sub", "repo:acme/app:ref:refs/heads/main")],
            &[("sub", "repo:acme/**")],
            &[("sub", "project_path:acme/app:ref_type:branch:ref:*")],
            &[("sub", "system:serviceaccount:builds:*")],
            &[("sub", "system:serviceaccount:builds:kaniko")],
            &[("sub", "repo:acme@4711/app@4712:ref:refs/heads/main")],
            &[("sub", "repository:acme/app:environment:production")],
            &[("sub", "repository_owner:acme:**")],
            &[("sub", "repository_owner:acme")],
            &[("sub", "repository_owner_id:4711:repository_id:*")],
            &[("sub", "namespace_path:acme/builds")],
            &[("sub", "organization:acme:pipeline:app:*")],
            &[("sub", "spiffe://acme.example/ns/builds/*")],
            // What says all or nothing, and comes of one's own issuer.
            &[("sub", "f3a1")],
            &[("sub", "8d7e1c1e-2f0c-4b7e-9a53-0d5a8f9f2b11")],
            &[("sub", "auth0|5f7c8ec7")],
            &[("sub", "org/8d7e1c1e/project/*/user/*")],
            // What is too wide alone is not where another claim says whose.
            &[("sub", "environment:production"), ("repository", "acme/app")],
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
