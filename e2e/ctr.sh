#!/usr/bin/env bash
# ctr: containerd with nothing around it. Import, push, remove, pull; an index
# with every platform; layers mounted from the repository next door.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET, CONTAINERD_ADDRESS.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET CONTAINERD_ADDRESS
# ctr keeps no login, and tags and deletion at the registry are not its business.
can wrong private push again mount near far pull digest expired

export CONTAINERD_NAMESPACE=e2e-$$ # nothing of the run before is in it
push() { ctr images push --plain-http --user "$KEY_ID:$KEY_SECRET" "$@"; }
fetch() { ctr content fetch --plain-http --all-platforms "$@"; }
own=(--user "$KEY_ID:$KEY_SECRET")
local_digest() { ctr images ls "name==$1" | awk 'NR == 2 { print $3 }'; }
# With nothing that names them, containerd forgets the blobs, too.
forget() { ctr images ls -q | xargs -r ctr images rm --sync; }

pushed=$PUSH_HOST/$REGISTRY/team/ctr
pulled=$PULL_HOST/$REGISTRY/team/ctr

expired() {
    local digest
    digest=$(layout_digest "$cache/multi")
    witness "$SHORT_HOST" --hold
    tar --create --file="$work/multi.tar" --directory="$cache/multi" .
    check "ctr images import" ctr images import --all-platforms --no-unpack \
        --base-name "$witness/$REGISTRY/team/ctr-expired" "$work/multi.tar"
    # One after another: when all blobs are sent at once, the next thing after a 401
    # is a manifest, and there containerd 1.6 waits for itself every other time
    # (containerd #7972, #6995). Before a blob's bytes it asks, and gets its token.
    check "ctr images push, one blob after another" \
        push --max-concurrent-uploaded-layers 1 "$witness/$REGISTRY/team/ctr-expired:multi"
    check "ctr images rm" forget
    check "ctr content fetch" fetch "${own[@]}" "$witness/$REGISTRY/team/ctr-expired:multi"
    same "digest of what came back" "$digest" "$(local_digest "$witness/$REGISTRY/team/ctr-expired:multi")"
    check "ctr images rm" forget
    token_expired
}
part expired "$@"

for each in debian:bookworm multi:multi; do
    tag=${each#*:}
    digest=$(layout_digest "$cache/${each%:*}")
    tar --create --file="$work/$tag.tar" --directory="$cache/${each%:*}" .
    check "ctr images import, $tag" ctr images import --all-platforms --no-unpack \
        --base-name "$pushed" "$work/$tag.tar"
    same "digest of what was imported" "$digest" "$(local_digest "$pushed:$tag")"
    refused "a push without login is refused" 'authorization failed|failed to authorize|401|denied' \
        ctr images push --plain-http "$pushed:$tag"
    refused "a wrong password is refused" 'unauthorized|401' \
        ctr images push --plain-http --user "$KEY_ID:not$KEY_SECRET" "$pushed:$tag"
    did wrong
    check "ctr images push" push "$pushed:$tag"
    did push
    blobs=$(uploaded team/ctr)
    check "ctr images push, once more" push "$pushed:$tag"
    nothing_sent team/ctr "$blobs"
    did again

    check "ctr images rm" forget
    same "blobs left here" 0 "$(ctr content ls -q | wc -l)"
    refused "a pull without login is refused" 'authorization failed|401|denied' fetch "$pulled:$tag"
    did private
    check "ctr content fetch" fetch "${own[@]}" "$pulled:$tag"
    did pull
    same "digest of what came back" "$digest" "$(local_digest "$pulled:$tag")"
    did digest
done

# containerd notes where a blob was fetched from, and asks for it to be mounted.
other=team/other-$(openssl rand -hex 4) # nothing is there yet
check "ctr images rm" forget
check "ctr content fetch, from $PUSH_HOST" fetch "${own[@]}" "$pushed:multi"
check "ctr images tag" ctr images tag "$pushed:multi" "$PUSH_HOST/$REGISTRY/$other:multi"
check "ctr images push, to another repository" push "$PUSH_HOST/$REGISTRY/$other:multi"
same "blobs that were mounted" 8 "$(mounted "$other")"
same "blobs that were sent" 0 "$(uploaded "$other")"
did mount
check "ctr images rm" forget
check "ctr content fetch, from there" fetch "${own[@]}" "$PULL_HOST/$REGISTRY/$other:multi"
same "digest of what came back" "$digest" "$(local_digest "$PULL_HOST/$REGISTRY/$other:multi")"

witness "$PUSH_HOST"
for each in "$NEAR" "$FAR"; do
    check "ctr images rm" forget
    check "ctr content fetch, from registry $REGISTRY" fetch "${own[@]}" "$witness/$REGISTRY/team/ctr:multi"
    check "ctr images tag" ctr images tag "$witness/$REGISTRY/team/ctr:multi" "$witness/$each/team/ctr:multi"
    check "ctr images push, to registry $each" push "$witness/$each/team/ctr:multi"
    check "ctr images rm" forget
    check "ctr content fetch, from there" fetch "${own[@]}" "$PULL_HOST/$each/team/ctr:multi"
    same "digest of what came back" "$digest" "$(local_digest "$PULL_HOST/$each/team/ctr:multi")"
done
mounted_near team/ctr 8 0
sent_far team/ctr 8
