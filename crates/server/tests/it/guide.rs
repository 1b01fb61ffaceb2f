//! What `docs/api.md` and `docs/cli.md` say to type works, in its order, on a fresh server.

use std::{fs, path::Path, process::Command};

use roadstead_testkit::{
    Server, engines,
    server::{KEY_ID, KEY_SECRET},
};

use crate::scene::{BINARY, Storage, on_both_engines};

on_both_engines!(guide_to_the_api_works, guide_to_the_commands_works);

fn guide_to_the_api_works(storage: &Storage) {
    works("api.md", 8, storage);
}

fn guide_to_the_commands_works(storage: &Storage) {
    works("cli.md", 5, storage);
}

/// Types what a page says, in a folder that is the home too.
fn works(page: &str, at_least: usize, storage: &Storage) {
    if ["bash", "curl", "jq"].iter().any(|program| engines::program(program).is_none()) {
        return;
    }
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let guide = fs::read_to_string(guide).unwrap();
    let blocks: Vec<&str> =
        guide.split("```sh\n").skip(1).map(|rest| rest.split_once("```").expect("a block has an end").0).collect();
    assert!(blocks.len() >= at_least, "{} blocks", blocks.len());
    let issuer = ("ROADSTEAD_CI_ISSUERS", "https://token.actions.githubusercontent.com");
    let server = Server::start(storage.setup().set(issuer.0, issuer.1));
    let script = blocks.concat().replace("127.0.0.1:5000", &server.address().to_string());
    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(BINARY).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &script])
        .envs([("KEY_ID", KEY_ID), ("KEY_SECRET", KEY_SECRET), ("PATH", &path)])
        .env("XDG_CONFIG_HOME", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let [said, steps] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{steps}\n{said}");
}
