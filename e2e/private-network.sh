#!/usr/bin/env bash
# A registry whose public endpoint is off, in a network of its own: real clients
# outside can neither reach nor notice it, those inside use it, blobs by redirect
# to an inside address of the object storage included.
#
# Three network namespaces. The region (PostgreSQL, SeaweedFS, a node) has an
# address in two networks; outside and inside each see one of them:
#
#   outside 10.231.2.2 ---- 10.231.2.1 region 10.231.1.1 ---- 10.231.1.2 inside
#
# ROADSTEAD_BIN  the program to test (default: target/release/roadstead)
# As root. Where namespaces can't be made it says so in one line, and ends well.
# shellcheck disable=SC2317 # functions called by name
set -euo pipefail

# ---- first: the namespaces, and this script again inside the region's

if [[ -z ${E2E_REGION:-} ]]; then
    region=e2e$$r inside=e2e$$i outside=e2e$$o
    remove() {
        local name
        for name in "$region" "$inside" "$outside"; do
            ip netns del "$name" 2>/dev/null || true
        done
        rm -rf "/etc/netns/$inside"
        rmdir /etc/netns 2>/dev/null || true
    }
    # link NAMESPACE ITS-ADDRESS OUR-ADDRESS
    link() {
        ip link add "$1" netns "$region" type veth peer name eth0 netns "$1" &&
            ip -n "$region" address add "$3/24" dev "$1" && ip -n "$region" link set "$1" up &&
            ip -n "$1" address add "$2/24" dev eth0 && ip -n "$1" link set eth0 up
    }
    networks() {
        local name
        for name in "$region" "$inside" "$outside"; do
            ip netns add "$name" && ip -n "$name" link set lo up || return 1
        done
        link "$inside" 10.231.1.2 10.231.1.1 && link "$outside" 10.231.2.2 10.231.2.1 &&
            mkdir -p "/etc/netns/$inside"
    }
    command -v ip >/dev/null || why="there is no \`ip\` (iproute2)"
    trap remove EXIT
    if [[ -n ${why:-} ]] || ! why=$(networks 2>&1); then
        echo "== private network: left out, network namespaces can't be made here: ${why//$'\n'/; }"
        exit 0
    fi
    ip netns exec "$region" env E2E_REGION="$region" E2E_INSIDE="$inside" E2E_OUTSIDE="$outside" "$0"
    exit
fi

# ---- then: the region

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ROADSTEAD_BIN=$(realpath "${ROADSTEAD_BIN:-$e2e/../target/release/roadstead}")
[[ -x $ROADSTEAD_BIN ]] || fail "no program at $ROADSTEAD_BIN"
need_env E2E_INSIDE E2E_OUTSIDE

echo "== private network: start"
inside() { ip netns exec "$E2E_INSIDE" "$@"; }
outside() { ip netns exec "$E2E_OUTSIDE" "$@"; }
export REGISTRY=main KEY_ID KEY_SECRET
KEY_ID=E2E$(openssl rand -hex 8 | tr a-f A-F)
KEY_SECRET=$(openssl rand -hex 20)
start_postgres
s3_bind=0.0.0.0
start_s3
create_database region
create_bucket e2e-region
s3_port=${s3_endpoint##*:}
node_address=10.231.2.1
free_ports 1
private_host=10.231.1.1:${ports[0]}
region_settings=(
    ROADSTEAD_DATABASE_URL="postgres://roadstead@127.0.0.1:$postgres_port/region"
    ROADSTEAD_BUCKET_KIND=s3 ROADSTEAD_BUCKET_NAME=e2e-region
    ROADSTEAD_BUCKET_ENDPOINT="$s3_endpoint" ROADSTEAD_BUCKET_REGION=us-east-1
    ROADSTEAD_BUCKET_ACCESS_KEY_ID="$s3_key" ROADSTEAD_BUCKET_SECRET_ACCESS_KEY="$s3_secret"
    ROADSTEAD_BUCKET_SIGNING_ENDPOINT="http://10.231.2.1:$s3_port"
    ROADSTEAD_BUCKET_PRIVATE_SIGNING_ENDPOINT="http://10.231.1.1:$s3_port"
    ROADSTEAD_DOMAIN=example.test ROADSTEAD_REGION=kr1
    ROADSTEAD_PRIVATE_LISTEN="$private_host"
)
start_node "${region_settings[@]}"
public_host=$node_host

api() { # METHOD PATH [BODY]
    curl -sS --fail-with-body --max-time 20 --user "$KEY_ID:$KEY_SECRET" -X "$1" "http://$private_host/api/v1$2" \
        ${3:+-H 'Content-Type: application/json' -d "$3"}
}
check "a project" api PUT /projects/alpha '{}'
# One that is not there has a name as long, so that nothing differs by length.
hidden=hidden-one absent=absent-one
check "registry $hidden, its public endpoint off, anyone may pull" \
    api PUT "/registries/$hidden" '{"project":"alpha","public_endpoint":false,"public_pull":true}'
check "a robot" api PUT /projects/alpha/robots/ci '{}'
check "a key of the robot" api POST /projects/alpha/robots/ci/keys '{"limits":[{"actions":["*"]}]}'
robot_id=$(jq -r .key_id <<<"$output") robot_secret=$(jq -r .secret <<<"$output")
check "what is shown of $hidden" api GET "/registries/$hidden"
same "no public address of it" null "$(jq -c .endpoints.public <<<"$output")"
same "its private address" "$private_host/$hidden" "$(jq -r .endpoints.private.path <<<"$output")"
named_host=$(jq -r .endpoints.private.host <<<"$output")
echo "10.231.1.1 ${named_host%:*}" >"/etc/netns/$E2E_INSIDE/hosts"

head -c 3000000 /dev/urandom >"$work/layer"
tar --create --file="$work/layer.tar" --directory="$work" layer
check "an image with a layer of 3 MB" crane append --new_layer "$work/layer.tar" --output "$work/image.tar" --new_tag image:1
image=docker-archive:$work/image.tar
plain=(--src-tls-verify=false --dest-tls-verify=false)

echo "== private network: inside"
skopeo_push() { inside skopeo copy "${plain[@]}" --dest-creds "$robot_id:$robot_secret" "$image" "docker://$1"; }
skopeo_pull() { rm -rf "$2" && inside skopeo copy "${plain[@]}" "docker://$1" "dir:$2"; }
check "skopeo pushes to $private_host/$hidden" skopeo_push "$private_host/$hidden/app:1"
check "skopeo pulls it, without signing in" skopeo_pull "$private_host/$hidden/app:1" "$work/pulled"
layer=$(jq -r '.layers[0].digest' "$work/pulled/manifest.json")
same "the layer is the same" "$layer" "$(sha256 "$work/pulled/${layer#sha256:}")"
check "skopeo pushes to $named_host" skopeo_push "$named_host/app:2"
check "skopeo pulls it from there" skopeo_pull "$named_host/app:2" "$work/pulled-named"
same "the layer is the same" "$layer" "$(sha256 "$work/pulled-named/${layer#sha256:}")"
same "crane digest by both names" "$(inside crane digest --insecure "$private_host/$hidden/app:2")" \
    "$(inside crane digest --insecure "$named_host/app:2")"

# ask NAMESPACE curl-arguments: the answer with its headers
ask() { "$1" curl -sS -i --max-time 10 "${@:2}" | tr -d '\r'; }
check "the challenge inside" ask inside "http://$private_host/v2/$hidden/app/manifests/1"
says "the token address is a private one" '^www-authenticate: Bearer realm="http://'"$private_host/token"'",'
check "the challenge under the registry's own name" ask inside "http://$named_host/v2/app/manifests/1"
says "the token address is that name" '^www-authenticate: Bearer realm="http://'"$named_host/token"'",'
check "a layer, asked for inside" ask inside --user "$robot_id:$robot_secret" "http://$private_host/v2/$hidden/app/blobs/$layer"
says "is a redirect" '^HTTP/1.1 307'
says "to an inside address" "^location: http://10.231.1.1:$s3_port/"
check "which gives it" inside curl -sS --fail --max-time 10 --output "$work/redirected" "$(sed -n 's/^location: //p' <<<"$output")"
same "the layer is the same" "$layer" "$(sha256 "$work/redirected")"

echo "== private network: outside"
check "skopeo pushes to $public_host/$REGISTRY, a registry with a public endpoint" outside skopeo copy "${plain[@]}" \
    --dest-creds "$KEY_ID:$KEY_SECRET" "$image" "docker://$public_host/$REGISTRY/app:1"
check "a layer of it, asked for outside" ask outside --user "$KEY_ID:$KEY_SECRET" "http://$public_host/v2/$REGISTRY/app/blobs/$layer"
says "is a redirect to an outside address" "^location: http://10.231.2.1:$s3_port/"
refused "the private listener can't be reached" 'connect|unreachable|timed out' \
    outside curl -sS --max-time 5 "http://$private_host/v2/"

# What was seen, with the name and what is drawn for each answer taken out.
same_as_absent() { # WHAT COMMAND..., with NAME for the registry
    local name words=() said=()
    for name in "$hidden" "$absent"; do
        words=("${@:2}")
        said+=("$("${words[@]//NAME/$name}" 2>&1 | tr -d '\r' | sed -E "s/$name/NAME/g; /^(date|x-request-id|location|docker-upload-uuid):/Id; s/[0-9a-f]{8}-[0-9a-f-]{27}//g; s/time=\"[^\"]*\"//; s/^[0-9/]+ [0-9:]+ //" || true)")
    done
    [[ -n ${said[0]} && ${said[0]} == "${said[1]}" ]] || {
        diff <(echo "${said[0]}") <(echo "${said[1]}") | sed 's/^/   | /' >&2
        fail "$1: $hidden is answered otherwise than $absent, which is not there"
    }
    say "$1: as if it were not there"
}
probe() { outside curl -sS -i --max-time 10 "$@"; }
for who in nobody robot administrator; do
    case $who in
        nobody) as=() ;;
        robot) as=(--user "$robot_id:$robot_secret") ;;
        administrator) as=(--user "$KEY_ID:$KEY_SECRET") ;;
    esac
    at=http://$public_host/v2
    same_as_absent "$who: GET manifest" probe "${as[@]}" "$at/NAME/app/manifests/1"
    same_as_absent "$who: HEAD manifest" probe "${as[@]}" --head "$at/NAME/app/manifests/1"
    same_as_absent "$who: GET blob" probe "${as[@]}" "$at/NAME/app/blobs/$layer"
    same_as_absent "$who: tags" probe "${as[@]}" "$at/NAME/app/tags/list"
    same_as_absent "$who: referrers" probe "${as[@]}" "$at/NAME/app/referrers/$layer"
    same_as_absent "$who: begin an upload" probe "${as[@]}" -X POST "$at/NAME/app/blobs/uploads/"
    same_as_absent "$who: mount from it" probe "${as[@]}" -X POST "$at/$REGISTRY/x/blobs/uploads/?mount=$layer&from=NAME/app"
    same_as_absent "$who: delete" probe "${as[@]}" -X DELETE "$at/NAME/app/manifests/1"
done
token() { # NAME: what a token for it allows
    outside curl -sS --max-time 10 --user "$robot_id:$robot_secret" \
        "http://$public_host/token?service=x&scope=repository:$1/app:pull" | jq -r .scope
}
same "a token for $hidden, got outside, and for what is not there" "'$(token "$absent")'" "'$(token "$hidden")'"
check "the catalog, outside" probe --user "$KEY_ID:$KEY_SECRET" "http://$public_host/v2/_catalog"
! grep -q "$hidden" <<<"$output" || fail "the catalog names $hidden"
same_as_absent "skopeo, without signing in" outside skopeo inspect --tls-verify=false "docker://$public_host/NAME/app:1"
same_as_absent "skopeo, the robot" outside skopeo inspect --tls-verify=false --creds "$robot_id:$robot_secret" "docker://$public_host/NAME/app:1"
same_as_absent "skopeo, an administrator" outside skopeo inspect --tls-verify=false --creds "$KEY_ID:$KEY_SECRET" "docker://$public_host/NAME/app:1"
same_as_absent "crane, without signing in" outside crane digest --insecure "$public_host/NAME/app:1"
inside_token=$(inside curl -sS "http://$private_host/token?scope=repository:$hidden/app:pull" | jq -r .token)
same_as_absent "a token that was got inside" probe -H "Authorization: Bearer $inside_token" -H "Host: $private_host" "http://$public_host/v2/NAME/app/manifests/1"

echo "== private network: turned on"
check "the public endpoint is turned on" api PATCH "/registries/$hidden" '{"public_endpoint":true}'
check "skopeo pulls outside" outside skopeo copy "${plain[@]}" "docker://$public_host/$hidden/app:1" "dir:$work/pulled-outside"
check "and off again" api PATCH "/registries/$hidden" '{"public_endpoint":false}'
refused "skopeo pulls outside no more" 'unauthorized|denied|authentication|manifest unknown|name unknown' \
    outside skopeo inspect --tls-verify=false "docker://$public_host/$hidden/app:1"
! grep -n -A 10 'panicked at' "$work/node1.log" || fail "the node panicked"
echo "== private network: passed"
