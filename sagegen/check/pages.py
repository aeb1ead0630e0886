"""Pages of SageMaker's documentation that several rules are from."""

from __future__ import annotations

DOCKERFILE = "your-algorithms-training-algo-dockerfile"
RUNNING = "your-algorithms-training-algo-running-container"
OUTPUT = "your-algorithms-training-algo-output"
SIGNALS = "your-algorithms-training-signal-success-failure"
INFERENCE = "your-algorithms-inference-code"
