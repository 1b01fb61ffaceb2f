//! The scope grammar of the Docker token protocol (protocol.md 2.1, 2.2): what a client asks a token for.
//!
//! A scope comes from outside, so everything here is bounded, and nothing here fails: an entry that is malformed, of an
//! unknown type or without a known action is left out, as the protocol wants it.

use std::fmt;

/// The longest single entry that is looked at, in bytes: a type, a class, a host with port, 255 characters of name, actions.
pub const MAX_ENTRY_BYTES: usize = 640;
/// The most entries of one request that are looked at; what follows is left out.
pub const MAX_ENTRIES: usize = 256;
/// The most resources that one request can name after its entries are united; what follows is left out.
pub const MAX_RESOURCES: usize = 64;

/// A set of the actions that a token can allow on a repository.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// No action.
    pub const NONE: Self = Self(0);
    /// Read manifests, blobs, tags and referrers.
    pub const PULL: Self = Self(1);
    /// Upload blobs and manifests, create and move tags.
    pub const PUSH: Self = Self(2);
    /// Delete manifests, tags and blobs.
    pub const DELETE: Self = Self(4);
    /// All of them: what `*` asks for.
    pub const ALL: Self = Self(7);

    const NAMES: [(Self, &'static str); 3] = [(Self::PULL, "pull"), (Self::PUSH, "push"), (Self::DELETE, "delete")];

    /// The action, or set, of this name (`pull`, `push`, `delete`, `*`); no other name is known.
    pub fn named(name: &str) -> Option<Self> {
        if name == "*" {
            return Some(Self::ALL);
        }
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(action, _)| *action)
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether every action of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no action in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the actions, always in the order pull, push, delete.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(action, _)| self.contains(*action)).map(|(_, name)| *name)
    }
}

/// As a scope writes it: `pull,push`.
impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actions({self})")
    }
}

/// One thing that a client asks a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Actions on a repository.
    Repository {
        /// The name just as the client wrote it: which registry and repository it means depends on the host that was
        /// asked (protocol.md 2.4), and whether it is a name at all has not been looked at.
        name: Box<str>,
        /// What is asked for; never empty.
        actions: Actions,
    },
    /// The list of repositories: `registry:catalog:*`.
    Catalog,
}

impl Scope {
    /// Reads one entry, `type[(class)]:name:action[,action]`. The name may hold colons (`host:5000/app`), so the actions are
    /// what follows the last one. The class is ignored, unknown actions are left out.
    ///
    /// `None` for an entry that is malformed, too long ([`MAX_ENTRY_BYTES`]), of an unknown type, or without a known action.
    pub fn parse(entry: &str) -> Option<Self> {
        if entry.len() > MAX_ENTRY_BYTES {
            return None;
        }
        let (kind, rest) = entry.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_graphic()) {
            return None;
        }
        match without_class(kind)? {
            "repository" => {
                let actions = actions.split(',').filter_map(Actions::named).fold(Actions::NONE, Actions::union);
                (!actions.is_empty()).then(|| Self::Repository { name: name.into(), actions })
            }
            "registry" if name == "catalog" && actions.split(',').any(|action| action == "*") => Some(Self::Catalog),
            _ => None,
        }
    }
}

/// The form in which it is asked for and answered.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { name, actions } => write!(f, "repository:{name}:{actions}"),
            Self::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

/// `repository(plugin)` and `repository` are the same type.
fn without_class(kind: &str) -> Option<&str> {
    let Some((kind, class)) = kind.split_once('(') else { return Some(kind) };
    let class = class.strip_suffix(')')?;
    (!class.is_empty() && class.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')).then_some(kind)
}

/// All that one token request asks for: each resource once, with the union of what was asked for it, in the order of its
/// first mention. At most [`MAX_RESOURCES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Unites the values of all `scope` parameters of a request, each of which may hold several entries separated by spaces
    /// (protocol.md 2.2, T3). Of more than [`MAX_ENTRIES`] entries or [`MAX_RESOURCES`] resources the first ones count.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scopes = Self::default();
        let entries = parameters.into_iter().flat_map(|value| value.split(' ')).filter(|entry| !entry.is_empty());
        for scope in entries.take(MAX_ENTRIES).filter_map(Scope::parse) {
            scopes.unite(scope);
        }
        scopes
    }

    /// The resources and what is asked for each.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// Whether nothing (that is known) is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn unite(&mut self, scope: Scope) {
        for known in &mut self.0 {
            match (known, &scope) {
                (Scope::Catalog, Scope::Catalog) => return,
                (Scope::Repository { name, actions }, Scope::Repository { name: asked, actions: more })
                    if name == asked =>
                {
                    *actions = actions.union(*more);
                    return;
                }
                _ => {}
            }
        }
        if self.0.len() < MAX_RESOURCES {
            self.0.push(scope);
        }
    }
}

/// The entries separated by spaces, as the `scope` member of an answer has them (protocol.md 2.3).
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(all: I) -> Self {
        let mut scopes = Self::default();
        for scope in all {
            scopes.unite(scope);
        }
        scopes
    }
}

impl<'a> IntoIterator for &'a Scopes {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repository(name: &str, actions: Actions) -> Scope {
        Scope::Repository { name: name.into(), actions }
    }

    /// protocol.md 2.1: the grammar, with a port in the name and a class after the type.
    #[test]
    fn entries() {
        let pull_push = Actions::PULL.union(Actions::PUSH);
        for (entry, scope) in [
            ("repository:a/b:pull", repository("a/b", Actions::PULL)),
            ("repository:a/b:push,pull", repository("a/b", pull_push)),
            ("repository(plugin):a/b:pull", repository("a/b", Actions::PULL)),
            ("repository:localhost:5000/a/b:pull,push", repository("localhost:5000/a/b", pull_push)),
            ("repository:[::1]:5000/a:pull", repository("[::1]:5000/a", Actions::PULL)),
            ("repository:a:*", repository("a", Actions::ALL)),
            ("repository:a:pull,metadata_read", repository("a", Actions::PULL)),
            ("repository:a/push:delete", repository("a/push", Actions::DELETE)),
            ("registry:catalog:*", Scope::Catalog),
        ] {
            assert_eq!(Scope::parse(entry), Some(scope), "{entry}");
        }
        for entry in [
            "",
            ":",
            "::",
            "repository",
            "repository:a",
            "repository::pull",
            "repository:a:",
            "repository:a:none",
            "repository(plugin:a:pull",
            "repository():a:pull",
            "registry:catalog:pull",
            "registry:other:*",
            "user:me:pull",
            "REPOSITORY:a:pull",
            "repository:ä:pull",
            "repository:a\0b:pull",
        ] {
            assert_eq!(Scope::parse(entry), None, "{entry}");
        }
    }

    /// protocol.md T3 and helm #12121: several parameters, several entries in one, duplicates: the union counts.
    #[test]
    fn t3_union_of_all_entries() {
        let pull_push = Actions::PULL.union(Actions::PUSH);
        assert_eq!(
            Scopes::parse(["repository:c:pull", "repository:c:pull,push"]),
            Scopes(vec![repository("c", pull_push)])
        );
        assert_eq!(
            Scopes::parse(["repository:a/ctr:pull repository:a/ctr:pull,push  repository:a/dk:pull", "bad", ""]),
            Scopes(vec![repository("a/ctr", pull_push), repository("a/dk", Actions::PULL)])
        );
        let text = "repository:a/ctr:pull,push registry:catalog:* repository:b:pull,push,delete";
        assert_eq!(Scopes::parse([text]).to_string(), text);
    }

    /// A request cannot make a token, or the work for it, grow without bound.
    #[test]
    fn bounds() {
        let many: Vec<String> = (0..1000).map(|i| format!("repository:r{i}:pull")).collect();
        let scopes = Scopes::parse(many.iter().map(String::as_str));
        assert_eq!(scopes.iter().count(), MAX_RESOURCES);
        assert_eq!(scopes.iter().next(), Some(&repository("r0", Actions::PULL)));
        let long = format!("repository:{}:pull", "a".repeat(MAX_ENTRY_BYTES));
        assert!(Scopes::parse([long.as_str()]).is_empty());
        let late = format!("{} repository:late:pull", "x ".repeat(MAX_ENTRIES));
        assert!(Scopes::parse([late.as_str()]).is_empty());
    }

    fn actions() -> impl Strategy<Value = Actions> {
        (1u8..8).prop_map(Actions)
    }

    proptest! {
        /// Whatever comes in, what is understood of it is bounded and says the same when it is read again.
        #[test]
        fn anything_is_read_without_harm(values in prop::collection::vec(".{0,200}", 0..8)) {
            let scopes = Scopes::parse(values.iter().map(String::as_str));
            prop_assert!(scopes.iter().count() <= MAX_RESOURCES);
            prop_assert_eq!(Scopes::parse([scopes.to_string().as_str()]), scopes);
        }

        /// Near misses of the grammar, more of which parse.
        #[test]
        fn almost_scopes(value in "(repository|registry|x)(\\([a-z]*\\)?)?:[a-z:/0-9 ]{0,12}(:(pull|push|delete|\\*|,|x){0,4})?") {
            let scopes = Scopes::parse([value.as_str()]);
            prop_assert_eq!(Scopes::parse([scopes.to_string().as_str()]), scopes);
        }

        /// What a client writes is what is understood, and asking twice, in any order, is asking for both.
        #[test]
        fn union_is_by_resource(name in "([a-z]{1,9}:[0-9]{1,5}/)?[a-z]{1,9}(/[a-z]{1,9}){0,2}", one in actions(), two in actions()) {
            let asked = [repository(&name, one).to_string(), repository(&name, two).to_string()];
            let both = Scopes(vec![repository(&name, one.union(two))]);
            prop_assert_eq!(&Scopes::parse(asked.iter().map(String::as_str)), &both);
            prop_assert_eq!(&Scopes::parse(asked.iter().rev().map(String::as_str)), &both);
            prop_assert_eq!(&Scopes::parse([asked.join(" ").as_str()]), &both);
        }
    }
}
