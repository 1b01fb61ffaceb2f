#!/usr/bin/env bash
# oras-py: its own tests, against a node where nobody signs in and against one
# with TLS and logins; then push, pull, tags and deletion as everywhere.
# Environment: PUSH_HOST, PULL_HOST, PUSH_LOG, REGISTRY, KEY_ID, KEY_SECRET,
# OPEN_HOST, TLS_HOST. E2E_HUGE, if set, lets it push its file of 16 GiB, which
# takes ten minutes and 50 GB of disk.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need_env PUSH_HOST PULL_HOST PUSH_LOG REGISTRY KEY_ID KEY_SECRET OPEN_HOST TLS_HOST
# oras-py mounts nothing.
can login wrong private push again pull digest tags delete

python=$ROADSTEAD_TOOLS/oras-py/bin/python
# Left out: what asks a registry somewhere else, and a login that needs a cloud.
left_out=(--ignore tests/auth)
for name in test_get_many_tags test_ssl_no_verify test_ssl_verify_fails_if_bad_ca test_ssl_verify_fails_fast_if_bad_ca; do
    left_out+=(--deselect "tests/test_oras.py::$name")
done
[[ -n ${E2E_HUGE:-} ]] || left_out+=(--deselect tests/test_provider.py::test_chunked_push)
short_folder # one of the tests wants its files outside of the current folder
tests() { # HOST MORE...
    env -C "$work" ORAS_HOST="${1%:*}" ORAS_PORT="${1#*:}" "${@:2}" "$python" -m pytest -q \
        -W ignore -p no:cacheprovider --basetemp "$short/pytest" "${left_out[@]}" tests
}
export TMPDIR=$work/tmp # it leaves folders there
mkdir "$TMPDIR"
cp -r "$("$python" -c 'import os, oras.tests; print(os.path.dirname(oras.tests.__file__))')" "$work/tests"

check "its own tests, without login" tests "$OPEN_HOST"
say "$(tail -n 1 <<<"$output")"
check "its own tests, with TLS and login" tests "$TLS_HOST" \
    ORAS_AUTH=true ORAS_USER="$KEY_ID" ORAS_PASS="$KEY_SECRET"
say "$(tail -n 1 <<<"$output")"

# The same by a few lines of our own, on two nodes. With Basic: given `token`,
# oras-py keeps its first token, which is for pulling, and cannot push with it.
cat >"$work/client.py" <<'END'
import os, sys, time
import oras.client

time.sleep = lambda seconds: None  # what was refused is tried again, with pauses of minutes

what, host, *rest = sys.argv[1:]
known = "KEY_ID" in os.environ
client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="basic" if known else "token")
if known:
    client.login(hostname=host, username=os.environ["KEY_ID"], password=os.environ["KEY_SECRET"])
target = f"{host}/{rest[0]}"
if what == "push":
    answer = client.push(files=rest[1:], target=target, disable_path_validation=True)
    print(answer.headers["Docker-Content-Digest"])
elif what == "pull":
    print(*client.pull(target=target, outdir=rest[1]), sep="\n")
elif what == "tags":
    print(*sorted(client.get_tags(target)))
elif what == "delete":
    print(*client.delete_tags(target, rest[1:]))
END
client() { "$python" "$work/client.py" "$@"; }
nobody() { env -u KEY_ID -u KEY_SECRET HOME="$work/nobody" "$python" "$work/client.py" "$@"; }
name=$REGISTRY/team/oras-py
cd "$cache/files"

refused "a wrong password is refused" '401|unauthorized|request for authentication' \
    env KEY_SECRET="not$KEY_SECRET" "$python" "$work/client.py" push "$PUSH_HOST" "$name:1" text.txt
did wrong
check "push" client push "$PUSH_HOST" "$name:1" text.txt binary.bin
digest=$(tail -n 1 <<<"$output")
did login push
blobs=$(uploaded team/oras-py)
check "push, once more" client push "$PUSH_HOST" "$name:2" text.txt binary.bin
nothing_sent team/oras-py "$blobs"
did again
refused "a pull without login is refused" '401|unauthorized|request for authentication' nobody pull "$PULL_HOST" "$name:1" "$work/nobody"
did private
check "pull, by digest" client pull "$PULL_HOST" "$name@$digest" "$work/pulled"
for file in text.txt binary.bin; do
    same "checksum of $file" "$(sha256 "$cache/files/$file")" "$(sha256 "$work/pulled/$file")"
done
did pull digest
check "tags" client tags "$PULL_HOST" "$name"
same "tags" "1 2" "$(tail -n 1 <<<"$output")"
did tags
check "push, another thing" client push "$PUSH_HOST" "$name:3" sbom.json
check "delete" client delete "$PUSH_HOST" "$name" 3
check "tags" client tags "$PULL_HOST" "$name"
same "tags" "1 2" "$(tail -n 1 <<<"$output")"
did delete
