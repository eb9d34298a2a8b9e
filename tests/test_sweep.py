"""Many networks trained and compared: each as `train` would, whatever stopped it in between."""

import csv
import pickle
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import fault_support as faults
import numpy as np
import pytest
from scipy import stats

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.inference.intervals import mean_figure, student_quantile
from squeezenet_c.training.sweep_table import Point, Sweep

SIDE = 48
GRID = {"squeeze_ratio": [0.125, 0.25], "pct_3x3": [0.25]}
OPTIONS = {"epochs": 2, "batch_size": 8, "network": {"image_size": SIDE}, "progress": False}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[sq.Dataset, sq.Dataset]:
    folder = tmp_path_factory.mktemp("pictures")
    return sq.synthetic.write(folder, 24, size=SIDE).split(0.25, 0)


@pytest.fixture(scope="module")
def whole(sets: tuple, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sweep]:
    """A sweep by two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, sq.sweep(*sets, GRID, folder, seeds=2, jobs=2, **OPTIONS)


def outcomes(sweep: Sweep) -> list[Point]:
    return [replace(point, seconds=0) for point in sweep.points]


def weights(folder: Path) -> dict[str, bytes]:
    found = (folder / "points").glob("*/weights/best.safetensors")
    return {path.parts[-3]: path.read_bytes() for path in found}


def test_a_point_is_a_run_of_train(sets: tuple, whole: tuple, tmp_path: Path) -> None:
    folder, sweep = whole
    assert [(p.squeeze_ratio, p.seed) for p in sweep.points] == [
        *((0.125, 0), (0.125, 1), (0.25, 0), (0.25, 1))
    ]
    assert not sweep.interrupted and {point.outcome for point in sweep.points} == {"trained"}
    point = sweep.points[3]
    assert point.name == "squeeze_ratio=0.25,pct_3x3=0.25,seed=1"
    model = sq.Model(squeeze_ratio=0.25, pct_3x3=0.25, seed=1, image_size=SIDE)
    best = tmp_path / "best.safetensors"
    sq.train(model, *sets, epochs=2, batch_size=8, seed=1, checkpoint=best, progress=False)
    run = folder / "points" / point.name
    assert (run / "weights" / "best.safetensors").read_bytes() == best.read_bytes()
    assert not (run / "weights" / "last.state").exists() and not list(folder.glob("running*"))
    found = sq.evaluate(sq.Model.load(best), sets[1])
    assert (point.accuracy, point.auc) == (found.accuracy, found.auc)
    assert point.bytes == best.stat().st_size and point.parameters == model.parameter_count
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [p.accuracy for p in sweep.points]


def test_what_is_done_is_not_trained_again(sets: tuple, whole: tuple, tmp_path: Path) -> None:
    """One point is missing; the grid has grown by a seed."""
    folder = tmp_path / "sweep"
    shutil.copytree(whole[0], folder)
    lost = folder / "points" / whole[1].points[2].name
    shutil.rmtree(lost)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("points/*/point.json")}
    again = sq.sweep(*sets, GRID, folder, seeds=2, jobs=1, **OPTIONS)
    assert outcomes(again) == outcomes(whole[1]) and weights(folder) == weights(whole[0])
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert (lost / "point.json").exists() and len(before) == 3
    with pytest.raises(ValueError, match="epochs is 3, expected 2, with which the run in"):
        sq.sweep(*sets, GRID, folder, seeds=2, jobs=1, **{**OPTIONS, "epochs": 3})


def test_points_that_fail_are_rows(sets: tuple, tmp_path: Path) -> None:
    recipe = sq.Recipe(lr=1e6, schedule="constant", warmup_epochs=0)
    sweep = sq.sweep(*sets, {}, tmp_path / "a", seeds=1, jobs=1, recipe=recipe, **OPTIONS)
    (point,) = sweep.points
    assert point.outcome in ("diverged", "collapsed") and point.reason.startswith("training has")
    assert sweep.candidates()[0].accuracy.value is None and point.reason in str(sweep)
    assert (tmp_path / "a" / "points" / "seed=0" / "point.json").exists()
    # What is not the point's own is tried again.
    folder = tmp_path / "b"
    (folder / "points").mkdir(parents=True)
    (folder / "points" / "seed=0").write_text("in the way")
    (point,) = sq.sweep(*sets, {}, folder, seeds=1, jobs=1, **OPTIONS).points
    assert point.outcome == "failed" and "seed=0" in point.reason
    (folder / "points" / "seed=0").unlink()
    (point,) = sq.sweep(*sets, {}, folder, seeds=1, jobs=1, **OPTIONS).points
    assert point.outcome == "trained"


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        ({"dropout": [0.1]}, {}, "dropout is no metaparameter, expected one of version"),
        ({"pct_3x3": []}, {}, "pct_3x3 is .*, expected a list of different values"),
        ({"pct_3x3": [0.5, 0.5]}, {}, "expected a list of different values"),
        ({"squeeze_ratio": [0.5, 3]}, {}, "squeeze_ratio is 3, expected"),
        ({}, {"seeds": 0}, "seeds is 0"),
        ({}, {"jobs": 0}, "jobs is 0"),
    ],
)
def test_wrong_arguments(sets: tuple, tmp_path: Path, grid: dict, more: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sq.sweep(*sets, grid, tmp_path / "no", **{**OPTIONS, **more})
    assert not list(tmp_path.glob("no/points/*"))
    with pytest.raises(TypeError, match="sweep has no argument state"):
        sq.sweep(*sets, {}, tmp_path / "no", state="x")


def test_files_of_a_sweep_that_are_none(sets: tuple, whole: tuple, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(whole[0], folder)
    path = next(folder.glob("points/*/point.json"))
    for text, words in (("{", "is not JSON"), ("[]", "a list"), ('{"seed": 1}', "expected")):
        path.write_text(text)
        with pytest.raises(sq.BadFileError, match=words) as raised:
            sq.sweep(*sets, GRID, folder, seeds=2, **OPTIONS)
        assert str(path) in str(raised.value)


def test_sets_of_both_kinds_go_to_other_processes(sets: tuple) -> None:
    pixels = [core.read_image(path) for path in sets[0].paths]
    in_memory = sq.Dataset.from_arrays(pixels, sets[0].labels, groups=range(len(pixels)))
    for dataset in (sets[1], in_memory[3:8].at_size(SIDE, "crop")):
        other = pickle.loads(pickle.dumps(dataset))
        assert (other.paths, other.class_names) == (dataset.paths, dataset.class_names)
        assert (other.image_size, other.fit) == (dataset.image_size, dataset.fit)
        np.testing.assert_array_equal(other.labels, dataset.labels)
        np.testing.assert_array_equal(other.groups, dataset.groups)
        for number in range(len(dataset)):
            np.testing.assert_array_equal(other[number][0], dataset[number][0])


# -- The command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and `sweep` on them, which nothing happened to."""
    home = tmp_path_factory.mktemp("sweep-command")
    sq.synthetic.write(home / "pictures", 12, size=SIDE)
    assert main(command(home, home / "whole", "--jobs", "1")) == 0
    return home


def command(home: Path, out: Path, *more: str) -> list[str]:
    given = "--pct-3x3 0.1 0.2 --base-e 16 --incr-e 8 --seeds 2 --epochs 2 --batch-size 4"
    return ["sweep", str(home / "pictures"), "--out", str(out), *given.split(), *more]


def test_the_commands_table_and_plot(home: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(home / "whole", run)
    assert main(command(home, run)) == 1
    assert "holds an earlier sweep" in capsys.readouterr().err
    assert main(["sweep", "--resume", str(run), "--pct-3x3", "0.1", "0.2", "0.4"]) == 0
    said = capsys.readouterr().out
    table = said.partition("\n\n")[2].splitlines()
    assert [line.split()[0] for line in table[:4]] == ["pct_3x3", "0.1", "0.2", "0.4"]
    assert "2/2" in table[1] and any(line.endswith("*") for line in table[1:4])
    assert "[6/6]" in said and "[4/" not in said
    assert core.read_image(str(run / "sweep.png")).shape[2] == 3
    assert main(["sweep", "--resume", str(run), "--lr", "1"]) == 1
    assert "lr is 1.0, expected 0.0005" in capsys.readouterr().err
    assert main(["sweep", "--resume", str(run)]) == 0  # the arguments refused are forgotten


def test_a_stopped_sweep_is_resumed(home: Path, tmp_path: Path) -> None:
    """By SIGTERM; then by Ctrl-C, in the resumed one."""
    run = tmp_path / "run"
    arguments = command(home, run, "--jobs", "2")
    for sent, status, name in ((signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 1, "Ctrl-C")):
        begun, process = time.time(), faults.start(arguments)
        while time.time() < begun + 60 and not any(
            path.stat().st_mtime > begun for path in run.glob("points/*/weights/last.state")
        ):
            time.sleep(0.01)
        time.sleep(0.03)  # while the other worker starts, signals are ignored
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
        (sentence,) = faults.sentences(said)
        assert process.returncode == status
        assert sentence == (
            f"squeezenet-c: stopped by {name}; to resume it: squeezenet-c sweep --resume {run}"
        )
        assert len(list(run.glob("points/*/point.json"))) < 4 and not list(run.glob("running-*"))
        arguments = ["sweep", "--resume", str(run), "--jobs", "2"]
    assert main(["sweep", "--resume", str(run), "--jobs", "1"]) == 0
    assert weights(run) == weights(home / "whole") and len(weights(run)) == 4


# -- The table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 9, 30, 101])
def test_student_quantile(degrees: int) -> None:
    assert student_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_intervals_of_means() -> None:
    values = [0.91, 0.95, 0.96, 0.9]
    figure = mean_figure(values)
    mean, error = np.mean(values), stats.sem(values)
    assert figure.value == pytest.approx(mean)
    expected = stats.t.interval(0.95, 3, mean, error)
    np.testing.assert_allclose((figure.low, figure.high), expected, rtol=1e-9)
    assert mean_figure([0.5]).low is None and mean_figure([]).value is None
    assert mean_figure([0.9, 1.0]).high == 1


def point(pct_3x3: float, seed: int, accuracy: float, size: int, **more: object) -> Point:
    given = {**core.SPEC_FIELDS, "pct_3x3": pct_3x3}
    spec = {name: given[name] for name in sq.training.sweep_table.METAPARAMETERS}
    found = {"outcome": "trained", "accuracy": accuracy, "auc": accuracy, "bytes": size, **more}
    return Point(**spec, seed=seed, parameters=size // 4, multiplications=1, **found)


def test_the_pareto_front() -> None:
    """(size, mean accuracy): a (1, .8), b (2, .7) is worse than a, c (3, .9), d (4, .9) only
    larger; e collapsed and has no place."""
    sweep = Sweep(
        [
            point(0.1, 0, 0.7, 1),
            point(0.1, 1, 0.9, 1),
            point(0.2, 0, 0.7, 2),
            point(0.3, 0, 0.9, 3),
            point(0.4, 0, 0.9, 4),
            point(0.5, 0, 0.99, 0, outcome="collapsed", reason="training has collapsed"),
        ]
    )
    assert sweep.varied == ["pct_3x3"]
    candidates = sweep.candidates()
    assert [candidate.pareto for candidate in candidates] == [True, False, True, False, False]
    first = candidates[0].accuracy
    assert first.value == pytest.approx(0.8) and first.method == "Student"
    lines = str(sweep).splitlines()
    assert [line.endswith("*") for line in lines[1:6]] == [True, False, True, False, False]
    assert "0/1" in lines[5] and lines[-1].endswith("training has collapsed")
