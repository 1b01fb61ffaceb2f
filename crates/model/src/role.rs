//! Roles: what a person may do in a project, or in one registry of it (product.md 3). What each of them means is the table in
//! `access/src/matrix.rs`.

use std::{fmt, str::FromStr};

/// A role; a later one may do all that an earlier one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything, and pulls.
    Viewer,
    /// Pushes, too.
    Uploader,
    /// Changes, deletes, and says who else may.
    Manager,
}

/// Not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is `manager`, `uploader` or `viewer`")]
pub struct RoleError;

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Uploader, Self::Manager];

    /// Its name, in the database and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Uploader => "uploader",
            Self::Manager => "manager",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_known_by_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("Manager".parse::<Role>(), Err(RoleError));
        assert!(Role::Manager > Role::Uploader && Role::Uploader > Role::Viewer);
    }
}
