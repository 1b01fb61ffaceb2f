//! Random small programs of a few clients at once, over one node or two: some order must explain every answer, and what is
//! there in the end.
//!
//! `ROADSTEAD_TEST_PROGRAMS` says how many there are for each engine and way of settings, `ROADSTEAD_TEST_SEED` which.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use rand::{RngExt as _, SeedableRng, rngs::StdRng};
use roadstead_testkit::{
    Body, Request, Response, Server,
    content::{Manifest, descriptor, types},
    digest,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};
use serde_json::json;

use super::{
    order::{Call, explain},
    rules::{Answer, Do, Known, PLACES, Registry, Set, State, TAGS},
};
use crate::scene::{Engine, Storage, on_both_engines};

on_both_engines!(some_order_explains_all_answers, some_order_explains_all_answers_beside_the_collector);

/// Programs of one run, unless the environment says otherwise.
const PROGRAMS: u64 = 100;
/// Programs that run at the same time, in repositories of their own over the same blobs.
const TEAMS: usize = 3;
const MOST_CLIENTS: usize = 4;
const TAG_NAMES: [&str; TAGS] = ["v1", "latest"];
const BLOBS: [&[u8]; 2] = [b"{\"architecture\":\"amd64\",\"os\":\"linux\"}", b"the only layer"];

/// As it is set up by default, but sparse images are refused: a blob that is lost in the moment of a push is noticed.
fn some_order_explains_all_answers(storage: &Storage) {
    let setup = storage.setup().set("ROADSTEAD_MANIFESTS_REQUIRE_BLOBS", "true").set("ROADSTEAD_LOG_ACCESS", "false");
    let nodes: Vec<_> = (0..node_count(storage)).map(|_| Server::start(setup.clone())).collect();
    run(&nodes, |manifests| Registry { manifests, requires_blobs: true, has_trash: true, immutable: false });
}

/// Without trash and recovery window: what is deleted is taken apart at once, beside the next push of the same.
fn some_order_explains_all_answers_beside_the_collector(storage: &Storage) {
    let setup = storage.setup().set("ROADSTEAD_TRASH_DAYS", "0").set("ROADSTEAD_GC_RECOVERY_DAYS", "0");
    let setup = setup.set("ROADSTEAD_LOG_ACCESS", "false");
    let nodes: Vec<_> = (0..node_count(storage)).map(|_| Server::start(setup.clone())).collect();
    run(&nodes, |manifests| Registry { manifests, requires_blobs: false, has_trash: false, immutable: false });
}

/// A tag that can't be pushed over is set by one of many, and then stays. Only on the engine whose rows a test can set.
#[test]
fn some_order_explains_all_answers_where_tags_do_not_move() {
    crate::scene::with_storage(Engine::S3, |storage| {
        let nodes = [0, 1].map(|_| Server::start(storage.setup().set("ROADSTEAD_LOG_ACCESS", "false")));
        // Every repository that is made from now on.
        nodes[0].cluster().unwrap().database.execute(
            "CREATE FUNCTION fix_tags() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN NEW.mutable_tags := FALSE; RETURN NEW; END';
             CREATE TRIGGER fix_tags BEFORE INSERT ON repository FOR EACH ROW EXECUTE FUNCTION fix_tags()",
        );
        run(&nodes, |manifests| Registry { manifests, requires_blobs: false, has_trash: true, immutable: true });
    });
}

/// Statements take their time, now this one, now that one: orders come up that a quiet machine never sees.
#[test]
fn some_order_explains_all_answers_where_statements_take_their_time() {
    crate::scene::with_storage(Engine::S3, |storage| {
        let setup = storage.setup().set("ROADSTEAD_TRASH_DAYS", "0").set("ROADSTEAD_GC_RECOVERY_DAYS", "0");
        let nodes = [0, 1].map(|_| Server::start(setup.clone().set("ROADSTEAD_LOG_ACCESS", "false")));
        let database = &nodes[0].cluster().unwrap().database;
        database.execute(
            "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN IF random() < 0.2 THEN PERFORM pg_sleep(random() * 0.02); END IF; RETURN NULL; END'",
        );
        for table in [
            "artifact",
            "artifact_edge",
            "blob",
            "deletion",
            "deletion_step",
            "link_review",
            "manifest",
            "repository_blob",
            "tag",
        ] {
            database.execute(&format!(
                "CREATE TRIGGER take_time AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION take_time()"
            ));
        }
        run(&nodes, |manifests| Registry { manifests, requires_blobs: false, has_trash: false, immutable: false });
    });
}

fn node_count(storage: &Storage) -> usize {
    match storage.engine {
        Engine::Directory => 1,
        Engine::S3 => 2,
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: no number: {text}")))
}

fn run(nodes: &[Server], registry: impl Fn(Vec<Known>) -> Registry + Sync) {
    let seed = number_from("ROADSTEAD_TEST_SEED").unwrap_or_else(rand::random);
    let programs = number_from("ROADSTEAD_TEST_PROGRAMS").unwrap_or(PROGRAMS);
    println!("ROADSTEAD_TEST_SEED={seed}");
    let nodes: Vec<SocketAddr> = nodes.iter().map(Server::address).collect();
    let (next, without_answer) = (AtomicU64::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..TEAMS {
            scope.spawn(|| {
                let mut clients: Vec<_> = (0..MOST_CLIENTS).map(|_| Caller::new(&nodes)).collect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= programs {
                        break;
                    }
                    let program = Program::new(seed.wrapping_add(number), &registry);
                    let history = program.run(&mut clients);
                    let unknown = history.iter().filter(|call| call.answered.is_none()).count();
                    without_answer.fetch_add(unknown, Ordering::Relaxed);
                    if explain(&program.registry, &State::default(), &history).is_none() {
                        // What the nodes say next has nothing to do with it.
                        next.store(programs, Ordering::Relaxed);
                        panic!(
                            "no order explains the answers of program {number} of seed {seed} in {:?}:\n{}",
                            program.places,
                            program.show(&history)
                        );
                    }
                }
            });
        }
    });
    println!("{programs} programs, {} requests without an answer", without_answer.into_inner());
}

/// What several clients do at once.
struct Program {
    registry: Registry,
    places: [String; PLACES],
    /// One after the other, before.
    before: Vec<Do>,
    clients: Vec<Vec<Do>>,
}

impl Program {
    fn new(seed: u64, registry: &impl Fn(Vec<Known>) -> Registry) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let registry = registry(alphabet(random.random_range(0..5)));
        let name = format!("conf/order/{:016x}", rand::random::<u64>());
        // More than one repository seldom: what one has to itself is raced for more.
        let places = if random.random_ratio(1, 4) { 2 } else { 1 };
        let mut before: Vec<Do> = (0..BLOBS.len()).map(|blob| Do::PushBlob { place: 0, blob, whole: true }).collect();
        for manifest in 0..registry.manifests.len() {
            match random.random_range(0..4) {
                0 => {}
                1 => before.push(Do::PutDigest { place: 0, manifest }),
                _ => before.push(Do::PutTag { place: 0, tag: random.random_range(0..TAGS), manifest }),
            }
        }
        let steps = random.random_range(1..=4);
        let clients = (0..random.random_range(2..=MOST_CLIENTS))
            .map(|_| (0..steps).map(|_| any(&mut random, registry.manifests.len(), places)).collect())
            .collect();
        Self { registry, places: [format!("{name}/a"), format!("{name}/b")], before, clients }
    }

    /// Runs it; what every client saw.
    fn run(&self, clients: &mut [Caller]) -> Vec<Call<Do, Answer>> {
        let clock = AtomicU64::new(1);
        let mut history: Vec<_> = self.before.iter().map(|it| clients[0].call(self, *it, &clock)).collect();
        let barrier = Barrier::new(self.clients.len());
        thread::scope(|scope| {
            let (barrier, clock) = (&barrier, &clock);
            let running: Vec<_> = self
                .clients
                .iter()
                .zip(&mut *clients)
                .map(|(operations, client)| {
                    scope.spawn(move || {
                        barrier.wait();
                        operations.iter().map(|it| client.call(self, *it, clock)).collect::<Vec<_>>()
                    })
                })
                .collect();
            for client in running {
                history.extend(client.join().unwrap());
            }
        });
        history.extend(self.after().into_iter().map(|it| clients[0].call(self, it, &clock)));
        history
    }

    /// Everything there is to see.
    fn after(&self) -> Vec<Do> {
        let used = |place: &usize| *place == 0 || format!("{:?}", self.clients).contains("place: 1");
        let mut reads = Vec::new();
        for place in (0..PLACES).filter(used) {
            reads.push(Do::ListTags { place });
            reads.extend((0..TAGS).map(|tag| Do::GetTag { place, tag, head: false }));
            reads.extend((0..BLOBS.len()).map(|blob| Do::GetBlob { place, blob, head: false }));
            for manifest in 0..self.registry.manifests.len() {
                reads.push(Do::GetDigest { place, manifest, head: false });
                reads.push(Do::Referrers { place, manifest });
            }
        }
        reads
    }

    fn show(&self, history: &[Call<Do, Answer>]) -> String {
        let mut text = String::new();
        for (number, it) in self.registry.manifests.iter().enumerate() {
            let Known { manifest, parts, child_blobs, children, subject } = it;
            let named = format!("parts {parts:b}, blobs {child_blobs:b}, children {children:b}, subject {subject:?}");
            writeln!(text, "manifest {number}: {named}, {}", manifest.digest()).unwrap();
        }
        for Call { operation, called, answered } in history {
            writeln!(text, "{called:>4} {operation:?} -> {answered:?}").unwrap();
        }
        text
    }
}

/// One operation by chance.
fn any(random: &mut StdRng, manifests: usize, places: usize) -> Do {
    let place = random.random_range(0..places);
    let (manifest, tag) = (random.random_range(0..manifests), random.random_range(0..TAGS));
    let (blob, head) = (random.random_range(0..BLOBS.len()), random.random());
    match random.random_range(0..100) {
        0..20 => Do::PutTag { place, tag, manifest },
        20..30 => Do::PutDigest { place, manifest },
        30..40 => Do::DeleteTag { place, tag },
        40..58 => Do::DeleteDigest { place, manifest },
        58..66 => Do::GetTag { place, tag, head },
        66..76 => Do::GetDigest { place, manifest, head },
        76..80 => Do::ListTags { place },
        80..85 => Do::PushBlob { place, blob, whole: head },
        85..88 => Do::GetBlob { place, blob, head },
        88..93 => Do::DeleteBlob { place, blob },
        93..96 => Do::Mount { place, from: PLACES - 1 - place, blob },
        _ => Do::Referrers { place, manifest },
    }
}

/// Three manifests that have to do with each other.
fn alphabet(number: usize) -> Vec<Known> {
    let config = || descriptor(types::CONFIG, BLOBS[0]);
    let image = |name: &str, layers: usize, subject: Option<&Known>| {
        let layers: Vec<_> = BLOBS[1..=layers].iter().map(|layer| descriptor(types::LAYER, layer)).collect();
        let json = json!({"schemaVersion": 2, "mediaType": types::MANIFEST, "config": config(), "layers": layers,
            "annotations": {"name": name}});
        let manifest = Manifest::new(&json);
        subject.map_or(manifest.clone(), |subject| manifest.about(&subject.manifest))
    };
    let index = |name: &str, children: Vec<serde_json::Value>| {
        Manifest::new(&json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": children,
            "annotations": {"name": name}}))
    };
    let known = |manifest, parts: Set, children, subject| Known { manifest, parts, child_blobs: 0, children, subject };
    let first = known(image("first", 1, None), 3, 0, None);
    match number {
        // An image, its signature, an index of the image.
        0 => {
            let signature = known(image("signature", 0, Some(&first)), 1, 0, Some(0));
            let index = known(index("index", vec![first.manifest.descriptor()]), 0, 1, None);
            vec![first, signature, index]
        }
        // Two images and an index of both.
        1 => {
            let second = known(image("second", 0, None), 1, 0, None);
            let both = index("both", vec![first.manifest.descriptor(), second.manifest.descriptor()]);
            vec![first, second, known(both, 0, 3, None)]
        }
        // An image, its signature, a signature of the signature.
        2 => {
            let second = known(image("second", 0, Some(&first)), 1, 0, Some(0));
            let third = known(image("third", 1, Some(&second)), 3, 0, Some(1));
            vec![first, second, third]
        }
        // An index whose child refers to another image (BuildKit's attestations live in the index of their subject).
        3 => {
            let attestation = known(image("attestation", 1, Some(&first)), 3, 0, Some(0));
            let index = known(index("attested", vec![attestation.manifest.descriptor()]), 0, 2, None);
            vec![first, attestation, index]
        }
        // An index about an image, with the image and a blob as its children.
        _ => {
            let second = known(image("second", 0, None), 1, 0, None);
            let children = vec![second.manifest.descriptor(), descriptor(types::LAYER, BLOBS[1])];
            let index = index("of a blob", children).about(&first.manifest);
            let index = Known { manifest: index, parts: 0, child_blobs: 2, children: 2, subject: Some(0) };
            vec![first, second, index]
        }
    }
}

/// A client with a connection to every node, which uses now this one, now that one.
struct Caller {
    nodes: Vec<SocketAddr>,
    connections: Vec<Option<Connection>>,
}

/// Nobody knows whether it happened.
struct Unknown;

impl Caller {
    fn new(nodes: &[SocketAddr]) -> Self {
        Self { nodes: nodes.to_vec(), connections: nodes.iter().map(|_| None).collect() }
    }

    fn call(&mut self, program: &Program, operation: Do, clock: &AtomicU64) -> Call<Do, Answer> {
        let called = clock.fetch_add(1, Ordering::SeqCst);
        let answer = self.carry_out(program, operation);
        let answered = clock.fetch_add(1, Ordering::SeqCst);
        Call { operation, called, answered: answer.ok().map(|answer| (answered, answer)) }
    }

    fn send(&mut self, request: Request) -> Result<Response, Unknown> {
        let request = request.header("Authorization", &basic(KEY_ID, KEY_SECRET));
        let node = rand::random_range(0..self.nodes.len());
        let connection = match &mut self.connections[node] {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.nodes[node]).map_err(|_| Unknown)?),
        };
        match connection.send(&request) {
            Ok(answer) if answer.status == 503 => Err(Unknown),
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.connections[node] = None;
                Err(Unknown)
            }
        }
    }

    fn carry_out(&mut self, program: &Program, operation: Do) -> Result<Answer, Unknown> {
        let manifests = &program.registry.manifests;
        let at = |place: usize, rest: &str| format!("/v2/{}/{rest}", program.places[place]);
        let of = |manifest: usize| format!("manifests/{}", manifests[manifest].manifest.digest());
        let tagged = |tag: usize| format!("manifests/{}", TAG_NAMES[tag]);
        let blob_at = |place: usize, blob: usize| at(place, &format!("blobs/{}", digest(BLOBS[blob])));
        let get = |head: bool, target: String| Request::new(if head { "HEAD" } else { "GET" }, &target);
        let put = |target: String, manifest: usize| {
            let Manifest { media_type, bytes } = &manifests[manifest].manifest;
            Request::new("PUT", &target).header("Content-Type", media_type).body(Body::Length(bytes.clone()))
        };
        let request = match operation {
            Do::PushBlob { place, blob, whole } => return self.push_blob(&at(place, "blobs/uploads/"), blob, whole),
            Do::PutTag { place, tag, manifest } => put(at(place, &tagged(tag)), manifest),
            Do::PutDigest { place, manifest } => put(at(place, &of(manifest)), manifest),
            Do::DeleteTag { place, tag } => Request::new("DELETE", &at(place, &tagged(tag))),
            Do::DeleteDigest { place, manifest } => Request::new("DELETE", &at(place, &of(manifest))),
            Do::GetTag { place, tag, head } => get(head, at(place, &tagged(tag))),
            Do::GetDigest { place, manifest, head } => get(head, at(place, &of(manifest))),
            Do::ListTags { place } => Request::new("GET", &at(place, "tags/list")),
            Do::GetBlob { place, blob, head } => get(head, blob_at(place, blob)),
            Do::DeleteBlob { place, blob } => Request::new("DELETE", &blob_at(place, blob)),
            Do::Mount { place, from, blob } => {
                let target = with_parameter(&at(place, "blobs/uploads/"), "mount", &digest(BLOBS[blob]));
                Request::new("POST", &with_parameter(&target, "from", &program.places[from]))
            }
            Do::Referrers { place, manifest } => {
                Request::new("GET", &at(place, &format!("referrers/{}", manifests[manifest].manifest.digest())))
            }
        };
        let answer = self.send(request)?;
        Ok(Answer { status: answer.status, shown: shown(manifests, operation, &answer) })
    }

    fn push_blob(&mut self, uploads: &str, blob: usize, whole: bool) -> Result<Answer, Unknown> {
        let named = |target: &str| with_parameter(target, "digest", &digest(BLOBS[blob]));
        let (method, target) = if whole {
            ("POST", named(uploads))
        } else {
            ("PUT", named(&self.send(Request::new("POST", uploads))?.expect(202).location_path()))
        };
        let request = Request::new(method, &target).header("Content-Type", "application/octet-stream");
        Ok(Answer::new(self.send(request.body(Body::Length(BLOBS[blob].to_vec())))?.status))
    }
}

/// What a good answer showed. Bytes are compared here: they are never any others.
fn shown(manifests: &[Known], operation: Do, answer: &Response) -> Set {
    if answer.status != 200 {
        return 0;
    }
    let number_of = |named: &str| {
        let found = manifests.iter().position(|it| it.manifest.digest() == named);
        found.unwrap_or_else(|| panic!("nobody pushed {named}: {answer:?}"))
    };
    let set = |numbers: Vec<usize>| {
        let set = numbers.iter().fold(0, |set: Set, number| set | 1 << number);
        assert_eq!(set.count_ones() as usize, numbers.len(), "something comes twice: {answer:?}");
        set
    };
    match operation {
        Do::GetTag { head, .. } | Do::GetDigest { head, .. } => {
            let number = number_of(answer.header("Docker-Content-Digest"));
            if !head {
                answer.expect_body(&manifests[number].manifest.bytes);
            }
            1 << number
        }
        Do::GetBlob { blob, head: false, .. } => {
            answer.expect_body(BLOBS[blob]);
            0
        }
        Do::ListTags { .. } => {
            let names = answer.json()["tags"].as_array().unwrap().clone();
            let number_of = |name| TAG_NAMES.iter().position(|tag| name == *tag).unwrap();
            set(names.iter().map(|name| number_of(name.as_str().unwrap())).collect())
        }
        Do::Referrers { .. } => {
            let entries = answer.json()["manifests"].as_array().unwrap().clone();
            set(entries.iter().map(|entry| number_of(entry["digest"].as_str().unwrap())).collect())
        }
        _ => 0,
    }
}
