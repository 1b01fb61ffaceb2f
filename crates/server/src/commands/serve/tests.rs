//! A whole node, in this process: what an operator sees of its starts, its figures and its commands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::commands::{Command, Outcome};
use crate::config::Sources;
use crate::control;

const PROBE: Duration = Duration::from_secs(15);

fn config(directory: &TempDir, more: &[(&'static str, &str)]) -> Config {
    let path = directory.path().join("data").display().to_string();
    let mut flags = vec![("listen", "127.0.0.1:0".to_owned()), ("data_dir", path)];
    flags.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Config::load(&Sources { flags, ..Sources::default() }).expect("right")
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

async fn end(node: Node) {
    assert!(node.end(Duration::from_secs(20)).await, "everything ends by itself");
}

#[tokio::test]
async fn the_first_start_shows_the_secret_and_the_second_says_where_it_left_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(&directory, &[]);
    let first = Node::start(&config).await.expect("started");
    let secret = first.greeting.split("-p ").nth(1).and_then(|rest| rest.lines().next()).expect("a login").to_owned();
    let address = first.listening()[0];
    assert!(first.greeting.contains(&format!("docker login {address} -u")), "{}", first.greeting);
    end(first).await;
    let second = Node::start(&config).await.expect("started again");
    assert!(second.greeting.contains("Going on with 1 registry"), "{}", second.greeting);
    assert!(!second.greeting.contains(&secret));
    end(second).await;
}

#[tokio::test]
async fn commands_beside_a_running_server_are_carried_out_by_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(&directory, &[("initial.registry", "first")]);
    let node = Node::start(&config).await.expect("started");
    let create = Command::RegistryCreate {
        name: "team".to_owned(),
        project: "default".to_owned(),
        bucket: None,
        public: true,
        description: String::new(),
    };
    let data = &config.general.data_dir;
    let made = control::ask(data, &create).await.expect("an answer");
    assert!(matches!(made, Ok(Outcome::Created(registry)) if registry.public_pull && registry.name == "team"));
    let again = control::ask(data, &create).await.expect("an answer").expect_err("taken").to_string();
    assert!(again.contains("already"), "{again}");
    let Ok(Outcome::Registries(all)) = control::ask(data, &Command::RegistryList).await.expect("an answer") else {
        panic!("no list")
    };
    assert_eq!(all.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["first", "team"]);
    let refused = Node::start(&config).await.err().expect("held");
    assert!(refused.contains("in use by another roadstead"), "{refused}");
    end(node).await;
}

#[tokio::test]
async fn a_data_directory_with_a_long_path_has_a_control_socket_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let long = directory.path().join("x".repeat(120)).display().to_string();
    let config = config(&directory, &[("data_dir", &long)]);
    let node = Node::start(&config).await.expect("started");
    let asked = control::ask(&config.general.data_dir, &Command::DatabaseTime).await.expect("an answer");
    assert!(matches!(asked, Ok(Outcome::DatabaseTime(_))));
    end(node).await;
}

#[tokio::test]
async fn figures_are_for_administrators_and_every_answer_names_its_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let initial = [("initial.key_id", "ADMIN"), ("initial.key_secret", "a-secret-of-the-test")];
    let node = Node::start(&config(&directory, &initial)).await.expect("started");
    let address = node.listening()[0];
    let login = |secret: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(format!("ADMIN:{secret}")));
    let answer = get(address, "/metrics", "x-request-id: mine-1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("x-request-id: mine-1"), "{answer}");
    assert!(get(address, "/metrics", &login("another-secret-here")).await.starts_with("HTTP/1.1 404"));
    let answer = get(address, "/metrics", &login("a-secret-of-the-test")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("roadstead_http_connections 1"), "{answer}");
    assert!(!answer.contains("x-request-id: mine-1") && answer.contains("x-request-id: "), "{answer}");
    end(node).await;
}

#[tokio::test]
async fn a_request_that_others_may_read_differently_is_refused_and_its_connection_closed() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(&config(&directory, &[])).await.expect("started");
    for (headers, status) in [
        ("", "400"),
        ("host: a\r\nhost: b\r\n", "400"),
        ("host: a\r\ntransfer-encoding: gzip, chunked\r\n", "400"),
        ("host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n", "400"),
    ] {
        let mut stream = TcpStream::connect(node.listening()[0]).await.expect("connected");
        let request = format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer and an end");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}{answer}");
    }
    end(node).await;
}

#[tokio::test]
async fn a_listener_for_figures_needs_no_password_and_knows_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::start(&config(&directory, &[("metrics.listen", "127.0.0.1:0")])).await.expect("started");
    let (main, figures) = (node.listening()[0], node.figures.expect("a listener for figures"));
    assert!(get(figures, "/metrics", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(figures, "/readyz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(figures, "/v2/", "").await.starts_with("HTTP/1.1 404"));
    assert!(get(main, "/metrics", "").await.starts_with("HTTP/1.1 404"));
    end(node).await;
}

#[tokio::test]
async fn the_listener_for_figures_has_its_own_connections_and_says_that_the_node_drains() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = [("metrics.listen", "127.0.0.1:0"), ("limits.connections", "1")];
    let node = Node::start(&config(&directory, &flags)).await.expect("started");
    let (main, figures) = (node.listening()[0], node.figures.expect("a listener for figures"));
    // A request that does not end holds the only connection, and then the drain.
    let mut busy = TcpStream::connect(main).await.expect("connected");
    busy.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET /heal").await.expect("written");
    busy.read_exact(&mut [0; 12]).await.expect("an answer");
    assert!(get(figures, "/readyz", "").await.starts_with("HTTP/1.1 200"));
    node.drain.begin();
    let answer = get(figures, "/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("draining"), "{answer}");
    drop(busy);
    end(node).await;
    assert!(TcpStream::connect(figures).await.is_err(), "it ends too");
}

#[tokio::test]
async fn a_node_that_drains_or_has_a_wrong_clock_is_not_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(&directory, &[]);
    let data = DataDir::make(&config.general.data_dir).expect("made");
    let db = wiring::open_database(&config).await.expect("a database");
    let buckets = wiring::open_buckets(&config, &wiring::memory_budget(&config)).await.expect("a bucket");
    let drain = Drain::new();
    let right = Health::new(db.clone(), buckets.clone(), Clock::system(), drain.clone(), PROBE);
    assert!(right.trouble().await.is_empty());
    for seconds in [6, -6] {
        let clock = Clock::new(move || Clock::system().micros() + seconds * 1_000_000);
        let wrong = Health::new(db.clone(), buckets.clone(), clock, Drain::new(), PROBE);
        assert_eq!(wrong.trouble().await, ["this node's clock is more than 5 seconds off the database's"]);
    }
    drain.begin();
    assert_eq!(right.trouble().await, ["this node is draining"]);
    drop(data);
}
