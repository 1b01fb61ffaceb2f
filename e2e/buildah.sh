#!/usr/bin/env bash
# buildah: an image built from scratch by a Containerfile, pushed, pulled and
# built upon; rootful, plain copies as storage, nothing is run.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# buildah lists no tags and deletes nothing at a registry.
can login wrong private push again mount near far pull digest expired

short_folder
buildah() {
    command buildah --root "$work/storage" --runroot "$short/run" --storage-driver vfs "$@"
}
echo '{}' | tee "$REGISTRY_AUTH_FILE" >"$work/nobody.json"
login() { buildah login --tls-verify=false --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
push() { buildah push --tls-verify=false --digestfile "$work/digest" "$@"; }
pull() { buildah pull --tls-verify=false "$@"; }
build() { buildah build --isolation chroot --tls-verify=false "$@"; }
pushed=$PUSH_HOST/$REGISTRY/team/buildah
pulled=$PULL_HOST/$REGISTRY/team/buildah

expired() {
    local image
    witness "$SHORT_HOST" --hold
    image=$witness/$REGISTRY/team/buildah-expired:1
    check "buildah login $witness" login "$witness" "$KEY_SECRET"
    printf 'FROM scratch\nCOPY text.txt /\nCOPY binary.bin /data/\n' >"$work/Containerfile"
    check "buildah build, from scratch" build --layers --tag "$image" --file "$work/Containerfile" "$cache/files"
    check "buildah push" push "$image"
    check "buildah rmi" buildah rmi --all --force
    check "buildah pull" pull "$image"
    same "digest pushed and pulled" "$(cat "$work/digest")" \
        "$(buildah inspect --type image --format '{{.FromImageDigest}}' "$image")"
    token_expired
}
part expired "$@"

mkdir "$work/first" "$work/second"
cp "$cache"/files/* "$work/first"
printf 'FROM scratch\nCOPY text.txt /\nCOPY binary.bin /data/\n' >"$work/first/Containerfile"
printf 'FROM %s\nCOPY more.txt /\n' "$pulled:first" >"$work/second/Containerfile"
echo more >"$work/second/more.txt"

check "buildah build, from scratch" build --layers --tag first "$work/first"
id=$(buildah images --quiet --no-trunc first)
refused "a wrong password is refused" 'unauthorized|invalid username' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
refused "a push without login is refused" 'unauthorized|authentication required|denied' \
    push first "docker://$pushed:first"
check "buildah login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
did login

check "buildah push" push first "docker://$pushed:first"
did push
digest=$(cat "$work/digest")
blobs=$(uploaded team/buildah)
check "buildah push, once more" push first "docker://$pushed:first"
nothing_sent team/buildah "$blobs"
same "the digest is the same" "$digest" "$(cat "$work/digest")"
did again
other=team/other-$(openssl rand -hex 4) # nothing is there yet
check "buildah push, to another repository" push first "docker://$PUSH_HOST/$REGISTRY/$other:first"
same "layers that were mounted" 2 "$(mounted "$other")"
did mount
witness "$PUSH_HOST"
check "buildah login $witness" login "$witness" "$KEY_SECRET"
for each in "$REGISTRY" "$FAR" "$NEAR"; do
    check "buildah push, to registry $each" push first "docker://$witness/$each/team/buildah-between:1"
    same "the digest is the same" "$digest" "$(cat "$work/digest")"
done
sent_far team/buildah-between 3
mounted_near team/buildah-between 2 1

check "buildah rmi" buildah rmi --all --force
refused "a pull without login is refused" 'unauthorized|authentication required|denied' \
    pull --authfile "$work/nobody.json" "$pulled:first"
did private
check "buildah login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
check "buildah pull" pull "$pulled:first"
did pull
same "image id before and after" "$id" "$(buildah images --quiet --no-trunc "$pulled:first")"
same "digest pushed and pulled" "$digest" \
    "$(buildah inspect --type image --format '{{.FromImageDigest}}' "$pulled:first")"
did digest
check "buildah rmi" buildah rmi --all --force
check "buildah pull, from registry $FAR" pull "$PULL_HOST/$FAR/team/buildah-between:1"
same "image id" "$id" "$(buildah images --quiet --no-trunc "$PULL_HOST/$FAR/team/buildah-between:1")"
check "buildah pull" pull "$pulled:first"
container=$(buildah from "$pulled:first")
root=$(buildah mount "$container")
same "a file of it" "$(sha256 "$cache/files/binary.bin")" "$(sha256 "$root/data/binary.bin")"
check "buildah rm" buildah rm "$container"

check "buildah build, upon what was pulled" build --layers --tag second "$work/second"
check "buildah push, in Docker's format" push --format v2s2 second "docker://$pushed:second"
check "buildah pull" pull "$pulled:second"
refused "a tag that is not there" 'manifest unknown|not found' pull "$pulled:nothing"
check "buildah logout" buildah logout "$PUSH_HOST"
