#!/usr/bin/env bash
# notation: sign with a certificate, verify; signatures as referrers, through the
# API alone and with the tag that stands in for it.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# notation lists no tags, copies nothing, and its signatures have a time in them,
# so that none is pushed twice.
can login wrong private push pull digest expired

login() {
    notation login --insecure-registry --username "$KEY_ID" --password-stdin "$1" <<<"$2"
}
# put NAME: an image to be signed; sets $image, to sign, and $found, to verify
put() {
    local digest
    digest=$(layout_digest "$cache/multi")
    check "crane push, an index, to $1" crane push "$cache/multi" "$PUSH_HOST/$REGISTRY/$1:1"
    image=$PUSH_HOST/$REGISTRY/$1@$digest
    found=$PULL_HOST/$REGISTRY/$1@$digest
}
sign() { notation sign --insecure-registry "$@"; }
verify() { notation verify --insecure-registry "$1"; }

# It stores no password without a keychain, but takes one that is stored.
store() { crane auth login --username "$KEY_ID" --password "$KEY_SECRET" "$1"; }

check "notation certificate generate-test" notation certificate generate-test --default e2e
jq -n '{version: "1.0", trustPolicies: [{name: "e2e", registryScopes: ["*"],
    signatureVerification: {level: "strict"}, trustStores: ["ca:e2e"],
    trustedIdentities: ["*"]}]}' >"$work/policy.json"
check "notation policy import" notation policy import "$work/policy.json"

expired() {
    local name=$REGISTRY/team/notation-expired digest
    digest=$(layout_digest "$cache/multi")
    witness "$SHORT_HOST" --hold
    for host in "$SHORT_HOST" "$witness"; do
        check "crane auth login $host" store "$host"
        check "notation login $host" login "$host" "$KEY_SECRET"
    done
    check "crane push, an index" crane push "$cache/multi" "$SHORT_HOST/$name:1"
    check "notation sign" sign "$witness/$name@$digest"
    token_expired
    check "notation verify" verify "$SHORT_HOST/$name@$digest"
}
part expired "$@"

refused "a wrong password is refused" 'unauthorized|401' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
for host in "$PUSH_HOST" "$PULL_HOST"; do
    check "crane auth login $host" store "$host"
    check "notation login $host" login "$host" "$KEY_SECRET"
done
did login

for tag in false true; do
    put "team/notation-$tag"
    refused "not signed yet" 'no signature' verify "$found"
    check "notation sign --force-referrers-tag=$tag" sign --force-referrers-tag=$tag "$image"
    did push
    check "notation verify" verify "$found"
    did pull
    check "notation sign, in COSE" sign --force-referrers-tag=$tag --signature-format cose "$image"
    check "notation verify" verify "$found"
    check "notation inspect" notation inspect --insecure-registry --output json "$found"
    same "signatures" "application/cose application/jose+json" \
        "$(jq -r '[(.signatures // .Signatures)[].mediaType] | sort | join(" ")' <<<"$output")"
    same "what was signed" "${found#*@} ${found#*@}" \
        "$(jq -r '[(.signatures // .Signatures)[].signedArtifact.digest] | join(" ")' <<<"$output")"
    did digest
    same "referrers" 2 "$(oras discover --plain-http --format json "$found" |
        jq '(.referrers // .manifests) | length')"
    refused "verification without login is refused" 'unauthorized|401|denied' \
        env DOCKER_CONFIG="$work/nobody" notation verify --insecure-registry "$found"
    did private
done
check "notation logout" notation logout "$PUSH_HOST"
