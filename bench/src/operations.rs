//! What is measured, beside whom, and what is to be reached.

use roadstead_testkit::content::types;

use crate::{
    contestants::{Content, Contestant, Name, REPOSITORY},
    load::{Push, Work},
};

const MIB: usize = 1 << 20;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations in a second.
    Operations,
    /// Bytes in a second.
    Bytes,
}

/// A line of the table.
pub(crate) struct Operation {
    pub(crate) what: &'static str,
    pub(crate) connections: usize,
    pub(crate) unit: Unit,
    /// Over TLS.
    pub(crate) tls: bool,
    kind: Kind,
    /// How many times as much as a peer it must be.
    pub(crate) musts: &'static [(Name, f64)],
    /// At most how much of a peer's processor time for each operation or byte it may take.
    pub(crate) cpu: Option<(Name, f64)>,
}

#[derive(Clone, Copy)]
enum Kind {
    ManifestByTag(&'static str),
    ManifestByDigest,
    HeadBlob,
    LargeBlob,
    Ranges(usize),
    Push(usize),
    PushAgain,
}

impl Operation {
    /// Whether a server takes part in it.
    pub(crate) fn is_for(&self, name: Name) -> bool {
        match self.kind {
            _ if self.tls => name.is_ours() || name == Name::Nginx,
            Kind::Push(_) => name != Name::Nginx,
            Kind::PushAgain => !matches!(name, Name::Nginx | Name::Loop),
            _ => name != Name::Loop,
        }
    }

    /// Whether each server begins with nothing stored, and what it stored is thrown away after each sample.
    pub(crate) fn is_on_fresh_ground(&self) -> bool {
        matches!(self.kind, Kind::Push(_))
    }

    /// Whether it leaves thousands of files behind. ext4 does not give the numbers of files that are gone to new ones for minutes, and looks
    /// over all of them for each new one: they are left until the end.
    pub(crate) fn leaves_many_files(&self) -> bool {
        matches!(self.kind, Kind::Push(size) if size < MIB)
    }

    /// What the client is to do.
    pub(crate) fn work(&self, on: &Contestant, content: &Content) -> Work {
        let large = Content::blob(&content.large);
        match self.kind {
            Kind::ManifestByTag(method) => Work::Fetch(vec![on.request(method, &Content::by_tag(), "")]),
            Kind::ManifestByDigest => Work::Fetch(vec![on.request("GET", &content.by_digest(), "")]),
            Kind::HeadBlob => Work::Fetch(vec![on.request("HEAD", &large, "")]),
            Kind::LargeBlob => Work::Fetch(vec![on.request("GET", &large, "")]),
            Kind::Ranges(size) => {
                let ranges = (0..content.large.len() / size).map(|number| {
                    let range = format!("Range: bytes={}-{}\r\n", number * size, (number + 1) * size - 1);
                    on.request("GET", &large, &range)
                });
                Work::Fetch(ranges.collect())
            }
            Kind::Push(size) => Work::Push(Push::new(&on.head, &format!("/v2/{REPOSITORY}/blobs/uploads/"), size)),
            Kind::PushAgain => {
                let image = &content.image;
                let mut requests: Vec<_> =
                    image.blobs.iter().map(|blob| on.request("HEAD", &Content::blob(blob), "")).collect();
                let bytes = &image.manifest.bytes;
                let head = format!("Content-Type: {}\r\nContent-Length: {}\r\n", types::MANIFEST, bytes.len());
                requests.push([on.request("PUT", &Content::by_tag(), &head), bytes.clone()].concat());
                Work::PushAgain(requests)
            }
        }
    }
}

/// All lines of the table.
pub(crate) const ALL: &[Operation] = &[
    manifest("manifest GET by tag", Kind::ManifestByTag("GET"), 8),
    manifest("manifest GET by tag", Kind::ManifestByTag("GET"), 64),
    manifest("manifest GET by digest", Kind::ManifestByDigest, 64),
    manifest("manifest HEAD by tag", Kind::ManifestByTag("HEAD"), 64),
    Operation {
        what: "blob HEAD",
        connections: 64,
        unit: Unit::Operations,
        tls: false,
        kind: Kind::HeadBlob,
        musts: &[(Name::Dr, 40.0), (Name::Nginx, 0.45)],
        cpu: None,
    },
    Operation {
        what: "blob GET, 100 MiB",
        connections: 1,
        unit: Unit::Bytes,
        tls: false,
        kind: Kind::LargeBlob,
        musts: &[(Name::Dr, 1.3), (Name::Nginx, 1.0)],
        cpu: None,
    },
    Operation {
        what: "blob GET, 100 MiB",
        connections: 8,
        unit: Unit::Bytes,
        tls: false,
        kind: Kind::LargeBlob,
        musts: &[(Name::Dr, 1.4), (Name::Nginx, 0.85)],
        cpu: Some((Name::Dr, 0.7)),
    },
    range("blob GET, ranges of 64 KiB", 64 << 10),
    range("blob GET, ranges of 1 MiB", MIB),
    push_large(1),
    push_large(8),
    push_small(1, &[(Name::Dr, 8.0)]),
    push_small(8, &[(Name::Dr, 20.0)]),
    push_small(64, &[(Name::Dr, 20.0)]),
    Operation {
        what: "push of an image of 10 layers, all there already",
        connections: 8,
        unit: Unit::Operations,
        tls: false,
        kind: Kind::PushAgain,
        musts: &[(Name::Dr, 10.0)],
        cpu: None,
    },
    tls("manifest GET by tag, TLS", Kind::ManifestByTag("GET"), 64, Unit::Operations),
    tls("blob GET, 100 MiB, TLS", Kind::LargeBlob, 8, Unit::Bytes),
];

const fn manifest(what: &'static str, kind: Kind, connections: usize) -> Operation {
    let musts = &[(Name::Dr, 40.0), (Name::D3, 10.0), (Name::Nginx, 0.65)];
    Operation { what, connections, unit: Unit::Operations, tls: false, kind, musts, cpu: None }
}

const fn tls(what: &'static str, kind: Kind, connections: usize, unit: Unit) -> Operation {
    Operation { what, connections, unit, tls: true, kind, musts: &[(Name::Nginx, 0.85)], cpu: None }
}

const fn range(what: &'static str, size: usize) -> Operation {
    let musts = &[(Name::Nginx, 0.8)];
    Operation { what, connections: 8, unit: Unit::Bytes, tls: false, kind: Kind::Ranges(size), musts, cpu: None }
}

const fn push_large(connections: usize) -> Operation {
    Operation {
        what: "durable push of 100 MiB",
        connections,
        unit: Unit::Bytes,
        tls: false,
        kind: Kind::Push(100 * MIB),
        musts: &[(Name::Dr, 2.5), (Name::D3, 1.5), (Name::Loop, 0.8)],
        cpu: Some((Name::Dr, 0.4)),
    }
}

const fn push_small(connections: usize, musts: &'static [(Name, f64)]) -> Operation {
    Operation {
        what: "durable push of 1 KiB",
        connections,
        unit: Unit::Operations,
        tls: false,
        kind: Kind::Push(1 << 10),
        musts,
        cpu: None,
    }
}
