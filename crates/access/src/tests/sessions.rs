//! Signing in with a password.

use super::*;
use crate::{ManageError, People, PersonChange, Presented, Sessions, SignInError, Subject, manage, matrix::Right};

const PASSWORD: &str = "correct horse battery";

fn from(address: &str) -> By {
    By { from: address.to_owned(), ..By::default() }
}

async fn with_ada(world: &World) -> Sessions {
    world.with_administrator().await;
    let ada = "ada".parse().unwrap();
    People::new(world.db.clone()).create(&ada, PersonChange::default(), &By::default()).await.unwrap();
    let sessions = Sessions::new(world.db.clone(), Entropy::system());
    sessions.set_password(&ada, Some(PASSWORD.to_owned()), &By::name("administrator")).await.unwrap();
    sessions
}

#[test]
fn a_session_lasts_until_it_is_ended() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let new = sessions.sign_in("ada", PASSWORD.to_owned(), &from("192.0.2.1")).await.unwrap();
        let caller = sessions.caller(&new.secret).await.unwrap().unwrap();
        assert_eq!((caller.presented(), caller.key_id()), (Presented::Session, "ada"));
        assert_eq!(manage(&world.db, &caller, Right::Own, Subject::Region).await.unwrap().name, "ada");
        let refused = manage(&world.db, &caller, Right::System, Subject::Region).await.map(drop);
        assert_eq!(refused, Err(ManageError::Denied));
        assert_eq!(
            attempt(&world, &caller, Action::Pull, "open/a").await,
            Err(Refusal::Unauthenticated),
            "not for /v2"
        );

        let other = sessions.sign_in("ada", PASSWORD.to_owned(), &from("192.0.2.1")).await.unwrap();
        assert_ne!(other.secret, new.secret);
        sessions.sign_out(&new.secret).await.unwrap();
        assert!(sessions.caller(&new.secret).await.unwrap().is_none());
        assert!(sessions.caller(&other.secret).await.unwrap().is_some());
        for nonsense in ["", "x", &"x".repeat(1000)] {
            assert!(sessions.caller(nonsense).await.unwrap().is_none());
        }
        // A week later, and already after half a day without use.
        let later = Sessions::new(open(&world.url, 13 * 3600 * SECOND).await, Entropy::system());
        assert!(later.caller(&other.secret).await.unwrap().is_none());
    });
}

/// A new password, and being disabled, end what began before.
#[test]
fn sessions_end_with_the_password_and_the_person() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let ada = "ada".parse().unwrap();
        let begin = async || sessions.sign_in("ada", PASSWORD.to_owned(), &from("192.0.2.1")).await;
        let new = begin().await.unwrap();
        let change = async |old: &str, new: &str| {
            sessions.change_password(&ada, old.to_owned(), new.to_owned(), &from("192.0.2.1")).await
        };
        assert_eq!(change("wrong", "another good password").await, Err(SignInError::Wrong));
        assert!(matches!(change(PASSWORD, "short").await, Err(SignInError::Failed(ManageError::Invalid(_)))));
        assert!(sessions.caller(&new.secret).await.unwrap().is_some());
        change(PASSWORD, "another good password").await.unwrap();
        assert!(sessions.caller(&new.secret).await.unwrap().is_none());
        assert_eq!(begin().await.map(drop), Err(SignInError::Wrong));
        change("another good password", PASSWORD).await.unwrap();

        let new = begin().await.unwrap();
        let people = People::new(world.db.clone());
        let disabled = |it| PersonChange { disabled: Some(it), ..PersonChange::default() };
        people.change(&ada, None, disabled(true), &By::default()).await.unwrap();
        assert!(sessions.caller(&new.secret).await.unwrap().is_none());
        assert_eq!(begin().await.map(drop), Err(SignInError::Wrong));
        people.change(&ada, None, disabled(false), &By::default()).await.unwrap();
        begin().await.unwrap();
        sessions.set_password(&ada, None, &By::default()).await.unwrap();
        assert_eq!(begin().await.map(drop), Err(SignInError::Wrong), "without a password");
        let first = change("whatever it was", PASSWORD).await;
        assert!(matches!(first, Err(SignInError::Failed(ManageError::InTheWay(_)))), "who has a key may not be ada");
        people.remove(&ada, None, &By::default()).await.unwrap();
        assert_eq!(begin().await.map(drop), Err(SignInError::Wrong));
    });
}

/// Whether a name is somebody's can't be told by the time either: each sign-in waits for a password to be compared, so none comes to an end where that is not possible.
#[test]
fn a_name_that_nobody_has_costs_the_same() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let (bob, by) = ("bob".parse().unwrap(), By::name("administrator"));
        let people = People::new(world.db.clone());
        people.create(&bob, PersonChange::default(), &by).await.unwrap();
        sessions.set_password(&bob, Some(PASSWORD.to_owned()), &by).await.unwrap();
        let disabled = PersonChange { disabled: Some(true), ..PersonChange::default() };
        people.change(&bob, None, disabled, &by).await.unwrap();
        sessions.passwords.stop();
        for (what, name, password) in [
            ("right", "ada", PASSWORD),
            ("wrong", "ada", "wrong"),
            ("nobody", "nobody", PASSWORD),
            ("no name", "a b", PASSWORD),
            ("without a password", "administrator", PASSWORD),
            ("disabled", "bob", PASSWORD),
        ] {
            let answer = sessions.sign_in(name, password.to_owned(), &from("192.0.2.1")).await.map(drop);
            let waits = matches!(answer, Err(SignInError::Failed(ManageError::Database(DbError::Unavailable(_)))));
            assert!(waits, "{what}: {answer:?}");
        }
    });
}

/// Unknown names and wrong passwords are the same answer, wait the same, and are one line an hour in the audit log.
#[test]
fn who_fails_often_waits() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let try_in = async |name: &str, password: &str, address: &str| {
            sessions.sign_in(name, password.to_owned(), &from(address)).await.map(drop)
        };
        for name in ["ada", "nobody"] {
            for _ in 0..10 {
                assert_eq!(try_in(name, "wrong", "192.0.2.1").await, Err(SignInError::Wrong), "{name}");
            }
            assert!(matches!(try_in(name, PASSWORD, "192.0.2.1").await, Err(SignInError::TooMany(_))), "{name}");
        }
        assert_eq!(try_in("ada", PASSWORD, "192.0.2.2").await, Ok(()), "from elsewhere");
        let refused = audit::Filter { what: "session.refused".to_owned(), ..audit::Filter::default() };
        let lines = audit::list(&world.db, &refused, 100).await.unwrap().rows;
        let mut lines: Vec<_> = lines.iter().map(|it| (&*it.by.who, &*it.by.from, it.after.as_deref())).collect();
        lines.sort_unstable();
        assert_eq!(lines, [("", "192.0.2.1", Some("10")), ("ada", "192.0.2.1", Some("10"))]);
    });
}

/// Many at once are counted as many, an IPv6 address stands for its network, and who guesses the old password waits too.
#[test]
fn who_guesses_at_once_or_elsewhere_waits() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let tries: Vec<_> = (0..40).map(|number| (format!("2001:db8::{number:x}"), number)).collect();
        let asked = tries.iter().map(|(address, _)| {
            let (sessions, by) = (sessions.clone(), from(address));
            tokio::spawn(async move { sessions.sign_in("ada", "wrong".to_owned(), &by).await.map(drop) })
        });
        let mut wrong = 0;
        for answer in asked.collect::<Vec<_>>() {
            wrong += i32::from(answer.await.unwrap() == Err(SignInError::Wrong));
        }
        assert_eq!(wrong, 10);
        let (ada, elsewhere) = ("ada".parse().unwrap(), from("192.0.2.9"));
        for _ in 0..10 {
            let guess = sessions.change_password(&ada, "guess".into(), "another good password".into(), &elsewhere);
            assert_eq!(guess.await, Err(SignInError::Wrong));
        }
        let right = sessions.change_password(&ada, PASSWORD.into(), "another good password".into(), &elsewhere);
        assert!(matches!(right.await, Err(SignInError::TooMany(_))));
    });
}

/// A person has 20 sessions at most: with one more the oldest ends.
#[test]
fn the_oldest_of_many_sessions_ends() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let mut begun = Vec::new();
        for _ in 0..21 {
            let new = sessions.sign_in("ada", PASSWORD.to_owned(), &from("192.0.2.1")).await.unwrap();
            begun.push(new.secret);
        }
        assert!(sessions.caller(&begun[0]).await.unwrap().is_none());
        for secret in &begun[1..] {
            assert!(sessions.caller(secret).await.unwrap().is_some());
        }
    });
}

/// What is stored lets nobody in.
#[test]
fn the_database_knows_no_secret() {
    on_each_engine(async |world| {
        let sessions = with_ada(&world).await;
        let new = sessions.sign_in("ada", PASSWORD.to_owned(), &from("192.0.2.1")).await.unwrap();
        let stored = person::sign_in(&world.db, "ada").await.unwrap().unwrap().password.unwrap();
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(roadstead_db::session::find(&world.db, new.secret.as_bytes(), DAY).await.unwrap().is_none());
    });
}
