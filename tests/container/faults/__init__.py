"""The fault test-bed: what breaks a container under load, counted request by request.

Short under `make test`; as long as you like by hand: `make soak` or `python -m tests.container.faults`.
Containers are reached at their own address, past Docker's proxy, which would hide a refusal: on Linux only.
"""
