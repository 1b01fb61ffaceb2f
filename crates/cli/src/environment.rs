//! The variables that the client knows. Whoever runs it hands them in.

use std::{ffi::OsString, path::PathBuf};

/// What the client's own variables are called. The service takes them for nobody's settings.
pub const VARIABLES: [&str; 6] = [
    "ROADSTEAD_URL",
    "ROADSTEAD_KEY_ID",
    "ROADSTEAD_SECRET",
    "ROADSTEAD_CA_FILE",
    "ROADSTEAD_INSECURE_HTTP",
    "ROADSTEAD_CONTEXT",
];

/// Variables as they were given to the program.
#[derive(Clone, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Of these names and values.
    pub fn new(variables: Vec<(OsString, OsString)>) -> Self {
        Self(variables)
    }

    /// A variable, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// A variable as text; what is not UTF-8 is taken for missing.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// The first that is there of several.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.text(name))
    }

    /// The file of the contexts: below `XDG_CONFIG_HOME`, or below `.config` of the home directory.
    pub(crate) fn contexts_file(&self) -> Option<PathBuf> {
        // The specification of the variable leaves relative paths out.
        let given = self.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = given.or_else(|| self.get("HOME").map(|home| PathBuf::from(home).join(".config")))?;
        Some(folder.join("roadstead").join("contexts.toml"))
    }
}

/// Values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment(...)")
    }
}

#[cfg(test)]
impl Environment {
    /// Of these, for tests.
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_lie_where_configuration_lies() {
        let file = |variables: &[(&str, &str)]| {
            Environment::of(variables).contexts_file().map(|path| path.display().to_string())
        };
        assert_eq!(file(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]).as_deref(), Some("/x/roadstead/contexts.toml"));
        let at_home = Some("/h/.config/roadstead/contexts.toml");
        for given in ["", "relative"] {
            assert_eq!(file(&[("XDG_CONFIG_HOME", given), ("HOME", "/h")]).as_deref(), at_home);
        }
        assert_eq!(file(&[]), None);
    }
}
