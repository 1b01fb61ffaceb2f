//! The realistic mix of requests (60 % manifest GET and HEAD, 22 % blob GET, a tenth of them ranges, 12 % blob HEAD, 1 % lists, 5 %
//! requests of pushes; popularity by Zipf's law): how long the slowest hundredth of the small requests that read takes.

use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use roadstead_testkit::{
    content::{Image, image_of, random_bytes, types},
    mix,
};
use tokio::runtime::Runtime;

use crate::{
    contestants::{Content, Contestant, Ground, Name, REPOSITORY},
    load::{Connection, END, Push},
    table::{Check, Must},
};

const CLIENTS: usize = 16;
/// Images that are stored.
const IMAGES: usize = 48;
/// Layers that are pushed in turn.
const LAYERS: usize = 16;
/// Blobs are so many times smaller than those of the mix as it is written (up to 1 GiB), so that this disk and this minute hold them.
const SCALE: u64 = 16;

/// Each server for so long.
pub(crate) fn measure(runtime: &Runtime, ground: &Ground<'_>, time: Duration) -> Vec<Check> {
    let mut random = StdRng::seed_from_u64(1);
    let pushed: Vec<usize> = (0..LAYERS).map(|_| size(&mut random)).collect();
    let images: Vec<Image> = (0..IMAGES)
        .map(|_| {
            let layers: Vec<_> = (0..random.random_range(1..=3)).map(|_| random_bytes(size(&mut random))).collect();
            image_of(&layers)
        })
        .collect();
    // Hashed before: the client has its core for sending and receiving.
    let blobs: Vec<Vec<Blob>> = images
        .iter()
        .map(|image| image.blobs.iter().map(|blob| Blob { path: Content::blob(blob), size: blob.len() }).collect())
        .collect();
    let [ours, theirs] = [Name::Roadstead, Name::Dr].map(|name| {
        let on = Contestant::start(name, false, ground, None);
        let client = on.client();
        for (number, image) in images.iter().enumerate() {
            client.push_image(REPOSITORY, &format!("v{number}"), image);
        }
        let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let layers = pushed.iter().map(|size| Push::new(&on.head, &uploads, *size)).collect();
        let end = Instant::now() + time;
        let mix = Mix { on: &on, images: &images, blobs: &blobs, layers, end, took: RefCell::default() };
        let clients = try_join_all((0..CLIENTS as u64).map(|seed| mix.client(seed)));
        runtime.block_on(clients).unwrap_or_else(|error| panic!("{}, the mix: {error}", name.text()));
        let mut took = mix.took.into_inner();
        took.sort_unstable();
        (took[took.len() / 2], took[took.len() * 99 / 100], took.len())
    });
    let check = |what: &str, ours: Duration, theirs: Duration, most: f64| Check {
        what: format!("realistic mix, {CLIENTS} clients: {what} of small requests"),
        ours: format!("{:.2} ms", ours.as_secs_f64() * 1e3),
        beside: format!("DR: {:.2} ms", theirs.as_secs_f64() * 1e3),
        ratio: ours.as_secs_f64() / theirs.as_secs_f64(),
        must: Some(Must::AtMost(most)),
    };
    let done = Check {
        what: format!("realistic mix, {CLIENTS} clients: small requests in {} s", time.as_secs()),
        ours: ours.2.to_string(),
        beside: format!("DR: {}", theirs.2),
        ratio: ours.2 as f64 / theirs.2 as f64,
        must: None,
    };
    vec![check("p99", ours.1, theirs.1, 0.2), Check { must: None, ..check("median", ours.0, theirs.0, 1.0) }, done]
}

fn size(random: &mut impl Rng) -> usize {
    (mix::blob_size(random) / SCALE) as usize + END
}

struct Blob {
    path: String,
    size: usize,
}

struct Mix<'a> {
    on: &'a Contestant,
    images: &'a [Image],
    /// Of each image.
    blobs: &'a [Vec<Blob>],
    /// To be pushed, with another end each time.
    layers: Vec<Push>,
    end: Instant,
    /// How long each small request took.
    took: RefCell<Vec<Duration>>,
}

impl Mix<'_> {
    async fn client(&self, seed: u64) -> io::Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut connection = Connection::open(&self.on.target).await?;
        while Instant::now() < self.end {
            self.one(&mut connection, &mut random).await?;
        }
        Ok(())
    }

    async fn one(&self, connection: &mut Connection, random: &mut StdRng) -> io::Result<()> {
        let number = mix::popular(random, self.images.len()).unwrap_or(0);
        let blobs = &self.blobs[number];
        let blob = &blobs[random.random_range(0..blobs.len())];
        // A push has two requests for its blob and one for its manifest.
        match random.random_range(0.0..95.0 + 5.0 / 3.0) {
            it if it < 60.0 => {
                let by_tag = format!("/v2/{REPOSITORY}/manifests/v{number}");
                self.small(connection, if it < 30.0 { "GET" } else { "HEAD" }, &by_tag).await
            }
            it if it < 79.8 => self.large(connection, blob, None).await,
            it if it < 82.0 => {
                let length = random.random_range(64..4096) << 10;
                let first = random.random_range(0..blob.size);
                self.large(connection, blob, Some((first, (first + length).min(blob.size) - 1))).await
            }
            it if it < 94.0 => self.small(connection, "HEAD", &blob.path).await,
            it if it < 95.0 => self.small(connection, "GET", &format!("/v2/{REPOSITORY}/tags/list?n=100")).await,
            _ => self.push(connection, random).await,
        }
    }

    async fn small(&self, connection: &mut Connection, method: &str, path: &str) -> io::Result<()> {
        let request = self.on.request(method, path, "");
        let begun = Instant::now();
        connection.exchange(&request).await?;
        self.took.borrow_mut().push(begun.elapsed());
        Ok(())
    }

    async fn large(&self, connection: &mut Connection, blob: &Blob, range: Option<(usize, usize)>) -> io::Result<()> {
        let range = range.map_or_else(String::new, |(first, last)| format!("Range: bytes={first}-{last}\r\n"));
        connection.exchange(&self.on.request("GET", &blob.path, &range)).await.map(drop)
    }

    /// A layer of its own on a configuration that is there.
    async fn push(&self, connection: &mut Connection, random: &mut StdRng) -> io::Result<()> {
        self.layers[random.random_range(0..LAYERS)].once(connection).await?;
        let image = image_of(&[]);
        let first = &self.images[0];
        let mut manifest = first.manifest.json();
        manifest["annotations"] = serde_json::json!({ "nonce": image.manifest.digest() });
        let bytes = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        let head = format!("Content-Type: {}\r\nContent-Length: {}\r\n", types::MANIFEST, bytes.len());
        let path = format!("/v2/{REPOSITORY}/manifests/new-{}", random.random_range(0..16));
        let request = [self.on.request("PUT", &path, &head), bytes].concat();
        connection.exchange(&request).await.map(drop)
    }
}
