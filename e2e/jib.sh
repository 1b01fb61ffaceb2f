#!/usr/bin/env bash
# jib: a Java program made into an image by Maven and pushed, without a daemon;
# then upon an image that is pulled as its base.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# jib is given its login with each build; it lists no tags and deletes nothing.
can wrong private push again mount near far pull digest expired

# jib tries TLS first, then TLS with any certificate, then plain HTTP, for which
# it has to be told to send a password.
jib() {
    mvn --batch-mode --quiet --file "$work/jib/pom.xml" \
        -Dmaven.repo.local="$ROADSTEAD_TOOLS/maven" -DsendCredentialsOverHttp=true \
        -Djib.useOnlyProjectCache=true compile jib:build "$@"
}
to() { login=("-Djib.to.auth.username=$KEY_ID" "-Djib.to.auth.password=$1"); }
from=("-Djib.from.auth.username=$KEY_ID" "-Djib.from.auth.password=$KEY_SECRET")
pushed=$PUSH_HOST/$REGISTRY/team/jib
pulled=$PULL_HOST/$REGISTRY/team/jib
cp -r "$e2e/jib" "$work/jib"
head -c 3000000 /dev/urandom >"$work/jib/src/main/resources/data"

expired() {
    witness "$SHORT_HOST" --hold
    to "$KEY_SECRET"
    # By itself it waits 20 s for an answer, then it sends everything once more.
    check "jib:build, upon nothing" jib -Djib.httpTimeout=0 -Dto="$witness/$REGISTRY/team/jib-expired:1" "${login[@]}"
    token_expired
    check "crane auth login $witness" crane auth login --username "$KEY_ID" --password "$KEY_SECRET" "$witness"
    same "digest pushed and found" "$(cat "$work/jib/target/jib-image.digest")" \
        "$(crane digest "$witness/$REGISTRY/team/jib-expired:1")"
    check "crane validate, every byte" crane validate --remote "$witness/$REGISTRY/team/jib-expired:1"
}
part expired "$@"

to "not$KEY_SECRET"
refused "a wrong password is refused" 'unauthorized' jib -Dto="$pushed:1" "${login[@]}"
did wrong
refused "a push without login is refused" 'unauthorized' jib -Dto="$pushed:1"
to "$KEY_SECRET"
check "jib:build, upon nothing" jib -Dto="$pushed:1" "${login[@]}"
did push
digest=$(cat "$work/jib/target/jib-image.digest")
blobs=$(uploaded team/jib)
check "jib:build, once more" jib -Dto="$pushed:1" "${login[@]}"
nothing_sent team/jib "$blobs"
same "the digest is the same" "$digest" "$(cat "$work/jib/target/jib-image.digest")"
did again

refused "a base image without login is refused" 'unauthorized' \
    jib -Dfrom="$pulled:1" -Dto="$pushed:2" "${login[@]}"
did private
check "jib:build, upon that image" jib -Dfrom="$pulled:1@$digest" -Dto="$pushed:2" "${login[@]}" "${from[@]}"
did pull digest

# A base image of the same host is mounted.
rm -rf "$work/jib/target"
other=team/other-$(openssl rand -hex 4) # nothing is there yet
check "jib:build, upon that image, to another repository" \
    jib -Dfrom="$pushed:1" -Dto="$PUSH_HOST/$REGISTRY/$other:2" "${login[@]}" "${from[@]}"
# Some twice: layers of the base are made here anew, and asked for at the same time.
(($(mounted "$other") >= 4)) || fail "not all four blobs were mounted: $(mounted "$other")"
same "blobs that were sent" 0 "$(uploaded "$other")"
did mount

witness "$PUSH_HOST"
check "crane auth login $PULL_HOST" crane auth login --username "$KEY_ID" --password "$KEY_SECRET" "$PULL_HOST"
for each in "$FAR" "$NEAR"; do
    rm -rf "$work/jib/target"
    check "jib:build, upon an image of registry $REGISTRY, to registry $each" \
        jib -Dfrom="$witness/$REGISTRY/team/jib:1" -Dto="$witness/$each/team/jib:2" "${login[@]}" "${from[@]}"
    same "digest pushed and found" "$(cat "$work/jib/target/jib-image.digest")" \
        "$(crane digest "$PULL_HOST/$each/team/jib:2")"
    check "crane validate, every byte" crane validate --remote "$PULL_HOST/$each/team/jib:2"
done
sent_far team/jib 4
mounted_near team/jib 4 0
