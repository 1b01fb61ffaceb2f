#!/usr/bin/env bash
# regctl: uploads in small chunks, tags removed, artifacts with a subject, sha512.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
can login wrong private push again mount near far pull digest tags delete expired

login() { regctl registry login --user "$KEY_ID" --pass-stdin "$1" <<<"$2"; }
chunks() { # BYTES: on the side that is pushed to
    regctl registry set "$PUSH_HOST" --skip-check --tls disabled --blob-chunk "$1" --blob-max "$1"
}
pushed=$PUSH_HOST/$REGISTRY/team/regctl
pulled=$PULL_HOST/$REGISTRY/team/regctl
digest=$(layout_digest "$cache/multi")
debian=$(layout_digest "$cache/debian")

expired() {
    witness "$SHORT_HOST" --hold
    check "regctl registry set $witness" regctl registry set "$witness" --skip-check --tls disabled \
        --blob-chunk 65536 --blob-max 65536
    check "regctl registry login $witness" login "$witness" "$KEY_SECRET"
    # Content of its own: regctl mounts what is anywhere in the registry already.
    head -c 300000 /dev/urandom >"$work/noise"
    check "regctl artifact put, 300 kB in chunks of 64 KiB" regctl artifact put \
        --artifact-type application/vnd.example.noise --file "$work/noise" "$witness/$REGISTRY/team/regctl-expired:1"
    regctl artifact get "$witness/$REGISTRY/team/regctl-expired:1" >"$work/noise.back" || fail "regctl artifact get"
    same "checksum of what came back" "$(sha256 "$work/noise")" "$(sha256 "$work/noise.back")"
    token_expired
}
part expired "$@"

check "regctl registry set, chunks of 64 KiB" chunks 65536
check "regctl registry set $PULL_HOST" regctl registry set "$PULL_HOST" --skip-check --tls disabled
refused "a wrong password is refused" 'unauthorized|401' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
check "regctl registry login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "regctl registry login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "regctl image copy, an index in chunks of 64 KiB" \
    regctl image copy "ocidir://$cache/multi:multi" "$pushed:multi"
same "regctl image digest" "$digest" "$(regctl image digest "$pulled:multi")"
did push

# What is in another repository already is mounted by regctl; this is nowhere yet.
head -c 3000000 /dev/urandom >"$work/noise"
put() { regctl artifact put --artifact-type application/vnd.example.noise --file "$work/noise" "$pushed:noise"; }
check "regctl artifact put, 3 MB in chunks of 64 KiB" put
chunks=$(asked PATCH 202 "/$REGISTRY/team/regctl/blobs/uploads/")
((chunks >= 45)) || fail "it was not sent in chunks: $chunks requests"
say "requests that brought a chunk: $chunks"
regctl artifact get "$pulled:noise" >"$work/noise.back" || fail "regctl artifact get"
same "checksum of what came back" "$(sha256 "$work/noise")" "$(sha256 "$work/noise.back")"
blobs=$(uploaded team/regctl)
check "regctl artifact put, once more" put
nothing_sent team/regctl "$blobs"
did again
check "regctl registry set, chunks of 1,000,000 bytes" chunks 1000000
check "regctl image copy, a Debian image in such chunks" \
    regctl image copy "ocidir://$cache/debian:bookworm" "$pushed:debian"
same "regctl image digest" "$debian" "$(regctl image digest "$pulled:debian")"
check "regctl image copy, the index back" regctl image copy "$pulled:multi" "ocidir://$work/back:multi"
check "every blob is the same" diff -r "$cache/multi/blobs" "$work/back/blobs"
check "regctl image copy, the Debian image back" regctl image copy "$pulled:debian" "ocidir://$work/debian:x"
check "every blob is the same" diff -r "$cache/debian/blobs" "$work/debian/blobs"
did pull digest
check "regctl image copy, by mounting" regctl image copy "$pushed:multi" "$pushed-mounted:multi"
same "blobs that were mounted" 8 "$(mounted team/regctl-mounted)"
did mount

witness "$PUSH_HOST"
check "regctl registry set $witness" regctl registry set "$witness" --skip-check --tls disabled
check "regctl registry login $witness" login "$witness" "$KEY_SECRET"
# Content of its own again: also what is in the target's registry already is mounted.
openssl rand -hex 16 | jq -R '{of: .}' >"$work/config"
head -c 300000 /dev/urandom >"$work/between"
check "regctl artifact put" regctl artifact put --artifact-type application/vnd.example.noise \
    --config-type application/vnd.example.config+json --config-file "$work/config" \
    --file "$work/between" "$witness/$REGISTRY/team/regctl-between:1"
for each in "$FAR" "$NEAR"; do
    check "regctl image copy, from registry $REGISTRY to $each" \
        regctl image copy "$witness/$REGISTRY/team/regctl-between:1" "$witness/$each/team/regctl:1"
    same "regctl image digest" "$(regctl image digest "$pushed-between:1")" \
        "$(regctl image digest "$PULL_HOST/$each/team/regctl:1")"
    regctl artifact get "$PULL_HOST/$each/team/regctl:1" >"$work/$each" || fail "regctl artifact get"
    same "checksum of what came back" "$(sha256 "$work/between")" "$(sha256 "$work/$each")"
done
sent_far team/regctl 2
mounted_near team/regctl 2 0

check "regctl artifact put, with a subject" regctl artifact put --subject "$pushed:multi" \
    --artifact-type application/spdx+json --file-media-type application/spdx+json \
    --file "$cache/files/sbom.json"
check "regctl artifact list" regctl artifact list "$pulled:multi" --format '{{json .}}'
same "its type" application/spdx+json "$(jq -r '.descriptors[0].artifactType' <<<"$output")"
check "regctl artifact get" regctl artifact get --subject "$pulled:multi" \
    --filter-artifact-type application/spdx+json
same "its content" "$(cat "$cache/files/sbom.json")" "$output"
check "regctl image copy --referrers, to another repository" \
    regctl image copy --referrers "$pulled:multi" "$pushed-copy:multi"
same "regctl artifact list" 1 \
    "$(regctl artifact list "$pulled-copy:multi" --format '{{json .}}' | jq '.descriptors | length')"

check "regctl image copy, to a second tag" regctl image copy "$pushed:multi" "$pushed:second"
check "regctl tag rm" regctl tag rm "$pushed:second"
same "regctl tag ls" "debian multi noise" "$(regctl tag ls "$pulled" | xargs)"
same "the first tag still stands" "$digest" "$(regctl image digest "$pulled:multi")"
did tags delete

check "regctl image mod, an image in sha512" regctl image mod "ocidir://$cache/multi:multi" \
    --digest-algo sha512 --create "ocidir://$work/sha512:multi"
sha512=$(regctl image digest "ocidir://$work/sha512:multi")
check "regctl image copy, there" regctl image copy "ocidir://$work/sha512:multi" "$pushed:sha512"
same "regctl image digest" "$sha512" "$(regctl image digest "$pulled:sha512")"
check "regctl image copy, back" regctl image copy "$pulled:sha512" "ocidir://$work/sha512-back:multi"
check "every blob is the same" diff -r "$work/sha512/blobs" "$work/sha512-back/blobs"

check "regctl registry logout" regctl registry logout "$PULL_HOST"
refused "a pull without login is refused" 'unauthorized|401|denied' \
    regctl image copy "$pulled:sha512" "ocidir://$work/nobody:multi"
did private
