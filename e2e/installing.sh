# shellcheck shell=bash
# Functions for e2e/install and e2e/install-full; to be sourced. Everything goes
# into a folder of its own, but for what apt installs.
set -euo pipefail

tools=${ROADSTEAD_TOOLS:-$HOME/.cache/roadstead-tools}
bin=$tools/bin
if [[ ${1:-} == --path ]]; then
    echo "$bin"
    exit
fi
mkdir -p "$bin"
log=$tools/install.log
: >"$log"

quietly() {
    "$@" >>"$log" 2>&1 || {
        echo "${0##*/}: failed: $*" >&2
        tail -n 20 "$log" >&2
        exit 1
    }
}

# ---- apt

apt_updated=
apt_update() {
    [[ $apt_updated ]] || quietly apt-get update
    apt_updated=1
}
apt_install() {
    echo "apt: $*"
    apt_update
    # Debian starts a service when it is installed. The recipes start their own
    # PostgreSQL, dockerd and containerd, so for this time the answer is no.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=yes
    fi
    (
        [[ -z $made ]] || trap 'rm -f "$policy"' EXIT
        quietly env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "$@"
    )
}

missing=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
install_missing() {
    [[ ${#missing[@]} -eq 0 ]] || apt_install "${missing[@]}"
    missing=()
}

# from_release CODENAME PACKAGE VERSION PROGRAM: a program out of the package of
# a later Debian, if it needs nothing newer than Debian 12's libc. The lists are
# our own, for this one package: the machine's list of sources stays as it is,
# and apt checks signatures as always.
from_release() {
    [[ $(cat "$tools/$2.version" 2>/dev/null) != "$3" || ! -x $bin/$4 ]] || return 0
    echo "apt, $1: $2 $3"
    apt_update
    local mirror folder=$tools/later-release options
    # shellcheck disable=SC2016 # apt fills these in
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Codename: bookworm' | sort -u | head -n 1)
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" \
        >"$folder/sources.list"
    options=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache"
        -o APT::Sandbox::User=root)
    quietly apt-get "${options[@]}" update
    (cd "$folder" && quietly apt-get "${options[@]}" download "$2=$3-*")
    quietly dpkg-deb -x "$folder/$2"_*.deb "$folder/$2"
    install "$folder/$2/usr/bin/$4" "$bin/$4"
    echo "$3" >"$tools/$2.version"
    rm -rf "$folder"
}

# ---- Go

# go_install PROGRAM MODULE/PATH VERSION [FOLDER]
go_install() {
    local folder=${4:-$bin}
    [[ $(go version -m "$folder/$1" 2>/dev/null) == *$'\t'mod$'\t'*$'\t'"$3"$'\t'* ]] && return
    echo "go: $1 $3"
    quietly env GOBIN="$folder" GOFLAGS=-trimpath CGO_ENABLED=0 go install "$2@$3"
}

# ---- Python

# pip_install FOLDER REQUIREMENT...: in a virtual environment, because Debian's
# own Python refuses to be added to
pip_install() {
    echo "pip: ${*:2}"
    python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    quietly python3 -m venv "$1"
    quietly "$1/bin/pip" install --quiet "${@:2}"
}
