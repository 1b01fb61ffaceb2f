#!/usr/bin/env bash
# Keycloak: a person signs in at a real provider, with its login form, cookies and
# groups; a program signs in as a robot with a token that Keycloak made for it.
# Starts a node of its own, on SQLite and a directory.
# Environment: ROADSTEAD_BIN.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env ROADSTEAD_BIN
ROADSTEAD_BIN=$(realpath "$ROADSTEAD_BIN")
REGISTRY=main
KEY_ID=E2E$(openssl rand -hex 8 | tr a-f A-F)
KEY_SECRET=$(openssl rand -hex 20)
secret="a secret & $(openssl rand -hex 8)"
password=$(openssl rand -hex 8)
audience=https://registry.example.com

# ---- Keycloak, with one realm; then a node that knows it

start_keycloak() { # the node's address is needed first: it is where browsers come back to
    local dir=$work/keycloak
    [[ -e $ROADSTEAD_TOOLS/keycloak/dist ]] || fail "Keycloak is missing: e2e/install-keycloak installs it"
    cp -r "$ROADSTEAD_TOOLS/keycloak/dist" "$dir"
    mkdir -p "$dir/data/import"
    jq -n --arg back "http://$node/api/v1/session/oidc/callback" --arg secret "$secret" \
        --arg password "$password" --arg audience "$audience" '
        def in_token($claim): {"claim.name": $claim, "id.token.claim": "true", "access.token.claim": "true"};
        def person($name; $groups): {username: $name, enabled: true, emailVerified: true,
            email: "\($name)@example.com", firstName: $name, lastName: "Example", groups: $groups,
            credentials: [{type: "password", value: $password, temporary: false}]};
        {realm: "staff", enabled: true, sslRequired: "none",
         clients: [
            {clientId: "roadstead", publicClient: false, secret: $secret, redirectUris: [$back],
             standardFlowEnabled: true, attributes: {"pkce.code.challenge.method": "S256"},
             protocolMappers: [{name: "groups", protocol: "openid-connect",
                protocolMapper: "oidc-group-membership-mapper",
                config: (in_token("groups") + {"full.path": "false"})}]},
            {clientId: "builds", publicClient: false, secret: $secret, standardFlowEnabled: false,
             serviceAccountsEnabled: true, fullScopeAllowed: false,
             protocolMappers: [{name: "audience", protocol: "openid-connect",
                protocolMapper: "oidc-audience-mapper",
                config: {"included.custom.audience": $audience, "access.token.claim": "true"}}]}],
         groups: [{name: "developers"}],
         users: [person("ada"; ["/developers"]), person("administrator"; [])]}' \
        >"$dir/data/import/staff.json"
    export JAVA_OPTS_KC_HEAP="-Xms64m -Xmx512m"
    start keycloak bash "$dir/bin/kc.sh" start-dev --db=dev-mem --import-realm \
        --http-host=127.0.0.1 --http-port="$keycloak_port"
    await "Keycloak on port $keycloak_port" keycloak 180 \
        curl -sS --fail --max-time 5 "$issuer/.well-known/openid-configuration"
}

free_ports 2
keycloak_port=${ports[0]}
node=127.0.0.1:${ports[1]}
issuer=http://127.0.0.1:$keycloak_port/realms/staff
start_keycloak
next_host=$node
start_node \
    ROADSTEAD_OIDC_ISSUER="$issuer" ROADSTEAD_OIDC_INTERNAL=true \
    ROADSTEAD_OIDC_CLIENT_ID=roadstead ROADSTEAD_OIDC_CLIENT_SECRET="$secret" \
    ROADSTEAD_OIDC_MAKE_PEOPLE=true ROADSTEAD_OIDC_ROLES=developers:project:default:uploader \
    ROADSTEAD_CI_INTERNAL_ISSUERS="$issuer"

# ---- a person, with a browser

jar=$work/cookies
browser() { curl -sS --max-time 30 --cookie "$jar" --cookie-jar "$jar" "$@"; }
# begin: the provider's login form; sets $form to where it is sent
begin() {
    rm -f "$jar"
    local page html
    page=$(browser -o /dev/null -w '%{redirect_url}' "http://$node/api/v1/session/oidc?to=/api/v1/me")
    [[ $page == "$issuer"/protocol/openid-connect/auth\?* ]] || fail "not sent to Keycloak, but to '$page'"
    html=$(browser "$page")
    form=$(grep -o 'action="[^"]*login-actions/authenticate[^"]*"' <<<"$html" | head -n 1 |
        sed 's/^action="//; s/"$//; s/&amp;/\&/g')
    [[ -n $form ]] || fail "no login form at $page"
}
# enter NAME PASSWORD: sets $back to where the provider sends the browser
enter() {
    back=$(browser -o "$work/page.html" -w '%{redirect_url}' \
        --data-urlencode "username=$1" --data-urlencode "password=$2" "$form")
}
api() { curl -sS --max-time 30 --user "$KEY_ID:$KEY_SECRET" "$@"; }

begin
say "Keycloak shows its login form"
enter ada "not$password"
[[ -z $back ]] || fail "Keycloak takes a wrong password"
say "Keycloak shows it again after a wrong password"
begin
enter ada "$password"
[[ $back == "http://$node/api/v1/session/oidc/callback?"*code=* ]] || fail "not sent back, but to '$back'"
check "back at the node, signed in" browser --fail-with-body "$back"
says "the page goes on to where the person wanted to go" 'url=/api/v1/me'
check "GET /api/v1/me with the session" browser --fail-with-body "http://$node/api/v1/me"
same "who it is" 'session ada' "$(jq -r '"\(.kind) \(.key_id)"' <<<"$output")"
same "the role that the group gives" uploader \
    "$(api "http://$node/api/v1/projects/default/members" | jq -r '.items[] | select(.person == "ada").by_groups')"
same "address of mail" ada@example.com "$(api "http://$node/api/v1/people/ada" | jq -r .email)"
cp "$jar" "$jar.ada"
same "the same answer of Keycloak again" 400 \
    "$(browser -o /dev/null -w '%{http_code}' "$back")"
same "the session is still there" 200 "$(curl -sS -o /dev/null -w '%{http_code}' -b "$jar.ada" "http://$node/api/v1/me")"

begin
enter administrator "$password"
refused "who is called like somebody here is not that person" 'not linked' browser --fail-with-body "$back"
begin
enter ada "$password"
rm -f "$jar"
refused "an answer of Keycloak in another browser" 'begin again' browser --fail-with-body "$back"

# ---- a program, with the token of its own account

job_token() {
    curl -sS --fail-with-body --max-time 30 --user "builds:$(jq -rn --arg s "$secret" '$s | @uri')" \
        -d grant_type=client_credentials "$issuer/protocol/openid-connect/token" | jq -r .access_token
}
claims() { jq -R 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson' <<<"$1"; }
token=$(job_token)
subject=$(claims "$token" | jq -r .sub)
same "audience of the program's token" "$audience" "$(claims "$token" | jq -r '.aud')"
robot=http://$node/api/v1/projects/default/robots/ci
check "a robot" api --fail-with-body -X PUT -H 'Content-Type: application/json' -d '{}' "$robot"
check "that trusts the program" api --fail-with-body -H 'Content-Type: application/json' "$robot/trusts" \
    -d "$(jq -n --arg issuer "$issuer" --arg audience "$audience" --arg subject "$subject" \
        '{issuer: $issuer, audience: $audience, claims: {sub: $subject},
          limits: [{registry: "main", repositories: "builds/**", actions: ["pull", "push"]}]}')"
trust=$(jq -r .id <<<"$output")
tar --create --gzip --file "$work/layer.tar.gz" --directory "$e2e" lib.sh
check "crane auth login with the token" crane auth login --username default/ci --password "$token" "$node"
check "crane append, a push" crane append --new_layer "$work/layer.tar.gz" --new_tag "$node/main/builds/app:1"
check "crane validate, every byte" crane validate --remote "$node/main/builds/app:1"
refused "another repository" 'denied|403 Forbidden' \
    crane append --new_layer "$work/layer.tar.gz" --new_tag "$node/main/other/app:1"
check "without the trust" api --fail-with-body -X DELETE "$robot/trusts/$trust"
refused "it is over" 'UNAUTHORIZED|unauthorized' crane manifest "$node/main/builds/app:1"
