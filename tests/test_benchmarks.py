"""The benchmark: it runs, its medians and ratios are right, and it sees when answers differ."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(*arguments: str, script: str = "run.py") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )


def speeds(*values: float) -> list[dict[str, float]]:
    return [{"images_per_second": value} for value in values]


def row(**changes) -> dict:
    return {
        "name": "train16-1_0-float32",
        "title": "train v1.0, batch 16, float32",
        "task": "train",
        "goal": 2.0,
        "peers": ["PyTorch eager", "PyTorch channels_last"],
        "rounds": {
            "ours": speeds(100, 120, 90),
            "PyTorch eager": speeds(30, 31, 32),
            "PyTorch channels_last": speeds(50, 40, 60),
            "bound": speeds(200, 200, 200),
        },
        "errors": [],
    } | changes


# -- The whole way ---------------------------------------------------------------------------------


def test_peers_of_the_c_file() -> None:
    """They are measured on our integers, and have our logits."""
    pytest.importorskip("onnxruntime", reason="build: onnxruntime is not installed")
    result = run("--peers", "--runs", "1", script="portable.py")
    assert result.returncode == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("ONNX Runtime"))
    if sq.build_info()["vnni"]:
        assert float(line.split()[-4]) < 1e-5


def test_runs_with_our_package_alone(tmp_path: Path) -> None:
    rows = ["train16-1_1-float32", "infer1-1_1-*at*", "infer1-1_1-int8", "flat", "import"]
    result = run("--quick", "--peers", "--only", *rows, "--threads", "2", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    for peer in ("PyTorch", "ONNX Runtime", "OpenVINO", "Pillow"):
        assert f"{peer} is left out: --peers does not name it." in result.stderr
    assert "train v1.1, batch 16, float32" in result.stdout
    assert "no peer here" in result.stdout
    written = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in written["rows"]] == [
        "train16-1_1-float32",
        "infer1-1_1-float32",
        "infer1-1_1-bfloat16",
        "infer1-1_1-int8",
    ]
    assert written["threads"] == 2 and written["rounds"] == 1 and written["quick"]
    assert written["errors"] == []
    for one in written["rows"]:
        if one["name"].endswith("int8"):
            assert list(one["rounds"]) == ["ours", "ours float32"]
            assert 0 < one["apart"]["ours"] <= one["tolerance"]
        for rounds in one.get("rounds", {}).values():
            assert len(rounds) == 1 and rounds[0]["images_per_second"] > 0
    assert set(written["others"]) == {"flat", "import"}
    assert all(mib > 0 for mib in written["others"]["flat"]["mib"])


def test_lists_names() -> None:
    result = run("--list")
    assert result.returncode == 0
    assert {"train16-1_0-float32", "photograph", "memory", "growth"} <= set(result.stdout.split())


def test_refuses_a_name_that_is_none() -> None:
    result = run("--only", "infer1-*", "trian*")
    assert result.returncode == 2
    assert "--only 'trian*' is no name; --list prints them" in result.stderr


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import rows
    import run as script

    monkeypatch.setitem(rows.LIBRARIES, "open_vino", ("no_such_module", "no_other"))
    assert "open_vino" not in script.find_peers(None)
    assert (
        "OpenVINO takes no part, without no_such_module and no_other: "
        'pip install ".[bench]" brings what is missing.'
    ) in capsys.readouterr().err


# -- Numbers ---------------------------------------------------------------------------------------


def test_ratio_is_of_neighbours() -> None:
    import measure

    # 100/50, 120/40, 90/60: not the ratio of the medians, which is also 2.
    assert measure.ratios([100, 120, 90], [50, 40, 60]) == (2.0, 1.5, 3.0)
    assert measure.ratios([1, 9], [1, 3]) == (2.0, 1.0, 3.0)
    with pytest.raises(ValueError):
        measure.ratios([1, 2], [1])


def test_summary_compares_with_the_fastest_peer() -> None:
    import report

    summary = report.summarise(row())
    assert summary["best_peer"] == "PyTorch channels_last"
    assert (summary["ratio"], summary["least"], summary["greatest"]) == (2.0, 1.5, 3.0)
    assert summary["reached"]
    assert summary["speeds"]["ours"] == 100
    assert not report.summarise(row(goal=2.01))["reached"]
    # Neither the bound nor another backend of ours is a peer.
    assert report.summarise(row(peers=[]))["best_peer"] is None


def test_no_ratio_where_answers_differ() -> None:
    import report

    summary = report.summarise(row(errors=["PyTorch eager does not give our answer"]))
    assert summary["best_peer"] is None and "ratio" not in summary
    assert "see the errors" in report.table([row(errors=["differs"])])


def test_table() -> None:
    import report

    why = {"title": "train v1.0, bfloat16", "goal": 1.9, "why": "not offered by this CPU"}
    photograph = row(task="photograph", title="photograph", rounds={"ours": speeds(40)}, peers=[])
    lines = report.table([row(), why, photograph]).splitlines()
    assert lines[0].split() == (
        "ours PyTorch channels_last PyTorch eager bound ratio to the best peer goal reached".split()
    )
    assert lines[2].split()[-10:] == "100 50.0 31.0 200 2.00 (1.50 to 3.00) 2.00 yes".split()
    assert lines[3].endswith("not offered by this CPU  1.90")
    assert "25.0 ms" in lines[4] and "no peer here" in lines[4]


def test_other_lines() -> None:
    import report

    memory = {"memory_mib": 190.0, "peak_mib": 230.0}
    lines = report.other_lines(
        {
            "memory": {"train/1_0/16/ours": memory, "train/1_1/16/ours": memory},
            "flat": {"steps": [50, 1000], "mib": [90.0, 95.0]},
            "epoch": {
                "epoch_seconds": [1.02, 1.04, 1.01],
                "steps_seconds": [1.0, 1.0, 1.0],
                "arch": "1_1",
            },
        }
    )
    assert [line[3] for line in lines] == ["yes", "no", "no", "yes"]
    assert lines[0][1] == "190 MiB (process 230)"
    assert lines[3][1] == "2.0 (1.0 to 4.0)"


# -- Answers ---------------------------------------------------------------------------------------


def test_sees_answers_that_differ() -> None:
    import compare
    from rows import ROWS

    infer = next(one for one in ROWS if one.name == "infer32-1_0-float32")
    ours = np.array([[2.0, -1.0]], np.float32)
    answers = {"ours": ours, "near": ours + 1e-4, "far": ours + 1e-3, "broken": ours * np.nan}
    apart = compare.distances(infer, answers)
    assert apart["near"] == pytest.approx(0.5e-4, rel=1e-2)
    errors = compare.disagreements(infer, apart | {"other shape": float("inf")})
    assert [error.split(": ")[1].split(" does")[0] for error in errors] == [
        "far",
        "broken",
        "other shape",
    ]
    assert "expected at most 0.0001" in errors[0]
    photograph = next(one for one in ROWS if one.task == "photograph")
    pixels = {"ours": np.array([3, 250], np.uint8), "Pillow": np.array([0, 255], np.uint8)}
    apart = compare.distances(photograph, pixels)
    assert apart == {"Pillow": 5.0}
    assert len(compare.disagreements(photograph, apart)) == 1


def test_int8_is_judged_by_float32() -> None:
    import compare
    from rows import ROWS

    row = next(one for one in ROWS if one.name == "infer1-1_0-int8")
    reference = np.array([[3.0, 1.0, 2.99], [0.0, 4.0, 0.0]])
    tie = np.array([[2.99, 1.0, 3.0], [0.0, 4.0, 0.0]])
    other = np.array([[3.0, 1.0, 2.99], [4.0, 3.99, 0.0]])
    turned = np.array([[3.0, 1.0, 2.99], [0.0, 4.0, 3.0]])
    answers = {"ours float32": reference, "ours": reference * 2, "tie": tie}
    answers |= {"other first class": other, "turned": turned, "no number": reference * np.nan}
    apart = compare.distances(row, answers)
    assert apart["ours"] == pytest.approx(0, abs=1e-12)
    assert apart["tie"] == pytest.approx(0.01 / 3)
    assert apart["other first class"] == pytest.approx(1)
    assert apart["turned"] == pytest.approx(0.2)
    errors = compare.disagreements(row, apart)
    assert [error.split(": ")[1].split(" does")[0] for error in errors] == [
        "other first class",
        "turned",
        "no number",
    ]
    assert "does not give the answer of ours float32" in errors[0]


def test_int8_rows_are_beside_our_float32() -> None:
    import rows

    by_name = {row.name: row for row in rows.ROWS}
    columns = by_name["infer1-1_1-int8"].columns(set(rows.LIBRARIES), ["native", "onednn"])
    names = ["ours", "ours float32", "ONNX Runtime", "OpenVINO", "bound"]
    assert [column.name for column in columns] == names
    row = by_name["infer32-1_1-int8-avx2"]
    columns = row.columns({"onnx_runtime"}, ["native", "onednn"])
    assert [column.name for column in columns] == ["ours", "ours float32"]
    assert {peer.name for peer in row.peers} == {"ours float32", "OpenVINO"}
    assert row.variables["SQZ_ISA"] == "avx2" and row.variables["SQZ_VNNI"] == "0"


def test_a_row_needs_its_instruction_set() -> None:
    import compare
    from rows import ROWS

    def offered(isa: str) -> list[str]:
        settings = compare.Settings("", frozenset(), (), False, isa, 1, 1, 1.0, False, print)
        names = [row.name for row in ROWS if compare.offered(row, settings)]
        return [name for name in names if name.startswith("infer1-1_0")]

    plain = ["infer1-1_0-float32", "infer1-1_0-int8"]
    assert offered("baseline") == plain
    assert offered("avx2") == [*plain, "infer1-1_0-int8-avx2"]
    assert offered("avx512") == [*plain, "infer1-1_0-int8-avx512", "infer1-1_0-int8-avx2"]


def test_a_disagreement_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import measure
    import rows
    import run as script

    answers = {"ours": 1.0, "pytorch": 1.00001, "onnx_runtime": 2.0}

    def worker(what: str, jobs: list) -> list[dict]:
        if what == "own.info":
            return [
                {"threads": 1, "backends": ["openmp"], "backend": "openmp", "version": "0",
                 "cpu_isa": "none"}
            ]  # fmt: skip
        result = {"images_per_second": 1.0}
        if what not in answers:
            raise measure.WorkerError("broken")
        if jobs[0]["answer"]:
            result["answer"] = str(tmp_path / f"{what}.npy")
            np.save(result["answer"], np.array([answers[what]]))
        return [result]

    monkeypatch.setattr(measure, "run_worker", worker)
    monkeypatch.setattr(script, "find_peers", lambda wanted: frozenset(rows.LIBRARIES))
    status = script.main(["--only", "infer1-1_0-float32", "--rounds", "2", "--out", str(tmp_path)])
    assert status == 1
    written = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    failed, differs = written["errors"]
    assert failed == "infer1-1_0-float32: OpenVINO: broken"
    assert "ONNX Runtime does not give our answer: 1 of the largest apart" in differs
    (compared,) = written["rows"]
    assert set(compared["rounds"]) == {"ours", "PyTorch channels_last", "ONNX Runtime"}
    assert all(len(results) == 2 for results in compared["rounds"].values())


def test_turns_go_both_ways() -> None:
    import measure

    seen = []
    workers = {name: lambda number: {"number": number} for name in "ab"}
    results, errors = measure.take_turns(workers, 2, lambda name, result: seen.append(name))
    assert seen == ["a", "b", "b", "a"] and errors == []
    assert results == {"a": [{"number": 0}, {"number": 1}], "b": [{"number": 0}, {"number": 1}]}


def test_a_process_that_fails_is_an_error() -> None:
    import measure

    with pytest.raises(measure.WorkerError, match="no attribute .no_such_function"):
        measure.run_worker("own.no_such_function", [{"task": "", "folder": ""}])


# -- README ----------------------------------------------------------------------------------------


def test_readme_section_is_rewritten(tmp_path: Path) -> None:
    import report

    result = {
        "command": "python benchmarks/run.py",
        "date": "2026-01-02T03:04:05+00:00",
        "threads": 2,
        "rounds": 3,
        "machine": {"cpu": "A CPU", "isa": "avx2"},
        "rows": [row()],
        "others": {},
    }
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.write_readme(readme, result)
    first = readme.read_text(encoding="utf-8")
    assert first.startswith(f"before\n{report.BEGIN}\n") and first.endswith(
        f"{report.END}\nafter\n"
    )
    assert "old" not in first and "A CPU, avx2, 2 threads, 2026-01-02, 3 rounds" in first
    assert "| train v1.0, batch 16, float32 | 100 | 50.0 | 31.0 | 200 |" in first
    report.write_readme(readme, result)
    assert readme.read_text(encoding="utf-8") == first
    readme.write_text("no section", encoding="utf-8")
    with pytest.raises(ValueError, match="has no section between"):
        report.write_readme(readme, result)


# -- Fine-tuning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("peer_seeds", [0, 1])
def test_fine_tuning_beside_pytorch(tmp_path: Path, peer_seeds: int) -> None:
    """On a few drawn pictures in PALM's layout, one of which is in both sets."""
    if peer_seeds:
        pytest.importorskip("torch")
        pytest.importorskip("PIL")
    openpyxl = pytest.importorskip("openpyxl")
    training = tmp_path / "palm" / "PALM-Training400" / "PALM-Training400"
    valid = tmp_path / "palm" / "PALM-Validation400"
    sheet = openpyxl.Workbook()
    sheet.active.append(("imgName", "Label"))
    for folder in (training, valid):
        folder.mkdir(parents=True)
    for number in range(8):
        label = number % 2
        picture = sq.synthetic.encode_png(sq.synthetic.draw(label, number, 224))
        (training / f"{'NP'[label]}{number:04}.jpg").write_bytes(picture)
        if number != 7:
            picture = sq.synthetic.encode_png(sq.synthetic.draw(label, 100 + number, 224))
        (valid / f"V{number}.jpg").write_bytes(picture)
        sheet.active.append((f"V{number}.jpg", label))
    sheet.save(valid / "PM_Label_and_Fovea_Location.xlsx")
    sq.Model("1_1", 3).save(tmp_path / "weights.safetensors")
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "finetune.py"), "palm", "weights.safetensors"]
        + ["--seeds", "1", "--epochs", "1", "--peer-seeds", str(peer_seeds)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "left out of training: P0007.jpg" in result.stdout
    assert "7 training and 8 validation pictures" in result.stdout
    for who in ("ours", "PyTorch")[: 1 + peer_seeds]:
        assert f"{who} seed 0: accuracy " in result.stdout
        assert f"{who} AUC: mean " in result.stdout and "over pictures" in result.stdout
    assert ("pair by pair" in result.stdout) == bool(peer_seeds)


def test_against_has_the_sources_of_this_copy_and_of_a_commit(tmp_path):
    """Where there is a repository: an unpacked sdist has no other commit."""
    import against

    if not (against.ROOT / ".git").exists():
        pytest.skip("build: no git repository here")
    for name, commit in (("this", None), ("commit", "HEAD")):
        against.copy_sources(commit, tmp_path / name)
        assert (tmp_path / name / "setup.py").is_file()
        assert (tmp_path / name / "csrc" / "sqz.h").is_file()
    assert (tmp_path / "this" / "setup.py").read_bytes() == (against.ROOT / "setup.py").read_bytes()
    with pytest.raises(SystemExit, match="git knows no sources of 'nonesuch'"):
        against.copy_sources("nonesuch", tmp_path / "nonesuch")


# -- Over many machines ----------------------------------------------------------------------------


def test_the_cost_of_an_exchange() -> None:
    """Worked out by hand: 1000 floats, 1 ms to compute a picture, 4 bytes in 1 us."""
    import cost

    machine = cost.Machine(picture=1e-3, step=2e-3, add=1e-9, level=1e-5)
    network = cost.Network("", bytes_a_second=4e6, latency=1e-5)
    assert cost.bytes_sent(2, 1000) == 4000 and cost.bytes_sent(4, 1000) == 6000
    # Four ranks: halves and quarters there and back, each way after a latency and a level.
    there_and_back = 2 * (2 * (1e-5 + 1e-5) + (500 + 250) * 1e-6) + 750 * 1e-9
    assert cost.exchange(machine, network, 4, 1000) == pytest.approx(there_and_back)
    # All they have at each of two levels.
    whole = 2 * (1e-5 + 1e-5 + 1000 * 1e-6 + 1000 * 1e-9)
    assert cost.exchange_whole(machine, network, 4, 1000) == pytest.approx(whole)
    assert cost.step(machine, network, 1, 1000, batch=16) == pytest.approx(18e-3)
    assert cost.step(machine, network, 1, 1000, 16, threads=3) == pytest.approx(8e-3)
    # 18 pictures on 4 ranks: one has five.
    assert cost.step(machine, network, 4, 1000, 18) == pytest.approx(7e-3 + there_and_back)


def test_overlap_hides_what_the_way_back_is_long_enough_for() -> None:
    import cost

    machine = cost.Machine(picture=10e-3, step=0.0, add=0.0, level=0.0)
    network = cost.Network("", bytes_a_second=4e6, latency=0.0)  # 1000 floats in 1 ms
    # The first layer on the way back has nearly all: its 3 ms hide behind the other's 5.
    layers = [(1e-3, 3000), (5e-3, 0)]
    assert cost.exchange(machine, network, 2, 3000) == pytest.approx(3e-3)
    assert cost.overlapped(machine, network, 2, layers, 2) == pytest.approx(10e-3)
    # The last one: nothing is left to hide it.
    layers = [(5e-3, 0), (1e-3, 3000)]
    assert cost.overlapped(machine, network, 2, layers, 2) == pytest.approx(13e-3)


def test_where_it_stops_to_scale() -> None:
    import cost

    machine = cost.Machine(picture=1e-3, step=0.0, add=0.0, level=0.0)
    free = cost.Network("", bytes_a_second=1e30, latency=0.0)
    assert cost.scales_to(machine, free, 1000, batch=64, most=64) == 64
    slow = cost.Network("", bytes_a_second=4e5, latency=0.0)  # 10 ms each way of 1000 floats
    assert cost.scales_to(machine, slow, 1000, batch=16, most=16) == 1
