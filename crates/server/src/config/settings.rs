//! The table of settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use roadstead_access::GroupRole;
use roadstead_model::{BucketName, RegistryName};

use super::Secret;
pub use super::parser::DatabaseAddress;
use super::parser::*;
use super::sources::Given;

/// One setting, as the readers and the reference page see it.
pub(super) struct Setting {
    /// The section of the file, empty for those at its top.
    pub(super) section: &'static str,
    /// The path in the file, such as `database.pool`.
    pub(super) name: String,
    /// What the program does when it is not given; empty for "not set".
    pub(super) default: &'static str,
    /// What it is for, with units and limits.
    pub(super) doc: &'static str,
    /// What a right value looks like.
    pub(super) form: String,
    /// An array is taken.
    pub(super) list: bool,
    /// Its value is never repeated.
    pub(super) secret: bool,
}

impl Setting {
    /// The variable of the environment that gives this setting.
    pub(super) fn variable(&self) -> String {
        format!("ROADSTEAD_{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }
}

/// Settings of a further bucket are those of the section `bucket`, under `buckets.NAME`.
pub(super) const FURTHER_BUCKETS: &str = "buckets";

fn path_of(section: &str, name: &str) -> String {
    if section == "general" { name.to_owned() } else { format!("{section}.{name}") }
}

macro_rules! settings {
    ($( $section:ident $kind:ident $about:literal {
        $( $name:ident : $type:ty = $default:literal, $parser:expr, $doc:literal; )*
    } )*) => {
        /// All settings, read and checked.
        #[derive(Clone, Debug)]
        pub struct Config {
            $( #[doc = $about] pub $section: $kind, )*
            /// Buckets that a registry can be made in beside the default one, by name.
            pub buckets: BTreeMap<BucketName, Bucket>,
        }

        $(
            #[doc = $about]
            #[derive(Clone, Debug)]
            pub struct $kind { $( #[doc = $doc] pub $name: $type, )* }

            impl $kind {
                /// Reads the settings below `section`; what is wrong goes to `problems`.
                fn read(given: &Given, section: &str, problems: &mut Vec<String>) -> Option<Self> {
                    let ($( $name, )*): ($( Option<$type>, )*) =
                        ($( given.read(&path_of(section, stringify!($name)), &$parser, $default, problems), )*);
                    Some(Self { $( $name: $name?, )* })
                }
            }
        )*

        /// What each section is about, in the order of the table.
        pub(super) const SECTIONS: &[(&str, &str)] = &[$( (stringify!($section), $about) ),*];

        /// Every setting there is, in the order of the table.
        pub(super) fn all() -> Vec<Setting> {
            vec![$($({
                let parser: Parser<$type> = $parser;
                Setting {
                    section: stringify!($section),
                    name: path_of(stringify!($section), stringify!($name)),
                    default: $default,
                    doc: $doc,
                    form: parser.form,
                    list: parser.list,
                    secret: parser.secret,
                }
            }),*),*]
        }

        /// Reads what was given into the typed form; what is wrong goes to `problems`.
        pub(super) fn read(given: &Given, problems: &mut Vec<String>) -> Option<Config> {
            $( let $section = $kind::read(given, stringify!($section), problems); )*
            let buckets: Vec<_> = given
                .buckets()
                .map(|name| {
                    let bucket = Bucket::read(given, &format!("{FURTHER_BUCKETS}.{name}"), problems);
                    Some((name.clone(), bucket?))
                })
                .collect();
            Some(Config {
                $( $section: $section?, )*
                buckets: buckets.into_iter().collect::<Option<_>>()?,
            })
        }
    };
}

/// How a bucket stores its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketType {
    /// Files of a directory.
    Directory,
    /// A service that speaks Amazon's S3 protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

const KINDS: &[(&str, BucketType)] = &[
    ("directory", BucketType::Directory),
    ("s3", BucketType::S3),
    ("gcs", BucketType::Gcs),
    ("azure", BucketType::Azure),
];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const YEARS_10: u64 = 3650;

settings! {
    general General "What a node is and where it answers." {
        listen: Vec<SocketAddr> = "127.0.0.1:5000", addresses(),
            "Addresses on which clients are answered, but for those of `private.listen`. Port 0 takes a free one, which is printed. `[::]:5000` answers IPv6 and IPv4. With `tls.certificate` all of them speak TLS.";
        data_dir: PathBuf = "./roadstead-data", path(),
            "Directory of this node: the SQLite database and the blobs unless they are configured elsewhere, the made-up secret key, a lock and the control socket. Made with mode 0700. One running server has it for itself.";
        external_url: Option<String> = "", optional(origin()),
            "The address that clients use, for addresses in answers. Without it the `Host` of each request counts (and `X-Forwarded-*` of `trusted_proxies`).";
        domain: Option<String> = "", optional(domain()),
            "Domain for host names of registries: `REGISTRY.REGION.DOMAIN/REPOSITORY` (`REGISTRY.DOMAIN/REPOSITORY` without `region`), and on private listeners `ID.REGION.private.DOMAIN/REPOSITORY`. Without it only `HOST/REGISTRY/REPOSITORY` is answered.";
        region: Option<String> = "", optional(label()),
            "Code of this installation, part of host names where `domain` is set.";
        trusted_proxies: Vec<IpNet> = "", networks(),
            "Proxies that are believed about the client: `Forwarded` (`proto`, `host`), `X-Forwarded-Proto`, `X-Forwarded-Host`, `X-Forwarded-Port`, and for the log `X-Forwarded-For`. A proxy in this list must set or remove all of them itself; what it passes on unseen is the client's word. From everybody else they are ignored.";
        secret_key: Option<Secret<[u8; 32]>> = "", optional(secret(key())),
            "Key that seals what the database keeps secret. All nodes of one database need the same. Without it and `secret_key_file` one is made in `DATA_DIR/secret.key`.";
        secret_key_file: Option<PathBuf> = "", optional(path()),
            "File that holds the secret key, instead of `secret_key`.";
    }
    database Database "Where names, tags and rights are kept." {
        url: Option<Secret<DatabaseAddress>> = "", optional(secret(database())),
            "The database. Without it: SQLite in `DATA_DIR/roadstead.db`. In a PostgreSQL address `sslmode=verify-full` asks for TLS and checks the server's certificate.";
        pool: u64 = "16", number(1..=1000),
            "Connections to PostgreSQL that a node holds at most.";
        answer_seconds: u64 = "30", number(1..=3600),
            "Seconds after which a statement that PostgreSQL has not answered is given up and its request answered with 503. Waiting for a lock ends after half of it, waiting for a connection after a third (10 seconds at most).";
        allow_fsync_off: bool = "false", yes_or_no(),
            "Start although the PostgreSQL server runs with `fsync` off, where a power cut loses pushes that were acknowledged. For tests only.";
    }
    bucket Bucket "Where the bytes of layers are kept." {
        kind: BucketType = "directory", choice(KINDS),
            "What the bucket is: a directory, a service that speaks S3, Google Cloud Storage, or Azure Blob Storage.";
        path: Option<PathBuf> = "", optional(path()),
            "Directory for the kind `directory`; the bytes lie in `objects` below it. Without it: `DATA_DIR`.";
        shared: bool = "false", yes_or_no(),
            "The directory is on a file system that all nodes share. Without it, a directory serves one node.";
        exclusive: bool = "false", yes_or_no(),
            "The bucket is for one registry alone: the first one that is made in it has it, until it has left the trash. For buckets of `[buckets.NAME]`.";
        name: Option<String> = "", optional(text()),
            "Name of the bucket (Azure: of the container). It must exist.";
        endpoint: Option<String> = "", optional(web_address()),
            "Address of the object storage. Without it: that of Amazon, Google or Azure.";
        signing_endpoint: Option<String> = "", optional(web_address()),
            "Address of the object storage as clients reach it, for presigned addresses. Without it: `bucket.endpoint`.";
        private_signing_endpoint: Option<String> = "", optional(web_address()),
            "Address of the object storage as clients of private listeners reach it. Without it they get no presigned addresses: the node streams to them.";
        region: Option<String> = "", optional(text()),
            "Region of the bucket (S3). Without it `us-east-1`.";
        access_key_id: Option<String> = "", optional(text()),
            "Id of the key for S3. Without it the credentials of the machine are looked for (instance or pod identity).";
        secret_access_key: Option<Secret<String>> = "", optional(secret(text())),
            "Secret of the key for S3.";
        session_token: Option<Secret<String>> = "", optional(secret(text())),
            "Session token that goes with temporary keys for S3.";
        virtual_host_style: bool = "false", yes_or_no(),
            "Ask S3 as `BUCKET.HOST/KEY` instead of `HOST/BUCKET/KEY`.";
        google_credentials_file: Option<PathBuf> = "", optional(path()),
            "JSON file of a Google service account. Without it the credentials of the machine are looked for.";
        azure_account: Option<String> = "", optional(text()),
            "Name of the storage account (Azure).";
        azure_access_key: Option<Secret<String>> = "", optional(secret(text())),
            "Access key of the storage account. Without it the identity of the machine is looked for.";
        redirect: bool = "true", yes_or_no(),
            "Answer pulls of layers with a redirect to a presigned address of the object storage; otherwise the node streams them. A directory always streams. On private listeners `private.redirect` says it.";
        presign_seconds: u64 = "60", number(1..=604_800),
            "Seconds that a presigned address lives.";
        part_mib: u64 = "16", number(5..=1024),
            "Size of a part of a multipart upload in MiB. An upload in progress uses about this much memory on a node.";
        answer_seconds: u64 = "40", number(1..=3600),
            "Seconds within which the object storage has to carry a request out, tries again included; then its client gets 503. It must be enough for a part over your line. A download ends when no byte comes for so long.";
        probe_seconds: u64 = "15", number(1..=3600),
            "Seconds between two looks whether the buckets answer; that of the default bucket counts for all. `/readyz` says that they can't be reached when none has answered for four times as long.";
        check_minutes: u64 = "60", number(0..=44_640),
            "Minutes between two tries of each bucket: whether it can be written, read and deleted from, and whether object lock or a life-cycle rule is in the way (S3, if the key may read these). One in trouble is tried again after five minutes. 0 for never; that of the default bucket counts for all.";
        small_bytes: u64 = "16384", number(0..=65_536),
            "Blobs of up to so many bytes lie in the database and not in the bucket: configs of images, signatures. A file or object for each would cost more than its bytes. 0 for none; what is stored already stays where it is.";
        reserve_mib: u64 = "64", number(0..=1_048_576),
            "MiB that pushes leave free on the disk of a `directory`, but never more than a sixteenth of the disk: deletes, and what else the database has to write, still have room when pushes get 503.";
    }
    tls Tls "Certificates of the listeners. Both files are read again when they change; a broken new one leaves the old in use." {
        certificate: Option<PathBuf> = "", optional(path()),
            "PEM file with the certificate and those that lead to its root.";
        key: Option<PathBuf> = "", optional(path()),
            "PEM file with the private key.";
    }
    private Private "Listeners inside the network: all registries answer there, also those whose public endpoint is off." {
        listen: Vec<SocketAddr> = "", addresses_or_none(),
            "Addresses on which private clients are answered, as those of `listen` for all others. Only the network keeps strangers from them: give them addresses that are not reached from outside, and lead no public name there.";
        external_url: Option<String> = "", optional(origin()),
            "The address that private clients use, for addresses in answers to them. Without it the `Host` of each request counts.";
        certificate: Option<PathBuf> = "", optional(path()),
            "PEM file with the certificate of the private listeners, as `tls.certificate`. Without it they speak plain HTTP, whatever `[tls]` says.";
        key: Option<PathBuf> = "", optional(path()),
            "PEM file with its private key.";
        redirect: bool = "true", yes_or_no(),
            "Answer pulls of layers on private listeners with a redirect, from buckets that have a `private_signing_endpoint`; otherwise the node streams them.";
    }
    limits Limits "What a client may ask for." {
        header_bytes: u64 = "65536", number(4096..=1_048_576),
            "Bytes of a request's line and headers; more is answered with 431.";
        header_seconds: u64 = "30", number(1..=3600),
            "Seconds that a client may take to send the headers of a request, and for a TLS handshake.";
        keep_alive_seconds: u64 = "75", number(1..=3600),
            "Seconds after which a connection without a request is closed. More than a load balancer in front waits.";
        idle_seconds: u64 = "60", number(1..=3600),
            "Seconds without a byte after which a slow sender's upload is broken off and a slow reader's connection closed.";
        bytes_per_second: u64 = "128", number(0..=1_048_576),
            "Bytes a second that a client has to send of a body, or to take of an answer, at least: one that is waited for `idle_seconds` altogether without so many for each of them is treated as if it had sent or taken nothing. 0 for no such limit.";
        connections: u64 = "10000", number(1..=1_000_000),
            "Connections open at one time; further ones wait. Twice as many file descriptors are needed: where the system allows fewer, fewer connections are taken.";
        http2_streams: u64 = "256", number(1..=10_000),
            "Requests at one time on one HTTP/2 connection.";
        http2_window_bytes: u64 = "1048576", number(65_535..=1_073_741_824),
            "Bytes that one HTTP/2 stream may send ahead.";
        http2_connection_window_bytes: u64 = "2097152", number(65_535..=1_073_741_824),
            "Bytes that all streams of one HTTP/2 connection may send ahead.";
        http2_resets: u64 = "20", number(1..=10_000),
            "HTTP/2 streams that a client may open and reset at once before its connection is closed (rapid reset).";
        manifest_bytes: u64 = "4194304", number(1024..=67_108_864),
            "Bytes of a manifest. Registries and clients agree on 4 MiB.";
        blob_bytes: u64 = "0", number(0..=u64::MAX),
            "Bytes of a layer; 0 for no limit.";
        upload_hours: u64 = "24", number(1..=8760),
            "Hours without a byte after which an unfinished upload is removed. One that nothing was ever sent to is over after 25 minutes.";
        memory_mib: u64 = "512", number(32..=1_048_576),
            "MiB that bodies of pushes and pulls may use together; when they are used up, further ones wait.";
        memory_seconds: u64 = "20", number(1..=3600),
            "Seconds that a body waits for memory before its request is answered with 503.";
        drain_seconds: u64 = "60", number(0..=86_400),
            "Seconds that running requests have to finish after SIGTERM. Saving what arrived of cut uploads takes up to 10 more: give your supervisor more than both before it kills.";
    }
    manifests Manifests "What is taken as a manifest." {
        require_blobs: bool = "false", yes_or_no(),
            "Refuse image manifests whose config or layers are not in the repository. Without it such sparse images are taken with a `Warning` header, as the specification allows, and are whole once the blobs are pushed.";
    }
    outgoing Outgoing "Requests that the service makes itself." {
        proxy: Option<String> = "", optional(web_address()),
            "HTTP proxy for requests to the object storage. `HTTP_PROXY` and the like are not read.";
        ca_certificates: Option<PathBuf> = "", optional(path()),
            "PEM file of certificates to trust beside the public ones, for the object storage and PostgreSQL.";
    }
    metrics Metrics "Figures for Prometheus at `/metrics`." {
        listen: Option<SocketAddr> = "", optional(address()),
            "An address of its own for `/metrics`, `/healthz` and `/readyz`, in plain HTTP and without a password. Without it `/metrics` is on the main listeners, for the access key of an administrator (HTTP Basic).";
    }
    log Log "Log lines go to standard error." {
        format: LogFormat = "text", choice(FORMATS),
            "`text` for people, `json` for programs.";
        level: String = "info", log_filter(),
            "Least level that is written, for everything or for one module.";
        access: bool = "true", yes_or_no(),
            "Write one line for each request.";
    }
    access Access "Who is let in." {
        open: bool = "false", yes_or_no(),
            "Let everyone who reaches the service do everything without signing in: for a machine of one's own or a test, never for a network that others use. A warning is written at each start.";
    }
    token Token "Tokens that clients get at `/token`." {
        lifetime_seconds: u64 = "3600", number(60..=43_200),
            "Seconds that an access token lives; 12 hours at most.";
        refresh_days: u64 = "90", number(1..=365),
            "Days that a refresh token lives.";
    }
    oidc Oidc "Signing in at a provider of OpenID Connect, for people. Set `oidc.issuer` and `oidc.client_id`, and register `https://HOST/api/v1/session/oidc/callback` there as the address to come back to." {
        issuer: Option<String> = "", optional(issuer()),
            "The provider, exactly as its tokens name it (`iss`). Its document lies at `ISSUER/.well-known/openid-configuration`. Without it people sign in with passwords only.";
        client_id: Option<String> = "", optional(text()),
            "The name by which the provider knows this service.";
        client_secret: Option<Secret<String>> = "", optional(secret(text())),
            "The secret that goes with it. A client without one is protected by PKCE alone.";
        internal: bool = "false", yes_or_no(),
            "The provider lies inside the network: private addresses and plain `http` are allowed. Otherwise only `https` to public addresses is.";
        scopes: Vec<String> = "openid,profile,email", words("openid"),
            "What the provider is asked for; `openid` must be among them. Some need another one for groups.";
        name_claim: String = "preferred_username", text(),
            "The claim of the ID token that names a person who is not here yet. In lower case it must be a person's name.";
        groups_claim: String = "groups", text(),
            "The claim of the ID token with the groups that a person is in: a list of texts.";
        make_people: bool = "false", yes_or_no(),
            "Make a person at the first sign-in of somebody who is not here yet. Otherwise a system administrator makes and links them.";
        roles: Vec<GroupRole> = "", group_roles(),
            "Roles that groups give, brought up to date at each sign-in.";
        administrators: Option<String> = "", optional(text()),
            "The group whose people are system administrators, brought up to date at each sign-in.";
    }
    ci Ci "Jobs of CI services that sign in as robots with the tokens that their service makes for them. Which jobs a robot trusts is said by its trusts." {
        issuers: Vec<String> = "", issuers(),
            "Issuers of tokens in the public internet that robots may trust, exactly as the tokens name them (`iss`): `https://token.actions.githubusercontent.com` is GitHub Actions, `https://gitlab.com` GitLab.";
        internal_issuers: Vec<String> = "", issuers(),
            "The same inside the network: private addresses and plain `http` are allowed.";
        keys_file: Option<PathBuf> = "", optional(path()),
            "JSON file with the keys of issuers that can't be reached, such as those of Kubernetes: `{\"ISSUER\": {\"keys\": [...]}}`. Robots may trust these, too, and nothing is fetched from them. It is read at the start.";
        login_seconds: u64 = "3600", number(60..=43_200),
            "Seconds that a job stays signed in with what it got for its token, which itself often lives for minutes only: as long as a build with its push takes; 12 hours at most.";
    }
    trash Trash "What was deleted." {
        days: u64 = "7", number(0..=YEARS_10),
            "Days that what was deleted can be restored; 0 for not at all.";
    }
    history History "What happened." {
        tag_days: u64 = "365", number(0..=YEARS_10),
            "Days that the history of a tag goes back: where it led, since when, set by whom; and pulls by day. What lies in the trash keeps its own until it can't be restored any more.";
        event_days: u64 = "30", number(0..=YEARS_10),
            "Days that events (pushes, deletions) are kept for whoever is to be told of them.";
        audit_days: u64 = "365", number(1..=YEARS_10),
            "Days that the audit log goes back: who changed what, and refused sign-ins and access keys.";
    }
    gc Gc "Reclaiming bytes that nothing holds." {
        grace_seconds: u64 = "86400", number(1..=31_536_000),
            "Seconds that a layer which no artifact holds stays usable: longer than the longest push takes.";
        recovery_days: u64 = "7", number(0..=YEARS_10),
            "Days that the bytes stay in the bucket after that, so that a database restored from a backup of this age finds them.";
        interval_seconds: u64 = "5", number(1..=3600),
            "Seconds that background work on a node (reclaiming, ending old uploads, emptying the trash) rests when there is nothing to do.";
    }
    initial Initial "What the first start makes; it has no effect later." {
        key_id: Option<String> = "", optional(key_id()),
            "Id of the administrator's access key. Without it one is made up.";
        key_secret: Option<Secret<String>> = "", optional(secret(key_secret())),
            "Secret of the administrator's access key. Without it one is made up and printed once.";
        registry: RegistryName = "main", registry_name(),
            "Name of the first registry.";
    }
}
