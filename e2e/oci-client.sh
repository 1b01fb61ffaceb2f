#!/usr/bin/env bash
# oci-client: the Rust crate of that name, through the small command in
# e2e/oci-client. Chunks of 4 MiB, single PUTs, pull, tags, referrers, mounting.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# The crate keeps no login, asks for no blob before it sends it, deletes nothing;
# its token for a mount allows nothing in the source, so none comes from a registry
# that is not the target's own.
can wrong private push again mount far pull digest tags expired

pushed=$PUSH_HOST/$REGISTRY/team/oci-client
pulled=$PULL_HOST/$REGISTRY/team/oci-client
blobs=$cache/debian/blobs/sha256
manifest=$blobs/$(layout_digest "$cache/debian" | cut -d : -f 2)
mapfile -t layers < <(jq -r '.layers[].digest' "$manifest" | cut -d : -f 2)
files=("${layers[@]/#/$blobs/}")
nobody() { env -u KEY_ID -u KEY_SECRET "$@"; }

expired() {
    witness "$SHORT_HOST" --hold
    check "oci-client push, a Debian root file system in chunks of 4 MiB" \
        oci-client push "$witness/$REGISTRY/team/oci-client-expired:1" "${files[@]}"
    same "digest pushed and found" "$output" "$(oci-client digest "$witness/$REGISTRY/team/oci-client-expired:1")"
    token_expired
}
part expired "$@"

refused "a wrong password is refused" 'unauthorized|authentication|401' \
    env KEY_SECRET="not$KEY_SECRET" oci-client push "$pushed:1" "${files[@]}"
did wrong
refused "a push without login is refused" 'unauthorized|not authorized|denied|401' \
    nobody oci-client push "$pushed:1" "${files[@]}"
check "oci-client push, a Debian root file system in chunks of 4 MiB" \
    oci-client push "$pushed:1" "${files[@]}"
digest=$output
chunks=$(asked PATCH 202 "/$REGISTRY/team/oci-client/blobs/uploads/")
((chunks > 6)) || fail "it was not sent in chunks: $chunks requests"
say "requests that brought a chunk: $chunks"
did push
check "oci-client push, once more" oci-client push "$pushed:1" "${files[@]}"
same "the digest is the same" "$digest" "$output"
did again
check "oci-client push, each blob in one request" oci-client push --monolithic "$pushed:2" "${files[@]}"
same "the digest is the same" "$digest" "$output"
same "no more chunks" "$((2 * chunks))" "$(asked PATCH 202 "/$REGISTRY/team/oci-client/blobs/uploads/")"

refused "a pull without login is refused" 'unauthorized|not authorized|denied|401' \
    nobody oci-client digest "$pulled:1"
did private
mkdir "$work/pulled"
check "oci-client pull" oci-client pull "$pulled:1" "$work/pulled"
same "digest pushed and pulled" "$digest" "$output"
for ((n = 0; n < ${#layers[@]}; n++)); do
    same "checksum of layer $n" "sha256:${layers[n]}" "$(sha256 "$work/pulled/$n")"
done
did pull digest

other=$PUSH_HOST/$REGISTRY/team/oci-client-other:1
check "oci-client mount, into another repository" \
    oci-client mount "$other" "$pushed:1" "sha256:${layers[0]}"
same "blobs that were mounted" 1 "$(mounted team/oci-client-other)"
did mount
witness "$PUSH_HOST"
# It takes a 202 for an error, and pushes all the same.
for each in "$NEAR" "$FAR"; do
    refused "oci-client mount, into registry $each: an upload begins instead" 'got 202' \
        oci-client mount "$witness/$each/team/oci-client:1" "$witness/$REGISTRY/team/oci-client:1" "sha256:${layers[0]}"
    check "oci-client push, there" oci-client push "$witness/$each/team/oci-client:1" "${files[@]}"
    same "the digest is the same" "$digest" "$output"
    same "oci-client digest" "$digest" "$(oci-client digest "$PULL_HOST/$each/team/oci-client:1")"
done
sent_far team/oci-client 6
check "oci-client tags" oci-client tags "$pulled:1"
same "tags" "1 2" "$output"
did tags

check "crane auth login $PUSH_HOST" crane auth login --username "$KEY_ID" --password "$KEY_SECRET" "$PUSH_HOST"
check "crane push, an index" crane push "$cache/multi" "$pushed:multi"
check "regctl registry set" regctl registry set "$PUSH_HOST" --skip-check --tls disabled
check "regctl artifact put, with a subject" regctl artifact put --subject "$pushed:multi" \
    --artifact-type application/spdx+json --file "$cache/files/sbom.json"
check "oci-client referrers" oci-client referrers "$pulled@$(layout_digest "$cache/multi")"
same "their types" application/spdx+json "$output"
