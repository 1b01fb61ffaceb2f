//! The requests of the mix, and what their answers must be.

use std::net::SocketAddr;

use rand::RngExt;
use roadstead_testkit::{
    Body, Request, Response,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};

use super::{
    Client,
    images::{Blob, Image},
};
use crate::ledger::Ledger;

/// Kept connections to all nodes, used in turn.
pub(super) struct Line {
    nodes: Vec<(SocketAddr, Option<Connection>)>,
    next: usize,
    ledger: Ledger,
}

/// Chunks of an upload in pieces, bytes.
const PIECE: usize = 5 << 20;

impl Line {
    pub(super) fn new(addresses: Vec<SocketAddr>, ledger: Ledger) -> Self {
        Self { nodes: addresses.into_iter().map(|address| (address, None)).collect(), next: 0, ledger }
    }

    /// Asks the next node. `None`: there was no answer or a 5xx, which is a finding.
    fn ask(&mut self, kind: &'static str, request: Request) -> Option<Response> {
        self.next = (self.next + 1) % self.nodes.len();
        let (address, connection) = &mut self.nodes[self.next];
        let request = request.header("Authorization", &basic(KEY_ID, KEY_SECRET));
        self.ledger.count("requests", 1);
        self.ledger.count(kind, 1);
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(*address),
        };
        let answer = open.and_then(|mut open| {
            let answer = open.send(&request)?;
            *connection = Some(open);
            Ok(answer)
        });
        match answer {
            Ok(answer) if answer.status >= 500 => {
                self.ledger.find(format!("{answer:?}"));
                None
            }
            Ok(answer) => Some(answer),
            Err(error) => {
                self.ledger.find(format!("{} {}: {error}", request.method, request.target));
                None
            }
        }
    }
}

impl Client {
    /// Asks for something of an image that must be there unless somebody deletes the image.
    fn ask_for(&mut self, image: &Image, kind: &'static str, request: Request) -> Option<Response> {
        let answer = self.line.ask(kind, request)?;
        match answer.status {
            200 | 206 => return Some(answer),
            404 if image.is_leaving() => self.ledger.count("answers of 404 for what is being deleted", 1),
            _ => self.ledger.find(format!("an image that is there: {answer:?}")),
        }
        None
    }

    fn compare(&self, answer: &Response, bytes: &[u8]) {
        if answer.body != bytes {
            self.ledger.find(format!("wrong bytes, {} of them are wanted: {answer:?}", bytes.len()));
        }
        self.ledger.count("bytes received", answer.body.len() as u64);
    }

    pub(super) fn get_manifest(&mut self, image: &Image) {
        let (method, reference) = match self.random.random_range(0..10) {
            0..4 => ("HEAD", &image.tag),
            4..7 => ("GET", &image.tag),
            _ => ("GET", &image.digest),
        };
        let request = Request::new(method, &format!("/v2/{}/manifests/{reference}", image.repository));
        let Some(answer) = self.ask_for(image, "manifest GET, HEAD", request) else { return };
        if answer.header("Docker-Content-Digest") != image.digest {
            self.ledger.find(format!("another manifest than {}: {answer:?}", image.digest));
        }
        if method == "GET" {
            self.compare(&answer, &image.manifest.bytes);
        }
    }

    fn any_blob<'i>(&mut self, image: &'i Image) -> (&'i Blob, String) {
        let blob = &image.blobs[self.random.random_range(0..image.blobs.len())];
        (blob, format!("/v2/{}/blobs/{}", image.repository, blob.digest))
    }

    pub(super) fn head_blob(&mut self, image: &Image) {
        let (blob, target) = self.any_blob(image);
        let Some(answer) = self.ask_for(image, "blob HEAD", Request::new("HEAD", &target)) else { return };
        if answer.header("Content-Length") != blob.size.to_string() {
            self.ledger.find(format!("a blob of {} bytes: {answer:?}", blob.size));
        }
    }

    pub(super) fn get_blob(&mut self, image: &Image) {
        let (blob, target) = self.any_blob(image);
        let mut request = Request::new("GET", &target);
        let mut range = 0..blob.size;
        if self.random.random_ratio(1, 10) {
            let length = self.random.random_range(64 << 10..=4 << 20).min(blob.size);
            let start = self.random.random_range(0..=blob.size - length);
            range = start..start + length;
            request = request.header("Range", &format!("bytes={start}-{}", range.end - 1));
        }
        let Some(answer) = self.ask_for(image, "blob GET", request) else { return };
        self.compare(&answer, &blob.bytes(range));
    }

    pub(super) fn list(&mut self, image: &Image) {
        let target = match self.random.random_range(0..3) {
            0 => "/v2/_catalog".to_owned(),
            1 => format!("/v2/{}/tags/list?n=50", image.repository),
            _ => format!("/v2/{}/referrers/{}", image.repository, image.digest),
        };
        self.ask_for(image, "listings", Request::new("GET", &target));
    }

    /// Pushes all that an image is. False: something was refused, which is a finding.
    pub(super) fn push_image(&mut self, image: &Image) -> bool {
        for blob in &image.blobs {
            if !self.push_blob(image, blob) {
                return false;
            }
        }
        let request = Request::new("PUT", &format!("/v2/{}/manifests/{}", image.repository, image.tag));
        let request = request.header("Content-Type", &image.manifest.media_type);
        self.pushed(request.body(Body::Length(image.manifest.bytes.clone())), 201).is_some()
    }

    fn pushed(&mut self, request: Request, status: u16) -> Option<Response> {
        let answer = self.line.ask("requests of pushes", request)?;
        if answer.status != status {
            self.ledger.find(format!("a push that was refused: {answer:?}"));
        }
        (answer.status == status).then_some(answer)
    }

    /// As docker does it (one `PATCH` without a length), or as others do (all in the `PUT`, or in chunks).
    fn push_blob(&mut self, image: &Image, blob: &Blob) -> bool {
        let bytes = blob.bytes(0..blob.size);
        self.ledger.count("bytes sent", blob.size);
        let begun = self.pushed(Request::new("POST", &format!("/v2/{}/blobs/uploads/", image.repository)), 202);
        let Some(mut path) = begun.map(|begun| begun.location_path()) else { return false };
        let octets =
            |method, target: &str| Request::new(method, target).header("Content-Type", "application/octet-stream");
        let pieces: Vec<Request> = match self.random.random_range(0..3) {
            0 => vec![octets("PATCH", &path).body(Body::streamed(&bytes))],
            1 => (0..bytes.len().div_ceil(PIECE))
                .map(|number| {
                    let piece = &bytes[number * PIECE..bytes.len().min((number + 1) * PIECE)];
                    let start = number * PIECE;
                    let range = format!("{start}-{}", start + piece.len() - 1);
                    octets("PATCH", &path).header("Content-Range", &range).body(Body::Length(piece.to_vec()))
                })
                .collect(),
            _ => Vec::new(),
        };
        let rest = if pieces.is_empty() { bytes } else { Vec::new() };
        for piece in pieces {
            let Some(answer) = self.pushed(piece, 202) else { return false };
            path = answer.location_path();
        }
        let put = octets("PUT", &with_parameter(&path, "digest", &blob.digest));
        self.pushed(put.body(Body::Length(rest)), 201).is_some()
    }

    /// By its digest, so that its tag goes along.
    pub(super) fn delete(&mut self, image: &Image) {
        let request = Request::new("DELETE", &format!("/v2/{}/manifests/{}", image.repository, image.digest));
        if let Some(answer) = self.line.ask("deletes", request)
            && answer.status != 202
        {
            self.ledger.find(format!("an image that was there: {answer:?}"));
        }
    }
}
