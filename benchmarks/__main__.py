"""`python -m benchmarks`: build the contenders, measure them in turn; write ratios, JSON and a plot."""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from benchmarks import contenders, measures, plot, quiet, report
from benchmarks.containers import Engine, docker
from benchmarks.contenders import HERE, ROOT, Contender
from benchmarks.errors import BenchmarkError, ContenderFailed
from benchmarks.load import Client
from benchmarks.measures import MEASURES
from benchmarks.payloads import Rows
from benchmarks.results import Results

LOG_LIMIT = 500
STARTED = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    """0 if there is something to report."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="sagegen-benchmark-", ignore_cleanup_errors=True) as folder:
        try:
            with Engine(options.cpus, options.keep_images) as engine:
                results = _run(options, engine, Path(folder))
        except BenchmarkError as error:
            say(str(error))
            return 1
    return 0 if results.rounds else 1


def _run(options: argparse.Namespace, engine: Engine, work: Path) -> Results:
    client = Client(work, options.load_cpus)
    results = Results(
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=_machine(),
        options={k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        contenders=contenders.find(options.contenders),
    )
    try:
        ready = [c for c in results.contenders if _build(c, engine, work, results)]
        if not ready:
            return results
        code = (HERE / "iris" / "train.py").read_text(encoding="utf-8")
        engine.python(ready[0].image, code, {work: "/work"}, "/work")
        rows = Rows(work / "rows.json")
        payloads = [p for p in rows.payloads if not options.payloads or p.name in options.payloads]
        machine = quiet.Machine(options.cpus, options.patience)
        bench = measures.Bench(
            engine, client, machine, rows, work, options.seconds, options.workers, payloads
        )
        for number in range(1, options.rounds + 1):
            results.rounds.append(
                {c.name: _measure(bench, c, options.measures, number, results) for c in ready}
            )
            results.windows, results.disturbed = machine.windows, machine.disturbed
            _write(results, options)
    except KeyboardInterrupt:
        say("stopped: complete rounds are reported")
    if results.rounds:
        _write(results, options)
        print(report.markdown(results))
    return results


def _build(contender: Contender, engine: Engine, work: Path, results: Results) -> bool:
    say(f"build {contender.name}")
    try:
        contender.build(engine, work)
        results.versions[contender.name] = contender.version(engine)
    except ContenderFailed as error:
        say(f"{contender.name} is left out: {error}")
        results.failures[contender.name] = f"cannot be built: {error}"[:LOG_LIMIT]
        return False
    return True


def _measure(
    bench: measures.Bench, contender: Contender, wanted: list[str], number: int, results: Results
) -> measures.Values:
    """One contender's part of a round. What fails is left out; the rest of it counts."""
    values: measures.Values = {}

    def failed(what: str) -> None:
        say(f"{contender.name}, {what}"[:LOG_LIMIT])
        where, _, why = what.partition(": ")
        results.failures.setdefault(f"{contender.name}, {where}", why[:LOG_LIMIT])

    for name, measure in MEASURES.items():
        if wanted and name not in wanted:
            continue
        say(f"round {number}: {contender.name}, {name}")
        try:
            seen = measure(bench, contender, failed)
        except (ContenderFailed, OSError, LookupError, ValueError) as error:
            failed(f"{name}: {error}")
            continue
        values |= seen
        say("    " + " ".join(f"{key}={value:.6g}" for key, value in seen.items()))
    return values


def _write(results: Results, options: argparse.Namespace) -> None:
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results.as_dict(), indent=1) + "\n", encoding="utf-8")
    picture = folder / "performance.svg"
    plot.draw(results, picture)
    (folder / "performance.md").write_text(report.markdown(results, picture.name), encoding="utf-8")
    if options.docs:
        shutil.copy(picture, options.docs.with_suffix(".svg"))
        report.write_into(options.docs, report.markdown(results, options.docs.with_suffix(".svg").name))


def _machine() -> dict[str, str]:
    """What a reader needs to know to believe a number."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPU": f"{os.cpu_count()} × {model}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "Linux": platform.release(),
        "Docker": docker("version", "--format", "{{.Server.Version}}"),
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))

    def names(text: str) -> list[str]:
        return [name for name in text.replace(",", " ").split() if name]

    parser.add_argument("--rounds", type=int, default=5, help="each round measures every contender once")
    parser.add_argument("--seconds", type=float, default=10, help="of load, for each payload")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 s")
    parser.add_argument("--contenders", type=names, default=[], metavar="A,B", help="only these")
    parser.add_argument("--payloads", type=names, default=[], metavar="A,B", help="only these")
    parser.add_argument("--measures", type=names, default=[], metavar="A,B", help=", ".join(MEASURES))
    parser.add_argument(
        "--patience",
        type=float,
        default=3,
        metavar="SECONDS",
        help="for each measurement, to wait for CPUs that nobody else uses, or to take it again",
    )
    parser.add_argument("--workers", type=int, default=4, help="N of the memory ratio")
    parser.add_argument("--cpus", default=cpus, help=f"of the containers, default {cpus}")
    parser.add_argument("--load-cpus", help="of the load generator, default the same")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "benchmark", help="folder for the files"
    )
    parser.add_argument("--docs", type=Path, help="page that gets the tables, e.g. docs/performance.md")
    parser.add_argument("--keep-images", action="store_true", help="for the next run")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 3.0
    options.load_cpus = options.load_cpus or options.cpus
    if unknown := set(options.measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    return options


def say(message: str) -> None:
    """A line of progress."""
    print(f"{time.monotonic() - STARTED:7.1f} s  {message}", file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
