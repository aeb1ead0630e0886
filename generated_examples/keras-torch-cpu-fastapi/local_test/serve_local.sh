#!/usr/bin/env bash
# Serve what train_local.sh trained, on http://localhost:${PORT:-8080}, until Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

opt_ml=${OPT_ML:-$PWD/local_test/opt_ml}
if [[ ! -d $opt_ml/model ]]; then
    echo "There is no model in $opt_ml/model yet; run make train first." >&2
    exit 1
fi

port=${PORT:-8080}
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "Port $port is taken. Take another here and for predict: make serve PORT=8081, make predict PORT=8081" >&2
    exit 1
fi

case ${1:-} in
    "")
        # An endpoint's container may read the model, never write to it (S-40).
        exec docker run --rm --user "$(id -u):$(id -g)" \
            --publish "127.0.0.1:$port:8080" --volume "$opt_ml/model:/opt/ml/model:ro" \
            "${IMAGE:-my-model:latest}" serve
        ;;
    --no-docker)
        export SAGEMAKER_BASE_DIR=$opt_ml SAGEMAKER_BIND_TO_PORT=$port PYTHONPATH=src
        exec "${VENV:-.venv}/bin/python" src/serve
        ;;
    *)
        echo "usage: local_test/serve_local.sh [--no-docker]" >&2
        exit 64
        ;;
esac
