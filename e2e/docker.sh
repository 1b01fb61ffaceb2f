#!/usr/bin/env bash
# docker: log in, tag, push, remove, pull.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET, DOCKER_HOST.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET DOCKER_HOST
# docker deletes nothing at a registry.
can login wrong private push again mount near far pull digest tags expired

login() { docker login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
pushed=$PUSH_HOST/$REGISTRY/team/debian:bookworm
pulled=$PULL_HOST/$REGISTRY/team/debian:bookworm
local=roadstead-e2e/debian:bookworm

expired() {
    local image
    witness "$SHORT_HOST" --hold
    image=$witness/$REGISTRY/team/docker-expired:1
    check "skopeo copy, an image for docker load" skopeo copy --override-arch amd64 \
        "oci:$cache/multi:multi" "docker-archive:$work/small.tar:$image"
    check "docker load" docker load --input "$work/small.tar"
    check "docker login $witness" login "$witness" "$KEY_SECRET"
    check "docker push" docker push "$image"
    digest=$(grep -o 'digest: sha256:[0-9a-f]*' <<<"$output" | cut -d ' ' -f 2)
    check "docker rmi" docker rmi "$image"
    check "docker pull" docker pull "$image"
    same "digest pushed and pulled" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
    check "docker rmi" docker rmi "$image"
    token_expired
}
part expired "$@"

check "docker load: a Debian root file system in five layers" \
    docker load --input "$cache/debian.tar"
id=$(docker image inspect --format '{{.Id}}' "$local")

refused "a wrong password is refused" 'unauthorized|incorrect' login "$PUSH_HOST" "not$KEY_SECRET"
refused "a pull without login is refused" 'unauthorized|denied|no basic auth|not found' \
    docker pull "$pushed"
did wrong private
check "docker login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "docker login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "docker tag" docker tag "$local" "$pushed"
check "docker push" docker push "$pushed"
digest=$(grep -o 'digest: sha256:[0-9a-f]*' <<<"$output" | cut -d ' ' -f 2)
check "docker push, once more" docker push "$pushed"
same "all five layers exist already" 5 "$(grep -c 'Layer already exists' <<<"$output")"
same "the digest is the same" "$digest" "$(grep -o 'sha256:[0-9a-f]*' <<<"$output" | tail -n 1)"
did push again

other=$PUSH_HOST/$REGISTRY/team/other-$(openssl rand -hex 4)/debian:bookworm # nothing is there yet
check "docker tag, for another repository" docker tag "$local" "$other"
check "docker push, to another repository" docker push "$other"
same "all five layers are mounted" 5 "$(grep -c 'Mounted from' <<<"$output")"
did mount

witness "$PUSH_HOST"
check "docker login $witness" login "$witness" "$KEY_SECRET"
copies=()
for each in "$REGISTRY" "$NEAR" "$FAR"; do # it mounts from where it pushed last
    copies+=("$witness/$each/team/docker-between:1")
    check "docker tag" docker tag "$local" "${copies[-1]}"
    check "docker push, to registry $each" docker push "${copies[-1]}"
    says "the digest is the same" "$digest"
done
mounted_near team/docker-between 5 1
sent_far team/docker-between 6

all=$PUSH_HOST/$REGISTRY/team/docker-all
for tag in one two; do
    check "docker tag" docker tag "$local" "$all:$tag"
done
check "docker push --all-tags" docker push --all-tags "$all"
same "tags pushed" "one two" "$(sed -n 's/^\(.*\): digest: .*/\1/p' <<<"$output" | sort | xargs)"

check "docker rmi" docker rmi "$local" "$pushed" "$other" "${copies[@]}" "$all:one" "$all:two"
refused "the image is gone here" 'no such image' docker image inspect "$id"

check "docker pull" docker pull "$pulled"
says "its layers came over the wire" 'Pull complete'
same "digest pushed and pulled" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
same "image id before and after" "$id" "$(docker image inspect --format '{{.Id}}' "$pulled")"
did pull digest
for each in "$FAR" "$NEAR"; do
    other=$PULL_HOST/$each/team/docker-between:1
    check "docker pull, from registry $each" docker pull "$other"
    same "digest" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
    check "docker rmi" docker rmi "$other"
done

# It asks for the list of tags.
all=$PULL_HOST/$REGISTRY/team/docker-all
check "docker pull --all-tags" docker pull --all-tags "$all"
same "digests of both" "$digest $digest" "$(sed -n 's/^Digest: //p' <<<"$output" | xargs)"
same "tags" "one two" "$(docker image ls --format '{{.Tag}}' "$all" | sort | xargs)"
check "docker rmi" docker rmi "$all:one" "$all:two"
did tags

check "docker pull by digest" docker pull "${pulled%:*}@$digest"
says "nothing to fetch but the manifest" 'image is up to date|downloaded newer image'
same "image id" "$id" "$(docker image inspect --format '{{.Id}}' "${pulled%:*}@$digest")"
check "docker rmi" docker rmi "$pulled"

refused "a tag that is not there" 'manifest unknown|not found' docker pull "${pulled%:*}:nothing"
check "docker logout" docker logout "$PUSH_HOST"
