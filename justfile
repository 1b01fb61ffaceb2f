# Each recipe is what CI runs, or a part of it.

# Start the service on 127.0.0.1:5000.
run *flags:
    cargo run --release -- serve {{flags}}

# All tests: SQLite and a directory always, PostgreSQL and S3 where their programs are found.
test *filter:
    cargo test --workspace {{filter}}

# Format, lint, documentation: what must be clean.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- --deny warnings
    RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked

# Feed one parser with made-up input for some seconds: manifest, route, range, content_range, scope, authorization, config.
# Needs `cargo install cargo-fuzz` and a nightly compiler. No sanitizer: there is no unsafe code to watch. What it finds is in
# fuzz/artifacts; put it into fuzz/regressions/TARGET, which `cargo test -p roadstead-fuzzing` replays.
fuzz target seconds="600":
    cargo +nightly fuzz run --sanitizer none {{target}} -- -max_total_time={{seconds}} -rss_limit_mb=2048 -max_len=16384 -dict=fuzz/dictionaries/{{target}}.dict

# Keep of one parser's corpus only what adds to the others.
fuzz-minimise target:
    cargo +nightly fuzz cmin --sanitizer none {{target}}

# Install the real clients and servers that the tests use (Debian, as root).
install:
    e2e/install

# The main job with the clients of CI (docker, ctr, podman, buildah, skopeo, helm, oras, crane, regctl), on both engines.
e2e:
    cargo build --release
    PATH="$(e2e/install --path):$PATH" ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" e2e/main-job

# Sign in at a real provider of OpenID Connect: its login form, its groups, a program's token.
keycloak:
    cargo build --release
    e2e/install-keycloak
    ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" e2e/keycloak.sh

# A registry without a public endpoint, in network namespaces: not noticed outside, of use inside (as root).
e2e-private:
    cargo build --release
    PATH="$(e2e/install --path):$PATH" ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" e2e/private-network.sh

# Every way of signing in, with real clients: keys, jobs of a CI, secrets of kubectl; and a key that is revoked under them.
logins:
    cargo build --release
    PATH="$(e2e/install --path):$PATH" ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" e2e/logins.sh

# All real clients on all engines, or only some; writes their rows in docs/compatibility.md. Half an hour the first time, for their installation.
e2e-full *recipes:
    cargo build --release
    e2e/install-full
    ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" e2e/full {{recipes}}

# Break a running region under load and look whether anything was lost; `--help` names the trials. docs/reliability.md
trials *arguments="kill --times 30":
    cargo build --release
    cargo build --workspace --bin roadstead-trials
    PATH="$(e2e/install --path):$PATH" ROADSTEAD_BIN="${CARGO_TARGET_DIR:-target}/release/roadstead" "${CARGO_TARGET_DIR:-target}/debug/roadstead-trials" {{arguments}}

# Measure beside other registries and nginx; `--help` names the options. docs/performance.md
bench *arguments:
    bench/run {{arguments}}

# Write the reference page of the settings and the document of the management API anew.
docs:
    cargo run -- config reference > docs/configuration.md
    cargo run -- config openapi > docs/openapi.json

# Everything, as CI does it.
ci:
    .ci/run
