"""The process of a Lambda function: it runs alone, with the function's own variables.

`python bootstrap.py FD HANDLER` reads one event a line, and answers one line each on the descriptor.
"""

import importlib
import json
import os
import sys
import threading
import time
import traceback
from typing import Any


class Context:
    """What a handler is told of its invocation."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn = given["arn"]
        self.aws_request_id = given["id"]
        self.identity = self.client_context = None
        self._end = given["end"]

    def get_remaining_time_in_millis(self) -> int:
        """Until its timeout."""
        return max(0, int(1000 * (self._end - time.time())))


def failure(error: Exception, identity: str) -> dict[str, Any]:
    """What is told of an exception; it is logged, too."""
    trace = traceback.extract_tb(error.__traceback__)
    lines = [
        f'  File "{one.filename}", line {one.lineno}, in {one.name}\n    {one.line}\n' for one in trace[1:]
    ]
    kind = type(error).__name__
    print(f"[ERROR] {kind}: {error}\nTraceback (most recent call last):\n{''.join(lines)}", flush=True)
    return {"errorMessage": str(error), "errorType": kind, "requestId": identity, "stackTrace": lines}


def load(name: str) -> tuple[Any, dict[str, Any] | None]:
    """The handler, or what is told of every invocation where there is none."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module.replace("/", ".")), attribute), None
    except SyntaxError as error:
        return None, {
            "errorType": "Runtime.UserCodeSyntaxError",
            "errorMessage": f"Syntax error in module '{module}': {error}",
        }
    except ImportError as error:
        return None, {
            "errorType": "Runtime.ImportModuleError",
            "errorMessage": f"Unable to import module '{module}': {error}",
        }
    except AttributeError as error:
        if not sys.modules.get(module):
            return None, failure(error, "")
        return None, {
            "errorType": "Runtime.HandlerNotFound",
            "errorMessage": f"Handler '{attribute}' missing on module '{module}'",
        }
    except Exception as error:
        return None, failure(error, "")


def main() -> None:
    """One event after the other, until there are no more."""
    out = os.fdopen(int(sys.argv[1]), "w")
    events, sys.stdin = sys.stdin, open(os.devnull)  # noqa: SIM115
    sys.path[0] = os.getcwd()
    handler, broken = load(sys.argv[2])
    if broken:
        print(f"[ERROR] {broken['errorType']}: {broken['errorMessage']}", flush=True)
    out.write("ready\n")
    out.flush()
    for line in events:
        given = json.loads(line)
        identity = given["id"]
        print(f"START RequestId: {identity} Version: $LATEST", flush=True)
        # This process ends in time, whatever becomes of the emulator.
        watch = threading.Timer(given["end"] - time.time() + 5, os._exit, (1,))
        watch.daemon = True
        watch.start()
        error, result = broken, None
        if handler:
            try:
                result = json.dumps(handler(given["event"], Context(given)))
            except Exception as problem:
                error = failure(problem, identity)
                if isinstance(problem, TypeError) and "JSON serializable" in str(problem):
                    error = {
                        **error,
                        "errorType": "Runtime.MarshalError",
                        "errorMessage": f"Unable to marshal response: {problem}",
                    }
        watch.cancel()
        print(f"END RequestId: {identity}", flush=True)
        text = json.dumps({"error": error}) if error else f'{{"result": {result}}}'
        out.write(text + "\n")
        out.flush()


main()
