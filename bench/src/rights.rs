//! What the check of a token and the decision about rights cost a pull: beside the same program that lets everybody do everything.

use std::time::Duration;

use roadstead_testkit::{Server, Setup, process::directory};
use tokio::runtime::Runtime;

use crate::{
    contestants::{Content, Ground, REPOSITORY, token},
    cores,
    load::{self, Target, Work},
    table::{Check, Must, median},
};

const CONNECTIONS: usize = 64;

/// Manifests by tag, in turns with rights and without.
pub(crate) fn measure(
    runtime: &Runtime,
    ground: &Ground<'_>,
    content: &Content,
    rounds: u32,
    time: Duration,
) -> Vec<Check> {
    let start = |setup: Setup, with_token: bool| {
        let mut server = Server::on(setup, &directory("rights"));
        cores::on_server_core(|| server.start_again());
        let client = server.client();
        client.push_image(REPOSITORY, "latest", &content.image);
        let who = if with_token { format!("Authorization: Bearer {}\r\n", token(&client)) } else { String::new() };
        let address = server.address();
        let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n{who}\r\n", Content::by_tag());
        (server, Target { address, tls: None, alone: true }, Work::Fetch(vec![request.into_bytes()]))
    };
    let (_guarded, guarded, by_token) = start(ground.programs.embedded(), true);
    let (_open, open, by_anyone) = start(ground.programs.embedded().set("ROADSTEAD_ACCESS_OPEN", "true"), false);
    let rate = |target: &Target, work: &Work| {
        let done = runtime.block_on(load::run(target, work, CONNECTIONS, time));
        let done = done.unwrap_or_else(|error| panic!("rights: {error}"));
        done.operations as f64 / done.took.as_secs_f64()
    };
    // A short sample is too noisy for a difference of some hundredths.
    let rates: Vec<_> = (0..rounds.max(3)).map(|_| (rate(&guarded, &by_token), rate(&open, &by_anyone))).collect();
    let (guarded, open) =
        (median(rates.iter().map(|it| it.0).collect()), median(rates.iter().map(|it| it.1).collect()));
    vec![Check {
        what: format!("manifest GET by tag, {CONNECTIONS} connections, with token and rights"),
        ours: format!("{guarded:.0}/s"),
        beside: format!("`access.open`: {open:.0}/s"),
        ratio: guarded / open,
        must: Some(Must::AtLeast(0.85)),
    }]
}
