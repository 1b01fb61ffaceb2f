//! protocol.md 4: bugs about logging in and tokens.

use roadstead_testkit::{Request, token::Challenge};

use crate::scene::{Scene, conformance};

conformance!(bug40_i2_catalog_scope);

/// protocol.md I2 and 4 #40 (distribution #3165): the challenge asks for `registry:catalog:*`.
fn bug40_i2_catalog_scope(t: &Scene) {
    let answer = t.client.anonymous().send(Request::new("GET", "/v2/_catalog"));
    assert_eq!(Challenge::of(&answer).scope.as_deref(), Some("registry:catalog:*"));
}
