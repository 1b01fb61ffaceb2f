#!/usr/bin/env bash
# oras: files as an artifact, other artifacts attached to it, found, pulled.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
can login wrong private push again mount near far pull digest tags delete expired

login() { oras login --plain-http --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
# oras 1.2 calls the list `manifests`, 1.3 `referrers`.
found() { # REPOSITORY OPTIONS...
    oras discover --plain-http --format json "${@:2}" "$1:v1" |
        jq -r '[(.referrers // .manifests)[] | .artifactType] | sort | join(" ")'
}
pushed=$PUSH_HOST/$REGISTRY/team/files
pulled=$PULL_HOST/$REGISTRY/team/files
cd "$cache/files" # oras takes the path that it is given as the file's title

expired() {
    witness "$SHORT_HOST" --hold
    check "oras login $witness" login "$witness" "$KEY_SECRET"
    check "oras push" oras push --plain-http "$witness/$REGISTRY/team/oras-expired:1" \
        --artifact-type application/vnd.example.files text.txt:text/plain binary.bin:application/octet-stream
    check "oras pull" oras pull --plain-http "$witness/$REGISTRY/team/oras-expired:1" --output "$work/pulled"
    for file in text.txt binary.bin; do
        same "checksum of $file" "$(sha256 "$file")" "$(sha256 "$work/pulled/$file")"
    done
    token_expired
}
part expired "$@"

refused "a wrong password is refused" 'unauthorized|401' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
check "oras login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "oras login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "oras push, two files and two tags" oras push --plain-http "$pushed:v1,latest" \
    --artifact-type application/vnd.example.files \
    text.txt:text/plain binary.bin:application/octet-stream
digest=$(sed -n 's/^Digest: //p' <<<"$output")
same "oras resolve" "$digest" "$(oras resolve --plain-http "$pulled:v1")"
same "oras resolve, the second tag" "$digest" "$(oras resolve --plain-http "$pulled:latest")"
did push
blobs=$(uploaded team/files)
check "oras push, once more" oras push --plain-http "$pushed:again" \
    --artifact-type application/vnd.example.files \
    text.txt:text/plain binary.bin:application/octet-stream
nothing_sent team/files "$blobs"
did again
echo '{}' >"$work/nobody.json"
refused "a pull without login is refused" 'unauthorized|401|denied' oras pull --plain-http \
    --registry-config "$work/nobody.json" "$pulled:v1" --output "$work/nobody"
did private

check "oras attach, an SBOM" oras attach --plain-http "$pushed:v1" \
    --artifact-type application/spdx+json sbom.json:application/spdx+json
sbom=$(sed -n 's/^Digest: //p' <<<"$output")
check "oras attach, a signature" oras attach --plain-http "$pushed:v1" \
    --artifact-type application/vnd.example.signature signature.txt:text/plain
same "oras discover" "application/spdx+json application/vnd.example.signature" "$(found "$pulled")"
same "oras discover, of one type" application/spdx+json "$(found "$pulled" --artifact-type application/spdx+json)"

check "oras pull" oras pull --plain-http "$pulled:v1" --output "$work/pulled"
for file in text.txt binary.bin; do
    same "checksum of $file" "$(sha256 "$file")" "$(sha256 "$work/pulled/$file")"
done
did pull digest
check "oras pull, the SBOM by its digest" oras pull --plain-http "$pulled@$sbom" --output "$work/sbom"
same "checksum of sbom.json" "$(sha256 sbom.json)" "$(sha256 "$work/sbom/sbom.json")"

check "oras copy --recursive, to another repository" oras copy --recursive \
    --from-plain-http --to-plain-http "$pulled:v1" "$pushed-copy:v1"
same "oras resolve" "$digest" "$(oras resolve --plain-http "$pulled-copy:v1")"
same "oras discover" "application/spdx+json application/vnd.example.signature" \
    "$(found "$pulled-copy")"
check "oras copy, by mounting" oras copy --from-plain-http --to-plain-http "$pushed:v1" "$pushed-mounted:v1"
same "blobs that were mounted" 3 "$(mounted team/files-mounted)"
same "oras resolve" "$digest" "$(oras resolve --plain-http "$pulled-mounted:v1")"
did mount

witness "$PUSH_HOST"
check "oras login $witness" login "$witness" "$KEY_SECRET"
for each in "$FAR" "$NEAR"; do
    check "oras copy, from registry $REGISTRY to $each" oras copy --from-plain-http --to-plain-http \
        "$witness/$REGISTRY/team/files:v1" "$witness/$each/team/files:v1"
    same "oras resolve" "$digest" "$(oras resolve --plain-http "$PULL_HOST/$each/team/files:v1")"
    check "oras pull, from there" oras pull --plain-http "$PULL_HOST/$each/team/files:v1" --output "$work/$each"
    same "checksum of binary.bin" "$(sha256 binary.bin)" "$(sha256 "$work/$each/binary.bin")"
done
sent_far team/files 3
mounted_near team/files 3 0

check "oras repo tags" oras repo tags --plain-http "$pulled"
says "it lists latest" '^latest$'
says "it lists v1" '^v1$'
did tags
check "oras blob push" oras blob push --plain-http "$pushed" text.txt
check "oras blob fetch" oras blob fetch --plain-http --output "$work/blob" \
    "$pulled@$(sha256 text.txt)"
same "checksum of the blob" "$(sha256 text.txt)" "$(sha256 "$work/blob")"

check "oras manifest delete, the SBOM" oras manifest delete --force --plain-http "$pushed@$sbom"
same "oras discover" application/vnd.example.signature "$(found "$pulled")"
did delete
