#!/usr/bin/env bash
# Send every sample payload to the running server and compare the answers with the expected predictions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/payloads"

url=http://localhost:${PORT:-8080}
if ! curl --silent --fail --max-time 2 --output /dev/null "$url/ping"; then
    echo "No healthy server at $url; run make serve in another terminal." >&2
    exit 1
fi

wrong=0
while read -r file content_type; do
    answer=$(curl --silent --show-error --max-time 60 --data-binary "@$file" \
        --header "Content-Type: $content_type" --header "Accept: text/csv" "$url/invocations")
    if [[ $answer == "$(<expected.csv)" ]]; then
        echo "ok     $file ($content_type)"
    else
        echo "WRONG  $file ($content_type):" >&2
        diff <(echo "$answer") expected.csv >&2 || wrong=$((wrong + 1))
    fi
done <<'PAYLOADS'
rows.csv text/csv
rows_with_header.csv text/csv; charset=utf-8
instances.json application/json
records.json application/json
rows.jsonl application/jsonlines
rows.npy application/x-npy
rows.parquet application/x-parquet
PAYLOADS
exit "$((wrong > 0))"
