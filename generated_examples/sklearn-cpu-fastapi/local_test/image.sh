#!/usr/bin/env bash
# Refuse an image that was built from other code or requirements than those here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

docker=${DOCKER:-docker} image=${IMAGE:-my-model:latest}
if ! "$docker" image inspect "$image" >/dev/null 2>&1; then
    echo "There is no image $image; run make build first." >&2
    exit 1
fi

# Checksum, size and name of each file that decides what the image does: src/ is /opt/program there.
# shellcheck disable=SC2016
files='cd "$0" && find . -type f ! -path "*/__pycache__/*" -exec cksum {} +
    cd "$1" && find apt.txt requirements.txt requirements-serving.txt requirements -type f -exec cksum {} + 2>&-; :'
here=$(sh -c "$files" src "$PWD" | LC_ALL=C sort -k 3)
there=$("$docker" run --rm --entrypoint sh "$image" -c "$files" /opt/program /opt/requirements | LC_ALL=C sort -k 3)
if [[ $here != "$there" ]]; then
    changed=$(diff <(echo "$here") <(echo "$there") | awk '/^[<>]/ { print $4; exit }' || true)
    echo "$image was built before ${changed#./} changed; run make build." >&2
    exit 1
fi
