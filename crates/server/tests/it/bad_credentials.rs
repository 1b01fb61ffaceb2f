//! Credentials that can't be read, and token requests beyond reason. A new trick is a new line.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use roadstead_testkit::{
    Body, Client, Login, Request,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
};

use crate::{
    bad_input::{Victim, ask},
    scene::{Storage, on_both_engines},
};

on_both_engines!(credentials, scopes);

/// protocol.md 2: credentials that can't be read are wrong ones. None of them opens anything.
fn credentials(storage: &Storage) {
    let v = Victim::start(storage);
    let right = basic(KEY_ID, KEY_SECRET);
    let encoded = |text: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(text));
    let nested = format!("{{\"alg\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let token = |head: &str, claims: &str, signature: &str| {
        format!("Bearer {}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(head), BASE64_URL_SAFE_NO_PAD.encode(claims))
    };
    let claims = r#"{"iss":"roadstead","sub":"TESTKEY0000000000001","aud":"x","exp":9999999999,"nbf":0,"iat":0,"jti":"x","key":1,"access":[]}"#;
    for header in [
        "".to_owned(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !!!!".to_owned(),
        "Basic ====".to_owned(),
        format!("Basic {}", "A".repeat(50_000)),
        format!("{right}x"),
        format!("{right} {right}"),
        format!("{right}, Bearer x"),
        encoded(b"nocolon"),
        encoded(b":"),
        encoded(b"\xff\xfe:\xff"),
        encoded(format!("{KEY_ID}:{KEY_SECRET}\0").as_bytes()),
        encoded(format!("{KEY_ID}\0:{KEY_SECRET}").as_bytes()),
        encoded(format!("{KEY_ID}:\0").as_bytes()),
        encoded(format!("{}:{KEY_SECRET}", KEY_ID.to_lowercase()).as_bytes()),
        encoded(format!("{KEY_ID}: {KEY_SECRET}").as_bytes()),
        encoded(b"' OR 1=1 --:x"),
        encoded(&[b'a'; 40_000]),
        "Bearer".to_owned(),
        "Bearer ..".to_owned(),
        "Bearer a.b.c".to_owned(),
        format!("Bearer {}", "a".repeat(50_000)),
        format!("Bearer {}", ".".repeat(50_000)),
        token(r#"{"alg":"none","typ":"JWT"}"#, claims, ""),
        token(r#"{"alg":"none"}"#, claims, "AAAA"),
        token(r#"{"alg":"HS256"}"#, claims, "AAAA"),
        token(r#"{"alg":"EdDSA","kid":"0"}"#, claims, &"A".repeat(86)),
        token(r#"{"alg":"EdDSA","kid":"../../etc/passwd"}"#, claims, &"A".repeat(86)),
        token(r#"{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}"#, claims, &"A".repeat(86)),
        token(&nested, claims, "AAAA"),
        token(r#"{"alg":"EdDSA"}"#, &"[".repeat(30_000), "AAAA"),
        "Digest username=\"x\"".to_owned(),
        "Negotiate AAAA".to_owned(),
        "\u{e9}".to_owned(),
    ] {
        for target in ["/v2/".to_owned(), v.at("manifests/good")] {
            ask("GET", &target, &[401, 431], "").header("Authorization", &header).play(&v);
        }
        ask("GET", "/token?service=x", &[200, 401, 431], "").header("Authorization", &header).play(&v);
    }
    // Of two, somebody before us may have looked at the other one.
    for two in [[right.as_str(), "Bearer x"], ["Bearer x", &right], [&right, &right]] {
        ask("GET", "/v2/", &[401], "UNAUTHORIZED")
            .header("Authorization", two[0])
            .header("Authorization", two[1])
            .play(&v);
    }
    let large = token(r#"{"alg":"EdDSA"}"#, &"x".repeat(1 << 20), "AAAA");
    let answers = v.converse(format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: {large}\r\n\r\n"));
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [431], "{answers:?}");
    v.is_well(&"a token of a megabyte");
    v.holds_no_more_than_before();
}

/// protocol.md 2.2: what a token request asks for beyond reason is left out, and what is no form is refused.
fn scopes(storage: &Storage) {
    let v = Victim::start(storage);
    let login = Client::new(v.server.address(), Login::Basic(KEY_ID.to_owned(), KEY_SECRET.to_owned()));
    let many = |count: usize, of: &str| vec![of; count].join("&");
    for query in [
        many(1_000, "scope=repository:conf/bad:pull"),
        many(4_000, "service=x"),
        format!("scope={}", many(2_000, "repository:a/b:pull%20").replace('&', "")),
        (0..800).map(|n| format!("scope=repository:conf/r{n}:pull,push,delete")).collect::<Vec<_>>().join("&"),
        format!("scope=repository:{}:pull", "a".repeat(50_000)),
        format!("scope=repository:conf/bad:{}", "pull,".repeat(9_000)),
        "scope=repository:../../x:pull".to_owned(),
        "scope=repository:conf/bad%00:pull".to_owned(),
        "scope=repository:conf/bad%22,%22x:pull".to_owned(),
        "scope=repository:conf/bad%0d%0aX:pull".to_owned(),
        "scope=registry:catalog:*&scope=registry:other:*".to_owned(),
        "scope=%ff&service=%ff&account=%00".to_owned(),
        "scope=::::&scope=:&scope=".to_owned(),
        format!("service={}", "x".repeat(50_000)),
        "service=a&service=b&offline_token=true".to_owned(),
        "&".repeat(50_000),
        "%".repeat(50_000),
    ] {
        let answer = login.get(&format!("/token?{query}"));
        answer.expect(200);
        assert!(answer.json()["token"].as_str().is_some_and(|token| token.len() < 16 << 10), "{answer:?}");
        v.is_well(&&query[..query.len().min(100)]);
    }
    let form = |body: &str| {
        let post = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
        login.anonymous().send(post.body(Body::Length(body.as_bytes().to_vec())))
    };
    for (body, right) in [
        ("".to_owned(), &[400][..]),
        ("grant_type=password".to_owned(), &[200, 400, 401]),
        ("grant_type=password&username=%00&password=%00".to_owned(), &[401]),
        (format!("grant_type=password&username={}&password=x", "a".repeat(60_000)), &[401]),
        ("grant_type=refresh_token".to_owned(), &[400]),
        ("grant_type=refresh_token&refresh_token=%00".to_owned(), &[400]),
        (format!("grant_type=refresh_token&refresh_token={}", "a".repeat(60_000)), &[400]),
        ("grant_type=refresh_token&grant_type=password&refresh_token=x".to_owned(), &[400]),
        (format!("grant_type=x{}", "&a=b".repeat(15_000)), &[400]),
        ("\0\u{fffd}=%zz".to_owned(), &[400]),
        ("a".repeat(70_000), &[413]),
    ] {
        let answer = form(&body);
        answer.expect_one_of(right);
        if answer.status >= 400 {
            answer.error_code();
        }
        v.is_well(&&body[..body.len().min(100)]);
    }
    v.holds_no_more_than_before();
}
