//! protocol.md 4: bugs about uploads.

use roadstead_testkit::{
    Body, Login, Request, Server,
    content::{self, Manifest, digest, random_bytes},
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    until,
    wire::Connection,
};

use crate::{
    scene::{Scene, Storage, conformance, on_both_engines},
    token::token,
    uploads::{expect_blob, expect_no_blob, expect_session},
};

conformance!(
    bug9_syntax_of_ranges,
    bug10_sizes_that_docker_computes,
    bug26_d6_large_chunks_over_several_parts,
    bug27_d6_patch_is_202_to_the_last_byte,
    bug29_d19_replayed_patch,
    bug30_d19b_repeated_put,
    bug36_status_after_a_416,
);
on_both_engines!(bug28_no_hidden_cap);

/// protocol.md 4 #26 (containers-roadmap #2831), D6: 40 MiB in four chunks, of which no end falls together with the end
/// of a part: Range grows with each, and status says the same.
fn bug26_d6_large_chunks_over_several_parts(t: &Scene) {
    let bytes = random_bytes(40 * 1024 * 1024 + 5);
    let mut location = t.client.begin(&t.repo);
    let mut size = 0;
    for piece in bytes.chunks(10 * 1024 * 1024 + 3) {
        let mut request = Request::new("PATCH", &location).body(Body::streamed(piece));
        request = request.header("Content-Range", &format!("{size}-{}", size + piece.len() - 1));
        size += piece.len();
        location = expect_session(t, &t.client.send(request), 202, size);
        expect_session(t, &t.client.get(&location), 204, size);
    }
    let digest = digest(&bytes);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md 4 #27 (tart #273), D6: PATCH with the last byte is 202, and nothing is a blob before PUT.
fn bug27_d6_patch_is_202_to_the_last_byte(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.begin(&t.repo);
    let location = expect_session(t, &t.client.patch(&location, Some(0), &bytes), 202, 1000);
    expect_no_blob(t, &digest);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D19 and 4 #29 (jib #4526): a client vanishes after it sent a whole PATCH and did not hear the answer. Its
/// replay is stored, or 416 where the bytes are there already, and never stored a second time; status agrees. Without a
/// range a replay is more data, so the digest does not fit; a fresh session succeeds.
fn bug29_d19_replayed_patch(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.begin(&t.repo);
    let login = match &t.client.login {
        Login::Basic(..) => basic(KEY_ID, KEY_SECRET),
        _ => format!("Bearer {}", token(t, &[&format!("repository:{}:pull,push", t.repo)])),
    };
    let patch = Request::new("PATCH", &location).header("Authorization", &login).header("Content-Range", "0-999");
    let mut connection = Connection::open(t.client.address).unwrap();
    connection.write_head(&patch.clone().body(Body::Length(bytes.clone()))).unwrap();
    connection.write_raw(&bytes).unwrap();
    drop(connection);
    // Whether the server had begun to read them or not when the client went, is open; what it says of them is not.
    // It may even be read after the replay, which then is told to come again.
    let replay = || Some(t.client.patch(&location, Some(0), &bytes)).filter(|answer| answer.status != 429);
    let replayed = until("the replay is taken", replay);
    replayed.expect_one_of(&[202, 416]).expect_header("Range", "0-999");
    expect_session(t, &t.client.get(&location), 204, 1000);
    t.client.patch(&location, Some(0), &bytes).expect(416).expect_header("Range", "0-999");
    let answer = t.client.patch(&location, None, &bytes);
    if answer.expect_one_of(&[202, 416, 429]).status == 202 {
        let location = expect_session(t, &answer, 202, 2000);
        t.client.put(&with_parameter(&location, "digest", &digest), b"").expect_error(400, "DIGEST_INVALID");
        expect_no_blob(t, &digest);
    }
    t.client.push_blob(&t.repo, &bytes);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D19b and 4 #30 (jib #4301): the last PUT once more is 201 again; with another digest it is not.
fn bug30_d19b_repeated_put(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.patch(&t.client.begin(&t.repo), Some(0), &bytes[..500]).expect(202).location_path();
    let target = with_parameter(&location, "digest", &digest);
    for _ in 0..3 {
        let answer = t.client.put(&target, &bytes[500..]);
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        assert_eq!(answer.location_path(), t.at(&format!("blobs/{digest}")));
    }
    t.client.put(&target, b"").expect(201);
    let other = roadstead_testkit::digest(b"other");
    t.client.put(&with_parameter(&location, "digest", &other), b"other").expect_one_of(&[400, 404]).error_code();
    expect_no_blob(t, &other);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md 4 #9 (distribution #3496), D6: the answer is `Range: 0-N` to the letter, also from status; the request
/// says `a-b`, and what the old text and HTTP libraries say is understood.
fn bug9_syntax_of_ranges(t: &Scene) {
    let bytes = random_bytes(400);
    let mut location = t.client.begin(&t.repo);
    for (n, said) in ["0-99", "bytes 100-199/*", "bytes 200-299/400", "bytes=300-399"].into_iter().enumerate() {
        let last = n * 100 + 99;
        let patch = Request::new("PATCH", &location).header("Content-Range", said);
        let patched = t.client.send(patch.body(Body::Length(bytes[last - 99..=last].to_vec())));
        location = patched.expect(202).expect_header("Range", &format!("0-{last}")).location_path();
        t.client.get(&location).expect(204).expect_header("Range", &format!("0-{last}"));
    }
    t.client.put(&with_parameter(&location, "digest", &digest(&bytes)), b"").expect(201);
}

/// protocol.md 4 #10 (docker/for-linux #1296), 3.1: docker takes the size of a layer from the `Range` of the PATCH. The
/// manifest it writes then says what the blobs really have.
fn bug10_sizes_that_docker_computes(t: &Scene) {
    let sizes = [1, 2, 4096, 65_537, 1_048_576];
    let layers: Vec<Vec<u8>> = sizes.into_iter().map(random_bytes).collect();
    let mut image = content::image_of(&layers);
    let mut json = image.manifest.json();
    for (n, layer) in layers.iter().enumerate() {
        let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::streamed(layer));
        let patched = t.client.send(patch);
        let (first, last) = patched.expect(202).header("Range").split_once('-').unwrap();
        assert_eq!(first, "0", "{patched:?}");
        json["layers"][n]["size"] = (last.parse::<usize>().unwrap() + 1).into();
        t.client.put(&with_parameter(&patched.location_path(), "digest", &digest(layer)), b"").expect(201);
    }
    let config = t.client.push_blob(&t.repo, &image.blobs[0]);
    let head = t.client.head(&t.at(&format!("blobs/{config}")));
    json["config"]["size"] = head.expect(200).header("Content-Length").parse::<usize>().unwrap().into();
    image.manifest = Manifest::new(&json);
    t.client.put_manifest(&t.repo, "v1", &image.manifest).expect(201).expect_no("Warning");

    let pulled = t.client.get(&t.at("manifests/v1")).expect(200).json();
    let named = pulled["layers"].as_array().unwrap().iter().chain([&pulled["config"]]);
    for (descriptor, bytes) in named.zip(layers.iter().chain([&image.blobs[0]])) {
        assert_eq!(descriptor["size"], bytes.len());
        let blob = t.client.get(&t.at(&format!("blobs/{}", descriptor["digest"].as_str().unwrap())));
        blob.expect(200).expect_length(bytes.len()).expect_body(bytes);
    }
}

/// protocol.md 4 #28 (ocx PR 237), D20: no cap on one request that nobody set: 17 MiB in one PATCH, and a GiB. Above a
/// limit that was set it is 413, not 416, which a client would take for its own mistake (`d20_size_limit` has every way
/// of it).
fn bug28_no_hidden_cap(storage: &Storage) {
    const MIB: usize = 1024 * 1024;
    // sha256 of 1 GiB of zeroes.
    const ZEROES: &str = "sha256:49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";
    let server = storage.start();
    let client = server.client();
    let bytes = random_bytes(17 * MIB);
    let patched = client.patch(&client.begin("conf/app"), Some(0), &bytes);
    let put = with_parameter(&patched.expect(202).location_path(), "digest", &digest(&bytes));
    client.put(&put, b"").expect(201);

    let patch = Request::new("PATCH", &client.begin("conf/app")).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let patch = patch.body(Body::Chunked(Vec::new()));
    let mut connection = Connection::open(server.address()).unwrap();
    connection.write_head(&patch).unwrap();
    let piece = vec![0; MIB];
    for _ in 0..1024 {
        connection.write_chunk(&piece).unwrap();
    }
    connection.write_raw(b"0\r\n\r\n").unwrap();
    let patched = connection.read_answer(&patch).unwrap();
    patched.expect(202).expect_header("Range", &format!("0-{}", 1024 * MIB - 1));
    client.put(&with_parameter(&patched.location_path(), "digest", ZEROES), b"").expect(201);
    client.head(&format!("/v2/conf/app/blobs/{ZEROES}")).expect(200).expect_length(1024 * MIB);

    drop(server);
    let server = Server::start(storage.setup().set("ROADSTEAD_LIMITS_BLOB_BYTES", "1000"));
    let client = server.client();
    let location = client.patch(&client.begin("conf/app"), Some(0), &bytes[..600]).expect(202).location_path();
    client.patch(&location, Some(600), &bytes[600..1001]).expect(413).error_code();
}

/// protocol.md 4 #36 (distribution-spec #414, #590), D8: after a 416, on PATCH and on PUT, status is 204 with Location
/// and Range, and the upload goes on from what it says.
fn bug36_status_after_a_416(t: &Scene) {
    let bytes = random_bytes(3000);
    let digest = digest(&bytes);
    let begin = t.client.begin(&t.repo);
    t.client.patch(&begin, Some(0), &bytes[..1000]).expect(202);
    t.client.patch(&begin, Some(2000), &bytes[2000..]).expect(416);
    let location = expect_session(t, &t.client.get(&begin), 204, 1000);
    let location = t.client.patch(&location, Some(1000), &bytes[1000..2000]).expect(202).location_path();
    let put = Request::new("PUT", &with_parameter(&location, "digest", &digest)).header("Content-Range", "1000-1999");
    t.client.send(put.body(Body::Length(bytes[1000..2000].to_vec()))).expect(416);
    let location = expect_session(t, &t.client.get(&location), 204, 2000);
    let put = Request::new("PUT", &with_parameter(&location, "digest", &digest)).header("Content-Range", "2000-2999");
    t.client.send(put.body(Body::Length(bytes[2000..].to_vec()))).expect(201);
    expect_blob(t, &digest, &bytes);
}
