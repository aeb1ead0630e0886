"""SageMaker's own limits, each with its ID in the contract. Seconds, and bytes where the name says so."""

from __future__ import annotations

STARTUP = 480.0  # S-13
SERVERLESS_STARTUP = 180.0  # SV-03
STOP_TRAINING = 120.0  # T-60
STOP_SERVING = 30.0  # S-03
PING = 2.0  # S-12
INVOCATION = 60.0  # S-22
STREAM = 480.0  # S-22
TRANSFORM_INVOCATION = 600.0  # B-06: InvocationsTimeoutInSeconds where a job sets none
TRANSFORM_MOST = 3600.0  # B-06
INVOCATION_BYTES = 25 * 2**20  # S-23
SERVERLESS_BYTES = 4 * 2**20
SERVERLESS_IMAGE_BYTES = 10e9  # SV-01
ASYNC_INVOCATION = 3600.0
ASYNC_BYTES = 2**30
TRANSFORM_PAYLOAD_MEGABYTES = 6
HEADER_CHARACTERS = 1024  # S-25
ERROR_BYTES = 2048  # S-28
FAILURE_CHARACTERS = 1024  # T-51
API = 29.0  # an integration of API Gateway; its developer guide, "Quotas"
API_BYTES = 10 * 2**20
