//! Roles and the limits of robots, in requests and in tokens (product.md 3).

use Action::{Delete, ListTags, MountFrom, Pull, Push};
use roadstead_model::scope::Actions;

use super::*;

/// What a key may do in a place: with key id and secret, and what a token for everything names.
async fn rights(world: &World, node: &Access, key: &NewKey, at: &str) -> (Vec<Action>, Actions) {
    let caller = basic(node, &key.key_id, &key.secret).await.unwrap();
    let mut allowed = Vec::new();
    for action in [Pull, ListTags, MountFrom, Push, Delete] {
        if attempt(world, &caller, action, at).await.is_ok() {
            allowed.push(action);
        }
    }
    let scope = format!("repository:{at}:*");
    let grant = ask(node, signed_in(key), &[scope.as_str()], false).await.unwrap();
    let token = bearer(node, &grant.token).await.unwrap();
    let named = [Actions::PULL, Actions::PUSH, Actions::DELETE].into_iter().filter(|it| token.allows(&place(at), *it));
    (allowed, named.fold(Actions::NONE, Actions::union))
}

/// A role on the project holds in its registries, one on a registry there alone, and the stronger of both counts.
#[test]
fn roles_hold_where_they_are_given() {
    on_each_engine(async |world| {
        world.registries().await;
        let (node, key) = (world.node().await, world.person().await);
        let read = vec![Pull, ListTags, MountFrom];
        let write = [read.clone(), vec![Push]].concat();
        let all = [write.clone(), vec![Delete]].concat();
        let nothing = (Vec::new(), Actions::NONE);
        let (pull, push) = (Actions::PULL, Actions::PULL.union(Actions::PUSH));

        assert_eq!(rights(&world, &node, &key, "closed/a").await, nothing);
        assert_eq!(rights(&world, &node, &key, "open/a").await, (read.clone(), pull));
        for (role, expected) in [
            (Role::Viewer, (read.clone(), pull)),
            (Role::Uploader, (write.clone(), push)),
            (Role::Manager, (all.clone(), Actions::ALL)),
        ] {
            world.role("somebody", "closed", Some(role)).await;
            assert_eq!(rights(&world, &node, &key, "closed/a").await, expected, "{role}");
            assert_eq!(rights(&world, &node, &key, "open/a").await, (read.clone(), pull), "{role} elsewhere");
        }
        world.role("somebody", "closed", Some(Role::Viewer)).await;
        world.role("somebody", "project", Some(Role::Uploader)).await;
        assert_eq!(rights(&world, &node, &key, "closed/a").await, (write.clone(), push), "the stronger one");
        assert_eq!(rights(&world, &node, &key, "open/a").await, (write, push));
        world.role("somebody", "project", None).await;
        assert_eq!(rights(&world, &node, &key, "closed/a").await, (read, pull));
        world.role("somebody", "closed", None).await;
        assert_eq!(rights(&world, &node, &key, "closed/a").await, nothing);
    });
}

/// Invariant 10: a token that was made when there was a role is good for nothing without it.
#[test]
fn a_role_that_is_taken_away_is_gone_for_tokens_too() {
    on_each_engine(async |world| {
        world.registries().await;
        let (node, key) = (world.node().await, world.person().await);
        world.role("somebody", "project", Some(Role::Manager)).await;
        let grant = ask(&node, signed_in(&key), &["repository:closed/a:*"], false).await.unwrap();
        let caller = bearer(&node, &grant.token).await.unwrap();
        assert_eq!(attempt(&world, &caller, Push, "closed/a").await, Ok(()));
        world.role("somebody", "project", Some(Role::Viewer)).await;
        assert_eq!(attempt(&world, &caller, Push, "closed/a").await, Err(Refusal::Denied));
        assert_eq!(attempt(&world, &caller, Pull, "closed/a").await, Ok(()));
        world.role("somebody", "project", None).await;
        assert_eq!(attempt(&world, &caller, Pull, "closed/a").await, Err(Refusal::Denied));
    });
}

/// A robot's key does what its limits say in its project, and nothing else but what anyone may.
#[test]
fn robots_keep_within_their_limits() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let limits = r#"[{"registry":"closed","repositories":"team/**","actions":["pull","push"]},{"repositories":"tmp/*","actions":["delete"]}]"#;
        let key = world.robot("ci", limits).await;
        let read = vec![Pull, ListTags, MountFrom];
        let write = [read.clone(), vec![Push]].concat();
        let push = Actions::PULL.union(Actions::PUSH);
        for (at, expected) in [
            ("closed/team/a/b", (write, push)),
            ("closed/team", (Vec::new(), Actions::NONE)),
            ("closed/other", (Vec::new(), Actions::NONE)),
            ("closed/tmp/x", (vec![Delete], Actions::DELETE)),
            ("open/tmp/x", ([read.clone(), vec![Delete]].concat(), Actions::PULL.union(Actions::DELETE))),
            ("open/team/a", (read, Actions::PULL)),
            ("absent/tmp/x", (Vec::new(), Actions::NONE)),
        ] {
            assert_eq!(rights(&world, &node, &key, at).await, expected, "{at}");
        }
        let everything = ask(&node, signed_in(&key), &["registry:catalog:*"], false).await.unwrap();
        assert_eq!(everything.scope.to_string(), "");
    });
}

/// Limits mean registries of the robot's own project: the same names in another one are nothing to it.
#[test]
fn a_robot_is_nobody_in_another_project() {
    on_each_engine(async |world| {
        world.registries().await;
        let node = world.node().await;
        let key = world.robot("ci", r#"[{"actions":["*"]}]"#).await;
        let caller = basic(&node, &key.key_id, &key.secret).await.unwrap();
        assert_eq!(attempt(&world, &caller, Push, "closed/a").await, Ok(()));
        let moved: Result<_, DbError> = world
            .db
            .write((), |tx, ()| {
                Box::pin(async move {
                    let bucket = registry::find_or_make_bucket(tx, "bucket", "directory", "").await?.id;
                    let new = registry::NewRegistry {
                        project: "elsewhere".parse().unwrap(),
                        name: "foreign".parse().unwrap(),
                        bucket,
                        alone: false,
                        private_id: "foreign".to_owned(),
                        description: String::new(),
                        public_pull: false,
                        public_endpoint: true,
                        by: By::name("test"),
                    };
                    registry::create(tx, &new).await
                })
            })
            .await;
        assert!(matches!(moved.unwrap(), registry::Created::Made(_)));
        assert_eq!(attempt(&world, &caller, Pull, "foreign/a").await, Err(Refusal::Denied));
        let grant = ask(&node, signed_in(&key), &["repository:foreign/a:*"], false).await.unwrap();
        assert_eq!(grant.scope.to_string(), "");
    });
}
