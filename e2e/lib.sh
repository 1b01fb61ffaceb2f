# shellcheck shell=bash
# Functions for the end-to-end recipes; to be sourced. The script that sources
# it gets a fresh folder, $work. Whatever it starts with the functions below is
# stopped when it ends, and the folder is removed.
set -euo pipefail

e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Said before HOME changes, for this script and for those that it calls.
export ROADSTEAD_TOOLS=${ROADSTEAD_TOOLS:-$HOME/.cache/roadstead-tools}
export ROADSTEAD_E2E_CACHE=${ROADSTEAD_E2E_CACHE:-$HOME/.cache/roadstead-e2e}
# shellcheck disable=SC2034 # for the recipes
cache=$ROADSTEAD_E2E_CACHE
PATH=$("$e2e/install" --path):/usr/lib/postgresql/15/bin:$PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/roadstead-e2e.XXXXXX")
folders=("$work") # to be removed at the end
chmod 711 "$work" # PostgreSQL runs as another user and has to get through
mkdir "$work/home"
# Clients keep logins, settings and caches at home: none of the user's own may
# help a recipe or be changed by one.
export HOME=$work/home DOCKER_CONFIG=$work/home/.docker
export REGISTRY_AUTH_FILE=$work/home/auth.json
unset XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
unset DOCKER_CONTEXT DOCKER_DEFAULT_PLATFORM HELM_REGISTRY_CONFIG REGCTL_CONFIG

# short_folder: sets $short to a folder whose path is short, for what puts
# sockets there, whose paths may have 107 bytes
short_folder() {
    short=$(mktemp -d /tmp/e2e.XXXXXX)
    folders+=("$short")
}

# ---- what a reader sees

say() { echo "   $*"; }

fail() {
    echo "   FAILED: $*" >&2
    exit 1
}

# check WHAT COMMAND...: one line when it works, all its output when it doesn't.
# What it printed stays in $output for the checks that follow.
output=
check() {
    local what=$1
    shift
    if output=$("$@" 2>&1); then
        say "$what"
    else
        local code=$?
        printf '%s\n' "$output" | sed 's/^/   | /' >&2
        fail "$what (exit code $code): $*"
    fi
}

# refused WHAT PATTERN COMMAND...: the command must fail, and say PATTERN.
refused() {
    local what=$1 pattern=$2
    shift 2
    if output=$("$@" 2>&1); then
        fail "$what: this should have been refused: $*"
    fi
    says "$what" "$pattern"
}

# says WHAT PATTERN: the last output has a line with PATTERN in it.
says() {
    grep -qiE -e "$2" <<<"$output" || {
        printf '%s\n' "$output" | sed 's/^/   | /' >&2
        fail "$1: no line with '$2'"
    }
    say "$1"
}

same() { # WHAT EXPECTED FOUND
    [[ -n $2 && $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"
    say "$1: $2"
}

# ---- what a client can do, and what of it was seen; e2e/full makes its table
# of it. Words: login, wrong (password refused), private (refused without
# login), push, again (everything exists already), mount, near and far (mount from
# a registry on the same bucket, on another one), pull, digest (the same before
# and after), tags (listed), delete, expired (the token, in mid-push).

# can WORD...: said first; what the client cannot do is left out.
can() { record can "$@"; }
# did WORD...: said after the last check of it
did() { record did "$@"; }
record() { # in a file, for e2e/full
    [[ -n ${E2E_RECORD:-} ]] || return 0
    printf "$1 %s\n" "${@:2}" >>"$E2E_RECORD"
}

# part expired "$@": what follows is left out, and `expired` is done alone, when the
# recipe is called so. Its waiting takes two minutes, which main-job uses for others.
part() {
    [[ ${2:-} == "$1" ]] || return 0
    "$1"
    exit
}

# Not every client says how it went about a push, but the node's access log does.
# asked METHOD STATUS PATH: how many requests the node that is pushed to answered
# so, PATH being a regular expression.
asked() {
    need_env PUSH_LOG
    local line='access: .* method="?[A-Z]+"? path="[^"]*" status=[0-9]'
    grep -qE "$line" "$PUSH_LOG" || fail "the access log of the node does not read as it did: $PUSH_LOG"
    grep -cE "access: .* method=\"?$1\"? path=\"[^\"]*$3[^\"]*\" status=$2 " "$PUSH_LOG" || true
}
uploaded() { asked PUT 201 "/$REGISTRY/$1/blobs/uploads/"; } # REPOSITORY
mounted() { asked POST 201 "/$REGISTRY/$1/blobs/uploads/"; } # REPOSITORY
# nothing_sent REPOSITORY BEFORE: since `uploaded` said BEFORE, which is not zero
nothing_sent() {
    (($2 > 0)) || fail "$1: no blob was sent at all"
    same "no blob was sent again" "$2" "$(uploaded "$1")"
}

# ---- what passes between a client and a node, seen by a proxy

witnesses=0
# witness HOST [--hold]: witness.py before this node; sets $witness, the address to
# use in its place, and $seen, its log
witness() {
    witnesses=$((witnesses + 1))
    seen=$work/witness$witnesses.seen
    start "witness$witnesses" "$e2e/witness.py" "${@:2}" "$1" "$seen"
    await "a proxy before $1" "witness$witnesses" 30 test -s "$work/witness$witnesses.log"
    witness=$(cat "$work/witness$witnesses.log")
}
# seen METHOD STATUS TARGET: how often, TARGET being a regular expression
seen() { grep -cE "^$1 /v2/$3 $2\$" "$seen" || true; }

# Blobs and not requests: some clients ask for one twice at the same time.
seen_mounts() { # STATUS REGISTRY/REPOSITORY
    seen_blobs mount "^POST /v2/$2/blobs/uploads/[?][^ ]* $1\$"
}
seen_uploads() { seen_blobs digest "^PUT /v2/$1/blobs/uploads/[^ ]* 201\$"; } # REGISTRY/REPOSITORY
seen_blobs() { { grep -E "$2" "$seen" || true; } | { grep -oE "[?&]$1=[^ &]+" || true; } | sort -u | wc -l; }

# mounted_near REPOSITORY MOUNTED SENT: blobs, in the registry on the same bucket
mounted_near() {
    same "blobs that were mounted, from a registry of the same bucket" "$2" "$(seen_mounts 201 "$NEAR/$1")"
    same "blobs that were sent" "$3" "$(seen_uploads "$NEAR/$1")"
    did near
}
# sent_far REPOSITORY SENT: blobs, in the registry on another bucket. A mount is
# asked for, an upload begins instead.
sent_far() {
    local asked
    same "blobs that were mounted, from a registry of another bucket" 0 "$(seen_mounts 201 "$FAR/$1")"
    asked=$(seen_mounts 202 "$FAR/$1")
    ((asked > 0)) || fail "no mount was asked for"
    say "blobs whose mount was asked for, and an upload begun: $asked"
    same "blobs that were sent" "$2" "$(seen_uploads "$FAR/$1")"
    did far
}

# token_expired: in the push through `witness HOST --hold`, and the client got
# another one and went on
token_expired() {
    grep -qx 'token expired' "$seen" || fail "nothing was pushed with a token"
    local after how
    after=$(sed '1,/^token expired$/d' "$seen")
    grep -qE '^(GET|POST) /token[^ ]* 200$' <<<"$after" || fail "no token was fetched after the first had expired"
    grep -qE '^PUT /v2/[^ ]*/manifests/[^ ]* 201$' <<<"$after" || fail "no manifest came after the token had expired"
    how="by its own clock"
    if grep -qE '^[A-Z]+ /v2/[^ ]+ 401$' <<<"$after"; then
        how="after a 401"
    fi
    say "the token expired in mid-push, another one was fetched $how"
    record did expired "expired $how"
}

sha256() { echo "sha256:$(sha256sum "$1" | cut -d ' ' -f 1)"; }

# layout_digest LAYOUT: of the one thing that is tagged in it
layout_digest() { jq -r '.manifests[0].digest' "$1/index.json"; }

need_env() {
    local name
    for name; do
        [[ -n ${!name:-} ]] || fail "the environment variable $name is not set"
    done
}

# ---- processes

pids=()
declare -A signal_for=() # TERM unless said otherwise
stop_all() {
    local code=$? pid i
    trap - EXIT
    # The last one started is stopped first: a node before its database.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill -"${signal_for[$pid]:-TERM}" "$pid" 2>/dev/null || continue
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    if [[ $code -ne 0 && -e ${seen:-} ]]; then
        echo "   --- the end of what the proxy saw" >&2
        tail -n 30 "$seen" | sed 's/^/   | /' >&2
    fi
    if [[ $code -ne 0 && -n ${E2E_KEEP:-} ]]; then
        echo "   kept: $work" >&2
    else
        rm -rf "${folders[@]}"
    fi
    exit "$code"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start LOGNAME COMMAND...: in the background; its process id is then $started.
started=
start() {
    local log=$work/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null &
    started=$!
    disown # its end is no news
    pids+=("$started")
}

# await WHAT LOGNAME SECONDS COMMAND...: until the command works.
await() {
    local what=$1 log=$work/$2.log limit=$((SECONDS + $3)) pid=$started
    shift 3
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= limit)) || ! kill -0 "$pid" 2>/dev/null; then
            tail -n 40 "$log" | sed 's/^/   | /' >&2
            fail "$what did not start"
        fi
        sleep 0.1
    done
    say "$what"
}

# free_ports N: ports that nothing listens on, and that no later call gives.
# They lie below the range that the kernel gives to outgoing connections, so
# they stay free, and below 55536, as SeaweedFS adds 10000 to some by itself.
used_ports=" "
free_ports() {
    local port
    ports=()
    while ((${#ports[@]} < $1)); do
        port=$((12000 + RANDOM % 8000))
        [[ $used_ports != *" $port "* ]] || continue
        ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue
        used_ports+="$port "
        ports+=("$port")
    done
}

# ---- PostgreSQL: a cluster of its own; sets $postgres_port

start_postgres() {
    local dir=$work/postgres as=()
    mkdir "$dir"
    if [[ $(id -u) -eq 0 ]]; then # initdb and postgres refuse root
        local user=postgres
        id "$user" >/dev/null 2>&1 || user=nobody
        chown "$user" "$dir"
        as=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
    fi
    free_ports 1
    postgres_port=${ports[0]}
    check "a new PostgreSQL cluster" "${as[@]}" env -C "$dir" initdb \
        --pgdata="$dir/data" --username=roadstead --auth=trust --encoding=UTF8 --locale=C
    # fsync stays on: durability is part of what is tested.
    start postgres "${as[@]}" env -C "$dir" postgres -D "$dir/data" \
        -c "port=$postgres_port" -c listen_addresses=127.0.0.1 \
        -c "unix_socket_directories=$dir"
    await "PostgreSQL on port $postgres_port" postgres 30 sql postgres 'select 1'
}

sql() { # DATABASE STATEMENT
    psql -X -q -h 127.0.0.1 -p "$postgres_port" -U roadstead -d "$1" -c "$2"
}

create_database() { check "database $1" sql postgres "create database $1"; }

# ---- SeaweedFS as S3; sets $s3_endpoint, $s3_key and $s3_secret. It is reached at
# more addresses where $s3_bind says so.

start_s3() {
    local dir
    dir=$(mktemp -d "$work/s3.XXXX")
    s3_key=e2e$(openssl rand -hex 8)
    s3_secret=$(openssl rand -hex 20)
    jq -n --arg key "$s3_key" --arg secret "$s3_secret" '{identities: [{name: "e2e",
        credentials: [{accessKey: $key, secretKey: $secret}],
        actions: ["Admin", "Read", "Write", "List", "Tagging"]}]}' >"$dir.json"
    free_ports 10
    s3_endpoint=http://127.0.0.1:${ports[0]}
    # Every port is named, so that several run beside each other.
    start s3 env -C "$dir" weed server -s3 -dir="$dir" -s3.config="$dir.json" \
        -ip=127.0.0.1 -ip.bind="${s3_bind:-127.0.0.1}" \
        -s3.port="${ports[0]}" -s3.port.grpc="${ports[1]}" \
        -s3.port.iceberg=0 -s3.port.lance=0 -iam=false \
        -master.port="${ports[2]}" -master.port.grpc="${ports[3]}" \
        -volume.port="${ports[4]}" -volume.port.grpc="${ports[5]}" \
        -filer.port="${ports[6]}" -filer.port.grpc="${ports[7]}" \
        -master.telemetry=false -master.volumeSizeLimitMB=256 -volume.max=200
    signal_for[$started]=KILL # it takes 15 s to stop, and its data is thrown away
    await "SeaweedFS on $s3_endpoint" s3 60 s3_request PUT e2e-ready
}

s3_request() { # METHOD PATH
    curl -sS --fail --max-time 10 --aws-sigv4 aws:amz:us-east-1:s3 \
        --user "$s3_key:$s3_secret" -X "$1" "$s3_endpoint/$2"
}

create_bucket() { check "bucket $1" s3_request PUT "$1"; }

# ---- dockerd; sets $DOCKER_HOST

start_docker() {
    local dir=$work/docker
    mkdir "$dir"
    export DOCKER_HOST=unix://$dir/docker.sock
    # No network of its own and the plainest storage: nothing is run in it, and
    # this works inside containers too. Plain HTTP is allowed for 127.0.0.0/8
    # without being asked for.
    start docker dockerd --host "$DOCKER_HOST" --data-root "$dir/data" \
        --exec-root "$dir/exec" --pidfile "$dir/pid" \
        --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs
    await "dockerd, storage driver vfs" docker 60 docker version
}

# ---- containerd; sets $CONTAINERD_ADDRESS, which ctr looks at

start_containerd() {
    local dir=$work/containerd
    mkdir "$dir"
    export CONTAINERD_ADDRESS=$dir/containerd.sock
    cat >"$dir/config.toml" <<END
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$CONTAINERD_ADDRESS"
[ttrpc]
  address = "$dir/ttrpc.sock"
END
    start containerd containerd --config "$dir/config.toml"
    await "containerd" containerd 60 ctr version
}

# ---- Roadstead; each call adds a node and sets $node_host, and $roadstead to the
# command with the settings of that node

node_count=0
# start_node [NAME=VALUE...]: more settings by environment; $scheme is https when
# they make it speak TLS, $node_address where it listens instead of 127.0.0.1. $next_host is its address, where others had to know it before.
start_node() {
    need_env ROADSTEAD_BIN KEY_ID KEY_SECRET REGISTRY
    node_count=$((node_count + 1))
    if [[ -n ${next_host:-} ]]; then
        node_host=$next_host next_host=
    else
        free_ports 1
        node_host=${node_address:-127.0.0.1}:${ports[0]}
    fi
    # Without our own variables: a node refuses a setting that it doesn't know.
    local name
    roadstead=(env)
    for name in $(compgen -e ROADSTEAD_); do
        roadstead+=(-u "$name")
    done
    roadstead+=(
        ROADSTEAD_LISTEN="$node_host"
        ROADSTEAD_DATA_DIR="$work/node$node_count"
        ROADSTEAD_INITIAL_KEY_ID="$KEY_ID"
        ROADSTEAD_INITIAL_KEY_SECRET="$KEY_SECRET"
        ROADSTEAD_INITIAL_REGISTRY="$REGISTRY"
        "$@" "$ROADSTEAD_BIN"
    )
    start "node$node_count" "${roadstead[@]}" serve
    await "roadstead node $node_count on $node_host" "node$node_count" 30 \
        curl -sS --fail --insecure --max-time 5 "${scheme:-http}://$node_host/readyz"
}
