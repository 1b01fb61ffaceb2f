#!/usr/bin/env bash
# cosign 2: sign and attest with a key pair, verify; by the tag scheme, by OCI
# 1.1 referrers, as bundles; signatures copied, saved, loaded, cleaned away.
# Without a transparency log, and without any network but the registry.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# cosign lists no tags.
can login wrong private push again mount near far pull digest delete expired

cosign=$ROADSTEAD_TOOLS/cosign-2/cosign
export COSIGN_PASSWORD=e2e TUF_MIRROR=http://127.0.0.1:9 # nothing is there
login() { "$cosign" login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
sign() { "$cosign" sign --yes --key cosign.key --tlog-upload=false "$@"; }
attest() {
    "$cosign" attest --yes --key cosign.key --tlog-upload=false --type custom \
        --predicate "$cache/files/sbom.json" "$@"
}
verify() { "$cosign" verify --key cosign.pub --insecure-ignore-tlog "$@"; }
verify_attestation() {
    "$cosign" verify-attestation --key cosign.pub --insecure-ignore-tlog --type custom "$@"
}
# put NAME: an image to be signed; sets $image, to sign, and $found, to verify
image_digest=$(layout_digest "$cache/multi")
put() {
    check "crane push, an index, to $1" crane push "$cache/multi" "$PUSH_HOST/$REGISTRY/$1:1"
    image=$PUSH_HOST/$REGISTRY/$1@$image_digest
    found=$PULL_HOST/$REGISTRY/$1@$image_digest
}
referrers() { # REPOSITORY@DIGEST
    oras discover --plain-http --format json "$1" | jq -r '[(.referrers // .manifests)[] | .artifactType] | sort | join(" ")'
}
bundle=application/vnd.dev.sigstore.bundle.v0.3+json
signature=application/vnd.dev.cosign.artifact.sig.v1+json
cd "$work"

check "cosign generate-key-pair" "$cosign" generate-key-pair

expired() {
    local name=$REGISTRY/team/cosign2-expired
    witness "$SHORT_HOST" --hold
    for host in "$SHORT_HOST" "$witness"; do
        check "cosign login $host" login "$host" "$KEY_SECRET"
    done
    check "crane push, an index" crane push "$cache/multi" "$SHORT_HOST/$name:1"
    check "cosign sign" sign "$witness/$name@$image_digest"
    token_expired
    check "cosign verify" verify "$SHORT_HOST/$name@$image_digest"
}
part expired "$@"

# cosign only stores what it is given at login, and uses it later.
check "cosign login, with a wrong password" login "$PUSH_HOST" "not$KEY_SECRET"
refused "a wrong password is refused" 'unauthorized|401' sign "$PUSH_HOST/$REGISTRY/team/cosign2:1"
did wrong
check "cosign login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "cosign login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

# ---- the tag scheme

put team/cosign2
refused "not signed yet" 'no signatures found' verify "$found"
check "cosign sign" sign "$image"
did push
blobs=$(uploaded team/cosign2)
check "cosign sign, with the same key again" sign "$image"
nothing_sent team/cosign2 "$blobs"
did again
check "cosign verify" verify "$found"
same "what was signed" "${image#*@}" \
    "$(grep '^\[' <<<"$output" | jq -r '.[0].critical.image."docker-manifest-digest"')"
did digest
check "cosign attest" attest "$image"
check "cosign verify-attestation" verify_attestation "$found"
tag=${image#*@}
tag=${tag/:/-}
same "its tags" "1 $tag.att $tag.sig" "$(crane ls "${found%@*}" | sort | xargs)"
refused "verification without login is refused" 'unauthorized|401|denied' \
    env DOCKER_CONFIG="$work/nobody" "$cosign" verify --key cosign.pub --insecure-ignore-tlog "$found"
did private

check "cosign copy, to another repository" "$cosign" copy "${image%@*}:1" "$PUSH_HOST/$REGISTRY/team/cosign2-copy:1"
check "cosign verify" verify "${found%@*}-copy:1"
check "cosign verify-attestation" verify_attestation "${found%@*}-copy:1"
[[ $(mounted team/cosign2-copy) -ge 8 ]] || fail "blobs were copied, not mounted: $(mounted team/cosign2-copy)"
say "blobs that were mounted: $(mounted team/cosign2-copy)"
did mount

witness "$PUSH_HOST"
check "cosign login $witness" login "$witness" "$KEY_SECRET"
for each in "$FAR" "$NEAR"; do
    check "cosign copy, from registry $REGISTRY to $each" "$cosign" copy \
        "$witness/$REGISTRY/team/cosign2:1" "$witness/$each/team/cosign2:1"
    check "cosign verify" verify "$PULL_HOST/$each/team/cosign2:1"
    check "cosign verify-attestation" verify_attestation "$PULL_HOST/$each/team/cosign2:1"
    same "crane digest" "$image_digest" "$(crane digest "$PULL_HOST/$each/team/cosign2:1")"
done
sent_far team/cosign2 12
mounted_near team/cosign2 12 0

check "cosign save" "$cosign" save --dir "$work/saved" "$found"
did pull
check "cosign load" "$cosign" load --dir "$work/saved" "$PUSH_HOST/$REGISTRY/team/cosign2-loaded:1"
check "cosign verify" verify "${found%@*}-loaded:1"

check "cosign clean" "$cosign" clean --force --type all "${image%@*}:1"
refused "not signed any more" 'no signatures found' verify "$found"
same "its tags" 1 "$(crane ls "${found%@*}" | sort | xargs)"
did delete

# ---- OCI 1.1 referrers

put team/cosign2-oci11
export COSIGN_EXPERIMENTAL=1
check "cosign sign, as a referrer" sign --registry-referrers-mode=oci-1-1 "$image"
same "its referrers" "$signature" "$(referrers "$found")"
check "cosign verify --experimental-oci11" verify --experimental-oci11 "$found"
same "its tags" 1 "$(crane ls "${found%@*}" | sort | xargs)"
unset COSIGN_EXPERIMENTAL

# ---- bundles

put team/cosign2-bundle
check "cosign trusted-root create" "$cosign" trusted-root create --out "$work/root.json"
check "cosign sign --new-bundle-format" sign --new-bundle-format "$image"
check "cosign attest --new-bundle-format" attest --new-bundle-format "$image"
same "its referrers" "$bundle $bundle" "$(referrers "$found")"
check "cosign verify --new-bundle-format" verify --new-bundle-format --trusted-root root.json "$found"
check "cosign verify-attestation --new-bundle-format" \
    verify_attestation --new-bundle-format --trusted-root root.json "$found"
same "its tags" 1 "$(crane ls "${found%@*}" | sort | xargs)"
