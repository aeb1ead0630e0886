"""Every end of a job that is no success leaves the cause in the failure file (T-50, T-51)."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import Job, program, training

# What train() does, and what the failure file must say.
DEATHS = {
    "a raise": ("raise ValueError('row 7')", r"^ValueError: row 7 \(at model\.py:14 in train\)$"),
    "a raise without text": ("raise KeyError", r"^KeyError \(at model\.py"),
    "a JobError": ("raise JobError('send CSV')", r"^send CSV$"),
    "surrogates": ("raise ValueError('file \\udcff')", r"^ValueError: file \\udcff \(at"),
    "surrogates in a JobError": ("raise JobError('\\ud800')", r"^\\ud800$"),
    "an error in __str__": (
        "class Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd",
        r"^Odd: its text cannot be shown \(at model\.py",
    ),
    "a text of a megabyte": ("raise ValueError('long ' * 200_000)", r"^ValueError: long .*\(at model"),
    "a group of errors": ("raise ExceptionGroup('both', [KeyError()])", r"^ExceptionGroup: both"),
    "a failed assertion": ("assert 1 == 2, 'shapes'", r"^AssertionError: shapes \(at model\.py"),
    "no end of recursion": ("def f(): f()\nf()", r"^RecursionError: .*\(at model\.py"),
    "no memory": ("bytearray(1 << 60)", r"^MemoryError"),
    "Ctrl-C of a library": ("raise KeyboardInterrupt", r"^KeyboardInterrupt"),
    "exit()": ("exit()", r"^SystemExit"),
    "sys.exit(0)": ("save(job); sys.exit(0)", r"^SystemExit: 0 \(at model\.py"),
    "sys.exit(3)": ("sys.exit(3)", r"^SystemExit: 3"),
    "sys.exit of a text": ("sys.exit('no licence')", r"^SystemExit: no licence"),
    "os._exit(0)": ("os._exit(0)", r"os\._exit\(0\)"),
    "os._exit(0) after half a model": ("save(job); os._exit(0)", r"os\._exit\(0\)"),
    "os._exit(3)": ("os._exit(3)", r"os\._exit\(3\)"),
    "os._exit(200)": ("os._exit(200)", r"os\._exit\(200\)"),
    "os.abort()": ("os.abort()", r"SIGABRT"),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", r"SIGSEGV"),
    "killed for lack of memory": ("os.kill(os.getpid(), signal.SIGKILL)", r"SIGKILL .*out of memory"),
    "a signal without a name": ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", r"signal 37"),
    "closed streams": ("sys.stdout.close(); sys.stderr.close(); raise ValueError('row 7')", r"row 7"),
    "closed descriptors": ("os.close(1); os.close(2); raise ValueError('row 7')", r"row 7"),
    "every descriptor closed": ("os.closerange(0, 256); os._exit(4)", r"os\._exit\(4\)"),
    "streams that are None": ("sys.stdout = sys.stderr = None; raise ValueError('row 7')", r"row 7"),
    "no model": ("pass", r"^training left nothing in"),
    "a model that is deleted": ("save(job); (job.model_dir / 'model').unlink()", r"^training left nothing"),
    "no channel": ("job.channel('train')", r"^channel 'train' is missing"),
    "a failed command": ("subprocess.run(['false'], check=True)", r"^CalledProcessError"),
    "a full disk": (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)\n"
        "(job.model_dir / 'model').write_bytes(bytes(1 << 21))",
        r"File too large",
    ),
    "a full disk at SIGXFSZ": (
        "import resource; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)\n"
        "(job.model_dir / 'model').write_bytes(bytes(1 << 21))",
        r"SIGXFSZ",
    ),
}
# What model.py says before it defines train(), in place of all that it should.
BROKEN = {
    "a syntax error": ("def train(:", r"^SyntaxError"),
    "a missing library": ("import no_such_library", r"^ModuleNotFoundError.*no_such_library.*\(at model"),
    "an exit while importing": ("raise SystemExit(2)", r"^SystemExit: 2"),
    "a death while importing": ("import os; os._exit(5)", r"os\._exit\(5\)"),
    "no Hyperparameters": ("def train(job): pass", r"Hyperparameters"),
}
ENDINGS = {name: (training(body), reason) for name, (body, reason) in DEATHS.items()} | BROKEN


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def ended(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Job, int]]:
    """Every job of ENDINGS with its exit code; they ran side by side."""
    folder = tmp_path_factory.mktemp("jobs")
    jobs = {name: Job(source, folder / str(i), ENDINGS[name][0]) for i, name in enumerate(ENDINGS)}
    with ThreadPoolExecutor(4) as pool:
        codes = pool.map(lambda job: job.run()[0], jobs.values())
        return dict(zip(jobs, zip(jobs.values(), codes, strict=True), strict=True))


@pytest.mark.parametrize("name", ENDINGS)
def test_a_death_leaves_its_cause(name: str, ended: dict[str, tuple[Job, int]]) -> None:
    job, code = ended[name]
    assert code != 0
    assert job.failure is not None
    assert re.search(ENDINGS[name][1], job.failure), job.failure
    assert len(job.failure) <= 1024
    assert [p.name for p in (job.opt_ml / "output").iterdir()] == ["failure"]


# What train() does after it has saved a model.
SUCCESSES = {
    "a return": "save(job)",
    "closed streams": "save(job); sys.stdout.close(); sys.stderr.close()",
    "closed descriptors": "save(job); os.close(1); os.close(2)",
    "a forked process that fails": "save(job)\nif not os.fork(): raise ValueError\nos.wait()",
    "a crash while the interpreter ends": "save(job)\nimport atexit; atexit.register(os.abort)",
    "a stop that is heard too late": (
        "save(job)\nimport atexit; atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))"
    ),
}


@pytest.mark.parametrize("name", SUCCESSES)
def test_a_complete_job_succeeds_however_its_process_ends(name: str, source: Path, tmp_path: Path) -> None:
    job = Job(source, tmp_path, training(SUCCESSES[name]))
    assert job.run()[0] == 0
    assert [p.name for p in (job.opt_ml / "output").iterdir()] == []
    assert (job.opt_ml / "model/byoc-manifest.json").exists()


STEPS = """
from byoc.paths import atomic
checkpoints = job.checkpoints(".txt")
epoch, _ = checkpoints.resume(lambda file: file.read_text()) or (0, "")
while epoch < job.hyperparameters.epochs and not job.should_stop():
    time.sleep(0.05)
    epoch += 1
    with checkpoints.saving(epoch) as path:
        path.write_text("x")
if epoch:
    with atomic(job.model_dir / "model") as path:
        time.sleep(0.1)
        path.write_text("x")
"""


def test_a_stop_at_any_moment_leaves_a_model_or_a_checkpoint_or_says_that_there_was_none(
    source: Path, tmp_path: Path
) -> None:
    whole = Job(source, tmp_path / "whole", training(STEPS))
    begun = time.monotonic()
    assert whole.run()[0] == 0
    seconds = time.monotonic() - begun

    def stopped(milliseconds: int) -> Job:
        job = Job(source, tmp_path / str(milliseconds), training(STEPS))
        process = job.start()
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        left = [p for f in ("model", "checkpoints") for p in (job.opt_ml / f).glob("*")]
        assert not [p for p in left if p.name.startswith(".tmp-")], milliseconds
        if process.returncode:
            assert (job.failure or "").startswith("the job was stopped before"), (milliseconds, job.failure)
        else:
            assert job.failure is None, milliseconds
            assert left, milliseconds
        return job

    with ThreadPoolExecutor(4) as pool:
        end = round(seconds * 1000) + 200
        jobs = list(pool.map(stopped, range(0, end, max(50, end // 40))))
    assert any(job.failure for job in jobs)
    assert any(not job.failure for job in jobs)


def test_a_job_that_goes_on_after_a_stop_is_ended_with_its_cause(source: Path, tmp_path: Path) -> None:
    job = Job(source, tmp_path, training("print('begun', flush=True); time.sleep(600)"))
    impatient = "from byoc.training import command; command.STOP_SECONDS = 1; exit(command.main())"
    process = job.start(arguments=("-c", impatient))
    assert process.stdout
    assert any(line == "begun\n" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert job.failure == "training did not end within 1 s of the request to stop"
