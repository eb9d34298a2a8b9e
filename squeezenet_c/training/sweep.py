"""The design space of SqueezeNets explored (Iandola et al. 2016, arXiv:1602.07360, section 5): a
network for each combination of metaparameters, trained from several seeds, a process a core.

A sweep's folder holds sweep.json, how all of it is trained; results.csv, a row a point; and for
each point, a network and a seed, points/NAME with its best model, its epochs and, once it is done,
what came of it (point.json). A point that is not done keeps its run's state, by which it goes on.
"""

import itertools
import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from .._native import core
from ..base.read import read_text, sentence
from ..base.write import write_text
from ..data.dataset import Dataset
from ..data.marks import fingerprint
from ..files import native
from ..inference.predict import evaluate
from ..network import Network
from ..summary import multiplications
from .loop import TrainingError
from .loop import train as train_network
from .resume import plain, refuse_others
from .sweep_table import METAPARAMETERS, Point, Sweep

# Arguments of `train` that are the sweep's own business.
_OWN = (
    *("model", "train", "valid", "test", "seed", "checkpoint", "state", "resume", "positive"),
    *("teacher", "temperature", "progress", "stop", "on_epoch", "comm"),
)
SWEEP_FILE, RESULTS, POINTS, POINT_FILE = "sweep.json", "results.csv", "points", "point.json"
MOST_BYTES = 1 << 20  # of either JSON file
WATCH_SECONDS = 0.1

MISSING = '{name} is not installed, by which a sweep\'s points are shared: pip install "{what}"'


def sweep(
    train: Dataset,
    valid: Dataset | None,
    grid: Mapping[str, Sequence[Any]],
    folder: str | os.PathLike,
    *,
    seeds: int | Sequence[int] = 3,
    network: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    dask: str | None = None,
    progress: bool = True,
    stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Sweep:
    """Train a network for each combination of metaparameters and each seed, and compare them.

    train, valid    as `train` takes them: accuracies are of `valid`, or without it of the selection
                    set of valid_fraction
    grid            values by name, of: version, bypass, squeeze_ratio, pct_3x3, base_e, incr_e,
                    freq (see Model); all their combinations are tried
    folder          for all that is written. A sweep that is in it already is continued: its points
                    are not trained again, those that were stopped are resumed, and the grid and the
                    seeds may be larger than they were
    seeds           how many (0, 1, ...), or which
    network         other arguments of Model, as image_size=96
    jobs            how many points at a time, each in a process of its own, on one thread
                    (default: as many as there are threads, see get_num_threads). With 1 they are
                    trained in this process
    dask            a Dask scheduler's address ("tcp://host:8786"), whose workers train the points
                    in place of processes here. All need this package, and the folder and the
                    pictures under the same paths, absolute ones
    progress        print a line a point
    stop            asked ten times a second; where it answers True, points write their state as far
                    as they have come, and the Sweep so far is returned, with `interrupted` set
    options         further arguments of `train`, as epochs=20

    A point that collapses or diverges, or fails otherwise, has a row that says so; one that failed
    for what is not its own, as a full disk, is tried again when the sweep is continued. Ctrl-C
    returns the Sweep so far, with `interrupted` set; what was in work is resumed after its last
    whole epoch.

    ValueError, before anything is trained: a name or a value that is none, or the folder holds a
    sweep of other pictures or options. ImportError: joblib (or dask and distributed) is not there.
    """
    _check_options(options)
    fixed = {"num_classes": len(train.class_names), "class_names": train.class_names}
    fixed |= dict(network or {})
    jobs = core.get_num_threads() if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected at least 1")
    folder = Path(folder).absolute()  # for processes elsewhere
    points = points_of(grid, seeds, fixed)
    said = {
        **{name: value for name, value in fixed.items() if name not in METAPARAMETERS},
        **{name: _said(value) for name, value in options.items() if name != "recipe"},
        **(asdict(options["recipe"]) if options.get("recipe") else {}),
        "train": fingerprint(train),
        "valid": None if valid is None else fingerprint(valid),
    }
    _begin(folder, said)
    result = Sweep(_finished(folder))
    for path in folder.glob("running-*"):  # of one that was killed
        path.unlink(missing_ok=True)
    running = folder / f"running-{os.getpid()}"
    running.touch()
    done = {point.name for point in result.points}
    how = (str(running), core.get_backend(), core.get_max_pixels())
    tasks = [
        _Task(folder / POINTS / wanted.name, wanted, fixed, train, valid, options, *how)
        for wanted in points
        if wanted.name not in done
    ]
    total = len(done) + len(tasks)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stop, running, ended), daemon=True)
    watcher.start()
    threads = core.get_num_threads()
    try:
        for point in _run(tasks, jobs, dask):
            if point is None:  # stopped: so are the others
                running.unlink(missing_ok=True)
                result.interrupted = True
                continue
            result.points.append(point)
            result.to_csv(folder / RESULTS)
            if progress:
                print(f"[{len(result.points)}/{total}] {point}", flush=True)
    except KeyboardInterrupt:
        result.interrupted = True
    finally:
        running.unlink(missing_ok=True)
        ended.set()
        core.set_num_threads(threads)
    result.sort()
    result.to_csv(folder / RESULTS)
    return result


def _check_options(options: Mapping[str, Any]) -> None:
    known = [name for name in signature(train_network).parameters if name not in _OWN]
    for name in options:
        if name not in known:
            raise TypeError(f"sweep has no argument {name}, expected one of {', '.join(known)}")


def _said(value: Any) -> Any:
    """As JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return repr(value) if callable(value) else value


# -- Points ----------------------------------------------------------------------------------------


def points_of(
    grid: Mapping[str, Sequence[Any]], seeds: int | Sequence[int], network: Mapping[str, Any]
) -> list[Point]:
    """The points that `sweep` would train, of which nothing is known but what their networks tell.
    network: with the classes. ValueError: see there."""
    for name, values in grid.items():
        if name not in METAPARAMETERS:
            raise ValueError(
                f"{name} is no metaparameter, expected one of {', '.join(METAPARAMETERS)}"
            )
        if isinstance(values, str) or not values or len(set(values)) < len(values):
            raise ValueError(f"{name} is {values!r}, expected a list of different values")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds is {seeds!r}, expected at least 1, or different numbers")
    points = []
    for values in itertools.product(*grid.values()):
        model = Network(**{**network, **dict(zip(grid, values, strict=True))})
        said = {name: model.spec[name] for name in METAPARAMETERS}
        said["parameters"] = model.parameter_count
        said["multiplications"] = multiplications(model, model.image_size)
        points += [Point(seed=int(seed), **said) for seed in numbers]
    return points


def _begin(folder: Path, said: dict[str, Any]) -> None:
    """Make the folder and note how points are trained; ValueError: they were trained otherwise."""
    path = folder / SWEEP_FILE
    if path.exists():
        refuse_others(said, _read_json(path), str(folder))
        return
    (folder / POINTS).mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plain(said), ensure_ascii=False, indent=1) + "\n")


def _finished(folder: Path) -> list[Point]:
    """The points that are done, as the folder has them."""
    found = sorted((folder / POINTS).glob(f"*/{POINT_FILE}"))
    return [Point.of(_read_json(path), path) for path in found]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(read_text(path, MOST_BYTES))
    except json.JSONDecodeError as error:
        raise core.BadFileError(f"{path} is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise core.BadFileError(f"{path} holds a {type(said).__name__}, expected names and values")
    return said


# -- Who trains them -------------------------------------------------------------------------------


@dataclass
class _Task:
    """A point to train, as it goes to another process."""

    folder: Path
    point: Point
    fixed: dict[str, Any]
    train: Dataset
    valid: Dataset | None
    options: dict[str, Any]
    running: str  # the file that is there as long as the sweep goes on
    backend: str
    max_pixels: int


def _run(tasks: list[_Task], jobs: int, dask: str | None) -> Iterator[Point | None]:
    """What came of each, in any order."""
    try:
        import joblib
    except ImportError:
        raise ImportError(MISSING.format(name="joblib", what="squeezenet_c[sweep]")) from None
    config: dict[str, Any] = {"backend": "loky", "n_jobs": min(jobs, max(1, len(tasks)))}
    if dask is not None:
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise ImportError(
                MISSING.format(name="distributed", what="dask[distributed]")
            ) from None
        config = {"backend": "dask", "n_jobs": -1, "scheduler_host": dask}
    with joblib.parallel_config(**config):
        parallel = joblib.Parallel(
            return_as="generator_unordered", batch_size=1, pre_dispatch="all", max_nbytes=None
        )
        try:
            with _signals_ignored():
                found = parallel(joblib.delayed(_train_point)(task) for task in tasks)
            yield from found
        except Exception as error:
            if type(error).__name__ != "TerminatedWorkerError":
                raise
            raise RuntimeError(
                "a process that trained a point was killed (was there enough memory?); what is "
                "done stands, and the same sweep goes on from there"
            ) from None


def _watch(stop: Callable[[], bool] | None, running: Path, ended: threading.Event) -> None:
    while stop is not None and not ended.wait(WATCH_SECONDS):
        if stop():
            running.unlink(missing_ok=True)
            return


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """In it, some milliseconds, Ctrl-C and SIGTERM do nothing; nor do they ever in processes that
    begin in it: a terminal or a scheduler sends them to all, and the sweep's own sees to them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)


def _train_point(task: _Task) -> Point | None:
    """The point with what came of it; None: it was stopped. In whatever process."""
    if not os.path.exists(task.running):
        return None
    core.set_num_threads(1)
    core.set_max_pixels(task.max_pixels)
    try:
        if core.get_backend() != task.backend:
            core.set_backend(task.backend)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is in the row
            return _trained(task)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        return task.point.with_outcome("failed", sentence(error))


def _trained(task: _Task) -> Point | None:
    folder, point = task.folder, task.point
    weights = folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    best, state = weights / "best.safetensors", weights / "last.state"
    model = Network(**{**task.fixed, **point.metaparameters}, seed=point.seed)
    fraction = task.options.get("valid_fraction")
    try:
        history = train_network(
            model,
            task.train,
            task.valid,
            seed=point.seed,
            checkpoint=best,
            state=state,
            resume=state if state.exists() else None,
            progress=False,
            stop=lambda: not os.path.exists(task.running),
            **task.options,
        )
    except TrainingError as error:
        history = error.history
        done = point.with_outcome("diverged", str(error))
    else:
        if history.interrupted:
            return None
        reported = task.valid
        if reported is None:
            reported = task.train.split(fraction, point.seed)[1] if fraction else task.train
        found = history.held_out or evaluate(native.load(Network, best, model.precision), reported)
        outcome = "collapsed" if history.collapsed else "trained"
        done = point.with_outcome(
            outcome,
            history.collapsed or "",
            accuracy=found.accuracy,
            auc=found.auc,
            bytes=os.path.getsize(best),
        )
    seconds = float(np.sum([row.seconds for row in history])) if len(history) else 0.0
    done = done.with_outcome(done.outcome, done.reason, epochs=len(history), seconds=seconds)
    history.to_csv(folder / "results.csv")
    write_text(folder / POINT_FILE, json.dumps(asdict(done), ensure_ascii=False, indent=1) + "\n")
    state.unlink(missing_ok=True)
    return done
