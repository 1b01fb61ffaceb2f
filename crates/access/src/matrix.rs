//! The permission matrix: the one table that says which role has which right (product.md 3). What is to come has its row already.
//!
//! Every operation names its row: those of `/v2` by [`Action`](crate::Action). `Reads everything` never includes a secret.

use roadstead_model::Role;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See projects, registries, settings, members, usage, traffic, policies, webhooks, replications, caches, histories, scans, keys of
    /// trust, the trash.
    See,
    /// Make, change, delete registries.
    ChangeRegistries,
    /// See images, artifacts and tags with all that is known of them.
    SeeImages,
    /// Read manifests and blobs, list tags and referrers.
    Pull,
    /// Push; make or move a tag, by a push or by hand.
    Push,
    /// Descriptions, mutability; delete images, artifacts and tags; restore them.
    ChangeImages,
    /// Clean up and protect: make, delete, enable, run, try policies.
    Policies,
    /// Webhooks, replications, image caches: make, change, delete, run, stop.
    Deliveries,
    /// Scans: start, stop, settings, allow lists, pull prevention; keys of trust and their policy.
    Scans,
    /// Collect garbage by hand; end what lies in the trash before its time.
    Collect,
    /// Members and robots of the project.
    Members,
    /// One's own keys and profile: everybody's for themselves.
    Own,
    /// Read the audit log: of the project, and system administrators of all.
    Audit,
    /// Projects, people, buckets, other regions, quotas, settings of the system.
    System,
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Someone with this role on the registry, or on its project.
    Role(Role),
    /// Anyone at all, on a registry that lets anyone pull.
    Public,
    /// A system administrator.
    Administrator,
}

impl Standing {
    /// All columns.
    pub const ALL: [Self; 5] = [
        Self::Role(Role::Manager),
        Self::Role(Role::Uploader),
        Self::Role(Role::Viewer),
        Self::Public,
        Self::Administrator,
    ];

    /// Whether it has the right.
    pub fn has(self, right: Right) -> bool {
        let column = Self::ALL.iter().position(|standing| *standing == self);
        let row = TABLE.iter().find(|(listed, _)| *listed == right);
        row.zip(column).is_some_and(|((_, cells), column)| cells[column])
    }
}

impl Right {
    /// All rows.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(right, _)| *right)
    }
}

const YES: bool = true;
const NO: bool = false;

/// Manager, uploader, viewer, anyone on a public registry, system administrator.
#[rustfmt::skip]
const TABLE: [(Right, [bool; 5]); 14] = [
    (Right::See,              [YES, YES, YES, NO,  YES]),
    (Right::ChangeRegistries, [YES, NO,  NO,  NO,  YES]),
    (Right::SeeImages,        [YES, YES, YES, NO,  YES]),
    (Right::Pull,             [YES, YES, YES, YES, YES]),
    (Right::Push,             [YES, YES, NO,  NO,  YES]),
    (Right::ChangeImages,     [YES, NO,  NO,  NO,  YES]),
    (Right::Policies,         [YES, NO,  NO,  NO,  YES]),
    (Right::Deliveries,       [YES, NO,  NO,  NO,  YES]),
    (Right::Scans,            [YES, NO,  NO,  NO,  YES]),
    (Right::Collect,          [YES, NO,  NO,  NO,  YES]),
    (Right::Members,          [YES, NO,  NO,  NO,  YES]),
    (Right::Own,              [YES, YES, YES, NO,  YES]),
    (Right::Audit,            [YES, NO,  NO,  NO,  YES]),
    (Right::System,           [NO,  NO,  NO,  NO,  YES]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of product.md 3, row by row, as letters: manager, uploader, viewer, public, administrator.
    #[test]
    fn cell_by_cell() {
        let expected = "See MUV-A, ChangeRegistries M---A, SeeImages MUV-A, Pull MUVPA, Push MU--A, ChangeImages M---A, Policies M---A, \
                        Deliveries M---A, Scans M---A, Collect M---A, Members M---A, Own MUV-A, Audit M---A, System ----A";
        let seen: Vec<_> = Right::all()
            .map(|right| {
                let cells = Standing::ALL.into_iter().zip("MUVPA".chars());
                let cells: String =
                    cells.map(|(standing, letter)| if standing.has(right) { letter } else { '-' }).collect();
                format!("{right:?} {cells}")
            })
            .collect();
        assert_eq!(seen.join(", "), expected);
    }

    #[test]
    fn a_stronger_role_has_all_that_a_weaker_one_has() {
        for roles in Role::ALL.windows(2) {
            for right in Right::all() {
                assert!(!Standing::Role(roles[0]).has(right) || Standing::Role(roles[1]).has(right), "{right:?}");
            }
        }
    }
}
