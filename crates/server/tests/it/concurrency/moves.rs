//! A tag that was moved on one node is seen by the next read on the other, always; so is a tag that was taken away.

use std::thread;

use roadstead_testkit::{
    Body, Request, Server, Setup,
    content::{self, Manifest},
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};
use serde_json::json;

use crate::scene::{BINARY, with_cluster};

const WRITERS: usize = 4;
const MOVES: usize = 60;

/// A connection that is kept, and speaks as the administrator.
struct Line(Connection);

impl Line {
    fn to(server: &Server) -> Self {
        Self(Connection::open(server.address()).unwrap())
    }

    fn send(&mut self, request: Request) -> roadstead_testkit::Response {
        self.0.send(&request.header("Authorization", &basic(KEY_ID, KEY_SECRET))).unwrap()
    }

    fn put(&mut self, tag: &str, manifest: &Manifest) {
        let request = Request::new("PUT", &format!("/v2/conf/moves/manifests/{tag}"));
        let request = request.header("Content-Type", &manifest.media_type);
        self.send(request.body(Body::Length(manifest.bytes.clone()))).expect(201);
    }

    fn sees(&mut self, tag: &str, manifest: Option<&Manifest>) {
        let target = format!("/v2/conf/moves/manifests/{tag}");
        match manifest {
            Some(manifest) => {
                let head = self.send(Request::new("HEAD", &target));
                head.expect(200).expect_header("Docker-Content-Digest", &manifest.digest());
                self.send(Request::new("GET", &target)).expect(200).expect_body(&manifest.bytes);
            }
            None => drop(self.send(Request::new("GET", &target)).expect(404)),
        }
        let list = self.send(Request::new("GET", "/v2/conf/moves/tags/list?n=100")).expect(200).json();
        assert_eq!(list["tags"].as_array().unwrap().contains(&json!(tag)), manifest.is_some(), "{tag}: {list}");
    }
}

#[test]
fn a_tag_moved_on_one_node_is_seen_by_the_next_read_on_the_other() {
    with_cluster(|cluster| {
        let setup = Setup::node(BINARY, cluster).set("ROADSTEAD_LOG_ACCESS", "false");
        let nodes = [Server::start(setup.clone()), Server::start(setup)];
        nodes[0].client().push_image("conf/moves", "first", &content::image(1));
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let nodes = &nodes;
                scope.spawn(move || {
                    let [mut one, mut other] = [0, 1].map(|number| Line::to(&nodes[(writer + number) % 2]));
                    let manifests = [0, 1].map(|_| content::index(&[]));
                    let tag = format!("moving-{writer}");
                    for round in 0..MOVES {
                        let manifest = &manifests[round % 2];
                        one.put(&tag, manifest);
                        other.sees(&tag, Some(manifest));
                        match round % 6 {
                            // The tag alone, or the manifest with it.
                            2 => {
                                other
                                    .send(Request::new("DELETE", &format!("/v2/conf/moves/manifests/{tag}")))
                                    .expect(202);
                                one.sees(&tag, None);
                            }
                            5 => {
                                let target = format!("/v2/conf/moves/manifests/{}", manifest.digest());
                                one.send(Request::new("DELETE", &target)).expect(202);
                                other.sees(&tag, None);
                                other.send(Request::new("HEAD", &target)).expect(404);
                            }
                            _ => {}
                        }
                    }
                });
            }
        });
    });
}
