//! The program as somebody's command line: a home of its own, and no variable of the server's.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use roadstead_testkit::{
    Server,
    process::directory,
    server::{KEY_ID, KEY_SECRET, Ran},
};
use serde_json::Value;

use crate::scene::BINARY;

/// Somebody at a machine that has nothing of a service.
pub(crate) struct Person {
    home: PathBuf,
}

impl Person {
    /// Not signed in anywhere.
    pub(crate) fn new() -> Self {
        Self { home: directory("home") }
    }

    /// Signed in at a server with the key of its first administrator.
    pub(crate) fn administrator(server: &Server) -> Self {
        let person = Self::new();
        person.sign_in(server, KEY_ID, KEY_SECRET).ok();
        person
    }

    /// Signs in at a server.
    pub(crate) fn sign_in(&self, server: &Server, id: &str, secret: &str) -> Ran {
        self.login(&format!("http://{}", server.address()), id, secret, &[])
    }

    /// Signs in at an address, with further arguments.
    pub(crate) fn login(&self, url: &str, id: &str, secret: &str, further: &[&str]) -> Ran {
        let arguments = [&["login", url, "--key-id", id, "--secret-stdin"], further].concat();
        self.run_with(&[], &arguments, secret)
    }

    /// Runs a command to its end, with nobody to ask.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(&[], &line.split_whitespace().collect::<Vec<_>>(), "")
    }

    /// Runs a command with these variables and this input.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(&self.home).env_clear().env("XDG_CONFIG_HOME", &self.home);
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever reads no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ran { code: output.status.code().unwrap_or(-1), out, err }
    }

    /// What a command answers as JSON; it succeeds.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        let ran = self.run(&format!("{line} -o json"));
        serde_json::from_str(ran.ok()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// A command that ends with this number; what it says. It is one line, and none of a panic.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert_eq!(ran.refused().lines().count(), 1, "{line}: {ran:?}");
        assert!(ran.err.starts_with("roadstead: ") && ran.out.is_empty(), "{line}: {ran:?}");
        ran.err
    }

    /// The file with the keys.
    pub(crate) fn contexts(&self) -> PathBuf {
        self.home.join("roadstead/contexts.toml")
    }

    /// Where this person works.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

/// Id and secret of a key that a command made.
pub(crate) fn key_of(made: &Value) -> (String, String) {
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("key_id"), text("secret"))
}
