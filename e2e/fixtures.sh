#!/usr/bin/env bash
# Makes the content that the recipes push, once per machine, in the cache:
#
#   debian/    OCI layout, tag `bookworm`: a real Debian root file system
#              (debootstrap) in five layers
#   debian.tar the same image as `docker load` takes it
#   multi/     OCI layout, tag `multi`: an index with linux/amd64 (gzip layers)
#              and linux/arm64 (zstd layers)
#   chart/     a Helm chart, version 1.2.3+build.7
#   files/     files for artifacts
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A number to raise when what is made here changes.
edition=1
[[ $(cat "$cache/edition" 2>/dev/null) != "$edition" ]] || exit 0
echo "== fixtures, made once, in $cache"
rm -rf "$cache"/{edition,debian,debian.tar,multi,chart,files}
mkdir -p "$cache"

# ---- OCI layouts by hand

new_layout() { # DIR
    mkdir -p "$1/blobs/sha256"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

# add_blob LAYOUT FILE MEDIA_TYPE: moves the file in, prints its descriptor
add_blob() {
    local digest size
    digest=$(sha256 "$2")
    size=$(stat -c %s "$2")
    mv "$2" "$1/blobs/sha256/${digest#sha256:}"
    jq -nc --arg t "$3" --arg d "$digest" --argjson s "$size" '{mediaType: $t, digest: $d, size: $s}'
}

# pack DIR FILE PATHS...: the same tar every time for the same files
pack() {
    local dir=$1 file=$2
    shift 2
    tar --create --file="$file" --directory="$dir" --sort=name --mtime=@0 \
        --numeric-owner --format=posix \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime "$@"
}

# add_image LAYOUT ARCHITECTURE gzip|zstd TAR...: prints the manifest's descriptor
add_image() {
    local layout=$1 architecture=$2 packer=$3 layers='[]' diffs='[]' tar config
    shift 3
    for tar; do
        diffs=$(jq -c --arg d "$(sha256 "$tar")" '. + [$d]' <<<"$diffs")
        if [[ $packer == zstd ]]; then
            zstd -q -3 -f "$tar" -o "$tar.packed"
        else
            gzip -n -6 <"$tar" >"$tar.packed"
        fi
        layers=$(jq -c --argjson l "$(add_blob "$layout" "$tar.packed" \
            "application/vnd.oci.image.layer.v1.tar+$packer")" '. + [$l]' <<<"$layers")
    done
    jq -nc --arg a "$architecture" --argjson d "$diffs" '{architecture: $a, os: "linux",
        created: "2026-01-01T00:00:00Z",
        config: {Cmd: ["/bin/sh"], Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        rootfs: {type: "layers", diff_ids: $d},
        history: [$d[] | {created: "2026-01-01T00:00:00Z", created_by: "e2e"}]}' >"$work/config"
    config=$(add_blob "$layout" "$work/config" application/vnd.oci.image.config.v1+json)
    jq -nc --argjson c "$config" --argjson l "$layers" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json", config: $c, layers: $l}' >"$work/manifest"
    add_blob "$layout" "$work/manifest" application/vnd.oci.image.manifest.v1+json |
        jq -c --arg a "$architecture" '. + {platform: {architecture: $a, os: "linux"}}'
}

# tag_layout LAYOUT TAG DESCRIPTOR
tag_layout() {
    jq -nc --argjson d "$3" --arg t "$2" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: [$d + {annotations: {"org.opencontainers.image.ref.name": $t}}]}' >"$1/index.json"
}

# ---- a Debian root file system in five layers

root=$work/root
check "debootstrap, minbase, bookworm" debootstrap --variant=minbase bookworm "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "${root:?}"/dev/*
mkdir "$work/application"
mkdir -p "$work/application/srv"
head -c 3000000 /dev/urandom >"$work/application/srv/data"

pack "$root" "$work/1.tar" --exclude=./usr/lib --exclude=./usr/share --exclude=./etc --exclude=./var .
pack "$root" "$work/2.tar" ./usr/lib
pack "$root" "$work/3.tar" ./usr/share
pack "$root" "$work/4.tar" ./etc ./var
pack "$work/application" "$work/5.tar" .
new_layout "$cache/debian"
tag_layout "$cache/debian" bookworm "$(add_image "$cache/debian" amd64 gzip "$work"/[1-5].tar)"
say "debian: $(du -sh "$cache/debian" | cut -f 1) in five layers"
check "the same for docker load" skopeo copy "oci:$cache/debian:bookworm" \
    "docker-archive:$cache/debian.tar:roadstead-e2e/debian:bookworm"

# ---- a small multi-architecture index

new_layout "$cache/multi"
children='[]'
for each in amd64:gzip arm64:zstd; do
    architecture=${each%:*}
    for n in 1 2 3; do
        mkdir -p "$work/$architecture/$n"
        echo "$architecture $n" >"$work/$architecture/$n/file$n"
        head -c $((n * 100000)) /dev/urandom >"$work/$architecture/$n/data$n"
        pack "$work/$architecture/$n" "$work/$architecture.$n.tar" .
    done
    children=$(jq -c --argjson d "$(add_image "$cache/multi" "$architecture" "${each#*:}" \
        "$work/$architecture".[1-3].tar)" '. + [$d]' <<<"$children")
done
jq -nc --argjson m "$children" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json", manifests: $m}' >"$work/index"
tag_layout "$cache/multi" multi \
    "$(add_blob "$cache/multi" "$work/index" application/vnd.oci.image.index.v1+json)"
say "multi: linux/amd64 and linux/arm64"

# ---- a Helm chart. `+` may not stand in a tag, so helm writes `_` there.

mkdir -p "$cache/chart/templates"
cat >"$cache/chart/Chart.yaml" <<'END'
apiVersion: v2
name: harbour
description: A chart for the end-to-end recipes
type: application
version: 1.2.3+build.7
appVersion: "1.0"
END
echo 'berths: 3' >"$cache/chart/values.yaml"
cat >"$cache/chart/templates/config.yaml" <<'END'
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  berths: {{ .Values.berths | quote }}
END

# ---- files for artifacts

mkdir "$cache/files"
echo 'a small text' >"$cache/files/text.txt"
head -c 2500000 /dev/urandom >"$cache/files/binary.bin"
echo '{"spdxVersion":"SPDX-2.3","name":"e2e"}' >"$cache/files/sbom.json"
echo 'signed by nobody' >"$cache/files/signature.txt"
say "a chart and artifact files"

echo "$edition" >"$cache/edition"
