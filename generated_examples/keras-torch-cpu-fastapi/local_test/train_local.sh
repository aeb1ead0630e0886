#!/usr/bin/env bash
# Train on local_test/opt_ml as SageMaker would: in the image, or on this machine with --no-docker.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    echo "usage: local_test/train_local.sh [--resume] [--no-docker]" >&2
    echo "  --resume     keep the checkpoints of the last run, as a restarted job finds them" >&2
    echo "  --no-docker  use this machine's Python (after make setup)" >&2
    exit 64
}

resume=false docker=true
while (($#)); do
    case $1 in
        --resume) resume=true ;;
        --no-docker) docker=false ;;
        *) usage ;;
    esac
    shift
done

opt_ml=${OPT_ML:-$PWD/local_test/opt_ml}
rm -rf "$opt_ml/model" "$opt_ml/output"
$resume || rm -rf "$opt_ml/checkpoints"
mkdir -p "$opt_ml"/{model,output/data,checkpoints}

if $docker; then
    # As SageMaker runs it, but as you, so that what it writes is yours; channels are read-only (T-33).
    docker run --rm --hostname algo-1 --user "$(id -u):$(id -g)" \
        --volume "$opt_ml:/opt/ml" --volume "$opt_ml/input:/opt/ml/input:ro" \
        "${IMAGE:-my-model:latest}" train
else
    SAGEMAKER_BASE_DIR=$opt_ml PYTHONPATH=src "${VENV:-.venv}/bin/python" src/train
fi || {
    code=$?
    [[ -s $opt_ml/output/failure ]] && echo "FailureReason: $(<"$opt_ml/output/failure")" >&2
    exit "$code"
}
echo "model: $opt_ml/model · other output: $opt_ml/output/data"
