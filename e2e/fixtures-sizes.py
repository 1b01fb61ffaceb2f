#!/usr/bin/env python3
"""Makes the content that e2e/sizes.sh pushes: OCI layouts under the folder given.

big/        tag `big`: an image whose one layer has 2 GiB
hundred/    tag `hundred`: an image of 100 layers
few/        tag `few`: an image of three layers
index/      tag `index`: an index of 1,000 entries
referrers/  tag `subject`: an image with 1,000 referrers of two types
"""

import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    def __init__(self, path):
        self.path = path
        self.listed = []
        os.makedirs(f"{path}/blobs/sha256")
        with open(f"{path}/oci-layout", "w") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, media_type, data):
        """Stores bytes, or what an iterator gives; returns the descriptor."""
        digest, size, name = hashlib.sha256(), 0, f"{self.path}/blobs/new"
        with open(name, "wb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                digest.update(part)
                size += file.write(part)
        os.rename(name, f"{self.path}/blobs/sha256/{digest.hexdigest()}")
        return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": size}

    def json(self, media_type, value):
        return self.blob(media_type, json.dumps(value, separators=(",", ":")).encode())

    def image(self, layers, diffs, **more):
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
        return self.json(MANIFEST, {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.json(CONFIG, config), "layers": layers, **more})

    def list(self, descriptor, tag=None):
        if tag:
            descriptor = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
        self.listed.append(descriptor)
        with open(f"{self.path}/index.json", "w") as file:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.listed}, file)


def tar_of(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def small_layer(layout, name, data):
    tar = tar_of(name, data)
    layer = layout.blob(f"{LAYER}+gzip", gzip.compress(tar, mtime=0))
    return layer, f"sha256:{hashlib.sha256(tar).hexdigest()}"


def big(path, size=2 << 30):
    def parts():
        entry = tarfile.TarInfo("data")
        entry.size = size
        yield entry.tobuf()
        noise = random.Random(1)
        block = noise.randbytes(1 << 20)
        for number in range(size >> 20):
            yield number.to_bytes(8, "big") + block[8:]
        yield bytes(1024)

    layout = Layout(path)
    layer = layout.blob(LAYER, parts())
    layout.list(layout.image([layer], [layer["digest"]]), "big")


def some(path, tag, seeds):
    layout = Layout(path)
    pairs = [small_layer(layout, f"file{n}", random.Random(n).randbytes(20000)) for n in seeds]
    layout.list(layout.image([pair[0] for pair in pairs], [pair[1] for pair in pairs]), tag)


def hundred(path):
    some(path, "hundred", range(100))


def few(path):
    some(path, "few", range(200, 203))


def index(path):
    layout = Layout(path)
    layer, diff = small_layer(layout, "file", b"one for all")
    children = [
        {**layout.image([layer], [diff], annotations={"number": str(n)}),
         "platform": {"architecture": "amd64", "os": "linux", "variant": f"v{n}"}}
        for n in range(1000)
    ]
    layout.list(layout.json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}), "index")


def referrers(path):
    layout = Layout(path)
    layer, diff = small_layer(layout, "file", b"what is referred to")
    subject = layout.image([layer], [diff])
    layout.list(subject, "subject")
    empty = layout.blob(EMPTY, b"{}")
    for n in range(1000):
        kind = "application/vnd.example.odd" if n % 2 else "application/vnd.example.even"
        layout.list(layout.json(MANIFEST, {
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty,
            "layers": [empty], "subject": subject, "annotations": {"number": str(n)}}))


for make in (big, hundred, few, index, referrers):
    make(f"{sys.argv[1]}/{make.__name__}")
