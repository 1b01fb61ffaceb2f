#!/usr/bin/env bash
# docker: log in, tag, push, remove, pull.
# Environment: PUSH_HOST, PULL_HOST, PUSH_LOG, REGISTRY, KEY_ID, KEY_SECRET, DOCKER_HOST.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST PUSH_LOG REGISTRY KEY_ID KEY_SECRET DOCKER_HOST
# docker lists no tags and deletes nothing at a registry.
can login wrong private push again mount pull digest

login() { docker login --username "$KEY_ID" --password-stdin "$1" <<<"$2"; }
pushed=$PUSH_HOST/$REGISTRY/team/debian:bookworm
pulled=$PULL_HOST/$REGISTRY/team/debian:bookworm
local=roadstead-e2e/debian:bookworm

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

check "docker rmi" docker rmi "$local" "$pushed" "$other"
refused "the image is gone here" 'no such image' docker image inspect "$id"

check "docker pull" docker pull "$pulled"
says "its layers came over the wire" 'Pull complete'
same "digest pushed and pulled" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
same "image id before and after" "$id" "$(docker image inspect --format '{{.Id}}' "$pulled")"
did pull digest

check "docker pull by digest" docker pull "${pulled%:*}@$digest"
says "nothing to fetch but the manifest" 'image is up to date|downloaded newer image'
same "image id" "$id" "$(docker image inspect --format '{{.Id}}' "${pulled%:*}@$digest")"
check "docker rmi" docker rmi "$pulled"

refused "a tag that is not there" 'manifest unknown|not found' docker pull "${pulled%:*}:nothing"
check "docker logout" docker logout "$PUSH_HOST"
