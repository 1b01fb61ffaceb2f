//! Names of registries, repositories and tags, each parsed once and carried as a type of its own. Most of them are short, and need no memory
//! of their own.

use std::{fmt, str::FromStr};

use smol_str::SmolStr;

/// Why a text is not a name of its kind. The message says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a registry or project.
    #[error(
        "a registry or project name has 3 to 30 characters: lower-case letters, digits and '-'; it starts with a letter and does not end with '-'"
    )]
    Registry,
    /// Not the name of a bucket.
    #[error(
        "a bucket name has 1 to 30 characters: lower-case letters, digits and '-'; it starts with a letter and does not end with '-'"
    )]
    Bucket,
    /// Not the name of a repository.
    #[error(
        "a repository name is made of lower-case letters and digits, joined by '.', '_', '__' or '-' and separated by '/', 255 characters at most"
    )]
    Repository,
    /// Not the name of a person or robot.
    #[error(
        "the name of a person or robot has 1 to 64 characters: lower-case letters, digits, '-', '_', '.' and '@'; it starts with a letter or digit"
    )]
    Person,
    /// Not a tag.
    #[error("a tag has 1 to 128 letters, digits, '_', '.' and '-' and does not start with '.' or '-'")]
    Tag,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:expr, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text.as_bytes()) { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a registry, unique in the region (product.md 2).
    RegistryName, NameError::Registry, valid_registry
}
name! {
    /// The name of a project: the same form as a registry's.
    ProjectName, NameError::Registry, valid_registry
}
name! {
    /// The name under which a region knows a bucket.
    BucketName, NameError::Bucket, valid_bucket
}
name! {
    /// The name of a person, unique in the region, or of a robot, unique in its project.
    PersonName, NameError::Person, valid_person
}
name! {
    /// The name of a repository inside its registry, such as `team/app` (protocol.md A1).
    RepositoryName, NameError::Repository, valid_repository
}
name! {
    /// A tag (protocol.md A2).
    Tag, NameError::Tag, valid_tag
}

fn valid_registry(text: &[u8]) -> bool {
    text.len() >= 3 && valid_bucket(text)
}

fn valid_bucket(text: &[u8]) -> bool {
    (1..=30).contains(&text.len())
        && text[0].is_ascii_lowercase()
        && text[text.len() - 1] != b'-'
        && text.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
}

fn valid_person(text: &[u8]) -> bool {
    let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=64).contains(&text.len())
        && plain(&text[0])
        && text.iter().all(|c| plain(c) || matches!(c, b'-' | b'_' | b'.' | b'@'))
}

fn valid_repository(text: &[u8]) -> bool {
    text.len() <= 255 && text.split(|c| *c == b'/').all(valid_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(text: &[u8]) -> bool {
    let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.first().is_some_and(plain) || !text.last().is_some_and(plain) {
        return false;
    }
    text.split(plain).all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|c| *c == b'-'))
}

fn valid_tag(text: &[u8]) -> bool {
    (1..=128).contains(&text.len())
        && !matches!(text[0], b'.' | b'-')
        && text.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
}

/// One repository in one registry: what a request's host and path point to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The registry.
    pub registry: RegistryName,
    /// The repository in it.
    pub repository: RepositoryName,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// What names a manifest in a request: its digest, or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By digest: it contains a `:` (protocol.md A3).
    Digest(crate::Digest),
    /// By tag.
    Tag(Tag),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Tag(tag) => tag.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_repository_names() {
        for good in
            ["a", "a/b", "library/nginx", "a--b/c__d", "a.b_c", "blobs/uploads", "manifests/tags", "0/1", "a---b"]
        {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a___b", "a..b", "a._b", "-a", "a-", "ü", "a b", "a/../b", "a_-b"]
        {
            assert_eq!(bad.parse::<RepositoryName>(), Err(NameError::Repository), "{bad}");
        }
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
    }

    #[test]
    fn a2_tags() {
        for good in ["latest", "_x", "1.0.0_build", "A-b", &"t".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a+b", "a/b", "a:b", &"t".repeat(129)] {
            assert_eq!(bad.parse::<Tag>(), Err(NameError::Tag), "{bad}");
        }
    }

    #[test]
    fn names_of_people() {
        for good in ["a", "ada.lovelace@example.com", "0x", "a-b_c", &"p".repeat(64)] {
            assert!(good.parse::<PersonName>().is_ok(), "{good}");
        }
        for bad in ["", "Ada", "-a", "a b", "a/b", "a:b", &"p".repeat(65)] {
            assert_eq!(bad.parse::<PersonName>(), Err(NameError::Person), "{bad}");
        }
    }

    #[test]
    fn registry_names() {
        for good in ["abc", "a-b", "a23", &format!("a{}", "b".repeat(29))] {
            assert!(good.parse::<RegistryName>().is_ok(), "{good}");
        }
        for bad in ["ab", "1ab", "-ab", "ab-", "aB3", "a.b", "a_b", &format!("a{}", "b".repeat(30))] {
            assert_eq!(bad.parse::<RegistryName>(), Err(NameError::Registry), "{bad}");
        }
    }
}
