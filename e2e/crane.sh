#!/usr/bin/env bash
# crane: push a layout, digest, validate, copy, add a streamed layer, list, delete.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
can login wrong private push again mount near far pull digest tags delete expired

login() { crane auth login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
pushed=$PUSH_HOST/$REGISTRY/team/crane
pulled=$PULL_HOST/$REGISTRY/team/crane
digest=$(layout_digest "$cache/multi")
debian=$(layout_digest "$cache/debian")

expired() {
    witness "$SHORT_HOST" --hold
    check "crane auth login $witness" login "$witness" "$KEY_SECRET"
    check "crane push, an index" crane push "$cache/multi" "$witness/$REGISTRY/team/crane-expired:1"
    same "crane digest" "$digest" "$(crane digest "$witness/$REGISTRY/team/crane-expired:1")"
    check "crane pull --format oci" crane pull --format oci "$witness/$REGISTRY/team/crane-expired:1" "$work/back"
    check "every blob is the same" diff -r "$cache/multi/blobs" "$work/back/blobs"
    token_expired
}
part expired "$@"

# crane only stores what it is given at login, and uses it later.
check "crane auth login, with a wrong password" login "$PUSH_HOST" "not$KEY_SECRET"
refused "a wrong password is refused" 'unauthorized|401' crane push "$cache/multi" "$pushed:multi"
did wrong
check "crane auth login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "crane auth login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "crane push, an index" crane push "$cache/multi" "$pushed:multi"
check "crane push, a Debian image" crane push "$cache/debian" "$pushed:debian"
did push
blobs=$(uploaded team/crane)
check "crane push, once more" crane push "$cache/debian" "$pushed:debian"
nothing_sent team/crane "$blobs"
did again
mkdir "$work/nobody"
refused "a pull without login is refused" 'unauthorized|401|denied' \
    env DOCKER_CONFIG="$work/nobody" crane pull "$pulled:debian" "$work/nobody/debian.tar"
did private
same "crane digest, the index" "$digest" "$(crane digest "$pulled:multi")"
same "crane digest, the Debian image" "$debian" "$(crane digest "$pulled:debian")"
same "crane digest, one platform" \
    "$(jq -r '.manifests[1].digest' "$cache/multi/blobs/sha256/${digest#sha256:}")" \
    "$(crane digest --platform linux/arm64 "$pulled:multi")"
# Not the whole index: crane validates gzip layers only, and arm64 has zstd.
check "crane validate, amd64 of the index, every byte" \
    crane validate --platform linux/amd64 --remote "$pulled:multi"
check "crane validate, the Debian image, every byte" crane validate --remote "$pulled:debian"

check "crane pull, as a tarball" crane pull "$pulled:debian" "$work/debian.tar"
check "crane validate, what was pulled" crane validate --tarball "$work/debian.tar"

check "crane copy, to another repository" crane copy "$pulled:multi" "$pushed-copy:multi"
same "crane digest" "$digest" "$(crane digest "$pulled-copy:multi")"
check "crane copy, by mounting" crane copy "$pushed:multi" "$pushed-mounted:multi"
same "blobs that were mounted" 8 "$(mounted team/crane-mounted)"
same "crane digest" "$digest" "$(crane digest "$pulled-mounted:multi")"
did mount

witness "$PUSH_HOST"
check "crane auth login $witness" login "$witness" "$KEY_SECRET"
for each in "$FAR" "$NEAR"; do
    check "crane copy, from registry $REGISTRY to $each" \
        crane copy "$witness/$REGISTRY/team/crane:multi" "$witness/$each/team/crane:multi"
    same "crane digest" "$digest" "$(crane digest "$PULL_HOST/$each/team/crane:multi")"
    check "crane pull --format oci, from there" \
        crane pull --format oci "$PULL_HOST/$each/team/crane:multi" "$work/$each"
    check "every blob is the same" diff -r "$cache/multi/blobs" "$work/$each/blobs"
done
sent_far team/crane 8
mounted_near team/crane 8 0

check "crane tag" crane tag "$pushed:multi" second
same "crane digest" "$digest" "$(crane digest "$pulled:second")"

# The layer is packed while it is sent: its digest is known only afterwards.
streamed() {
    tar --create --directory="$cache/files" . |
        crane append --base "$pushed:debian" --new_layer - --new_tag "$pushed:more"
}
check "crane append, a streamed layer" streamed
check "crane validate, what was appended" crane validate --remote "$pulled:more"
same "layers now" 6 "$(crane manifest "$pulled:more" | jq '.layers | length')"
check "crane export" crane export "$pulled:more" "$work/flat.tar"
same "a file of the new layer" "$(sha256 "$cache/files/text.txt")" \
    "sha256:$(tar --extract --to-stdout --file="$work/flat.tar" text.txt | sha256sum | cut -d ' ' -f 1)"

same "crane ls" "debian more multi second" "$(crane ls "$pulled" | sort | xargs)"
did tags
check "crane pull --format oci" crane pull --format oci "$pulled:multi" "$work/back"
check "every blob is the same" diff -r "$cache/multi/blobs" "$work/back/blobs"
did pull digest

check "crane delete, by digest" crane delete "$pushed-copy@$digest"
refused "it is gone" 'MANIFEST_UNKNOWN|not found' crane manifest "$pulled-copy:multi"
same "the other repository still has it" "$digest" "$(crane digest "$pulled:multi")"
did delete
