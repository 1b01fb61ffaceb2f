//! Manifests that are none, and manifests that two readers read in two ways. A new trick is a new line.

use roadstead_testkit::content::{self, types};

use crate::{
    bad_input::{Trick, Victim, ask},
    scene::{Storage, on_both_engines},
};

on_both_engines!(broken_json, two_readings, descriptors, larger_than_they_look, bodies_of_other_kinds);

const INVALID: &str = "MANIFEST_INVALID";

fn put(v: &Victim, body: impl Into<Vec<u8>>, right: &'static [u16]) -> Trick {
    let body = body.into();
    let name = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    ask("PUT", &v.at("manifests/bad"), right, INVALID).header("Content-Type", types::MANIFEST).body(body).called(&name)
}

/// The members of a manifest that is right, in their order, to put something between.
fn members(v: &Victim) -> [String; 4] {
    let config = content::descriptor(types::EMPTY, b"{}");
    let layer = format!(r#"{{"mediaType":"{}","digest":"{}","size":1000}}"#, types::LAYER, v.layer);
    [
        r#""schemaVersion":2"#.to_owned(),
        format!(r#""mediaType":"{}""#, types::MANIFEST),
        format!(r#""config":{config}"#),
        format!(r#""layers":[{layer}]"#),
    ]
}

fn with(v: &Victim, extra: &str) -> String {
    format!("{{{},{extra}}}", members(v).join(","))
}

/// Nothing of what was refused is there.
fn nothing_was_stored(v: &Victim) {
    v.client.get(&v.at("manifests/bad")).expect_error(404, "MANIFEST_UNKNOWN");
    let tags = v.client.get(&v.at("tags/list")).expect(200).json();
    assert!(tags["tags"].as_array().is_some_and(|tags| tags.iter().all(|tag| tag != "bad")), "{tags}");
}

/// protocol.md F13: 400 MANIFEST_INVALID, never 500.
fn broken_json(storage: &Storage) {
    let v = Victim::start(storage);
    let right = with(&v, r#""x":1"#);
    for cut in [1, 2, 20, right.len() / 2, right.len() - 1] {
        put(&v, &right[..cut], &[400]).play(&v);
    }
    for wrong in [
        "\u{feff}".to_owned() + &right,
        right.clone() + "{}",
        right.clone() + "\0",
        "\0".to_owned() + &right,
        right.replace('"', "'"),
        right.replace(':', "="),
        right.replace("2,", "2,,"),
        with(&v, r#""x":NaN"#),
        with(&v, r#""x":01"#),
        with(&v, r#""x":.5"#),
        with(&v, r#""x":tru"#),
        with(&v, r#""x":"\x""#),
        with(&v, "\"x\":\"\n\""),
        with(&v, r#""mediaType\ud800":1"#),
        with(&v, r#""artifactType":"\ud800""#),
        with(&v, r#""artifactType":"a\u0000b""#),
        with(&v, r#""annotations":{"\udc00":"x"}"#),
        "[".repeat(4 << 20),
        "{\"a\":".repeat(600_000),
        "{\"layers\":[".repeat(100_000),
        "\"".to_owned() + &"a".repeat(4_000_000),
        "9".repeat(4_000_000),
        " ".repeat(4 << 20),
    ] {
        put(&v, wrong, &[400]).play(&v);
    }
    for wrong in
        [b"\xff\xfe{}".to_vec(), [right.as_bytes(), b"\xff"].concat(), utf16(&right), b"{\"\xed\xa0\x80\":1}".to_vec()]
    {
        put(&v, wrong, &[400]).play(&v);
    }
    nothing_was_stored(&v);
    // Members that nobody reads may be as deep as they like: the bytes are all that counts.
    let deep = format!("\"x\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
    put(&v, with(&v, &deep), &[201, 400]).play(&v);
    v.holds_no_more_than_before();
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// protocol.md F13: what two parsers could read in two ways is refused: we check one of them, and a client pulls the other.
fn two_readings(storage: &Storage) {
    let v = Victim::start(storage);
    let [version, media_type, config, layers] = members(&v);
    let other = format!(r#"{{"mediaType":"x","digest":"{}","size":1}}"#, content::digest(b"another"));
    for (name, body) in [
        ("version twice", format!("{{{version},{version},{media_type},{config},{layers}}}")),
        ("type twice", format!(r#"{{{media_type},"mediaType":"{}",{config},{layers}}}"#, types::INDEX)),
        ("config twice", format!(r#"{{{config},"config":{other},{layers}}}"#)),
        ("layers twice", format!(r#"{{{config},{layers},"layers":[{other}]}}"#)),
        ("layers and Layers", format!(r#"{{{config},{layers},"Layers":[{other}]}}"#)),
        ("LAYERS alone", format!(r#"{{{config},"LAYERS":[{other}]}}"#)),
        ("layers with a long s", format!(r#"{{{config},{layers},"layerſ":[{other}]}}"#)),
        ("config escaped", format!(r#"{{{config},"con\u0066ig":{other},{layers}}}"#)),
        ("subject and Subject", format!(r#"{{{config},{layers},"subject":{other},"Subject":{other}}}"#)),
        ("digest twice", format!(r#"{{{config},"layers":[{}]}}"#, other.replace('{', r#"{"digest":"x","#))),
        ("digest and Digest", format!(r#"{{{config},"layers":[{}]}}"#, other.replace('{', r#"{"Digest":"x","#))),
        ("size twice", format!(r#"{{{config},"layers":[{}]}}"#, other.replace('}', r#","size":2}"#))),
        ("annotation twice", format!(r#"{{{config},{layers},"annotations":{{"a":"1","a":"2"}}}}"#)),
        ("config and manifests", format!(r#"{{{config},{layers},"manifests":[]}}"#)),
    ] {
        put(&v, body, &[400]).called(name).play(&v);
    }
    let index = format!(r#"{{"mediaType":"{}","manifests":[],{layers}}}"#, types::INDEX);
    let as_index = |body: String| {
        ask("PUT", &v.at("manifests/bad"), &[400], INVALID).header("Content-Type", types::INDEX).body(body)
    };
    as_index(index).called("an index with layers").play(&v);
    as_index(format!("{{{config},{layers}}}")).called("an image called an index").play(&v);
    let twice = ask("PUT", &v.at("manifests/bad"), &[400], INVALID).header("Content-Type", types::MANIFEST);
    twice.header("Content-Type", types::INDEX).body(format!("{{{config},{layers}}}")).play(&v);
    nothing_was_stored(&v);
    v.holds_no_more_than_before();
}

/// protocol.md A3, F13: a descriptor names its content by a digest and a size, or the manifest is none.
fn descriptors(storage: &Storage) {
    let v = Victim::start(storage);
    let [version, _, config, _] = members(&v);
    let layer = |digest: &str, size: &str| {
        format!(r#"{{{version},{config},"layers":[{{"mediaType":"a/b","digest":{digest},"size":{size}}}]}}"#)
    };
    let right = format!("{:?}", v.layer);
    for size in ["-1", "1.5", "1e3", "9223372036854775808", "99999999999999999999999", "null", "\"2\"", "[2]", "true"] {
        put(&v, layer(&right, size), &[400]).play(&v);
    }
    let hex = v.layer.split_once(':').map_or("", |(_, hex)| hex);
    for digest in [
        "sha256:".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{hex}\\u0000"),
        format!(" sha256:{hex}"),
        format!("sha256:{hex}\\n"),
        format!("sha512:{hex}"),
        format!("sha256+b64:{hex}"),
        format!("md5:{}", &hex[..32]),
        "sha256:../../../../etc/passwd".to_owned(),
        format!("sha256%3A{hex}"),
        format!("sha256:{}", "٠".repeat(64)),
        String::new(),
        "x".repeat(1 << 20),
    ] {
        put(&v, layer(&format!("\"{digest}\""), "1"), &[400]).play(&v);
    }
    for wrong in [
        format!(r#"{{{config},"layers":[{{"mediaType":"a/b","size":1}}]}}"#),
        format!(r#"{{{config},"layers":[null]}}"#),
        format!(r#"{{{config},"layers":["{}"]}}"#, v.layer),
        format!(r#"{{{config},"layers":{{}}}}"#),
        format!(r#"{{{config},"layers":[[]]}}"#),
        format!(r#"{{"config":"{}","layers":[]}}"#, v.layer),
        format!(r#"{{{config},"subject":{{"mediaType":"a/b"}}}}"#),
        format!(r#"{{{config},"subject":"{}"}}"#, v.layer),
        format!(r#"{{{config},"annotations":[]}}"#),
        format!(r#"{{{config},"annotations":{{"a":1}}}}"#),
        format!(r#"{{{config},"annotations":{{"a":null}}}}"#),
        format!(r#"{{{config},"artifactType":1}}"#),
        format!(r#"{{{config},"mediaType":["a"]}}"#),
        format!(r#"{{{config},"schemaVersion":"2"}}"#),
        format!(r#"{{{config},"schemaVersion":2.0}}"#),
        format!(r#"{{{config},"schemaVersion":1}}"#),
        r#"{"schemaVersion":2}"#.to_owned(),
        "{}".to_owned(),
    ] {
        put(&v, wrong, &[400]).play(&v);
    }
    nothing_was_stored(&v);
    // What is written about content that was checked by its digest is the pusher's word: stored as it came, byte for byte.
    for (name, body) in [
        ("another size than is stored", layer(&right, "9223372036854775807")),
        ("data that is not the content", layer(&right, "1000").replace("\"size\"", "\"data\":\"AAAA\",\"size\"")),
        (
            "annotations of a layer that are none",
            layer(&right, "1000").replace("\"size\"", "\"annotations\":3,\"size\""),
        ),
        ("a type of a megabyte", layer(&right, "1000").replace("a/b", &"a".repeat(1 << 20))),
    ] {
        for _ in 0..2 {
            put(&v, body.clone(), &[201]).called(name).play(&v);
        }
        v.client.get(&v.at("manifests/bad")).expect(200).expect_body(body.as_bytes());
    }
    v.holds_no_more_than_before();
}

/// Invariant 8: entries that are short as text and large in memory are counted before they are kept.
fn larger_than_they_look(storage: &Storage) {
    let v = Victim::start(storage);
    let [_, _, config, layers] = members(&v);
    let many = |count: usize, entry: &dyn Fn(usize) -> String| (0..count).map(entry).collect::<Vec<_>>().join(",");
    let short = r#"{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}"#;
    for (name, body) in [
        ("too many layers", format!(r#"{{{config},"layers":[{}]}}"#, many(45_000, &|_| short.to_owned()))),
        (
            "layers and blobs",
            format!(r#"{{{config},"layers":[{0}],"blobs":[{0}]}}"#, many(15_000, &|_| short.to_owned())),
        ),
        ("empty layers", format!(r#"{{{config},"layers":[{}]}}"#, many(1_300_000, &|_| "{}".to_owned()))),
        (
            "annotations",
            format!(r#"{{{config},{layers},"annotations":{{{}}}}}"#, many(200_000, &|n| format!("\"{n}\":\"\""))),
        ),
        ("more than 4 MiB", format!(r#"{{{config},"x":"{}"}}"#, "x".repeat(4 << 20))),
    ] {
        Trick { code: "", ..put(&v, body, &[400, 413]).called(name) }.play(&v);
    }
    nothing_was_stored(&v);
    let urls = many(1_000_000, &|_| "\"\"".to_owned());
    let body = format!(r#"{{{config},"layers":[{}]}}"#, short.replace('}', &format!(",\"urls\":[{urls}]}}")));
    put(&v, body, &[201]).called("a million addresses").play(&v);
    v.holds_no_more_than_before();
}

/// A body that says it is packed is taken as the bytes that came, whose digest the client gets to hear.
fn bodies_of_other_kinds(storage: &Storage) {
    let v = Victim::start(storage);
    let plain = format!("{{{}}}", members(&v).join(","));
    let answer = put(&v, plain.clone(), &[201]).header("Content-Encoding", "gzip").play(&v);
    answer.expect_header("Docker-Content-Digest", &content::digest(plain.as_bytes()));
    v.client.get(&v.at("manifests/bad")).expect(200).expect_no("Content-Encoding").expect_body(plain.as_bytes());
    v.client.delete(&v.at("manifests/bad")).expect(202);
    put(&v, b"\x1f\x8b\x08\x00packed".to_vec(), &[400]).header("Content-Encoding", "gzip").play(&v);
    for media_type in
        ["", ";", "application/json", "application/vnd.oci.image.manifest.v1+json\u{e9}", &"a/".repeat(10_000)]
    {
        let trick = ask("PUT", &v.at("manifests/bad"), &[201, 400, 415], "").header("Content-Type", media_type);
        trick.body(plain.clone()).play(&v);
    }
    let other = content::digest(b"other bytes");
    ask("PUT", &v.at(&format!("manifests/{other}")), &[400], "")
        .header("Content-Type", types::MANIFEST)
        .body(plain)
        .play(&v);
    v.holds_no_more_than_before();
}
