#!/usr/bin/env bash
# Send sample requests to the running server and compare its answers with the expected ones.
#
#   local_test/predict.sh [FILE...]    FILE: a name in local_test/payloads; default: every one
#
# The suffix of FILE decides the Content-Type. The expected answer, as text/csv, is in FILE.expected.csv where
# that exists, and in expected.csv otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/payloads"

content_type() {
    case ${1##*.} in
        csv) echo text/csv ;;
        json) echo application/json ;;
        jsonl) echo application/jsonlines ;;
        npy) echo application/x-npy ;;
        parquet) echo application/x-parquet ;;
        txt) echo text/plain ;;
        jpg | jpeg) echo image/jpeg ;;
        png) echo image/png ;;
        *) echo application/octet-stream ;;
    esac
}

url=http://localhost:${PORT:-8080}
if ! curl --silent --noproxy '*' --fail --max-time 2 --output /dev/null "$url/ping"; then
    echo "No healthy server at $url; run make serve in another terminal." >&2
    exit 1
fi

wrong=0
(($#)) || set -- *
for file; do
    [[ $file == *expected.csv ]] && continue
    expected=expected.csv
    [[ -e $file.expected.csv ]] && expected=$file.expected.csv
    type=$(content_type "$file")
    answer=$(curl --silent --show-error --noproxy '*' --max-time 60 --data-binary "@$file" \
        --header "Content-Type: $type" --header "Accept: text/csv" "$url/invocations")
    if [[ $answer == "$(<"$expected")" ]]; then
        echo "ok     $file ($type)"
    else
        echo "WRONG  $file ($type): < is the answer, > is local_test/payloads/$expected" >&2
        diff <(echo "$answer") "$expected" >&2 || true
        wrong=1
    fi
done
if ((wrong)); then
    echo "If the model is right, write its answers into the files named above." >&2
fi
exit "$wrong"
