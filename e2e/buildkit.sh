#!/usr/bin/env bash
# BuildKit: buildkitd and buildctl. Images with attestations are built from
# scratch and pushed; the build cache is exported and imported, mode=max, in each
# of its forms; an image is built upon what is pulled. Nothing is run in a build.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# buildctl uses docker's logins; it lists no tags and deletes nothing.
can wrong private push again mount near far pull digest expired

pushed=$PUSH_HOST/$REGISTRY/team/buildkit
pulled=$PULL_HOST/$REGISTRY/team/buildkit
login() { crane auth login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
nobody() { env DOCKER_CONFIG="$work/nobody" buildctl "$@"; }
# build FOLDER: what is built goes into the cache of this daemon, at least
build() { buildctl build --progress plain "${frontend[@]}" --local "context=$1" --local "dockerfile=$1" "${@:2}"; }
frontend=(--frontend dockerfile.v0 --opt attest:provenance=mode=max)
image() { echo "type=image,name=$1,push=true,oci-mediatypes=true"; }
digest_of() { jq -r '."containerimage.digest"' "$1"; }

mkdir "$work/first" "$work/second"
cp "$cache"/files/* "$work/first"
cat >"$work/first/Dockerfile" <<'END'
FROM scratch AS parts
COPY binary.bin /data/
FROM scratch
COPY text.txt /
COPY --from=parts /data/binary.bin /srv/
END
printf 'FROM %s\nCOPY more.txt /\n' "$pulled:first" >"$work/second/Dockerfile"
echo more >"$work/second/more.txt"

short_folder
export BUILDKIT_HOST=unix://$short/buildkit.sock
cat >"$work/buildkitd.toml" <<'END'
[worker.oci]
  snapshotter = "native" # plain copies: works everywhere
[worker.containerd]
  enabled = false
END
start buildkitd buildkitd --config "$work/buildkitd.toml" --root "$work/buildkit" --addr "$BUILDKIT_HOST"
await "buildkitd" buildkitd 60 buildctl debug workers

expired() {
    witness "$SHORT_HOST" --hold
    check "login $witness" login "$witness" "$KEY_SECRET"
    check "buildctl build, from scratch, and push" build "$work/first" \
        --output "$(image "$witness/$REGISTRY/team/buildkit-expired:1")" --metadata-file "$work/metadata"
    token_expired
    same "digest pushed and found" "$(digest_of "$work/metadata")" \
        "$(crane digest "$witness/$REGISTRY/team/buildkit-expired:1")"
    check "crane validate, every byte" crane validate --platform linux/amd64 \
        --remote "$witness/$REGISTRY/team/buildkit-expired:1"
}
part expired "$@"

check "login, with a wrong password" login "$PUSH_HOST" "not$KEY_SECRET"
refused "a wrong password is refused" 'unauthorized|401|denied' \
    build "$work/first" --output "$(image "$pushed:first")"
did wrong
check "login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"

check "buildctl build, from scratch, and push" build "$work/first" \
    --output "$(image "$pushed:first")" --metadata-file "$work/metadata"
did push
digest=$(digest_of "$work/metadata")
same "digest pushed and found" "$digest" "$(crane digest "$pulled:first")"
check "crane manifest" crane manifest "$pulled:first"
same "what it lists" "linux/amd64 unknown/unknown" \
    "$(jq -r '[.manifests[].platform | .os + "/" + .architecture] | join(" ")' <<<"$output")"
attestation=$(jq -r '.manifests[] | select(.annotations."vnd.docker.reference.type" == "attestation-manifest").digest' <<<"$output")
check "crane manifest, of the attestation" crane manifest "$pulled@$attestation"
same "what is attested" https://slsa.dev/provenance/v1 \
    "$(jq -r '.layers[].annotations."in-toto.io/predicate-type"' <<<"$output" | sed 's/v0\.2$/v1/')"
blobs=$(uploaded team/buildkit)
check "buildctl build, and push once more" build "$work/first" \
    --output "$(image "$pushed:first")" --metadata-file "$work/metadata.2"
# The provenance holds the time of each build: it is new, and its config, too.
((blobs > 0 && $(uploaded team/buildkit) <= blobs + 2)) || fail "layers were sent again"
say "layers that were sent again: 0"
did again
digest=$(digest_of "$work/metadata.2")

# Old and new forms: an index that lists layers, with Docker's or OCI's types, or
# an image.
for form in image-manifest=false,oci-mediatypes=false image-manifest=false,oci-mediatypes=true \
    image-manifest=true,oci-mediatypes=true; do
    tag=cache-$(tr -c 'a-z\n' . <<<"$form")
    check "buildctl build --export-cache $form" build "$work/first" \
        --export-cache "type=registry,ref=$pushed:$tag,mode=max,$form"
    check "crane manifest" crane manifest "$pulled:$tag"
    case $form in
        image-manifest=true*) same "its config" application/vnd.buildkit.cacheconfig.v0 \
            "$(jq -r .config.mediaType <<<"$output")" ;;
        *) same "its config" application/vnd.buildkit.cacheconfig.v0 \
            "$(jq -r .manifests[-1].mediaType <<<"$output")" ;;
    esac
    check "buildctl prune" buildctl prune --all
    check "buildctl build --import-cache" build "$work/first" \
        --import-cache "type=registry,ref=$pulled:$tag" --output "type=local,dest=$work/$tag"
    # Of the last step it shows the layers that it unpacks, and not always more.
    says "steps were taken from the cache" ' CACHED$'
    says "the layers came from the registry" ' extracting sha256:'
    same "a file of it" "$(sha256 "$cache/files/binary.bin")" "$(sha256 "$work/$tag/srv/binary.bin")"
done

check "buildctl prune" buildctl prune --all
refused "a base image without login is refused" 'unauthorized|401|denied|authorization failed' \
    nobody build --progress plain "${frontend[@]}" --local "context=$work/second" --local "dockerfile=$work/second"
did private
check "buildctl build, upon what is pulled" build "$work/second" --output "type=local,dest=$work/pulled"
did pull
says "it is that image" "FROM .*@$digest"
same "a file of it" "$(sha256 "$cache/files/binary.bin")" "$(sha256 "$work/pulled/srv/binary.bin")"
did digest
check "buildctl build, and push, layers in zstd" build "$work/second" \
    --output "$(image "$pushed:second"),compression=zstd,force-compression=true"
check "crane manifest" crane manifest --platform linux/amd64 "$pulled:second"
same "its layers" application/vnd.oci.image.layer.v1.tar+zstd \
    "$(jq -r '.layers[].mediaType' <<<"$output" | sort -u)"

# A layer that BuildKit knows of, but has not fetched, is mounted.
printf 'FROM %s\nLABEL berths=3\n' "$pushed:first" >"$work/second/Dockerfile"
other=team/other-$(openssl rand -hex 4) # nothing is there yet
check "buildctl prune" buildctl prune --all
check "buildctl build, upon an image next door, and push" \
    build "$work/second" --output "$(image "$PUSH_HOST/$REGISTRY/$other:1")"
same "layers that were mounted" 2 "$(mounted "$other")"
did mount

witness "$PUSH_HOST"
check "login $witness" login "$witness" "$KEY_SECRET"
printf 'FROM %s\nLABEL berths=4\n' "$witness/$REGISTRY/team/buildkit:first" >"$work/second/Dockerfile"
for each in "$FAR" "$NEAR"; do
    check "buildctl prune" buildctl prune --all
    check "buildctl build, upon an image of registry $REGISTRY, and push to registry $each" \
        build "$work/second" --output "$(image "$witness/$each/team/buildkit:1")" --metadata-file "$work/metadata"
    same "digest pushed and found" "$(digest_of "$work/metadata")" "$(crane digest "$PULL_HOST/$each/team/buildkit:1")"
    check "crane validate, every byte" crane validate --platform linux/amd64 --remote "$PULL_HOST/$each/team/buildkit:1"
done
sent_far team/buildkit 5
mounted_near team/buildkit 2 3
