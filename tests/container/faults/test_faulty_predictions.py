"""A predict() that goes wrong in every way: the right status, the others unharmed, and a true /ping."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from .conftest import with_faults
from .containers import Container, Containers, watching
from .images import Subject
from .load import CUT, Load, Request
from .traffic import JSON, NPY, ROWS, csv_body, npy_body, one_row
from .waiting import wait_until

# As in faulty_model.py.
RAISES, SYS_EXIT, EXITS, SEGFAULT, ALLOCATES = -1, -2, -3, -4, -5
TOO_MANY, TOO_FEW, NO_TYPE, NOTHING = -6, -7, -8, -10
HANGS, HOLDS_THE_LOCK, INTERRUPTS, NO_MEMORY, TOO_DEEP = -11, -12, -13, -14, -15
LITTERS = -16

TIMEOUT_SECONDS = 2
CLIENTS = 4
THREADS = 4
#: From the moment that no worker can predict to the one in which that is over, or /ping admits it.
TRUTH_SECONDS = 60


def fault(code: float) -> Request:
    """A request on which the model does that."""
    return Request(f"fault {code}", csv_body([[code, *ROWS[0][1:]]]), accept=JSON, status=500)


def serve(containers: Containers, image: Subject, workers: int = 2) -> Container:
    container = containers.serve(
        image.model_dir,
        *with_faults(image),
        *("--memory", "1g", "--memory-swap", "1g"),
        workers=workers,
        SAGEMAKER_MODEL_SERVER_TIMEOUT=str(TIMEOUT_SECONDS),
    )
    container.wait_until_complete()
    return container


@pytest.fixture(scope="module")
def container(shared_containers: Containers, image: Subject) -> Container:
    return serve(shared_containers, image)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(RAISES, id="raises"),
        pytest.param(SYS_EXIT, id="calls sys.exit"),
        pytest.param(INTERRUPTS, id="raises KeyboardInterrupt"),
        pytest.param(NO_MEMORY, id="raises MemoryError"),
        pytest.param(TOO_DEEP, id="raises RecursionError"),
        pytest.param(TOO_MANY, id="returns too many"),
        pytest.param(TOO_FEW, id="returns too few"),
        pytest.param(NO_TYPE, id="returns what has no type"),
        pytest.param(NOTHING, id="returns None"),
    ],
)
def test_a_prediction_that_fails_is_one_500_and_harms_nobody_else(code: float, container: Container) -> None:
    before = container.pids("worker")
    asked = fault(code)
    with Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 20, "a running load")
        for _ in range(3):
            status, body = container.ask(body=asked.body, accept=asked.accept)
            assert status == 500
            assert_says_nothing_of_the_code(body)
        failed = time.monotonic()
        wait_until(lambda: load.answered_since(failed) > 20, "others' answers")
    assert not load.report.wrong, load.report
    assert container.pids("worker") == before
    assert container.ping() == 200


def test_what_predictions_leave_in_cycles_is_collected(container: Container) -> None:
    litter = Request("litter", csv_body([[LITTERS, *ROWS[0][1:]]]), accept=JSON)
    with watching(container) as watch:
        wait_until(lambda: bool(watch.samples), "a first look")
        with Load(container.address, [litter], CLIENTS, at_most=400) as load:
            wait_until(lambda: load.ended == 400, "400 megabytes of litter")
    assert not load.report.wrong, load.report
    assert watch.peak - watch.samples[0].memory < 100 * 2**20


def assert_says_nothing_of_the_code(body: bytes) -> None:
    """One line of text (S-28), without a traceback or what only the log may hold."""
    text = body.decode()
    assert 0 < len(body) <= 2048 and text.count("\n") <= 1
    for word in ("Traceback", "secret", "File ", ".py"):
        assert word not in text


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(EXITS, id="calls os._exit"),
        pytest.param(SEGFAULT, id="segfaults"),
        pytest.param(ALLOCATES, id="takes all memory"),
    ],
)
def test_a_prediction_that_ends_its_process_takes_only_its_neighbours_along(
    code: float, containers: Containers, image: Subject
) -> None:
    container = serve(containers, image)
    before = container.pids("worker")

    with Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 20, "a running load")
        with Load(container.address, [fault(code)], clients=1, at_most=1) as faulty:
            wait_until(lambda: faulty.ended, "the fault")
        ended = time.monotonic()
        wait_until(lambda: load.answered_since(ended) > 50, "others' answers")
        wait_until(lambda: _is_replaced(before, container.pids("worker")), "a new worker")
    assert set(faulty.report.outcomes) <= {CUT, "500", "502", "503", "504"}
    assert len(load.report.wrong) <= CLIENTS, load.report
    assert container.exit_code is None
    assert container.ping() == 200


def _is_replaced(before: set[int], now: set[int]) -> bool:
    return len(now) == len(before) and now != before


def test_a_prediction_that_hangs_is_504_and_harms_nobody_else(container: Container) -> None:
    # Of another size than any before: nobody can take it for a short one.
    body = fault(HANGS).body + b" " * 3000
    with Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 20, "a running load")
        asked = time.monotonic()
        status, answer = container.ask(body=body)
        assert status == 504
        assert time.monotonic() - asked < TIMEOUT_SECONDS + 15
        assert_says_nothing_of_the_code(answer)
        wait_until(lambda: load.answered_since(asked) > 20, "others' answers")
    assert not load.report.wrong, load.report
    assert container.ping() == 200


def test_a_prediction_that_hangs_though_it_was_thought_short_costs_each_client_one_request_at_most(
    container: Container,
) -> None:
    with Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 500, "a load that teaches that predictions are short")
        with Load(container.address, [fault(HANGS)], clients=1, at_most=1) as hung:
            wait_until(lambda: hung.ended or container.ping() != 200, "the end of the hang", TRUTH_SECONDS)
        ended = time.monotonic()
        wait_until(lambda: load.answered_since(ended) > 50, "others' answers")
    assert set(hung.report.outcomes) <= {CUT, "504"}
    assert len(load.report.wrong) <= CLIENTS, load.report
    assert container.ping() == 200


@pytest.mark.parametrize("lesson", ["refusals", "quick answers"])
def test_a_large_body_never_keeps_the_event_loop_whatever_came_before(
    lesson: str, containers: Containers, image: Subject
) -> None:
    """Neither refusals nor quick predictions of its size make a body one for which the others wait."""
    container = serve(containers, image, workers=1)
    rows = np.array((ROWS * 4000)[:4000])
    quick, slow = npy_body(rows), npy_body(np.vstack([[1005, *ROWS[0][1:]], rows[1:]]))
    for _ in range(30):
        content_type, status = ("text/xml", 415) if lesson == "refusals" else (NPY, 200)
        assert container.ask(body=quick, content_type=content_type)[0] == status
    with ThreadPoolExecutor(1) as client, Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 20, "a running load")
        asked = time.monotonic()
        answer = client.submit(container.ask, body=slow, content_type=NPY)
        wait_until(lambda: load.answered_since(asked) > 5 or answer.done(), "others' answers")
        assert not answer.done()
        assert answer.result()[0] in (200, 504)  # nginx is more patient
    assert not load.report.wrong, load.report


def test_a_hang_keeps_one_thread_of_the_worker_and_no_more(containers: Containers, image: Subject) -> None:
    if image.stack == "fastapi":
        pytest.skip("what is thought short keeps the event loop, and gunicorn replaces the worker")
    container = serve(containers, image, workers=1)
    [worker] = container.pids("worker")
    with Load(container.address, one_row(), CLIENTS) as load:
        wait_until(lambda: load.answered > 500, "a running load")
        with Load(container.address, [fault(HANGS)], clients=1, at_most=1) as hung:
            wait_until(lambda: hung.ended, "the end of the client's patience")
        ended = time.monotonic()
        wait_until(lambda: load.answered_since(ended) > 50, "others' answers")
    assert not load.report.wrong, load.report
    assert container.pids("worker") == {worker}


#: What every thread does, and how many requests that takes: some more than there are threads, while of
#: those that keep the interpreter's lock, one is enough for a worker.
HANGING = {"waiting": (HANGS, 2 * THREADS + 2), "with the interpreter's lock": (HOLDS_THE_LOCK, 4)}


@pytest.fixture(scope="module")
def hanging(image: Subject) -> Iterator[dict[str, Future[None]]]:
    """Both at once, for each mostly waits."""
    with ThreadPoolExecutor(len(HANGING)) as pool:
        yield {name: pool.submit(_hang, image, *how) for name, how in HANGING.items()}


@pytest.mark.parametrize("how", HANGING)
def test_when_every_thread_hangs_the_service_is_back_soon_or_ping_says_that_it_is_not(
    how: str, hanging: dict[str, Future[None]]
) -> None:
    hanging[how].result()


def _hang(image: Subject, code: float, requests: int) -> None:
    containers = Containers(image.image)
    try:
        container = serve(containers, image)
        with ThreadPoolExecutor(requests) as clients, ExitStack() as stack:
            stack.callback(containers.remove)  # on which the clients give up
            for _ in range(requests):
                clients.submit(_ask_in_vain, container, fault(code))
            wait_until(lambda: not _answers(container), "all threads to hang")
            wait_until(
                lambda: container.exit_code is not None or container.ping() != 200 or _answers(container),
                "an answer, or the truth from /ping",
                TRUTH_SECONDS,
            )
    finally:
        containers.remove()


def _ask_in_vain(container: Container, request: Request) -> None:
    with suppress(OSError, http.client.HTTPException):
        container.ask(body=request.body, timeout=90)


def _answers(container: Container) -> bool:
    try:
        return container.ask(body=one_row()[0].body, timeout=3)[0] == 200
    except (OSError, http.client.HTTPException):
        return False
