//! People, projects, members, robots (product.md 3): what they may be, and that each change is in the audit log.

use super::*;
use crate::{ManageError, People, PersonChange, RobotChange, RoleIn, Subject, manage, matrix::Right};

fn by() -> By {
    By {
        who: "administrator".to_owned(),
        from: "192.0.2.1".to_owned(),
        request: Some("r-1".to_owned()),
        ..By::default()
    }
}

fn full_name(text: &str) -> PersonChange {
    PersonChange { full_name: Some(text.to_owned()), ..PersonChange::default() }
}

#[test]
fn people_are_made_changed_and_forgotten() {
    on_each_engine(async |world| {
        let (_, _) = world.with_administrator().await;
        let people = People::new(world.db.clone());
        let ada = "ada".parse().unwrap();
        let made = people.create(&ada, full_name("Ada"), &by()).await.unwrap();
        assert_eq!((&*made.name, &*made.full_name, made.administrator, made.epoch), ("ada", "Ada", false, 1));
        assert_eq!(people.create(&ada, full_name("Other"), &by()).await, Err(ManageError::Taken("person")));

        let changed = people.change(&ada, Some(1), full_name("Ada L."), &by()).await.unwrap();
        assert_eq!((&*changed.full_name, changed.epoch), ("Ada L.", 2));
        assert_eq!(people.change(&ada, Some(1), full_name("late"), &by()).await, Err(ManageError::Stale));
        assert_eq!(people.show(&ada).await.unwrap(), changed);

        let names = |list: Vec<crate::Person>| list.into_iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names(people.list("", 100).await.unwrap()), ["ada", "administrator"]);
        assert_eq!(names(people.list("ada", 1).await.unwrap()), ["administrator"]);
        people.remove(&ada, None, &by()).await.unwrap();
        assert_eq!(people.show(&ada).await, Err(ManageError::Missing("person")));
        assert_eq!(people.remove(&ada, None, &by()).await, Err(ManageError::Missing("person")));

        let of_ada = audit::Filter { object: "ada".to_owned(), ..Default::default() };
        let log = audit::list(&world.db, &of_ada, 10).await.unwrap().rows;
        let whats: Vec<_> = log.iter().map(|line| &*line.what).collect();
        assert_eq!(whats, ["person.remove", "person.change", "person.create"]);
        assert_eq!(log[1].by, by());
        let json = |text: &Option<String>| serde_json::from_str::<serde_json::Value>(text.as_ref().unwrap()).unwrap();
        assert_eq!(json(&log[1].before)["full_name"], "Ada");
        assert_eq!(json(&log[1].after)["full_name"], "Ada L.");
    });
}

/// A region that nobody runs can't be helped.
#[test]
fn the_last_administrator_stays() {
    on_each_engine(async |world| {
        world.with_administrator().await;
        let people = People::new(world.db.clone());
        let (first, ada) = ("administrator".parse().unwrap(), "ada".parse().unwrap());
        let resign = || PersonChange { administrator: Some(false), ..PersonChange::default() };
        let disable = || PersonChange { disabled: Some(true), ..PersonChange::default() };
        for change in [resign(), disable()] {
            assert!(matches!(people.change(&first, None, change, &by()).await, Err(ManageError::InTheWay(_))));
        }
        assert!(matches!(people.remove(&first, None, &by()).await, Err(ManageError::InTheWay(_))));
        // With a key alone nobody gets in who is barred from using keys.
        let bar = || PersonChange { barred: Some(true), ..PersonChange::default() };
        assert!(matches!(people.change(&first, None, bar(), &by()).await, Err(ManageError::InTheWay(_))));
        let sessions = crate::Sessions::new(world.db.clone(), Entropy::system());
        sessions.set_password(&first, Some("correct horse battery".to_owned()), &by()).await.unwrap();
        people.change(&first, None, bar(), &by()).await.unwrap();
        assert!(matches!(sessions.set_password(&first, None, &by()).await, Err(ManageError::InTheWay(_))));
        people.change(&first, None, PersonChange { barred: Some(false), ..Default::default() }, &by()).await.unwrap();
        for name in ["operator", "anyone"] {
            let refused = people.create(&name.parse().unwrap(), PersonChange::default(), &by()).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{name}");
        }
        let administrator = PersonChange { administrator: Some(true), ..PersonChange::default() };
        people.create(&ada, administrator, &by()).await.unwrap();
        people.change(&ada, None, disable(), &by()).await.unwrap();
        assert!(matches!(people.remove(&first, None, &by()).await, Err(ManageError::InTheWay(_))), "ada is disabled");
        people.change(&ada, None, PersonChange { disabled: Some(false), ..Default::default() }, &by()).await.unwrap();
        let by = by();
        let (one, two) = tokio::join!(people.change(&first, None, resign(), &by), people.remove(&ada, None, &by));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    });
}

/// Barred: no key works. Disabled: the same. Removed: there is none. All with the next request, for tokens that are out too.
#[test]
fn keys_end_with_their_owner() {
    on_each_engine(async |world| {
        world.registries().await;
        let (node, key) = (world.node().await, world.person().await);
        let people = People::new(world.db.clone());
        let name = "somebody".parse().unwrap();
        people.set_role(RoleIn::Project("project".parse().unwrap()), &name, Role::Viewer, &by()).await.unwrap();
        let grant = ask(&node, signed_in(&key), &["repository:closed/a:pull"], false).await.unwrap();
        let caller = bearer(&node, &grant.token).await.unwrap();
        let new_refresh_token = async || {
            let grant = ask(&node, signed_in(&key), &[], true).await.unwrap();
            Credentials::Refresh(grant.refresh_token.unwrap())
        };
        let change = |barred, disabled| PersonChange { barred, disabled, ..PersonChange::default() };
        for (off, on) in [
            (change(Some(true), None), change(Some(false), None)),
            (change(None, Some(true)), change(None, Some(false))),
        ] {
            assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Ok(()));
            let refresh = new_refresh_token().await;
            people.change(&name, None, off, &by()).await.unwrap();
            assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Err(Refusal::InvalidToken));
            assert_eq!(basic(&node, &key.key_id, &key.secret).await.unwrap_err(), Refusal::Unauthenticated);
            assert_eq!(ask(&node, signed_in(&key), &[], false).await, Err(TokenError::WrongCredentials));
            assert_eq!(ask(&node, refresh, &[], false).await, Err(TokenError::InvalidGrant));
            people.change(&name, None, on, &by()).await.unwrap();
        }
        let refresh = new_refresh_token().await;
        people.remove(&name, None, &by()).await.unwrap();
        assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Err(Refusal::InvalidToken));
        assert_eq!(basic(&node, &key.key_id, &key.secret).await.unwrap_err(), Refusal::Unauthenticated);
        assert_eq!(ask(&node, refresh, &[], false).await, Err(TokenError::InvalidGrant));
    });
}

#[test]
fn robots_are_of_their_project() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let people = People::new(world.db.clone());
        let (project, name) = ("project".parse().unwrap(), "ci".parse().unwrap());
        people.create_robot(&project, &name, "builds", &by()).await.unwrap();
        assert_eq!(people.create_robot(&project, &name, "", &by()).await, Err(ManageError::Taken("robot")));
        assert_eq!(
            people.create_robot(&"absent".parse().unwrap(), &name, "", &by()).await,
            Err(ManageError::Missing("project"))
        );
        let limits = r#"[{"actions":["pull"]}]"#.parse().unwrap();
        let whose = || KeyFor::Robot("project".parse().unwrap(), "ci".parse().unwrap(), Clone::clone(&limits));
        let key = world.keys().create(whose(), "", None, &by()).await.unwrap();
        assert_eq!(key.owner, "project/ci");
        assert_eq!(world.listed(&key).await.limits.as_deref(), Some(r#"[{"actions":["pull"]}]"#));
        for _ in 1..crate::MAX_LIVING_KEYS {
            world.keys().create(whose(), "", None, &by()).await.unwrap();
        }
        assert!(matches!(world.keys().create(whose(), "", None, &by()).await, Err(KeyError::TooMany(_))));

        let caller = basic(&node, &key.key_id, &key.secret).await.unwrap();
        assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Ok(()));
        let disabled = RobotChange { disabled: Some(true), ..RobotChange::default() };
        people.change_robot(&project, &name, None, disabled, &by()).await.unwrap();
        assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Err(Refusal::Unauthenticated));
        people.remove_robot(&project, &name, &by()).await.unwrap();
        assert_eq!(attempt(&world, &caller, Action::Pull, "closed/a").await, Err(Refusal::Unauthenticated));
        assert_eq!(people.remove_robot(&project, &name, &by()).await, Err(ManageError::Missing("robot")));
    });
}

#[test]
fn a_project_with_registries_stays() {
    on_each_engine(async |world| {
        world.registries().await;
        let people = People::new(world.db.clone());
        let (project, empty) = ("project".parse().unwrap(), "empty".parse().unwrap());
        assert!(matches!(people.remove_project(&project, &by()).await, Err(ManageError::InTheWay(_))));
        people.create_project(&empty, "nothing yet", &by()).await.unwrap();
        people.create_robot(&empty, &"ci".parse().unwrap(), "", &by()).await.unwrap();
        assert_eq!(people.create_project(&empty, "", &by()).await, Err(ManageError::Taken("project")));
        let changed = people.change_project(&empty, Some(1), "still nothing", &by()).await.unwrap();
        assert_eq!((&*changed.description, changed.epoch), ("still nothing", 2));
        assert_eq!(people.change_project(&empty, Some(1), "", &by()).await, Err(ManageError::Stale));
        people.remove_project(&empty, &by()).await.unwrap();
        assert_eq!(people.project(&empty).await, Err(ManageError::Missing("project")));
        assert_eq!(people.project(&project).await.unwrap().name, "project");
    });
}

/// What is asked of the management of a project is decided by the role there, with facts of this moment.
#[test]
fn management_follows_roles() {
    on_each_engine(async |world| {
        world.registries().await;
        let (node, administrator) = world.with_administrator().await;
        let key = world.person().await;
        let people = People::new(world.db.clone());
        let name = "somebody".parse().unwrap();
        let caller = basic(&node, &key.key_id, &key.secret).await.unwrap();
        let ask = async |right, subject| manage(&world.db, &caller, right, subject).await.map(|it| it.name);
        let (project, closed) = (Subject::Project("project"), Subject::Registry("closed"));
        for subject in [project, closed, Subject::Project("absent"), Subject::Registry("absent")] {
            assert!(matches!(ask(Right::See, subject).await, Err(ManageError::Missing(_))), "{subject:?}");
        }
        let in_registry = || RoleIn::Registry("closed".parse().unwrap());
        assert!(people.set_role(in_registry(), &name, Role::Manager, &by()).await.unwrap());
        assert!(!people.set_role(in_registry(), &name, Role::Viewer, &by()).await.unwrap());
        assert_eq!(ask(Right::See, closed).await.as_deref(), Ok("somebody"));
        assert_eq!(ask(Right::ChangeRegistries, closed).await, Err(ManageError::Denied));
        assert!(matches!(ask(Right::See, project).await, Err(ManageError::Missing(_))), "a role on one registry");
        people.set_role(RoleIn::Project("project".parse().unwrap()), &name, Role::Manager, &by()).await.unwrap();
        assert_eq!(ask(Right::ChangeRegistries, closed).await.as_deref(), Ok("somebody"));
        assert_eq!(ask(Right::Members, project).await.as_deref(), Ok("somebody"));
        assert_eq!(ask(Right::System, Subject::Region).await, Err(ManageError::Denied));
        people.remove_role(RoleIn::Project("project".parse().unwrap()), &name, &by()).await.unwrap();
        assert_eq!(ask(Right::ChangeRegistries, closed).await, Err(ManageError::Denied));

        let root = basic(&node, &administrator.key_id, &administrator.secret).await.unwrap();
        assert!(manage(&world.db, &root, Right::System, Subject::Region).await.unwrap().administrator);
        let grant = super::ask(&node, signed_in(&administrator), &["registry:catalog:*"], false).await.unwrap();
        let token = bearer(&node, &grant.token).await.unwrap();
        let answer = manage(&world.db, &token, Right::System, Subject::Region).await.map(drop);
        assert_eq!(answer, Err(ManageError::Denied), "a token is for pulls and pushes");
        let nobody = manage(&world.db, &Caller::nobody(), Right::Own, Subject::Region).await.map(drop);
        assert_eq!(nobody, Err(ManageError::Unauthenticated));
    });
}

#[test]
fn what_is_said_of_people_has_a_form() {
    on_each_engine(async |world| {
        let people = People::new(world.db.clone());
        let name = "ada".parse().unwrap();
        for email in ["x", "@", "a@", "@b", "a b@c", &format!("{}@b", "a".repeat(300))] {
            let change = PersonChange { email: Some(email.to_owned()), ..PersonChange::default() };
            let refused = people.create(&name, change, &by()).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{email}");
        }
        for words in ["a\nb", "a\0", &"x".repeat(201)] {
            let refused = people.create(&name, full_name(words), &by()).await;
            assert!(matches!(refused, Err(ManageError::Invalid(_))), "{words}");
        }
    });
}
