"""Rules on made-up evidence: images that would be too dear to build here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagegen.check import core
from sagegen.check.core import Evidence, Outcome, Skip, Verdict
from sagegen.check.endpoint import Startup
from sagegen.check.jobs import Run
from sagegen.check.limits import Limits
from sagegen.check.probe import ENDLESS, Client, Exchange
from sagegen.check.progress import Silent
from sagegen.check.reports import Report
from sagegen.check.rig import Payload, Rig
from sagegen.check.run import Scheduler, look_again
from sagegen.check.scenarios.batch import POISON, TRANSFORM, Transform, bodies, send_records
from sagegen.check.scenarios.cluster import CLUSTER, Cluster
from sagegen.check.scenarios.image import IMAGE, Image
from sagegen.check.scenarios.interruption import FINISHING, TERMINATED, Termination, goes_on, repeats
from sagegen.check.scenarios.invocations import Invocations, variants
from sagegen.check.scenarios.load import Alone, Load
from sagegen.check.scenarios.serving import SERVE, Serving
from sagegen.check.scenarios.stopping import Stop
from sagegen.check.scenarios.train import TRAIN, Base
from sagegen.engine import Exit, File

GOOD = Image(
    "image",
    {"Os": "linux", "Architecture": "amd64", "Size": 10**9, "Config": {}},
    [],
    "application/vnd.docker.distribution.manifest.v2+json",
)


def judge(identity: str, image: Image) -> Verdict:
    evidence = Evidence()
    evidence.add(IMAGE, image)
    return next(rule for rule in core.rules() if rule.id == identity).verdict(evidence)


@pytest.mark.parametrize("identity", ["IMG-01", "IMG-04", "SV-01"])
def test_a_good_image_passes(identity: str) -> None:
    assert judge(identity, GOOD).outcome is Outcome.PASS


@pytest.mark.parametrize("kind", ["manifest", "index"])
def test_an_oci_manifest_warns(kind: str) -> None:
    image = replace(GOOD, manifest_type=f"application/vnd.oci.image.{kind}.v1+json")
    assert judge("IMG-01", image).outcome is Outcome.WARN


@pytest.mark.parametrize("system, processor", [("linux", "arm64"), ("windows", "amd64"), ("linux", "s390x")])
def test_another_processor_fails(system: str, processor: str) -> None:
    image = replace(GOOD, attributes={**GOOD.attributes, "Os": system, "Architecture": processor})
    assert judge("IMG-04", image).outcome is Outcome.FAIL


@pytest.mark.parametrize("serverless, outcome", [(True, Outcome.FAIL), (False, Outcome.WARN)])
def test_eleven_gigabytes_fail_where_the_image_is_meant_for_serverless_endpoints(
    serverless: bool, outcome: Outcome
) -> None:
    large = replace(GOOD, attributes={**GOOD.attributes, "Size": 11 * 10**9}, serverless=serverless)
    verdict = judge("SV-01", large)
    assert verdict.outcome is outcome
    assert verdict.measured == {"bytes": 11 * 10**9}


@pytest.mark.parametrize(
    "text",
    [
        "GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305",
        "PWD=/opt/program",
        "TOKENIZERS_PARALLELISM=false",
        "EOS_TOKEN=end_of_text",
        "MASK_TOKEN=[MASK]",
        "MAX_TOKENS=100000",
        "API_KEY=",
        "DB_PASSWORD_FILE=/run/secrets/database",
        "PASSWORD=\nOTHER=something",
        "HF_TOKEN=$(cat /run/secrets/hf) python fetch.py",
        "RUN --mount=type=secret,id=token,target=/root/.netrc pip install private",
        "pip install --extra-index-url https://packages.example/simple",
        "git clone https://${USER}:${TOKEN}@git.example/repository",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    image = replace(GOOD, attributes={**GOOD.attributes, "Config": {"Env": [text]}}, history=[text])
    assert judge("SEC-04", image).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "script, outcome",
    [
        ("exec python /opt/serve.py", Outcome.PASS),
        ('umask 022; exec gunicorn "$@"', Outcome.PASS),
        ("python /opt/serve.py", Outcome.FAIL),
        ("exec python /opt/prepare.py; python /opt/serve.py", Outcome.FAIL),
        ("exec 2>&1; python /opt/serve.py", Outcome.FAIL),
        ("python /opt/exec serve", Outcome.FAIL),
    ],
)
def test_a_shell_that_becomes_the_program_is_not_pid_1(script: str, outcome: Outcome) -> None:
    config = {"Entrypoint": ["/bin/sh", "-c", script]}
    image = replace(GOOD, attributes={**GOOD.attributes, "Config": config})
    assert judge("T-03", image).outcome is outcome


def test_what_a_scenario_skipped_its_rules_skip() -> None:
    evidence = Evidence()
    evidence.add(IMAGE, Skip("no image today"))
    rule = next(rule for rule in core.rules() if rule.id == "T-04")
    assert rule.verdict(evidence) == core.skipped("no image today")


class NoLab:
    """Nothing to run and nothing to remove."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "times, outcome",
    [([9.0, 0.1], Outcome.PASS), ([9.0, 8.0], Outcome.FAIL), ([0.1], Outcome.PASS)],
    ids=["slow-once", "slow-twice", "fast"],
)
def test_before_a_breach_that_a_busy_machine_can_cause_is_reported_it_is_measured_again(
    times: list[float], outcome: Outcome
) -> None:
    left = iter(times)
    measure = core.scenario("measure", again=True)(lambda rig, evidence: next(left))
    settled = core.scenario("settled")(lambda rig, evidence: pytest.fail("this needs no second look"))
    fast = made_up("T-01", measure, lambda e: core.passed("fast") if e[measure] < 1 else core.broken("slow"))
    other = made_up("T-02", settled, lambda e: core.broken("as ever"))
    evidence = Evidence()
    evidence.add(settled, None)
    rig = Rig(NoLab(), None, None, Limits())  # type: ignore[arg-type]
    Scheduler(rig, [measure], evidence, Silent()).run()
    verdicts = {one: one.verdict(evidence) for one in (fast, other)}
    first = look_again(rig, verdicts, evidence, Silent())
    assert verdicts[fast].outcome is outcome
    assert verdicts[other].outcome is Outcome.FAIL
    assert set(first) == ({fast} if len(times) > 1 else set())
    assert next(left, None) is None
    notes = Report("image", verdicts, 1.0, first).notes
    assert notes == ([f"T-01 looked at twice: FAIL (slow), then {outcome}"] if len(times) > 1 else [])


@pytest.mark.parametrize(
    "slowest, second_look, outcome",
    [
        (0.3, False, Outcome.PASS),
        (0.6, False, Outcome.PASS),
        (1.5, False, Outcome.WARN),
        (0.3, True, Outcome.PASS),
        (0.6, True, Outcome.WARN),
    ],
)
def test_a_ping_that_was_late_once_is_acquitted_only_by_pings_that_wait_for_nothing(
    slowest: float, second_look: bool, outcome: Outcome
) -> None:
    pings = [Exchange(200, seconds=0.1), Exchange(200, seconds=slowest)]
    startup = Startup("", healthy_seconds=1.0)
    found = Serving(startup, False, None, False, second_look, load=Load(busy_pings=pings))
    evidence = Evidence()
    evidence.add(SERVE, found)
    rule = next(rule for rule in core.rules() if rule.id == "S-17")
    assert rule.verdict(evidence).outcome is outcome


def test_a_breach_that_was_read_elsewhere_is_not_said_to_be_looked_at_twice() -> None:
    measure = core.scenario("measure", again=True)(lambda rig, evidence: pytest.fail("looked at again"))
    settled = core.scenario("settled")(lambda rig, evidence: None)

    def judge(found: Evidence) -> Verdict:
        return core.broken("seen elsewhere") if found[settled] is None else core.passed(found[measure])

    one = core.Rule("T-01", core.Area.TRAIN, "", "", "", (settled, measure), judge)
    evidence = Evidence()
    evidence.add(settled, None)
    evidence.add(measure, "fine")
    rig = Rig(NoLab(), None, None, Limits())  # type: ignore[arg-type]
    assert look_again(rig, {one: one.verdict(evidence)}, evidence, Silent()) == {}


def test_a_second_look_that_sees_nothing_leaves_the_first_verdict() -> None:
    def vanished(rig: Rig, evidence: Evidence) -> float:
        raise Skip("the job ended too early")

    measure = core.scenario("measure", again=True)(vanished)
    one = made_up("T-01", measure, lambda e: core.broken("slow") if e[measure] else core.passed(""))
    evidence = Evidence()
    evidence.add(measure, 9.0)
    rig = Rig(NoLab(), None, None, Limits())  # type: ignore[arg-type]
    verdicts = {one: one.verdict(evidence)}
    assert look_again(rig, verdicts, evidence, Silent()) == {}
    assert verdicts[one].outcome is Outcome.FAIL


def serving(**found: Any) -> Evidence:
    """What an endpoint showed that answers its payload."""
    good = Exchange(200, b"1\n2\n", {"content-type": "text/csv"})
    asked = Invocations(golden=good, repeated=[good, good])
    payload = Payload(b"1,2\n3,4\n", "text/csv")
    evidence = Evidence()
    startup = Startup("docker run", healthy_seconds=1.0)
    evidence.add(SERVE, Serving(startup, False, payload, False, False, **{"asked": asked, **found}))
    return evidence


LOST = Exchange(error="connection reset")


@pytest.mark.parametrize(
    "stop, outcome",
    [
        (Stop(Exit(0, 1.0), 3, ()), Outcome.PASS),
        (Stop(Exit(0, 1.0), 3, (LOST,)), Outcome.FAIL),
        (Stop(Exit(137, 1.0), 3, ()), Outcome.FAIL),
        (Stop(Exit(None, 30.0), 3, ()), Outcome.FAIL),
        (Stop(Exit(0, 1.0), 0, ()), Outcome.SKIP),
    ],
    ids=["answered", "lost", "killed", "deaf", "nothing-in-flight"],
)
def test_a_stop_passes_only_where_a_request_was_in_flight_and_answered(stop: Stop, outcome: Outcome) -> None:
    rule = next(rule for rule in core.rules() if rule.id == "S-03")
    assert rule.verdict(serving(stop=stop)).outcome is outcome


@pytest.mark.parametrize(
    "answer, outcome",
    [
        (b"0.3000001\n", Outcome.PASS),  # batches of other sizes round differently
        (b"0.4\n", Outcome.FAIL),  # another request's
        (b"0.3\n0.4\n", Outcome.FAIL),  # with a line of another request's
        (b"0.3\n0.3\n", Outcome.FAIL),  # of two records, where one was sent
    ],
)
def test_an_answer_under_load_is_wrong_where_it_is_what_another_request_gets(
    answer: bytes, outcome: Outcome
) -> None:
    alone = [Alone(b"1,2\n", Exchange(200, b"0.3\n"), True), Alone(b"3,4\n", Exchange(200, b"0.4\n"), True)]
    load = Load(alone=alone, mixed=[(alone[0], Exchange(200, answer)), (alone[1], alone[1].answer)])
    rule = next(rule for rule in core.rules() if rule.id == "S-20")
    assert rule.verdict(serving(load=load)).outcome is outcome


def test_an_answer_that_also_differs_alone_is_not_compared() -> None:
    alone = [Alone(b"1,2\n", Exchange(200, b"0.3\n"), True), Alone(b"3,4\n", Exchange(200, b"0.4\n"), True)]
    load = Load(
        alone=alone,
        mixed=[(alone[0], Exchange(200, b"0.4\n"))],
        asked_again={alone[0].body: Exchange(200, b"0.4\n")},
    )
    rule = next(rule for rule in core.rules() if rule.id == "S-20")
    assert rule.verdict(serving(load=load)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "payload, expected",
    [
        (Payload(b"1,2\n3,4\n", "text/csv; header=absent"), [b"1,2\n", b"3,4\n1,2\n"]),
        (Payload(b"[[1], [2]]", "application/json"), [b"[[1]]", b"[[2], [1]]"]),
        (
            Payload(b'{"instances": [1, 2]}', "application/json"),
            [b'{"instances": [1]}', b'{"instances": [2, 1]}'],
        ),
        (Payload(b'{"text": "a"}', "application/json"), [b'{"text": "a"}']),
        (Payload(b"\x93NUMPY", "application/x-npy"), [b"\x93NUMPY"]),
    ],
)
def test_requests_under_load_differ_where_the_payload_has_records(
    payload: Payload, expected: list[bytes]
) -> None:
    assert variants(payload)[:2] == expected


def test_a_large_body_whose_answer_is_larger_than_the_check_reads_was_taken() -> None:
    good = Exchange(200, b"1\n", {"content-type": "text/csv"})
    asked = Invocations(golden=good, repeated=[good], large=Exchange(error=ENDLESS))
    rule = next(rule for rule in core.rules() if rule.id == "S-23")
    assert rule.verdict(serving(asked=asked)).outcome is Outcome.PASS


@pytest.mark.parametrize("number", range(5))
def test_the_line_of_a_batch_rule_makes_the_request_that_was_sent(number: int, tmp_path: Path) -> None:
    payload = Payload(b"1,2\n3,4\n5,6\n7,8\n", "text/csv")
    (tmp_path / "PAYLOAD").write_bytes(payload.body)
    _, body, command = bodies(payload)[number]
    made = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == body
    line = Transform(Startup("docker run"), payload, by_lines=True, content_type="text/csv").line(command)
    assert line.startswith(f"docker run # meanwhile: {command} | curl -i -H 'Content-Type: text/csv'")
    assert "--data-binary @- http://localhost:8080/invocations" in line


class SlowServer(Client):
    """Answers short requests. After a long one it is busy for longer than anybody waits here."""

    def __init__(self) -> None:
        self.busy = False

    def ask(self, method: str, path: str, body: bytes = b"", *_: object, **__: object) -> Exchange:
        records = len(body.splitlines())
        self.busy = self.busy or records > 1000
        if self.busy:
            return Exchange(seconds=60.0, error="no complete answer within 60 s")
        if POISON in body:
            return Exchange(400)
        return Exchange(200, b"1\n" * records, {"content-type": "text/csv"})


def test_a_model_that_is_slow_and_right_is_told_of_the_settings_of_a_transform_job() -> None:
    payload = Payload(b"1,2\n3,4\n", "text/csv")
    parameters = Exchange(200, b'{"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 6}')
    found = Transform(Startup("", healthy_seconds=1.0), payload, parameters=parameters)
    send_records(found, SlowServer(), payload)
    good = Exchange(200, b"1\n1\n", {"content-type": "text/csv"})
    evidence = serving(asked=Invocations(golden=good, repeated=[good]))
    evidence.add(TRANSFORM, found)
    ours = [rule for rule in core.rules() if rule.id[:2] == "B-" and rule.id not in ("B-02", "B-03")]
    verdicts = {rule.id: rule.verdict(evidence) for rule in ours}
    warned = {identity for identity, verdict in verdicts.items() if verdict.outcome is not Outcome.PASS}
    assert warned == {"B-07", "B-09"}
    for identity in warned:
        assert verdicts[identity].outcome is Outcome.WARN
        assert "600 s, or up to 3600 s with InvocationsTimeoutInSeconds" in verdicts[identity].text


def made_up(identity: str, needs: core.Scenario[Any], judge: Callable[[Evidence], Verdict]) -> core.Rule:
    return core.Rule(identity, core.Area.TRAIN, "", "", "", (needs,), judge)


def log(*lines: str) -> Run:
    return Run("", Exit(0, 1.0), log=[(0.0, line) for line in lines])


def test_a_run_repeats_another_if_it_prints_as_many_lines_of_each_kind() -> None:
    full = log("start", "epoch=1; loss=0.5;", "epoch=2; loss=0.4;")
    assert repeats(log("start", "epoch=1; loss=0.51;", "epoch=2; loss=0.39;", "more"), full)
    assert not repeats(log("start", "resumed after 1", "epoch=2; loss=0.4;"), full)
    assert not repeats(log("start"), full)


def test_a_job_goes_on_after_a_signal_if_it_prints_two_more_of_a_kind() -> None:
    run = log("start", "epoch=1", "epoch=2", "epoch=3", "saved 1", "saved 2")
    assert goes_on(run, 2)
    assert not goes_on(run, 3)
    assert not goes_on(run, 4)


def test_buffered_output_is_doubtful() -> None:
    lines = [(100.0, f"epoch={i}") for i in range(20)]
    run = Run("", Exit(0, 60.0, 100.5), log=lines)
    evidence = Evidence()
    evidence.add(TRAIN, Base(run))
    rule = next(rule for rule in core.rules() if rule.id == "T-74")
    assert rule.verdict(evidence).outcome is Outcome.WARN


REFUSAL = b"the job has 2 hosts, and this image trains on one: set instance_count=1"


@pytest.mark.parametrize(
    "failures, outcome",
    [
        ((REFUSAL, REFUSAL), Outcome.SKIP),
        ((REFUSAL, b"KeyError"), Outcome.FAIL),
        ((b"KeyError",) * 2, Outcome.FAIL),
    ],
    ids=["all refuse", "one refuses", "all fail"],
)
def test_an_image_may_refuse_several_hosts_if_each_says_so(
    failures: tuple[bytes, bytes], outcome: Outcome
) -> None:
    hosts = ("algo-1", "algo-2")
    runs = {host: Run("", Exit(1, 1.0), failure=text) for host, text in zip(hosts, failures, strict=True)}
    evidence = Evidence()
    evidence.add(CLUSTER, Cluster(late=runs, empty=runs))
    assert next(rule for rule in core.rules() if rule.id == "T-44").verdict(evidence).outcome is outcome


def saved(size: int, **more: Any) -> Run:
    """A job of ten seconds that left a model of this size at its end."""
    end = more.pop("exit", Exit(0, 10.0, 100.5))
    return Run("", end, model={"model": File("file", size, 0o644, 100.0)}, **more)


@pytest.mark.parametrize(
    "late",
    [
        saved(9),
        saved(9, exit=Exit(143, 10.0, 100.5)),  # it handles no signal, and says nothing wrong
        saved(4, exit=Exit(1, 9.0), failure=b"stopped"),  # while it saved the model
        Run("", Exit(1, 9.0), failure=b"stopped"),
    ],
)
def test_a_job_that_a_late_signal_truly_stopped_is_not_warned_of(late: Run) -> None:
    evidence = Evidence()
    evidence.add(TRAIN, Base(saved(9)))
    evidence.add(TERMINATED, Termination(Run("", Exit(143, 5.0)), Exit(143, 0.1)))
    evidence.add(FINISHING, {0.0: late})
    rule = next(rule for rule in core.rules() if rule.id == "T-60")
    assert rule.verdict(evidence).outcome is Outcome.PASS


def test_a_stopped_job_that_claims_success_and_leaves_nothing_is_warned_of() -> None:
    evidence = Evidence()
    evidence.add(TRAIN, Base(saved(9)))
    evidence.add(TERMINATED, Termination(Run("", Exit(0, 5.0)), Exit(0, 0.1)))
    evidence.add(FINISHING, {})
    verdict = next(rule for rule in core.rules() if rule.id == "T-60").verdict(evidence)
    assert verdict.outcome is Outcome.WARN
    assert verdict.text == "exit code 0, and neither a checkpoint nor a model is left: all work is lost"


@pytest.mark.parametrize(
    "second, outcome", [(100.2, Outcome.PASS), (130.0, Outcome.PASS), (97.0, Outcome.WARN)]
)
def test_a_host_may_end_once_the_model_is_complete(second: float, outcome: Outcome) -> None:
    runs = {"algo-1": saved(9), "algo-2": Run("", Exit(0, 9.0, second))}
    evidence = Evidence()
    evidence.add(CLUSTER, Cluster(runs, runs))
    rule = next(rule for rule in core.rules() if rule.id == "T-44")
    assert rule.verdict(evidence).outcome is outcome
