#!/usr/bin/env bash
# Record sample requests in every form that the model accepts, and the trained model's answers, for the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    echo "usage: local_test/record.sh [--check | --yes] [--no-docker] [EXAMPLES]" >&2
    echo "  EXAMPLES     a file of inputs, or a folder of images; default: the requests in local_test/payloads" >&2
    echo "  --check      show what would change, exit 1 if anything would, and write nothing" >&2
    echo "  --yes        write without asking" >&2
    echo "  --no-docker  use this machine's Python (after make setup)" >&2
    exit 64
}

write=ask in_image=true examples=
while (($#)); do
    case $1 in
        --check) write=no ;;
        --yes) write=yes ;;
        --no-docker) in_image=false ;;
        -*) usage ;;
        *)
            [[ -z $examples && -e $1 ]] || { echo "There is no $1." >&2; usage; }
            examples=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
            ;;
    esac
    shift
done

opt_ml=${OPT_ML:-$PWD/local_test/opt_ml}
if [[ ! -d $opt_ml/model ]]; then
    echo "There is no model in $opt_ml/model yet; run make train first." >&2
    exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/payloads"
if $in_image; then
    bash local_test/image.sh
    mounts=(--volume "$opt_ml/model:/opt/ml/model:ro" --volume "$PWD/local_test:/local_test:ro"
        --volume "$scratch/payloads:/recorded")
    inside=${examples:+/examples/$(basename "$examples")}
    "${DOCKER:-docker}" run --rm --user "$(id -u):$(id -g)" "${mounts[@]}" ${examples:+--volume "$examples:$inside:ro"} \
        --entrypoint python "${IMAGE:-my-model:latest}" \
        /local_test/record.py /local_test/payloads /recorded ${examples:+"$inside"} >/dev/null
else
    SAGEMAKER_BASE_DIR=$opt_ml PYTHONPATH=src "${VENV:-.venv}/bin/python" local_test/record.py \
        local_test/payloads "$scratch/payloads" ${examples:+"$examples"} >/dev/null
fi

mkdir -p local_test/payloads
if diff --recursive --new-file --unified=1 local_test/payloads "$scratch/payloads" >"$scratch/diff"; then
    echo "local_test/payloads is what the model accepts and answers: nothing changed."
    exit 0
fi
sed "s#$scratch/payloads#recorded#g" "$scratch/diff" | cut -c1-200
if [[ $write == no ]]; then
    echo "local_test/payloads differs, see above; make record writes it." >&2
    exit 1
fi
if [[ $write == ask ]]; then
    reply=no
    read -r -p "Write this to local_test/payloads? [y/N] " reply || true
    [[ $reply == [yY]* ]] || { echo "Nothing was written." >&2; exit 1; }
fi
rm -rf local_test/payloads
cp -R "$scratch/payloads" local_test/payloads
echo "Written. Look at the answers, then commit local_test/payloads."
