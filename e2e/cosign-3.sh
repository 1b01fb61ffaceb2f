#!/usr/bin/env bash
# cosign 3: sign and attest with a key pair, verify: bundles, which are referrers
# now. Without a transparency log, and without any network but the registry.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# cosign lists no tags, copies nothing any more, cleans only the tag scheme, and
# its signatures differ each time.
can login wrong private push pull digest expired

cosign=$ROADSTEAD_TOOLS/cosign-3/cosign
export COSIGN_PASSWORD=e2e TUF_MIRROR=http://127.0.0.1:9 # nothing is there
login() { "$cosign" login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
sign() { "$cosign" sign --yes --key cosign.key --signing-config signing.json --trusted-root root.json "$@"; }
attest() {
    "$cosign" attest --yes --key cosign.key --signing-config signing.json \
        --trusted-root root.json --type custom --predicate "$cache/files/sbom.json" "$@"
}
verify() { "$cosign" verify --key cosign.pub --insecure-ignore-tlog --trusted-root root.json "$@"; }
verify_attestation() {
    "$cosign" verify-attestation --key cosign.pub --insecure-ignore-tlog \
        --trusted-root root.json --type custom "$@"
}
referrers() { # REPOSITORY@DIGEST
    oras discover --plain-http --format json "$1" | jq -r '[(.referrers // .manifests)[] | .artifactType] | sort | join(" ")'
}
bundle=application/vnd.dev.sigstore.bundle.v0.3+json
digest=$(layout_digest "$cache/multi")
image=$PUSH_HOST/$REGISTRY/team/cosign3@$digest
found=$PULL_HOST/$REGISTRY/team/cosign3@$digest
cd "$work"

check "cosign generate-key-pair" "$cosign" generate-key-pair
check "cosign signing-config create, without any service" "$cosign" signing-config create --out signing.json
check "cosign trusted-root create, with nothing in it" "$cosign" trusted-root create --out root.json

expired() {
    local name=$REGISTRY/team/cosign3-expired
    witness "$SHORT_HOST" --hold
    for host in "$SHORT_HOST" "$witness"; do
        check "cosign login $host" login "$host" "$KEY_SECRET"
    done
    check "crane push, an index" crane push "$cache/multi" "$SHORT_HOST/$name:1"
    check "cosign sign" sign "$witness/$name@$digest"
    token_expired
    check "cosign verify" verify "$SHORT_HOST/$name@$digest"
}
part expired "$@"

# cosign only stores what it is given at login, and uses it later.
check "cosign login, with a wrong password" login "$PUSH_HOST" "not$KEY_SECRET"
refused "a wrong password is refused" 'unauthorized|401' sign "$image"
did wrong
check "cosign login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "cosign login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "crane push, an index" crane push "$cache/multi" "${image%@*}:1"
refused "not signed yet" 'no signatures found|no matching' verify "$found"
check "cosign sign" sign "$image"
did push
same "its referrers" "$bundle" "$(referrers "$found")"
check "cosign sign, with the same key again" sign "$image"
same "its referrers" "$bundle $bundle" "$(referrers "$found")"
check "cosign verify" verify "$found"
same "what was signed" "$digest" \
    "$(grep '^\[' <<<"$output" | jq -r '.[0].critical.image."docker-manifest-digest"')"
did digest
check "cosign attest" attest "$image"
check "cosign verify-attestation" verify_attestation "$found"
check "cosign tree" "$cosign" tree "$found"
says "it shows the signature" 'cosign/sign/v1'
says "it shows the attestation" 'cosign.*/attestation/v1'
same "its tags" 1 "$(crane ls "${found%@*}" | sort | xargs)"
check "cosign download attestation" "$cosign" download attestation "$found"
did pull
refused "verification without login is refused" 'unauthorized|401|denied' \
    env DOCKER_CONFIG="$work/nobody" "$cosign" verify --key cosign.pub \
    --insecure-ignore-tlog --trusted-root root.json "$found"
did private

# A key that signed nothing.
mkdir "$work/other"
(cd "$work/other" && check "cosign generate-key-pair, another one" "$cosign" generate-key-pair)
refused "another key does not verify it" 'failed|no signatures|no matching' \
    "$cosign" verify --key other/cosign.pub --insecure-ignore-tlog --trusted-root root.json "$found"
