"""The notebooks run from end to end, on a small budget, and hold the outputs of a whole run."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.…/:])/(?:\w[\w.+-]*/)+[\w.+-]+")  # /a/b, not ../a/b or https://
SECONDS_A_CELL = 300  # nothing hangs for ever; the runs take far less


def _named(path: Path) -> str:
    return path.stem


def _texts(notebook: dict) -> list[str]:
    """What the outputs say: streams, results and errors; pictures left out."""
    texts = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            texts.append("".join(output.get("text", [])))
            texts += ["".join(output["data"].get("text/plain", []))] if "data" in output else []
            texts += output.get("traceback", [])
    return texts


def _environment() -> dict[str, str]:
    """Ours, with the module path of this process, so that the kernel imports the same package."""
    path = [entry for entry in sys.path if entry and Path(entry).is_dir()]
    environment = dict(os.environ)
    environment.pop("MPLBACKEND", None)  # the kernel's own puts figures into the outputs
    environment["SQZ_NOTEBOOK_BUDGET"] = "quick"
    environment["OMP_WAIT_POLICY"] = "passive"
    environment["PYTHONPATH"] = os.pathsep.join(path)
    return environment


def test_there_are_notebooks() -> None:
    names = set(map(_named, NOTEBOOKS))
    assert {"squeezenet_palm", "squeezenet_variants", "finetune_and_explain", "compress"} <= names


def test_both_readmes_list_them_all() -> None:
    for readme in ("README.md", "README.zh-CN.md"):
        listed = re.findall(
            r"\(notebooks/(\w+)\.ipynb\)", (ROOT / readme).read_text(encoding="utf-8")
        )
        assert sorted(listed) == sorted(map(_named, NOTEBOOKS)), readme


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_named)
def test_runs_from_end_to_end(path: Path) -> None:
    """In its own folder, on the data in ../../shared/palm where it is, else on synthetic pictures.
    An error in a cell fails the test with that cell and its traceback."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env=_environment())
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    images = [
        output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(images) >= 3
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_named)
def test_holds_the_outputs_of_a_whole_run(path: Path) -> None:
    """All cells, in order, without errors or warnings, of a size to look at in a browser, naming no
    folder of the machine it ran on."""
    assert path.stat().st_size < 1_000_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(nbformat.from_dict(notebook))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    for text in _texts(notebook):
        found = MACHINE_PATH.search(text)
        assert not found, found.group()


def test_the_rule_on_paths_would_notice() -> None:
    for text in ("saved in /home/someone/x.png", "('/tmp/kernel_1/2.py')", "/opt/data/a b"):
        assert MACHINE_PATH.search(text), text
    for text in ("../../shared/palm", "…/V0008.jpg", "https://example.org/a/b", "12/13, 1/2"):
        assert not MACHINE_PATH.search(text), text
