//! The second table: nodes over PostgreSQL and an S3, beside docker-registry over files, and beside writing to that S3 directly.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use object_store::{
    MultipartUpload as _, ObjectStoreExt as _,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use roadstead_testkit::{Cluster, Postgres, S3, Server, random_bytes};
use tokio::runtime::Runtime;

use crate::{
    contestants::{Content, Contestant, Ground, Name, REPOSITORY, token},
    cores,
    load::{self, Push, Target, Work},
    table::{Check, Must, median},
};

const MIB: usize = 1 << 20;
const PUSHED: usize = 100 * MIB;
/// As the nodes write.
const PART: usize = 16 * MIB;

/// What stands in one run.
struct Region<'a> {
    runtime: &'a Runtime,
    nodes: Vec<Node>,
    time: Duration,
    rounds: u32,
}

struct Node {
    target: Target,
    head: String,
    server: Server,
}

impl Node {
    /// A request without a body.
    fn request(&self, method: &str, path: &str) -> Vec<u8> {
        format!("{method} {path} HTTP/1.1\r\n{}\r\n", self.head).into_bytes()
    }
}

/// `None`: PostgreSQL or SeaweedFS is not here.
pub(crate) fn measure(
    runtime: &Runtime,
    ground: &Ground<'_>,
    content: &Content,
    rounds: u32,
    time: Duration,
) -> Option<Vec<Check>> {
    // As they are run: what is acknowledged is on the disk.
    let postgres = Postgres::start(true)?;
    let s3 = S3::shared()?;
    let cluster = Cluster::new(&postgres, s3);
    let start = |core| {
        let server = cores::on_core(core, || Server::start(ground.programs.node(&cluster)));
        let address = server.address();
        let head = format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", token(&server.client()));
        // PostgreSQL and the S3 are on the core of the client.
        Node { target: Target { address, tls: None, alone: false }, head, server }
    };
    let nodes = vec![start(cores::SERVERS), start(cores::CLIENT)];
    let client = nodes[0].server.client();
    client.push_blob(REPOSITORY, &content.large);
    client.push_image(REPOSITORY, "latest", &content.image);
    let region = Region { runtime, nodes, time, rounds };
    let mut checks = region.manifests(ground, content);
    checks.push(region.redirect(content));
    checks.extend([1, 8].map(|connections| region.push(&bucket(s3, &cluster), connections)));
    Some(checks)
}

fn bucket(s3: &S3, cluster: &Cluster) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_bucket_name(&cluster.bucket)
        .with_endpoint(&s3.endpoint)
        .with_region(&s3.region)
        .with_access_key_id(&s3.access_key_id)
        .with_secret_access_key(&s3.secret_access_key)
        .with_allow_http(true)
        .build()
        .expect("an address of a bucket")
}

impl Region<'_> {
    fn rate(&self, target: &Target, work: &Work, connections: usize) -> (f64, f64) {
        let done = self.runtime.block_on(load::run(target, work, connections, self.time));
        let done = done.unwrap_or_else(|error| panic!("over PostgreSQL and S3: {error}"));
        let took = done.took.as_secs_f64();
        (done.operations as f64 / took, done.bytes as f64 / took)
    }

    fn manifests(&self, ground: &Ground<'_>, content: &Content) -> Vec<Check> {
        const CONNECTIONS: usize = 64;
        let dr = Contestant::start(Name::Dr, false, ground, Some(content));
        let theirs = Work::Fetch(vec![dr.request("GET", &Content::by_tag(), "")]);
        let ours = |node: &Node| Work::Fetch(vec![node.request("GET", &Content::by_tag())]);
        let (mut of_dr, mut of_one, mut of_two) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            of_dr.push(self.rate(&dr.target, &theirs, CONNECTIONS).0);
            of_one.push(self.rate(&self.nodes[0].target, &ours(&self.nodes[0]), CONNECTIONS).0);
            let work: Vec<_> = self.nodes.iter().map(ours).collect();
            let both = self.nodes.iter().zip(&work);
            let both = try_join_all(both.map(|(it, work)| load::run(&it.target, work, CONNECTIONS / 2, self.time)));
            let both = self.runtime.block_on(both).unwrap_or_else(|error| panic!("two nodes: {error}"));
            of_two.push(both.iter().map(|done| done.operations as f64 / done.took.as_secs_f64()).sum());
        }
        let (dr, one, two) = (median(of_dr), median(of_one), median(of_two));
        let check = |what: &str, ours: f64, beside: String, ratio, must| Check {
            what: format!("manifest GET by tag, {CONNECTIONS} connections, {what}"),
            ours: format!("{ours:.0}/s"),
            beside,
            ratio,
            must,
        };
        vec![
            check("one node", one, format!("DR over files: {dr:.0}/s"), one / dr, Some(Must::AtLeast(5.0))),
            check("two nodes, the second on the client's core", two, format!("one node: {one:.0}/s"), two / one, None),
        ]
    }

    /// What a node does for a pull of a blob of 100 MiB.
    fn redirect(&self, content: &Content) -> Check {
        let node = &self.nodes[0];
        let path = Content::blob(&content.large);
        let work = Work::Fetch(vec![node.request("GET", &path)]);
        let rates: Vec<_> = (0..self.rounds).map(|_| self.rate(&node.target, &work, 8)).collect();
        let bytes = rates.iter().map(|(_, bytes)| *bytes).sum::<f64>();
        Check {
            what: "blob GET, 100 MiB, 8 connections: redirects".to_owned(),
            ours: format!("{:.0}/s", median(rates.iter().map(|(operations, _)| *operations).collect())),
            beside: "bytes of the blob through the node".to_owned(),
            ratio: bytes,
            must: Some(Must::AtMost(0.0)),
        }
    }

    fn push(&self, bucket: &AmazonS3, connections: usize) -> Check {
        let node = &self.nodes[0];
        let bytes = bytes::Bytes::from(random_bytes(PUSHED));
        let work = Work::Push(Push::new(&node.head, &format!("/v2/{REPOSITORY}/blobs/uploads/"), PUSHED));
        let (mut ours, mut direct) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            ours.push(self.rate(&node.target, &work, connections).1);
            let begun = Instant::now();
            let writing = try_join_all(
                (0..connections)
                    .map(|number| write(bucket, &bytes, format!("direct/{connections}/{round}/{number}"), self.time)),
            );
            let written = self.runtime.block_on(writing).unwrap_or_else(|error| panic!("the S3: {error}"));
            direct.push((written.iter().sum::<usize>() * PUSHED) as f64 / begun.elapsed().as_secs_f64());
        }
        let (ours, direct) = (median(ours), median(direct));
        Check {
            what: format!("push of 100 MiB, {connections} connections"),
            ours: format!("{:.2} GB/s", ours / 1e9),
            beside: format!("object_store to the same S3: {:.2} GB/s", direct / 1e9),
            ratio: ours / direct,
            must: Some(Must::AtLeast(0.8)),
        }
    }
}

/// Writes objects for a while; how many.
async fn write(bucket: &AmazonS3, bytes: &bytes::Bytes, key: String, time: Duration) -> object_store::Result<usize> {
    let begun = Instant::now();
    let mut written = 0;
    while written == 0 || begun.elapsed() < time {
        let key = Path::from(format!("{key}/{written}"));
        let mut upload = bucket.put_multipart(&key).await?;
        let parts = (0..bytes.len()).step_by(PART).map(|at| bytes.slice(at..bytes.len().min(at + PART)));
        for part in parts {
            upload.put_part(part.into()).await?;
        }
        upload.complete().await?;
        bucket.delete(&key).await?;
        written += 1;
    }
    Ok(written)
}
