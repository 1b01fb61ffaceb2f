//! The one function that says who may do what, by the one table ([`matrix`](crate::matrix); product.md 3, protocol.md 2.1).
//!
//! Guards invariant 10: it is asked with facts that were read for this very request, so a right taken away is gone with the
//! next one. A registry that does not exist and one that the caller has no rights on give the same answer. One whose public endpoint is off
//! does not exist on public listeners: its facts are not found there ([`View`](roadstead_db::facts::View)), whoever asks.

use roadstead_db::facts::{Facts, KeyFacts};
use roadstead_model::{Place, RegistryName, Role, scope::Actions};

use crate::{
    caller::{Caller, Presented},
    matrix::{Right, Standing},
};

/// What a request is about to do. Every operation of `/v2` names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `GET /v2/`: is there a registry, and am I let in?
    Ping,
    /// Read a manifest or a blob.
    Pull,
    /// List the tags of a repository.
    ListTags,
    /// List what refers to an artifact.
    ListReferrers,
    /// Read a blob in order to mount it elsewhere (asked of the repository that `from` names).
    MountFrom,
    /// Begin, continue, look at, finish or cancel an upload; put a manifest; move a tag.
    Push,
    /// Delete a tag, a manifest or a blob.
    Delete,
    /// List all repositories.
    Catalog,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ping,
        Self::Pull,
        Self::ListTags,
        Self::ListReferrers,
        Self::MountFrom,
        Self::Push,
        Self::Delete,
        Self::Catalog,
    ];

    /// Its row of the matrix; none for the ping, which is everybody's who is somebody.
    fn right(self) -> Option<Right> {
        match self {
            Self::Ping => None,
            Self::Pull | Self::ListTags | Self::ListReferrers | Self::MountFrom => Some(Right::Pull),
            Self::Push => Some(Right::Push),
            Self::Delete => Some(Right::ChangeImages),
            Self::Catalog => Some(Right::System),
        }
    }

    /// What a token must allow on the repository.
    fn needs(self) -> Actions {
        match self {
            Self::Ping | Self::Catalog => Actions::NONE,
            Self::Pull | Self::ListTags | Self::ListReferrers | Self::MountFrom => Actions::PULL,
            Self::Push => Actions::PUSH,
            Self::Delete => Actions::DELETE,
        }
    }

    /// The scope that a 401 for this action names (protocol.md 2.1), `name` being the repository as the client wrote it:
    /// that is how it will ask for it. `None` for the ping, whose challenge has none.
    ///
    /// A push names pull as well: helm, oras and containerd ask for just what is named, and the same token then serves the
    /// look-ups of that push.
    pub fn scope_for(self, name: &str) -> Option<String> {
        let actions = match self {
            Self::Ping => return None,
            Self::Catalog => return Some("registry:catalog:*".to_owned()),
            Self::Push => Actions::PULL.union(Actions::PUSH),
            _ => self.needs(),
        };
        Some(format!("repository:{name}:{actions}"))
    }
}

/// What the action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A repository, whether there is one of this name or not.
    Place(&'a Place),
    /// The list of all repositories.
    Catalog,
    /// The service itself.
    Ping,
}

/// Why a request is not let through. Which of these it is says nothing about whether the registry or repository exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401 with a challenge without `error=`: no credentials, or wrong ones.
    #[error("authentication required")]
    Unauthenticated,
    /// 401 `error="invalid_token"`: the token is not ours, for another host, has ended, or its key has.
    #[error("the token is not valid, or not any more")]
    InvalidToken,
    /// 401 `error="insufficient_scope"`: another token could help.
    #[error("the token does not allow this")]
    InsufficientScope,
    /// 403: no token of this caller can help.
    #[error("not allowed")]
    Denied,
    /// 503: it can't be found out now. The text is for the log.
    #[error("rights can't be checked at the moment: {0}")]
    Unavailable(String),
}

/// Whether this caller may do this now. **The** decision: every operation asks it, with `facts` read for this request, for the
/// place of `target` and the key of `caller` ([`Caller::key`]).
///
/// Credentials come first, then what the person may do, then what the token allows:
///
/// | caller | answer |
/// | --- | --- |
/// | anyone, where the region is open | the right of a system administrator |
/// | nobody | `Unauthenticated`, also where anyone may pull: the client gets itself an anonymous token (protocol.md 2.1) |
/// | a token or Basic whose key was revoked or has expired | `InvalidToken`, `Unauthenticated` |
/// | an anonymous token, and it is more than anyone may do | `InsufficientScope`: signing in could help |
/// | a key whose owner has no right to it | `Denied` |
/// | a token that does not name it, though its owner has the right | `InsufficientScope` |
///
/// # Errors
/// As the table says; never [`Refusal::Unavailable`], since nothing is read here.
pub fn decide(caller: &Caller, action: Action, target: Target<'_>, facts: &Facts) -> Result<(), Refusal> {
    let place = match target {
        Target::Place(place) => Some(place),
        Target::Catalog | Target::Ping => None,
    };
    let principal = match (caller.presented(), caller.key(), &facts.key) {
        (Presented::Nothing | Presented::Session, ..) => return Err(Refusal::Unauthenticated),
        (Presented::Open, ..) => Principal::Administrator,
        (_, None, _) => Principal::Anonymous,
        (_, Some(_), Some(key)) if key.living => Principal::of_key(key, place),
        (Presented::Token, ..) => return Err(Refusal::InvalidToken),
        (Presented::Basic, ..) => return Err(Refusal::Unauthenticated),
    };
    let public_pull = facts.registry.as_ref().is_some_and(|registry| registry.public_pull);
    if !permits(action, principal, public_pull) {
        return Err(match principal {
            Principal::Anonymous => Refusal::InsufficientScope,
            Principal::Person(_) | Principal::Robot(_) | Principal::Administrator => Refusal::Denied,
        });
    }
    let allowed = match (action, target) {
        (Action::Ping, Target::Ping) => true,
        (Action::Catalog, Target::Catalog) => caller.allows_catalog(),
        (Action::Ping | Action::Catalog, _) | (_, Target::Ping | Target::Catalog) => {
            debug_assert!(false, "{action:?} is not done to {target:?}");
            return Err(Refusal::Denied);
        }
        (_, Target::Place(place)) => caller.allows(place, action.needs()),
    };
    if allowed { Ok(()) } else { Err(Refusal::InsufficientScope) }
}

/// Whether nothing in a registry is kept from a caller who may pull some of it. Roles are given on registries and not below; a robot may be
/// limited to some repositories.
pub fn pulls_whole_registry(registry: &RegistryName, facts: &Facts) -> bool {
    facts.key.as_ref().and_then(|key| key.limits.as_ref()).is_none_or(|limits| limits.pull_all_of(registry))
}

/// The kinds of callers that have the same rights in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A token without a key.
    Anonymous,
    /// A living key of someone who is no system administrator, and the role that they have there.
    Person(Option<Role>),
    /// A living key of a robot, and what its limits allow there.
    Robot(Actions),
    /// A living key of a system administrator.
    Administrator,
}

impl Principal {
    /// Whose living key it is, and what that means in this place.
    pub(crate) fn of_key(key: &KeyFacts, place: Option<&Place>) -> Self {
        match &key.limits {
            Some(limits) => Self::Robot(place.map_or(Actions::NONE, |place| limits.actions(place))),
            None if key.administrator => Self::Administrator,
            None => Self::Person(key.role),
        }
    }
}

/// Whether a caller of this kind has the right, whatever it came with.
pub(crate) fn permits(action: Action, principal: Principal, public_pull: bool) -> bool {
    let Some(right) = action.right() else { return true };
    let own = match principal {
        Principal::Anonymous | Principal::Person(None) => false,
        Principal::Person(Some(role)) => Standing::Role(role).has(right),
        Principal::Robot(actions) => right != Right::System && actions.contains(action.needs()),
        Principal::Administrator => Standing::Administrator.has(right),
    };
    own || (public_pull && Standing::Public.has(right))
}

/// What a token can name on a place, by facts that were read for its registry and the key it is made for, which signed in.
pub(crate) fn grantable_here(place: &Place, facts: &Facts) -> Actions {
    let principal = facts.key.as_ref().map_or(Principal::Anonymous, |key| Principal::of_key(key, Some(place)));
    grantable(principal, facts.registry.as_ref().is_some_and(|registry| registry.public_pull))
}

/// The same table for tokens.
fn grantable(principal: Principal, public_pull: bool) -> Actions {
    [Action::Pull, Action::Push, Action::Delete]
        .into_iter()
        .filter(|action| permits(*action, principal, public_pull))
        .fold(Actions::NONE, |granted, action| granted.union(action.needs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_db::facts::{KeyFacts, RegistryFacts};

    use super::*;
    use crate::claims::{Access, Claims, ISSUER, Verified};

    /// Every caller on every registry, for every action: `ok`; `401` = Unauthenticated; `bad` = InvalidToken;
    /// `more` = InsufficientScope; `403` = Denied.
    ///
    /// `open` comes without credentials to a region that is open, where none are asked for.
    /// `full` tokens name everything, `empty` ones nothing, `pull` ones pull, `push` ones push without pull, `other` ones everything
    /// on another repository. `basic` is key id and secret. `person` is a key of somebody without any role, `admin` of a system
    /// administrator, `viewer`, `uploader` and `manager` of one with that role there; `robot` is a robot's that may pull and push there, `idle` one
    /// of a robot that may nothing there; `dead` is one whose key was revoked or has expired, `gone` of one whose key has no row.
    const CELLS: &str = "
        caller        registry  Ping Pull ListTags ListReferrers MountFrom Push Delete Catalog
        anyone-open   absent    ok   ok   ok       ok            ok        ok   ok     ok
        anyone-open   private   ok   ok   ok       ok            ok        ok   ok     ok
        nobody        absent    401  401  401      401           401       401  401    401
        nobody        private   401  401  401      401           401       401  401    401
        nobody        public    401  401  401      401           401       401  401    401
        anyone-full   absent    ok   more more     more          more      more more   more
        anyone-full   private   ok   more more     more          more      more more   more
        anyone-full   public    ok   ok   ok       ok            ok        more more   more
        anyone-empty  absent    ok   more more     more          more      more more   more
        anyone-empty  private   ok   more more     more          more      more more   more
        anyone-empty  public    ok   more more     more          more      more more   more
        anyone-other  public    ok   more more     more          more      more more   more
        person-full   absent    ok   403  403      403           403       403  403    403
        person-full   private   ok   403  403      403           403       403  403    403
        person-full   public    ok   ok   ok       ok            ok        403  403    403
        person-empty  absent    ok   403  403      403           403       403  403    403
        person-empty  private   ok   403  403      403           403       403  403    403
        person-empty  public    ok   more more     more          more      403  403    403
        person-other  public    ok   more more     more          more      403  403    403
        person-basic  absent    ok   403  403      403           403       403  403    403
        person-basic  private   ok   403  403      403           403       403  403    403
        person-basic  public    ok   ok   ok       ok            ok        403  403    403
        viewer-full   private   ok   ok   ok       ok            ok        403  403    403
        viewer-pull   private   ok   ok   ok       ok            ok        403  403    403
        viewer-push   private   ok   more more     more          more      403  403    403
        viewer-basic  private   ok   ok   ok       ok            ok        403  403    403
        viewer-basic  public    ok   ok   ok       ok            ok        403  403    403
        uploader-full private   ok   ok   ok       ok            ok        ok   403    403
        uploader-pull private   ok   ok   ok       ok            ok        more 403    403
        uploader-basic private  ok   ok   ok       ok            ok        ok   403    403
        manager-full  private   ok   ok   ok       ok            ok        ok   ok     403
        manager-empty private   ok   more more     more          more      more more   403
        manager-basic private   ok   ok   ok       ok            ok        ok   ok     403
        robot-full    private   ok   ok   ok       ok            ok        ok   403    403
        robot-pull    private   ok   ok   ok       ok            ok        more 403    403
        robot-basic   private   ok   ok   ok       ok            ok        ok   403    403
        idle-full     private   ok   403  403      403           403       403  403    403
        idle-basic    private   ok   403  403      403           403       403  403    403
        idle-basic    public    ok   ok   ok       ok            ok        403  403    403
        admin-full    absent    ok   ok   ok       ok            ok        ok   ok     ok
        admin-full    private   ok   ok   ok       ok            ok        ok   ok     ok
        admin-full    public    ok   ok   ok       ok            ok        ok   ok     ok
        admin-empty   absent    ok   more more     more          more      more more   more
        admin-empty   private   ok   more more     more          more      more more   more
        admin-empty   public    ok   more more     more          more      more more   more
        admin-pull    private   ok   ok   ok       ok            ok        more more   more
        admin-push    private   ok   more more     more          more      ok   more   more
        admin-other   private   ok   more more     more          more      more more   more
        admin-basic   absent    ok   ok   ok       ok            ok        ok   ok     ok
        admin-basic   private   ok   ok   ok       ok            ok        ok   ok     ok
        admin-basic   public    ok   ok   ok       ok            ok        ok   ok     ok
        dead-full     private   bad  bad  bad      bad           bad       bad  bad    bad
        dead-full     public    bad  bad  bad      bad           bad       bad  bad    bad
        dead-basic    private   401  401  401      401           401       401  401    401
        dead-basic    public    401  401  401      401           401       401  401    401
        gone-full     public    bad  bad  bad      bad           bad       bad  bad    bad
        gone-basic    public    401  401  401      401           401       401  401    401
    ";

    fn place() -> Place {
        Place { registry: "reg".parse().unwrap(), repository: "team/app".parse().unwrap() }
    }

    fn facts(registry: &str, who: &str) -> Facts {
        let public_pull = registry == "public";
        let there = RegistryFacts { id: 1, bucket: 1, public_pull, epoch: 1, limited: false };
        let key = match who {
            "person" => Some(KeyFacts { living: true, ..KeyFacts::default() }),
            "viewer" | "uploader" | "manager" => {
                Some(KeyFacts { living: true, role: who.parse().ok(), ..KeyFacts::default() })
            }
            "robot" => {
                let limits = r#"[{"repositories":"team/*","actions":["pull","push"]}]"#.parse().unwrap();
                Some(KeyFacts { living: true, limits: Some(Arc::new(limits)), ..KeyFacts::default() })
            }
            "idle" => Some(KeyFacts { living: true, limits: Some(Arc::default()), ..KeyFacts::default() }),
            "admin" => Some(KeyFacts { living: true, administrator: true, ..KeyFacts::default() }),
            "dead" => Some(KeyFacts { living: false, administrator: true, ..KeyFacts::default() }),
            _ => None,
        };
        Facts { registry: (registry != "absent").then_some(there), repository: None, key, now: 0 }
    }

    fn caller(who: &str, with: &str) -> Caller {
        let key = (who != "anyone").then_some(7);
        let other = Place { registry: "reg".parse().unwrap(), repository: "team/app2".parse().unwrap() };
        let access = match with {
            "" => return Caller::nobody(),
            "open" => return Caller::anyone(),
            "basic" => return Caller::basic(7, "RSK"),
            "full" => vec![Access::repository(&place(), Actions::ALL), Access::catalog()],
            "pull" => vec![Access::repository(&place(), Actions::PULL)],
            "push" => vec![Access::repository(&place(), Actions::PUSH)],
            "other" => vec![Access::repository(&other, Actions::ALL)],
            "empty" => vec![],
            _ => panic!("{with}"),
        };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: if key.is_some() { "RSK".to_owned() } else { String::new() },
            aud: "host".to_owned(),
            exp: 0,
            nbf: 0,
            iat: 0,
            jti: String::new(),
            key,
            access,
        };
        Caller::token(Arc::new(Verified::new(claims).unwrap()))
    }

    fn target(action: Action, place: &Place) -> Target<'_> {
        match action {
            Action::Ping => Target::Ping,
            Action::Catalog => Target::Catalog,
            _ => Target::Place(place),
        }
    }

    #[test]
    fn cell_by_cell() {
        let place = place();
        let mut lines =
            CELLS.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|line| !line.is_empty());
        let head = lines.next().unwrap();
        assert_eq!(head[2..], Action::ALL.map(|action| format!("{action:?}")));
        for line in lines {
            let (who, with) = line[0].split_once('-').unwrap_or((line[0], ""));
            assert_eq!(line.len(), head.len(), "{line:?}");
            for (action, expected) in Action::ALL.into_iter().zip(&line[2..]) {
                let answer = decide(&caller(who, with), action, target(action, &place), &facts(line[1], who));
                let answer = match answer {
                    Ok(()) => "ok",
                    Err(Refusal::Unauthenticated) => "401",
                    Err(Refusal::InvalidToken) => "bad",
                    Err(Refusal::InsufficientScope) => "more",
                    Err(Refusal::Denied) => "403",
                    Err(Refusal::Unavailable(_)) => "503",
                };
                assert_eq!(answer, *expected, "{} {} {action:?}", line[0], line[1]);
            }
        }
    }

    /// product.md 3: nobody learns that a private registry exists without rights on it.
    #[test]
    fn an_absent_registry_is_answered_as_a_private_one() {
        let place = place();
        for who in ["anyone", "person", "admin", "dead", "gone"] {
            for with in ["", "basic", "full", "pull", "push", "other", "empty"] {
                for action in Action::ALL {
                    let answer =
                        |registry| decide(&caller(who, with), action, target(action, &place), &facts(registry, who));
                    assert_eq!(answer("absent"), answer("private"), "{who} {with} {action:?}");
                }
            }
        }
    }

    /// protocol.md 2.1, 2.5: what a challenge names is what clients ask for, and then it has to be enough for the action.
    #[test]
    fn what_a_challenge_names_is_enough() {
        use roadstead_model::scope::Scope;
        assert_eq!(Action::Ping.scope_for("a/b"), None);
        assert_eq!(Action::Push.scope_for("a/b").as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(Action::Delete.scope_for("a/b").as_deref(), Some("repository:a/b:delete"));
        assert_eq!(Action::ListTags.scope_for("h:5000/a").as_deref(), Some("repository:h:5000/a:pull"));
        assert_eq!(Action::Catalog.scope_for("").as_deref(), Some("registry:catalog:*"));
        for action in Action::ALL.into_iter().filter(|action| *action != Action::Ping) {
            match Scope::parse(&action.scope_for("reg/team/app").unwrap()).unwrap() {
                Scope::Catalog => assert_eq!(action, Action::Catalog),
                Scope::Repository { actions, .. } => assert!(actions.contains(action.needs()), "{action:?}"),
            }
        }
    }

    /// A token is never given an action that the same caller would be refused for lack of a right.
    #[test]
    fn tokens_are_granted_by_the_same_table() {
        let place = place();
        for who in ["anyone", "person", "viewer", "uploader", "manager", "robot", "idle", "admin"] {
            for registry in ["absent", "private", "public"] {
                for action in [Action::Pull, Action::Push, Action::Delete] {
                    let granted = grantable_here(&place, &facts(registry, who)).contains(action.needs());
                    let answer = decide(&caller(who, "full"), action, Target::Place(&place), &facts(registry, who));
                    assert_eq!(granted, answer.is_ok(), "{who} {registry} {action:?}");
                }
            }
        }
    }
}
