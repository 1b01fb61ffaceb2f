#!/usr/bin/env bash
# The management API against its own document: Schemathesis makes up requests from
# what /api/v1/openapi.json says and looks whether the answers are what it says, with
# nothing answered 5xx and nothing open that asks for credentials.
#
#   e2e/api.sh [EXAMPLES]   for each operation (default: 10)
#
# ROADSTEAD_BIN  the program to test (default: target/release/roadstead)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ROADSTEAD_BIN=$(realpath "${ROADSTEAD_BIN:-$e2e/../target/release/roadstead}")
export REGISTRY=main KEY_ID=E2EAPI KEY_SECRET
KEY_SECRET=$(openssl rand -hex 20)
start_node
api=http://$node_host/api/v1

# What the paths of the document can name, so that not everything is answered with 404.
put() { # PATH BODY
    check "PUT /$1" curl -sS --fail-with-body -u "$KEY_ID:$KEY_SECRET" -X PUT "$api/$1" \
        -H 'Content-Type: application/json' -d "$2"
}
put projects/shop '{}'
put registries/shop-images '{"project":"shop"}'
put people/ada '{}'
put projects/shop/robots/ci '{}'
check "crane auth login" crane auth login "$node_host" -u "$KEY_ID" -p "$KEY_SECRET"
printf 'a layer' >"$work/layer"
check "an image" crane append --insecure --new_layer "$work/layer" --new_tag "$node_host/shop-images/app:1"
digest=$(crane digest --insecure "$node_host/shop-images/app:1")

cd "$work" # Schemathesis keeps there what it finds
# Not faster than one key may ask.
cat >"$work/schemathesis.toml" <<CONFIG
rate-limit = "45/s"
continue-on-failure = true
[parameters]
"path.project" = "shop"
"path.registry" = "shop-images"
"path.person" = "ada"
"path.robot" = "ci"
"path.bucket" = "default"
"path.repository" = "app"
"path.digest" = "$digest"
"path.tag" = "1"
[phases.stateful]
enabled = false
CONFIG
check "each operation does what the document says" "$ROADSTEAD_TOOLS/schemathesis/bin/schemathesis" \
    --config-file "$work/schemathesis.toml" run "$api/openapi.json" --auth "$KEY_ID:$KEY_SECRET" \
    --max-examples "${1:-10}" --seed 1 --checks "$(paste -sd , <<CHECKS
not_a_server_error
status_code_conformance
content_type_conformance
response_headers_conformance
response_schema_conformance
negative_data_rejection
unsupported_method
ignored_auth
CHECKS
)"
say "$(grep -oE '[0-9]+ generated, [0-9]+ passed.*' <<<"$output")"
