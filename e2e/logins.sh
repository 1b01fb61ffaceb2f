#!/usr/bin/env bash
# Signing in, in each way there is, with real clients: the access key of a person, a
# robot's key that is limited to some repositories and actions, the token of a CI's
# job, and secrets as kubectl makes them for clusters. Then the key is revoked, and
# the clients that just worked are refused on every node.
#
# ROADSTEAD_BIN  the program to test (default: target/release/roadstead)
# E2E_ENGINES    which engines (default: all), of
#   directory    SQLite and a directory, one node
#   cluster      PostgreSQL and S3; pushed to one node, pulled from the other
# shellcheck disable=SC2317 # functions called by name
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ROADSTEAD_BIN=$(realpath "${ROADSTEAD_BIN:-$e2e/../target/release/roadstead}")
[[ -x $ROADSTEAD_BIN ]] || fail "no program at $ROADSTEAD_BIN"
read -ra engines <<<"${E2E_ENGINES:-directory cluster}"
export REGISTRY=main KEY_ID KEY_SECRET
KEY_ID=E2E$(openssl rand -hex 8 | tr a-f A-F)
KEY_SECRET=$(openssl rand -hex 20)
audience=https://registry.example.com
clients=(docker helm oras crane skopeo podman ctr)

# ---- an issuer of tokens, as CI services are: its keys as files, signed by openssl

base64url() { basenc --base64url --wrap=0 | tr -d =; }
start_issuer() {
    local dir=$work/issuer modulus
    free_ports 1
    issuer=http://127.0.0.1:${ports[0]}
    mkdir -p "$dir/.well-known"
    check "a key of the issuer" openssl genrsa -out "$work/issuer.key" 2048
    modulus=$(openssl rsa -in "$work/issuer.key" -noout -modulus | sed 's/^Modulus=//; s/../\\x&/g')
    # shellcheck disable=SC2059 # the bytes that it stands for
    jq -n --arg n "$(printf "$modulus" | base64url)" \
        '{keys: [{kty: "RSA", use: "sig", alg: "RS256", kid: "e2e", n: $n, e: "AQAB"}]}' >"$dir/keys"
    jq -n --arg issuer "$issuer" '{issuer: $issuer, jwks_uri: "\($issuer)/keys",
        authorization_endpoint: "\($issuer)/x", token_endpoint: "\($issuer)/x"}' >"$dir/.well-known/openid-configuration"
    start issuer python3 -m http.server --bind 127.0.0.1 --directory "$dir" "${ports[0]}"
    await "an issuer of tokens on $issuer" issuer 30 curl -sS --fail "$issuer/keys"
}
# job_token [JQ]: of a job for main of acme/app, changed as JQ says
job_token() {
    local signed
    signed=$(base64url <<<'{"alg":"RS256","typ":"JWT","kid":"e2e"}').$(jq -nc --arg iss "$issuer" --arg aud "$audience" \
        '(now | floor) as $now | {iss: $iss, aud: $aud, iat: $now, nbf: $now, exp: ($now + 300),
        sub: "repo:acme/app:ref:refs/heads/main", repository: "acme/app", ref: "refs/heads/main"}'" | ${1:-.}" | base64url)
    printf '%s.%s' "$signed" "$(printf %s "$signed" | openssl dgst -sha256 -sign "$work/issuer.key" | base64url)"
}

# ---- the clients; each pushes one thing to PLACE/CLIENT, a chart to PLACE/harbour

# as WHO CLIENT: from here on the logins are those of a home of its own, as many
# clients look into the same files
as() {
    export HOME=$work/home-$1-$2
    export DOCKER_CONFIG=$HOME/.docker REGISTRY_AUTH_FILE=$HOME/auth.json
    mkdir -p "$DOCKER_CONFIG"
    [[ -e $REGISTRY_AUTH_FILE ]] || echo '{}' >"$REGISTRY_AUTH_FILE"
}
short_folder # podman wants its own to have no more than 50 characters
podman() { command podman --root "$work/storage" --runroot "$short/run" --storage-driver vfs "$@"; }

# log_in CLIENT HOST USER SECRET
log_in() {
    local options=(--username "$3" --password-stdin "$2")
    case $1 in
        docker) docker login "${options[@]}" ;;
        helm) helm registry login --plain-http "${options[@]}" ;;
        oras) oras login --plain-http "${options[@]}" ;;
        crane) crane auth login "${options[@]}" ;;
        skopeo | podman) "$1" login --tls-verify=false "${options[@]}" ;;
        ctr) ctr_user=(--user "$3:$4") ;; # keeps no login
    esac <<<"$4"
}

# here CLIENT: what it pushes is there, where it keeps images of its own
here() {
    case $1 in
        docker) docker image inspect e2e/small:1 >/dev/null 2>&1 || docker load --quiet --input "$work/small.tar" ;;
        podman) podman image exists e2e/small:1 || podman load --quiet --input "$work/small.tar" ;;
        ctr)
            [[ -n $(ctr images ls -q name==e2e/small:multi) ]] ||
                ctr images import --all-platforms --no-unpack --base-name e2e/small "$work/multi.tar"
            ;;
    esac
}
# gone CLIENT: with all its layers, so that a pull has to bring them
gone() {
    case $1 in
        docker) docker images --quiet --no-trunc | sort -u | xargs -r docker rmi --force ;;
        podman) podman rmi --all --force ;;
        ctr) ctr images ls -q | xargs -r ctr images rm --sync ;;
    esac
}

# push CLIENT PLACE
push() {
    local to=$2/$1:1
    here "$1" || return
    case $1 in
        docker) docker tag e2e/small:1 "$to" && docker push "$to" ;;
        helm) helm push --plain-http "$chart" "oci://$2" ;;
        oras) (cd "$cache/files" && oras push --plain-http "$to" text.txt:text/plain) ;;
        crane) crane push "$cache/multi" "$to" ;;
        skopeo) skopeo copy --all --dest-tls-verify=false "oci:$cache/multi:multi" "docker://$to" ;;
        podman) podman push --tls-verify=false e2e/small:1 "$to" ;;
        ctr) ctr images tag --force e2e/small:multi "$to" && ctr images push --plain-http "${ctr_user[@]}" "$to" ;;
    esac
}

# pull CLIENT PLACE: fails when something else comes back than was pushed
pull() {
    local from=$2/$1:1 back=$work/back
    rm -rf "$back"
    mkdir "$back"
    gone "$1" || return
    case $1 in
        docker) docker pull "$from" && [[ $(docker image inspect --format '{{.Id}}' "$from") == "$image" ]] ;;
        helm)
            helm pull --plain-http "oci://$2/harbour" --version 1.2.3+build.7 --destination "$back" &&
                cmp "$chart" "$back/${chart##*/}"
            ;;
        oras) oras pull --plain-http "$from" --output "$back" && cmp "$cache/files/text.txt" "$back/text.txt" ;;
        crane) crane pull --format oci "$from" "$back/oci" && diff -r "$cache/multi/blobs" "$back/oci/blobs" ;;
        skopeo)
            skopeo copy --all --src-tls-verify=false "docker://$from" "oci:$back/oci:multi" &&
                diff -r "$cache/multi/blobs" "$back/oci/blobs"
            ;;
        podman)
            podman pull --tls-verify=false "$from" &&
                [[ sha256:$(podman image inspect --format '{{.Id}}' "$from") == "$image" ]]
            ;;
        ctr)
            ctr content fetch --plain-http --all-platforms "${ctr_user[@]}" "$from" &&
                [[ $(ctr images ls "name==$from" | awk 'NR == 2 { print $3 }') == "$(layout_digest "$cache/multi")" ]]
            ;;
    esac
}

# denied WHAT COMMAND...: refused, and the client says so to its user
denied() { cannot '\bdenied|403:? \(?forbidden' "$@"; }
# stopped WHAT COMMAND...: the same for who is not let in at all
stopped() { cannot '\bunauthori[sz]ed|invalid username/password' "$@"; }
cannot() {
    refused "$2" "$1" "${@:3}"
    say "    $(grep -oiE "($1).*" <<<"$output" | tail -n 1)"
}

# works WHO USER SECRET: every client signs in, pushes and pulls
works() {
    local client host
    echo "-- $1"
    for client in "${clients[@]}"; do
        as "$1" "$client"
        for host in "${hosts[@]}"; do
            log_in "$client" "$host" "$2" "$3" >"$work/login.out" 2>&1 || {
                sed 's/^/   | /' "$work/login.out" >&2
                fail "$client: signing in at $host as $1"
            }
        done
        check "$client signs in and pushes" push "$client" "$push_host/$images/builds/$1"
        check "$client pulls, and has what was pushed" pull "$client" "$pull_host/$images/builds/$1"
    done
}

# limited WHO: what lies outside of `builds/**`, or is no pull or push, is refused
limited() {
    local client
    echo "-- $1, beyond its limits"
    for client in "${clients[@]}"; do
        as "$1" "$client"
        denied "$client pushes elsewhere" push "$client" "$push_host/$images/other"
        denied "$client pulls from elsewhere" pull "$client" "$pull_host/$images/other"
    done
    as "$1" crane
    denied "crane deletes" crane delete "$push_host/$images/builds/$1/crane:1"
    as "$1" skopeo
    denied "skopeo deletes" skopeo delete --tls-verify=false "docker://$push_host/$images/builds/$1/skopeo:1"
    as "$1" oras
    denied "oras deletes" oras manifest delete --force --plain-http "$push_host/$images/builds/$1/oras:1"
}

# ---- the ways

api() { # METHOD PATH [BODY]
    curl -sS --fail-with-body --max-time 20 --user "$KEY_ID:$KEY_SECRET" -X "$1" "http://$push_host/api/v1$2" \
        ${3:+-H 'Content-Type: application/json' -d "$3"}
}
prepare() {
    local password limits
    limits='[{"registry":"shop-images","repositories":"builds/**","actions":["pull","push"]}]'
    images=shop-images
    check "a project" api PUT /projects/shop '{}'
    check "a registry of it" api PUT "/registries/$images" '{"project":"shop"}'
    password=$(openssl rand -hex 10)
    check "a person" api PUT /people/ada '{}'
    check "with a password" api PUT /people/ada/password "{\"password\":\"$password\"}"
    check "who may push and pull" api PUT /projects/shop/members/ada '{"role":"uploader"}'
    check "signs in" curl -sS --fail-with-body --cookie-jar "$work/ada" "http://$push_host/api/v1/session" \
        -H 'Content-Type: application/json' -d "{\"name\":\"ada\",\"password\":\"$password\"}"
    check "and makes a key" as_ada POST /me/keys '{}'
    ada_id=$(jq -r .key_id <<<"$output") ada_secret=$(jq -r .secret <<<"$output")
    check "a robot" api PUT /projects/shop/robots/ci '{}'
    check "with a key for \`builds/**\`" api POST /projects/shop/robots/ci/keys "{\"limits\":$limits}"
    robot_id=$(jq -r .key_id <<<"$output") robot_secret=$(jq -r .secret <<<"$output")
    check "that trusts jobs for main of acme/app" api POST /projects/shop/robots/ci/trusts \
        "$(jq -n --arg issuer "$issuer" --arg audience "$audience" --argjson limits "$limits" \
            '{issuer: $issuer, audience: $audience, claims: {repository: "acme/app", ref: "refs/heads/main"}, limits: $limits}')"
    trust=$(jq -r .id <<<"$output")
}
as_ada() { # METHOD PATH [BODY]: with the session, not the key
    curl -sS --fail-with-body --max-time 20 --cookie "$work/ada" -X "$1" "http://$push_host/api/v1$2" \
        ${3:+-H 'Content-Type: application/json' -d "$3"}
}

by_person() {
    works person "$ada_id" "$ada_secret"
    for client in "${clients[@]}"; do # for others to be refused
        as person "$client"
        push "$client" "$push_host/$images/other" >"$work/other.out" 2>&1 || fail "$client: $(tail -n 3 "$work/other.out")"
    done
    say "each pushes elsewhere too"
    as person crane
    denied "crane deletes, which an uploader may not" crane delete "$push_host/$images/other/crane:1"
}

by_job() {
    local token client
    token=$(job_token)
    works job shop/ci "$token"
    limited job
    same "what docker keeps is not the job's token: a name alone, and a refresh token" "shop/ci: 43" \
        "$(jq -r --arg host "$push_host" '.auths[$host] | "\(.auth | @base64d) \(.identitytoken | length)"' \
            "$work/home-job-docker/.docker/config.json")"
    echo "-- jobs that are not meant"
    as stranger all
    for client in docker helm oras skopeo podman; do
        stopped "$client, a job of another repository" log_in "$client" "$push_host" shop/ci "$(job_token '.repository = "acme/other"')"
        stopped "$client, a token for another service" log_in "$client" "$push_host" shop/ci "$(job_token '.aud = "https://other.example"')"
        stopped "$client, a token that is over" log_in "$client" "$push_host" shop/ci "$(job_token '.exp = 1000000000')"
    done
}

# by_secret WHO USER SECRET: what kubectl makes, used as a node of a cluster does
by_secret() {
    local secret=$work/secret-$1 host=$pull_host place=$pull_host/$images/builds/$1
    echo "-- a secret of kubectl, with the key of the $1"
    as nobody all
    kubectl create secret docker-registry regcred --docker-server="$host" --docker-username="$2" --docker-password="$3" \
        --docker-email=ci@example.com --dry-run=client -o json >"$secret.json"
    same "its type" kubernetes.io/dockerconfigjson "$(jq -r .type "$secret.json")"
    mkdir "$secret"
    jq -r '.data[".dockerconfigjson"] | @base64d' "$secret.json" >"$secret/config.json"
    gone podman >/dev/null
    gone docker >/dev/null
    stopped "podman without it" podman pull --tls-verify=false "$place/podman:1"
    check "podman pull --authfile" podman pull --tls-verify=false --authfile "$secret/config.json" "$place/podman:1"
    check "skopeo copy --authfile" skopeo copy --all --src-tls-verify=false --authfile "$secret/config.json" \
        "docker://$place/skopeo:1" "oci:$secret/oci:multi"
    check "every blob is the same" diff -r "$cache/multi/blobs" "$secret/oci/blobs"
    check "crane with DOCKER_CONFIG" env DOCKER_CONFIG="$secret" crane validate --remote "$place/crane:1" --platform linux/amd64
    check "docker --config" docker --config "$secret" pull "$place/docker:1"
    check "oras pull --registry-config" oras pull --plain-http --registry-config "$secret/config.json" \
        --output "$secret/oras" "$place/oras:1"
    check "helm show --registry-config" helm show chart --plain-http --registry-config "$secret/config.json" \
        "oci://$place/harbour" --version 1.2.3+build.7
    # containerd has no such file: kubelet gives it the pair.
    ctr_user=(--user "$(jq -r --arg host "$host" '.auths[$host].auth | @base64d' "$secret/config.json")")
    check "ctr with the pair of it" pull ctr "$place"
}

# over WHO: those that had signed in are refused, on each node, and so is the token in hand
over() {
    local client host
    for client in "${clients[@]}"; do
        as "$1" "$client"
        for host in "${hosts[@]}"; do
            stopped "$client pulls from $host" pull "$client" "$host/$images/builds/$1"
        done
        stopped "$client pushes" push "$client" "$push_host/$images/builds/$1"
    done
}
declare -A token=() # of each node
# with_token HOST: the status
with_token() {
    curl -sS -o /dev/null -w '%{http_code}' -H "Authorization: Bearer ${token[$1]}" \
        "http://$1/v2/$images/builds/person/crane/manifests/1"
}

revoked() {
    local host
    echo "-- revoked"
    ctr_user=(--user "$ada_id:$ada_secret")
    for host in "${hosts[@]}"; do
        token[$host]=$(curl -sS --user "$ada_id:$ada_secret" \
            "http://$host/token?scope=repository:$images/builds/person/crane:pull" | jq -r .token)
        same "a token of $host" 200 "$(with_token "$host")"
    done
    check "the person revokes the key" as_ada DELETE "/me/keys/$ada_id"
    for host in "${hosts[@]}"; do
        same "the token of $host" 401 "$(with_token "$host")"
    done
    over person
    ctr_user=(--user "shop/ci:$(job_token)")
    check "the trust is deleted" api DELETE "/projects/shop/robots/ci/trusts/$trust"
    over job
    ctr_user=(--user "$robot_id:$robot_secret")
    check "the robot is disabled" api PATCH /projects/shop/robots/ci '{"disabled":true}'
    over robot
}

# ---- all of it on each engine

"$e2e/fixtures.sh"
start_docker
start_containerd
start_issuer
export CONTAINERD_NAMESPACE=e2e-$$
check "skopeo copy, an image for docker load" skopeo copy --override-arch amd64 \
    "oci:$cache/multi:multi" "docker-archive:$work/small.tar:e2e/small:1"
check "docker load" here docker
image=$(docker image inspect --format '{{.Id}}' e2e/small:1)
tar --create --file="$work/multi.tar" --directory="$cache/multi" .
check "helm package" helm package "$cache/chart" --destination "$work"
chart=$work/harbour-1.2.3+build.7.tgz

for engine in "${engines[@]}"; do
    echo "== logins, $engine: start"
    settings=(ROADSTEAD_CI_INTERNAL_ISSUERS="$issuer")
    if [[ $engine == cluster ]]; then
        start_postgres
        start_s3
        create_database logins
        create_bucket e2e-logins
        settings+=(
            ROADSTEAD_DATABASE_URL="postgres://roadstead@127.0.0.1:$postgres_port/logins"
            ROADSTEAD_BUCKET_KIND=s3 ROADSTEAD_BUCKET_NAME=e2e-logins
            ROADSTEAD_BUCKET_ENDPOINT="$s3_endpoint" ROADSTEAD_BUCKET_REGION=us-east-1
            ROADSTEAD_BUCKET_ACCESS_KEY_ID="$s3_key" ROADSTEAD_BUCKET_SECRET_ACCESS_KEY="$s3_secret"
            ROADSTEAD_SECRET_KEY="$(openssl rand -base64 32)"
        )
    fi
    start_node "${settings[@]}"
    push_host=$node_host pull_host=$node_host hosts=("$node_host")
    if [[ $engine == cluster ]]; then
        start_node "${settings[@]}"
        pull_host=$node_host
        hosts+=("$node_host")
    fi
    prepare
    echo "== logins, $engine"
    by_person
    works robot "$robot_id" "$robot_secret"
    limited robot
    by_job
    by_secret person "$ada_id" "$ada_secret"
    by_secret robot "$robot_id" "$robot_secret"
    revoked
    rm -rf "$work"/home-* "$work"/secret-*
done
! grep -n -A 10 'panicked at' "$work"/node*.log || fail "a node panicked"
echo "== logins: passed"
