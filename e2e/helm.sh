#!/usr/bin/env bash
# helm: log in, package, push, show, pull a chart whose version has a `+`.
# Environment: PUSH_HOST, PULL_HOST, SHORT_HOST, PUSH_LOG, REGISTRY, NEAR, FAR, KEY_ID,
# KEY_SECRET.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST SHORT_HOST PUSH_LOG REGISTRY NEAR FAR KEY_ID KEY_SECRET
# helm mounts nothing and deletes nothing at a registry.
can login wrong private push again pull digest tags expired

login() {
    helm registry login --plain-http --username "$KEY_ID" --password-stdin "$1" <<<"$2"
}
version=1.2.3+build.7

expired() {
    witness "$SHORT_HOST" --hold
    check "helm registry login $witness" login "$witness" "$KEY_SECRET"
    check "helm package" helm package "$cache/chart" --destination "$work"
    check "helm push" helm push --plain-http "$work/harbour-$version.tgz" "oci://$witness/$REGISTRY/expired"
    mkdir "$work/back"
    check "helm pull" helm pull --plain-http "oci://$witness/$REGISTRY/expired/harbour" \
        --version "$version" --destination "$work/back"
    same "checksum of the chart" "$(sha256 "$work/harbour-$version.tgz")" "$(sha256 "$work/back/harbour-$version.tgz")"
    token_expired
}
part expired "$@"
chart=oci://$PULL_HOST/$REGISTRY/charts/harbour

refused "a wrong password is refused" 'unauthorized' login "$PUSH_HOST" "not$KEY_SECRET"
did wrong
check "helm registry login $PUSH_HOST" login "$PUSH_HOST" "$KEY_SECRET"
check "helm registry login $PULL_HOST" login "$PULL_HOST" "$KEY_SECRET"
did login

check "helm package" helm package "$cache/chart" --destination "$work"
mkdir "$work/pulled" "$work/older"
packed=$work/harbour-$version.tgz
check "helm push" helm push --plain-http "$packed" "oci://$PUSH_HOST/$REGISTRY/charts"
digest=$(sed -n 's/^Digest: //p' <<<"$output")
did push
blobs=$(uploaded charts/harbour)
check "helm push, once more" helm push --plain-http "$packed" "oci://$PUSH_HOST/$REGISTRY/charts"
nothing_sent charts/harbour "$blobs"
same "the digest is the same" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
did again
check "helm package, an older version" helm package "$cache/chart" --version 1.1.0 --destination "$work"
check "helm push, an older version" helm push --plain-http "$work/harbour-1.1.0.tgz" \
    "oci://$PUSH_HOST/$REGISTRY/charts"

check "helm show chart" helm show chart --plain-http "$chart" --version "$version"
says "it is that version" "^version: 1\.2\.3\+build\.7$"
check "helm pull" helm pull --plain-http "$chart" --version "$version" --destination "$work/pulled"
same "digest pushed and pulled" "$digest" "$(sed -n 's/^Digest: //p' <<<"$output")"
same "checksum of the chart" "$(sha256 "$packed")" "$(sha256 "$work/pulled/harbour-$version.tgz")"
did pull digest

# helm asks for the list of tags and chooses.
check "helm pull, the newest before 1.2" helm pull --plain-http "$chart" --version '<1.2' \
    --destination "$work/older"
same "checksum of the older chart" "$(sha256 "$work/harbour-1.1.0.tgz")" \
    "$(sha256 "$work/older/harbour-1.1.0.tgz")"
did tags
check "helm template, from the registry" helm template port --plain-http "$chart" --version "$version"
says "it is our chart" 'berths: "3"'
refused "a version that is not there" 'not found|could not|no chart|improper' \
    helm pull --plain-http "$chart" --version 9.9.9 --destination "$work"
check "helm registry logout" helm registry logout "$PUSH_HOST"
check "helm registry logout" helm registry logout "$PULL_HOST"
refused "a pull without login is refused" 'unauthorized|401|denied' \
    helm pull --plain-http "$chart" --version "$version" --destination "$work"
did private
