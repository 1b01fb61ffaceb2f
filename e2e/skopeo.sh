#!/usr/bin/env bash
# skopeo: a multi-architecture index there and back, between repositories,
# listed, inspected, synchronised, deleted.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
can login wrong private push again mount near far pull digest tags delete expired

login() { skopeo login --tls-verify=false --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
copy() { skopeo copy --src-tls-verify=false --dest-tls-verify=false "$@"; }
inspect() { skopeo inspect --tls-verify=false "$@"; }
raw_digest() { echo "sha256:$(inspect --raw "$1" | sha256sum | cut -d ' ' -f 1)"; }
there=docker://$PUSH_HOST/$REGISTRY/team/multi
back=docker://$PULL_HOST/$REGISTRY/team/multi
digest=$(layout_digest "$cache/multi")

expired() {
    witness "$SHORT_HOST" --hold
    check "skopeo login $witness" login "$witness" "$KEY_SECRET"
    check "skopeo copy --all, there" copy --all --preserve-digests "oci:$cache/multi:multi" \
        "docker://$witness/$REGISTRY/team/skopeo-expired:1"
    check "skopeo copy --all, back" copy --all --preserve-digests \
        "docker://$witness/$REGISTRY/team/skopeo-expired:1" "oci:$work/back:multi"
    check "every blob is the same" diff -r "$cache/multi/blobs" "$work/back/blobs"
    token_expired
}
part expired "$@"

refused "a wrong password is refused" 'unauthorized|invalid username' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
check "skopeo login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "skopeo login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "skopeo copy --all, there" copy --all --preserve-digests "oci:$cache/multi:multi" "$there:1"
same "digest of the index" "$digest" "$(raw_digest "$back:1")"
did push
blobs=$(uploaded team/multi)
check "skopeo copy --all, there, once more" copy --all --preserve-digests "oci:$cache/multi:multi" "$there:1"
nothing_sent team/multi "$blobs"
did again
refused "a pull without login is refused" 'unauthorized|authentication required|denied' \
    copy --all --src-no-creds "$back:1" "oci:$work/nobody:multi"
did private
check "skopeo copy --all, back" copy --all --preserve-digests "$back:1" "oci:$work/back:multi"
same "digest of what came back" "$digest" "$(layout_digest "$work/back")"
check "every blob is the same" diff -r "$cache/multi/blobs" "$work/back/blobs"
did pull digest

check "skopeo inspect, amd64" inspect --override-arch amd64 "$back:1"
same "architecture" amd64 "$(jq -r .Architecture <<<"$output")"
check "skopeo inspect, arm64" inspect --override-arch arm64 "$back:1"
same "architecture" arm64 "$(jq -r .Architecture <<<"$output")"
same "digest" "$digest" "$(jq -r .Digest <<<"$output")"

check "skopeo copy --all, to a second tag" copy --all --preserve-digests "$there:1" "$there:2"
check "skopeo copy --all, from $PULL_HOST to another repository on $PUSH_HOST" \
    copy --all --preserve-digests "$back:1" "$there-mirror:1"
same "digest in the other repository" "$digest" "$(raw_digest "$back-mirror:1")"
check "skopeo copy --all, to a third repository, by mounting" \
    copy --all --preserve-digests "$there:1" "$there-mounted:1"
same "digest in the third repository" "$digest" "$(raw_digest "$back-mounted:1")"
same "layers that were mounted" 6 "$(mounted team/multi-mounted)"
did mount

witness "$PUSH_HOST"
check "skopeo login $witness" login "$witness" "$KEY_SECRET"
for each in "$REGISTRY" "$FAR" "$NEAR"; do # it mounts what it has sent to the same host
    check "skopeo copy --all, to registry $each" copy --all --preserve-digests \
        "oci:$cache/multi:multi" "docker://$witness/$each/team/skopeo:1"
    same "digest in registry $each" "$digest" "$(raw_digest "docker://$PULL_HOST/$each/team/skopeo:1")"
done
sent_far team/skopeo 8
mounted_near team/skopeo 6 2
check "skopeo copy --all, back from registry $FAR" copy --all --preserve-digests \
    "docker://$PULL_HOST/$FAR/team/skopeo:1" "oci:$work/far:multi"
check "every blob is the same" diff -r "$cache/multi/blobs" "$work/far/blobs"

check "skopeo copy --format v2s2, there" copy --override-arch amd64 --format v2s2 \
    "oci:$cache/multi:multi" "$there:v2s2"
same "media type" application/vnd.docker.distribution.manifest.v2+json \
    "$(inspect --raw "$back:v2s2" | jq -r .mediaType)"

# Layers that it packs itself: it does so when they come unpacked.
check "skopeo copy, unpacked" copy --override-arch amd64 "oci:$cache/multi:multi" "docker-archive:$work/unpacked.tar"
for each in zstd zstd:chunked; do
    repository=team/skopeo-${each/:/-}
    witness "$PUSH_HOST" # on a host where they are already, packed otherwise, it would mount those
    check "skopeo login $witness" login "$witness" "$KEY_SECRET"
    check "skopeo copy --dest-compress-format $each, there" copy --format oci \
        --dest-compress-format "$each" "docker-archive:$work/unpacked.tar" "docker://$witness/$REGISTRY/$repository:1"
    check "skopeo inspect --raw" inspect --raw "docker://$PULL_HOST/$REGISTRY/$repository:1"
    same "its layers" application/vnd.oci.image.layer.v1.tar+zstd \
        "$(jq -r '.layers[].mediaType' <<<"$output" | sort -u)"
    same "layers with a table of contents" "$([[ $each == zstd ]] && echo 0 || echo 3)" \
        "$(jq '[.layers[].annotations | select(."io.containers.zstd-chunked.manifest-checksum"?)] | length' <<<"$output")"
    check "skopeo copy, back" copy "docker://$PULL_HOST/$REGISTRY/$repository:1" "oci:$work/${each/:/-}:x"
    same "digest of what came back" "$(raw_digest "docker://$PULL_HOST/$REGISTRY/$repository:1")" \
        "$(layout_digest "$work/${each/:/-}")"
done

check "skopeo list-tags" skopeo list-tags --tls-verify=false "$back"
same "tags" "1 2 v2s2" "$(jq -r '.Tags | join(" ")' <<<"$output")"
did tags

check "skopeo sync, to a folder" skopeo sync --all --src-tls-verify=false \
    --src docker --dest dir "${back#docker://}" "$work/sync"
same "digest of what was synchronised" "$digest" "$(sha256 "$work/sync/multi:2/manifest.json")"

check "skopeo delete" skopeo delete --tls-verify=false "$there-mirror:1"
refused "the tag is gone" 'manifest unknown|not found' inspect --raw "$back-mirror:1"
same "the other repository still has it" "$digest" "$(raw_digest "$back:1")"
did delete
