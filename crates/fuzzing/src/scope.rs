//! The scopes of a token request.

use roadstead_model::scope::{Actions, MAX_ENTRY_BYTES, MAX_RESOURCES, Scope, Scopes};

/// Reads the lines of an input as the `scope` parameters of one request. What is understood is bounded, says the same when it is read
/// again, and never shrinks by asking for more.
pub fn scope(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let scopes = Scopes::parse(text.split('\n'));
    assert!(scopes.iter().count() <= MAX_RESOURCES);
    let said = scopes.to_string();
    assert!(said.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{said:?}");
    assert_eq!(Scopes::parse([said.as_str()]), scopes, "{said}");
    for scope in &scopes {
        let entry = scope.to_string();
        assert_eq!(Scope::parse(&entry).as_ref(), Some(scope), "{entry}");
        if let Scope::Repository { name, actions } = scope {
            assert!(!actions.is_empty() && Actions::ALL.contains(*actions), "{entry}");
            assert!(!name.is_empty() && name.len() <= MAX_ENTRY_BYTES && text.contains(&**name), "{entry}");
        }
    }
    let more = Scopes::parse([said.as_str(), "repository:one/more:pull"]);
    assert!(more.iter().count() >= scopes.iter().count());
    for (before, after) in scopes.iter().zip(&more) {
        match (before, after) {
            (Scope::Catalog, Scope::Catalog) => {}
            (Scope::Repository { name, actions }, Scope::Repository { name: same, actions: now }) => {
                assert!(name == same && now.contains(*actions));
            }
            _ => panic!("another order: {said}"),
        }
    }
}
