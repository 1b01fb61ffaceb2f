#!/usr/bin/env bash
# podman: log in, load, push, remove, pull; a manifest list; tags; rootful, plain
# copies as storage, nothing is run.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# podman deletes nothing at a registry.
can login wrong private push again mount near far pull digest tags expired

short_folder # podman wants its own to have no more than 50 characters
podman() {
    command podman --root "$work/storage" --runroot "$short/run" --storage-driver vfs "$@"
}
echo '{}' | tee "$REGISTRY_AUTH_FILE" >"$work/nobody.json"
login() { podman login --tls-verify=false --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
push() { podman push --tls-verify=false --digestfile "$work/digest" "$@"; }
pull() { podman pull --tls-verify=false "$@"; }
pushed=$PUSH_HOST/$REGISTRY/team/podman
pulled=$PULL_HOST/$REGISTRY/team/podman

expired() {
    local image
    witness "$SHORT_HOST" --hold
    image=$witness/$REGISTRY/team/podman-expired:1
    check "podman login $witness" login "$witness" "$KEY_SECRET"
    tar --create --file="$work/multi.tar" --directory="$cache/multi" .
    check "podman load" podman load --input "$work/multi.tar"
    check "podman push" push "$(podman images --quiet --no-trunc | cut -d : -f 2)" "$image"
    check "podman rmi" podman rmi --all --force
    check "podman pull" pull "$image"
    same "digest pushed and pulled" "$(cat "$work/digest")" \
        "$(podman image inspect --format '{{.Digest}}' "$image")"
    token_expired
}
part expired "$@"

tar --create --file="$work/multi.tar" --directory="$cache/multi" .
check "podman load" podman load --input "$work/multi.tar"
id=$(podman images --quiet --no-trunc | cut -d : -f 2)
refused "a wrong password is refused" 'unauthorized|invalid username' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
refused "a push without login is refused" 'unauthorized|authentication required|denied' \
    push "$id" "$pushed:1"
check "podman login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
did login

check "podman push" push "$id" "$pushed:1"
did push
digest=$(cat "$work/digest")
blobs=$(uploaded team/podman)
check "podman push, once more" push "$id" "$pushed:1"
nothing_sent team/podman "$blobs"
same "the digest is the same" "$digest" "$(cat "$work/digest")"
did again

other=team/other-$(openssl rand -hex 4) # nothing is there yet
check "podman push, to another repository" push "$id" "$PUSH_HOST/$REGISTRY/$other:1"
same "layers that were mounted" 3 "$(mounted "$other")"
same "the digest is the same" "$digest" "$(cat "$work/digest")"
did mount

witness "$PUSH_HOST"
check "podman login $witness" login "$witness" "$KEY_SECRET"
for each in "$REGISTRY" "$FAR" "$NEAR"; do
    check "podman push, to registry $each" push "$id" "$witness/$each/team/podman-between:1"
    same "the digest is the same" "$digest" "$(cat "$work/digest")"
done
sent_far team/podman-between 4
mounted_near team/podman-between 3 1

check "podman rmi" podman rmi --force "$id"
refused "a pull without login is refused" 'unauthorized|authentication required|denied' \
    pull --authfile "$work/nobody.json" "$pulled:1"
did private
check "podman login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
check "podman pull" pull "$pulled:1"
same "image id before and after" "$id" "$(tail -n 1 <<<"$output")"
did pull
same "digest pushed and pulled" "$digest" "$(podman image inspect --format '{{.Digest}}' "$id")"
did digest
check "podman pull by digest" pull "$pulled@$digest"
same "image id" "$id" "$(tail -n 1 <<<"$output")"

check "podman rmi" podman rmi --force "$id"
check "podman pull, from registry $FAR" pull "$PULL_HOST/$FAR/team/podman-between:1"
same "image id" "$id" "$(tail -n 1 <<<"$output")"

# An index, put together here of what is there.
check "podman manifest create" podman manifest create list
check "podman manifest add" podman manifest add --tls-verify=false list "docker://$pulled:1"
check "podman manifest push" podman manifest push --all --tls-verify=false \
    --digestfile "$work/digest" list "docker://$pushed:list"
check "podman rmi" podman rmi --force "$id"
check "podman pull, through the index" pull "$pulled:list"
same "image id" "$id" "$(tail -n 1 <<<"$output")"

check "podman search --list-tags" podman search --tls-verify=false --list-tags \
    --format json "$pulled"
same "tags" "1 list" "$(jq -r '[.[].Tags[]] | sort | join(" ")' <<<"$output")"
did tags
refused "a tag that is not there" 'manifest unknown|not found' pull "$pulled:nothing"
check "podman logout" podman logout "$PUSH_HOST"
