//! Nobody learns that a private registry, project, repository or image is there without rights on it (product.md 3): each operation is asked by
//! strangers of all kinds about what is there and about what is not, and both answers are the same, to the byte.

use roadstead_testkit::{Body, Client, Login, Request, Server, content, digest, http::escape, token::basic};
use serde_json::json;

use crate::{
    management::{attempt, person, request, robot, role, send},
    private::{questions, seen},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    enumeration_by_the_protocol,
    enumeration_by_host_names,
    enumeration_by_mounts_and_digests,
    enumeration_by_the_management,
    enumeration_by_limited_robots,
);

/// What is there, and what is not: projects, and registries in them, of names of one length.
const HIDDEN: &str = "alpha";
const ABSENT: &str = "gamma";
const ON_ANOTHER_REGISTRY: &str = "somebody with a role on another registry of the project";

/// A project that is hidden, with registry, image, robot, member and trash, and one beside it; who has no rights in the first.
struct Stage {
    root: Client,
    image: content::Image,
    strangers: Vec<(&'static str, Client)>,
}

impl Stage {
    fn set(server: &Server) -> Self {
        let root = server.client();
        for project in [HIDDEN, "beta"] {
            send(&root, "PUT", &format!("/projects/{project}"), &json!({})).expect(201);
            send(&root, "PUT", &format!("/registries/{project}-one"), &json!({"project": project})).expect(201);
        }
        send(&root, "PUT", &format!("/registries/{HIDDEN}-two"), &json!({"project": HIDDEN})).expect(201);
        let image = content::image(1);
        for tag in ["v1", "trashed"] {
            root.push_image(&format!("{HIDDEN}-one/app"), tag, &image);
        }
        root.delete(&format!("/v2/{HIDDEN}-one/app/manifests/trashed")).expect(202);
        let _ = robot(&root, HIDDEN, "ci", &json!([{"actions": ["*"]}]));
        role(&root, &format!("projects/{HIDDEN}"), "administrator", "viewer");
        let (of_beta, of_two) = (person(&root, "of-beta"), person(&root, "of-two"));
        role(&root, "projects/beta", "of-beta", "manager");
        role(&root, &format!("registries/{HIDDEN}-two"), "of-two", "manager");
        let limits = json!([{"registry": format!("{HIDDEN}-two"), "actions": ["*"]}]);
        let strangers = vec![
            ("anonymous", root.anonymous()),
            ("anyone", root.logged_in(Login::AnonymousToken)),
            ("somebody without a role", person(&root, "nobody")),
            (ON_ANOTHER_REGISTRY, of_two),
            ("a robot of the project, for another registry", robot(&root, HIDDEN, "two", &limits)),
            ("a robot of another project", robot(&root, "beta", "ci", &json!([{"actions": ["*"]}]))),
            ("the manager of another project", of_beta),
        ];
        Self { root, image, strangers }
    }

    /// The manager of the other project, who pushes there.
    fn of_beta(&self) -> &Client {
        &self.strangers.last().unwrap().1
    }
}

/// Asks both, and compares what is seen.
#[track_caller]
fn same(who: &str, client: &Client, there: Request, absent: Request, names: (&str, &str)) {
    let what = format!("{who}: {} {}", there.method, there.target);
    let there = seen(&client.send(there), names.0);
    let absent = seen(&client.send(absent), names.1);
    assert_eq!(there, absent, "{what}");
}

/// A key's client again, with tokens.
fn by_token(client: &Client) -> Option<Client> {
    let Login::Basic(id, secret) = client.login.clone() else { return None };
    Some(client.logged_in(Login::Token(id, secret)))
}

/// With the key itself, whatever the client does with it otherwise: so are tokens asked for.
fn with_key(client: &Client, request: Request) -> Request {
    match &client.login {
        Login::Token(id, secret) if request.target.starts_with("/token") => {
            request.header("Authorization", &basic(id, secret))
        }
        _ => request,
    }
}

/// Manifests, blobs, uploads, tags, referrers, deletes, the catalog, tokens.
fn enumeration_by_the_protocol(storage: &Storage) {
    let server = storage.start();
    let stage = Stage::set(&server);
    let [hidden, gone] = [HIDDEN, ABSENT].map(|name| format!("{name}-one"));
    for (who, client) in &stage.strangers {
        for client in [Some(client.clone()), by_token(client)].into_iter().flatten() {
            for (there, absent) in questions(&hidden, &stage.image).into_iter().zip(questions(&gone, &stage.image)) {
                let (there, absent) = (with_key(&client, there), with_key(&client, absent));
                same(who, &client, there, absent, (&hidden, &gone));
            }
            let catalog = client.get("/v2/_catalog").text();
            assert!(!catalog.contains(HIDDEN), "{who}: {catalog}");
        }
    }
    // Else nothing was hidden.
    stage.root.get(&format!("/v2/{hidden}/app/manifests/v1")).expect(200);
    stage.root.get(&format!("/v2/{gone}/app/manifests/v1")).expect(404);
}

/// The same at the host of each registry: one that is not there has a host too.
fn enumeration_by_host_names(storage: &Storage) {
    let server = Server::start(storage.setup().set("ROADSTEAD_DOMAIN", "example.test"));
    let stage = Stage::set(&server);
    let [hidden, gone] = [HIDDEN, ABSENT].map(|name| format!("{name}-one"));
    let at_host = |name: &str| {
        let mut all = questions(name, &stage.image);
        all.push(Request::new("GET", "/v2/"));
        for asked in &mut all {
            asked.target = asked.target.replace(&format!("{name}/"), "");
            asked.headers.push(("Host".to_owned(), format!("{name}.example.test")));
        }
        all
    };
    for (who, client) in stage.strangers.iter().filter(|(who, _)| *who != "anyone") {
        for (there, absent) in at_host(&hidden).into_iter().zip(at_host(&gone)) {
            same(who, client, there, absent, (&hidden, &gone));
        }
    }
    let get = Request::new("GET", "/v2/app/manifests/v1").header("Host", &format!("{hidden}.example.test"));
    stage.root.send(get).expect(200);
}

/// Somebody who may push elsewhere on the same bucket asks for bytes, whose digests they know, to be mounted, held, named or referred to.
fn enumeration_by_mounts_and_digests(storage: &Storage) {
    let server = storage.start();
    let stage = Stage::set(&server);
    let pushes = stage.of_beta();
    pushes.push_image("beta-one/own", "v1", &content::image(1));
    let (blob, manifest) = (&stage.image.blobs[1], &stage.image.manifest);
    let other = content::random_bytes(blob.len());
    let (held, absent) = (digest(blob), digest(&other));
    for (there, gone) in [(&*held, &*absent), (&manifest.digest(), &absent)] {
        let from = escape(&format!("{HIDDEN}-one/app"));
        for client in [pushes.clone(), by_token(pushes).unwrap()] {
            for (method, rest) in [
                ("POST", "blobs/uploads/?mount=DIGEST".to_owned()),
                ("POST", format!("blobs/uploads/?mount=DIGEST&from={from}")),
                ("HEAD", "blobs/DIGEST".to_owned()),
                ("GET", "blobs/DIGEST".to_owned()),
                ("DELETE", "blobs/DIGEST".to_owned()),
                ("GET", "manifests/DIGEST".to_owned()),
                ("HEAD", "manifests/DIGEST".to_owned()),
                ("DELETE", "manifests/DIGEST".to_owned()),
                ("GET", "referrers/DIGEST".to_owned()),
            ] {
                let asked = |digest: &str| {
                    Request::new(method, &format!("/v2/beta-one/own/{}", rest.replace("DIGEST", digest)))
                };
                same("the one who pushes", &client, asked(there), asked(gone), (there, gone));
            }
        }
        let tag =
            |digest: &str| request("PUT", "/registries/beta-one/repositories/own/tags/x", &json!({"digest": digest}));
        same("the one who pushes", pushes, tag(there), tag(gone), (there, gone));
    }
    // An image that names the layer is none that has it; and the layer itself is sent as any other.
    let image = content::image(1);
    pushes.push_blob("beta-one/own", &image.blobs[0]);
    let [there, gone] = [&held, &absent].map(|named| {
        let mut manifest = image.manifest.clone();
        let text = String::from_utf8(manifest.bytes).unwrap();
        manifest.bytes = text.replace(&digest(&image.blobs[1]), named).into_bytes();
        let answer = pushes.put_manifest("beta-one/own", "x", &manifest);
        pushes.head(&format!("/v2/beta-one/own/blobs/{named}")).expect(404);
        seen(&answer, named).replace(&manifest.digest(), "MANIFEST")
    });
    assert_eq!(there, gone);
    let whole = |bytes: &[u8]| {
        let post = Request::new("POST", &format!("/v2/beta-one/own/blobs/uploads/?digest={}", digest(bytes)));
        post.body(Body::Length(bytes.to_vec()))
    };
    same("the one who pushes", pushes, whole(blob), whole(&other), (&held, &absent));
}

/// Every operation of the document that names a project or a registry, and the lists.
fn enumeration_by_the_management(storage: &Storage) {
    let server = storage.start();
    let stage = Stage::set(&server);
    let root = &stage.root;
    let keys = root.get(&format!("/api/v1/projects/{HIDDEN}/robots/ci/keys")).expect(200).json();
    let trash = root.get(&format!("/api/v1/registries/{HIDDEN}-one/trash")).expect(200).json();
    let entry = trash["items"][0]["id"].to_string().replace('"', "");
    let document = root.anonymous().get("/api/v1/openapi.json").expect(200).json();
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.contains("{project}") && !path.contains("{registry}") {
            continue;
        }
        let target = |name: &str| {
            let path = path.strip_prefix("/api/v1").unwrap().replace("{project}", name);
            path.replace("{registry}", &format!("{name}-one"))
                .replace("{person}", "administrator")
                .replace("{robot}", "ci")
                .replace("{key}", keys["items"][0]["key_id"].as_str().unwrap())
                .replace("{trust}", "RSTABSENT")
                .replace("{repository}", "app")
                .replace("{tag}", "v1")
                .replace("{entry}", &entry)
                .replace("{digest}", &stage.image.manifest.digest())
        };
        for (method, operation) in operations.as_object().unwrap() {
            let operation = operation["operationId"].as_str().unwrap();
            for (who, client) in stage.strangers.iter().filter(|(who, _)| *who != "anyone") {
                let asked = |name: &str| {
                    let (mut body, condition) = attempt(operation);
                    if body["project"].is_string() {
                        body["project"] = name.into();
                    }
                    let asked = request(&method.to_uppercase(), &target(name), &body);
                    condition.into_iter().fold(asked, |asked, (header, value)| asked.header(header, value))
                };
                same(who, client, asked(HIDDEN), asked(ABSENT), (HIDDEN, ABSENT));
                walked += 1;
            }
        }
    }
    assert!(walked >= 250, "{walked}");
    for (who, client) in stage.strangers.iter().filter(|(who, _)| *who != "anyone") {
        // Who has a role on one registry sees that one, and which project it is of.
        let hidden = if *who == ON_ANOTHER_REGISTRY { format!("{HIDDEN}-one") } else { HIDDEN.to_owned() };
        for list in ["projects", "registries", "audit", "people", "buckets", "me"] {
            let listed = client.get(&format!("/api/v1/{list}"));
            let listed = listed.expect_one_of(&[200, 401, 403]).text();
            assert!(!listed.contains(&hidden), "{who}: {list}: {listed}");
        }
    }
    // Else nothing was hidden, or something was done.
    for path in ["", "/robots/ci", "/members"] {
        root.get(&format!("/api/v1/projects/{HIDDEN}{path}")).expect(200);
    }
    root.get(&format!("/v2/{HIDDEN}-one/app/manifests/v1")).expect(200);
    assert_eq!(root.get(&format!("/api/v1/registries/{HIDDEN}-one/trash")).expect(200).json(), trash);
    assert_eq!(root.get(&format!("/api/v1/projects/{ABSENT}")).expect(404).json()["code"], "not_found");
}

/// Within a registry too: beyond its limits a robot can't tell the repositories that are there.
fn enumeration_by_limited_robots(storage: &Storage) {
    let server = storage.start();
    let stage = Stage::set(&server);
    let registry = format!("{HIDDEN}-one");
    let [there, absent] = ["secret", "nothin"].map(|name| format!("{registry}/{name}"));
    stage.root.push_image(&format!("{there}/app"), "v1", &stage.image);
    let limits = json!([{"registry": registry, "repositories": "builds/**", "actions": ["pull", "push", "delete"]}]);
    let limited = robot(&stage.root, HIDDEN, "builds", &limits);
    limited.push_image(&format!("{registry}/builds/app"), "v1", &content::image(1));
    for client in [limited.clone(), by_token(&limited).unwrap()] {
        for (one, other) in questions(&there, &stage.image).into_iter().zip(questions(&absent, &stage.image)) {
            let (one, other) = (with_key(&client, one), with_key(&client, other));
            same("the robot", &client, one, other, (&there, &absent));
        }
        let layer = digest(&stage.image.blobs[1]);
        let mount = |from: &str| {
            let target = format!("/v2/{registry}/builds/app/blobs/uploads/?mount={layer}&from={}", escape(from));
            Request::new("POST", &target)
        };
        let (one, other) = (format!("{there}/app"), format!("{absent}/app"));
        same("the robot", &client, mount(&one), mount(&other), (&one, &other));
    }
}
