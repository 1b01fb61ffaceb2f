//! The `Authorization` header.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use roadstead_access::{Authorization, Credentials};

/// Reads a header. What is understood of it says the same when it is written in the plainest way.
pub fn authorization(data: &[u8]) {
    let Some(text) = crate::header(data) else { return };
    let credentials = Credentials::from_header(Some(text));
    match Authorization::parse(text) {
        None => assert!(credentials.is_none(), "credentials out of a header that can't be read"),
        Some(Authorization::Bearer(token)) => {
            assert!(credentials.is_none(), "a token is no password");
            assert!(text.trim_end().ends_with(token), "a token that was not sent");
            assert!(token.trim() == token, "blanks around a token");
            assert!(Authorization::parse(&format!("Bearer {token}")) == Some(Authorization::Bearer(token)));
        }
        Some(Authorization::Basic { id, secret }) => {
            assert!(!id.contains(':'), "a user name with a colon");
            assert!(id.len() + secret.len() < text.len(), "more than was sent");
            let plain = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
            // The same length or shorter, so it is not too long to be read.
            let again = Authorization::parse(&plain);
            assert!(again == Some(Authorization::Basic { id: id.clone(), secret: secret.clone() }), "{plain}");
            match credentials {
                Some(Credentials::Nobody) => assert!(id.is_empty() && secret.is_empty()),
                Some(Credentials::Key { id: user, secret: password }) => {
                    assert!(user == id && password == secret && !(id.is_empty() && secret.is_empty()));
                }
                Some(Credentials::Refresh(_)) | None => panic!("Basic is a user name and a password"),
            }
        }
    }
}
