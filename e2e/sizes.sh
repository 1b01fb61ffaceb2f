#!/usr/bin/env bash
# Sizes: a layer of 2 GiB, 100 layers, layers in zstd and zstd:chunked, an index
# of 1,000 entries, 1,000 referrers of one image; each pushed and pulled, every
# byte compared.
# Environment: PUSH_HOST, PULL_HOST, PUSH_LOG, REGISTRY, KEY_ID, KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST PUSH_LOG REGISTRY KEY_ID KEY_SECRET

# Made once per machine. A number to raise when what is made changes.
sizes=$cache/sizes-2
if [[ ! -e $sizes ]]; then
    rm -rf "$cache"/sizes-*
    check "fixtures, made once, in $sizes" "$e2e/fixtures-sizes.py" "$sizes.new"
    mv "$sizes.new" "$sizes"
fi

pushed=$PUSH_HOST/$REGISTRY/sizes
pulled=$PULL_HOST/$REGISTRY/sizes
for host in "$PUSH_HOST" "$PULL_HOST"; do
    check "crane auth login $host" crane auth login --username "$KEY_ID" --password "$KEY_SECRET" "$host"
    check "regctl registry set $host" regctl registry set "$host" --skip-check --tls disabled
done
all_blobs() { # LAYOUT NAME: what came back is what was sent
    check "every blob is the same" diff -r "$sizes/$1/blobs" "$2/blobs"
    rm -rf "$2"
}

# regctl first: what is there already it would mount.
check "regctl registry set, chunks of 64 MB" regctl registry set "$PUSH_HOST" --skip-check \
    --tls disabled --blob-chunk 64000000 --blob-max 64000000
check "regctl image copy, a layer of 2 GiB in such chunks" \
    regctl image copy "ocidir://$sizes/big:big" "$pushed/big-chunks:1"
chunks=$(asked PATCH 202 "/$REGISTRY/sizes/big-chunks/blobs/uploads/")
((chunks >= 33)) || fail "it was not sent in chunks: $chunks requests"
say "requests that brought a chunk: $chunks"
check "regctl image copy, back" regctl image copy "$pulled/big-chunks:1" "ocidir://$work/big:big"
all_blobs big "$work/big"
check "skopeo copy, the layer of 2 GiB in one request" skopeo copy --dest-tls-verify=false \
    --preserve-digests "oci:$sizes/big:big" "docker://$pushed/big:1"
same "blobs that were sent" 2 "$(uploaded sizes/big)"
same "digest" "$(layout_digest "$sizes/big")" "$(crane digest "$pulled/big:1")"
check "skopeo copy, back" skopeo copy --src-tls-verify=false --preserve-digests \
    "docker://$pulled/big:1" "oci:$work/big:big"
all_blobs big "$work/big"

check "crane push, 100 layers" crane push "$sizes/hundred" "$pushed/hundred:1"
same "digest" "$(layout_digest "$sizes/hundred")" "$(crane digest "$pulled/hundred:1")"
same "blobs that were sent" 101 "$(uploaded sizes/hundred)"
check "crane validate, every byte" crane validate --remote "$pulled/hundred:1"
check "regctl image copy, back" regctl image copy "$pulled/hundred:1" "ocidir://$work/hundred:x"
all_blobs hundred "$work/hundred"

mkdir "$work/zstd"
short_folder
podman() { command podman --root "$work/storage" --runroot "$short/run" --storage-driver vfs "$@"; }
# With this, podman asks for the table of contents of a layer and then, in one
# request for many ranges, for the files that it doesn't have.
cat >"$work/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$work/overlay"
runroot = "$short/overlay"
[storage.options]
pull_options = {enable_partial_images = "true", use_hard_links = "false", ostree_repos = ""}
END
partial_podman() { env CONTAINERS_STORAGE_CONF="$work/storage.conf" podman "$@"; }
echo '{}' >"$REGISTRY_AUTH_FILE"
for host in "$PUSH_HOST" "$PULL_HOST"; do
    check "podman login $host" podman login --tls-verify=false --username "$KEY_ID" --password "$KEY_SECRET" "$host"
done
# Images that podman has not pushed yet: it would take what is there in another form.
for each in zstd=oci:$sizes/few:few zstd:chunked=oci:$sizes/hundred:hundred; do
    format=${each%%=*}
    name=zstd/${format/:/-}
    check "skopeo copy, for podman load" skopeo copy "${each#*=}" "oci-archive:$work/$name.tar"
    check "podman load" podman load --input "$work/$name.tar"
    id=$(podman images --quiet --no-trunc | cut -d : -f 2)
    check "podman push, layers in $format" podman push --tls-verify=false --compression-format "$format" \
        --format oci --digestfile "$work/digest" "$id" "$pushed/$name:1"
    check "crane manifest" crane manifest "$pulled/$name:1"
    same "its layers" application/vnd.oci.image.layer.v1.tar+zstd \
        "$(jq -r '.layers[].mediaType' <<<"$output" | sort -u)"
    tables=$(jq '[.layers[].annotations | select(."io.containers.zstd-chunked.manifest-checksum"?)] | length' <<<"$output")
    same "layers with a table of contents" "$([[ $format == zstd ]] && echo 0 || echo 100)" "$tables"
    check "podman rmi" podman rmi --all --force
    check "podman pull" podman pull --tls-verify=false "$pulled/$name:1"
    same "digest pushed and pulled" "$(cat "$work/digest")" \
        "$(podman image inspect --format '{{.Digest}}' "$pulled/$name:1")"
    same "image id before and after" "$id" "$(podman images --quiet --no-trunc | cut -d : -f 2)"
    check "podman rmi" podman rmi --all --force
done
witness "$PULL_HOST"
check "podman login $witness" podman login --tls-verify=false --username "$KEY_ID" --password "$KEY_SECRET" "$witness"
check "podman pull, in parts" partial_podman pull --tls-verify=false "$witness/$REGISTRY/sizes/zstd/zstd-chunked:1"
same "digest pushed and pulled" "$(cat "$work/digest")" \
    "$(partial_podman image inspect --format '{{.Digest}}' "$witness/$REGISTRY/sizes/zstd/zstd-chunked:1")"
same "image id" "$id" "$(partial_podman images --quiet --no-trunc | cut -d : -f 2)"
parts=$(seen GET '(206|307)' ".*/blobs/.*")
((parts >= 200)) || fail "not two requests for parts of each layer, but only $parts"
say "requests for parts: $parts"
check "podman rmi" partial_podman rmi --all --force

check "crane push, an index of 1,000 entries" crane push "$sizes/index" "$pushed/index:1"
same "digest" "$(layout_digest "$sizes/index")" "$(crane digest "$pulled/index:1")"
same "entries" 1000 "$(crane manifest "$pulled/index:1" | jq '.manifests | length')"
check "regctl image copy, back" regctl image copy "$pulled/index:1" "ocidir://$work/index:x"
all_blobs index "$work/index"

subject=$(layout_digest "$sizes/referrers")
check "oras copy --recursive, an image with 1,000 referrers" oras copy --recursive --to-plain-http \
    --from-oci-layout "$sizes/referrers:subject" "$pushed/referrers:1"
same "oras discover" 1000 "$(oras discover --plain-http --format json "$pulled/referrers@$subject" |
    jq '(.referrers // .manifests) | length')"
same "oras discover, of one type" 500 "$(oras discover --plain-http --format json \
    --artifact-type application/vnd.example.odd "$pulled/referrers@$subject" |
    jq '(.referrers // .manifests) | length')"
same "regctl artifact list" 1000 \
    "$(regctl --verbosity error artifact list "$pulled/referrers:1" --format '{{json .}}' | jq '.descriptors | length')"
same "each of them once" 1000 "$(regctl --verbosity error artifact list "$pulled/referrers:1" --format '{{json .}}' |
    jq '[.descriptors[].annotations.number] | unique | length')"
same "tags" 1 "$(crane ls "$pulled/referrers" | xargs)"
check "oras copy --recursive, back" oras copy --recursive --from-plain-http --to-oci-layout \
    "$pulled/referrers:1" "$work/referrers:x"
all_blobs referrers "$work/referrers"
