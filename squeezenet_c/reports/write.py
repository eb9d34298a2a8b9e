"""A report on a model: a folder of figures, plots, tables and one page that holds it all."""

import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.language import translate
from ..base.ranks import hash_of, over_ranks
from ..base.write import write_table, write_text
from ..data import palm
from ..data.check import DataCheck, check_data
from ..data.dataset import Dataset
from ..data.provenance import data_of, file_hash, now, software
from ..inference.cam import explain
from ..inference.comparison import Judged
from ..inference.decisions import DecisionCurve, decision_curve
from ..inference.evaluation import Evaluation
from ..inference.intervals import RESAMPLES, SEED, measure
from ..inference.metrics import decide, positive_last, softmax
from ..inference.predict import dataset_logits, match_classes, refuse_differences
from ..inference.weighted import check_prevalence
from ..network import Network
from .findings import Report
from .page import write_page
from .predictions import write_predictions

WORST, WORST_ENDING = 8, ".cam.png"  # pictures that are shown, and how their files' names end
PLOTS = ("confusion_matrix", "roc", "reliability", "scores", "precision_recall", "net_benefit")


@over_ranks
def report(
    model: Network,
    dataset: Dataset,
    folder: str | os.PathLike,
    *,
    training: Dataset | None = None,
    title: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    tta: bool = False,
    prevalence: float | None = None,
    model_file: str | os.PathLike | None = None,
    command: str | None = None,
    comm: Any = None,
) -> Report:
    """Evaluate `model` on `dataset` and write into `folder` (made if need be):

    index.html       all of the below on one page, which needs no other file
    metrics.json     figures with their intervals, and what they were computed from; a row a class,
                     net benefits
    provenance.json  where they come from: date, command, hashes of model and pictures, versions of
                     the software, and what the model says of its training
    predictions.csv  a line a picture
    Classification_Results.csv    with PALM's classes: its form, FileName and PM Risk
    confusion_matrix.png, roc.png, reliability.png, scores.png, precision_recall.png and, of two
                     classes, net_benefit.png    where matplotlib is installed
    worst/           activation maps of the pictures it gets most wrong

    title       of the page (default: "SqueezeNet: report", in the language)
    training    its training pictures: checked for pictures that are in both sets
    resamples, seed     of the intervals
    tta         see predict_proba; activation maps are of the pictures as they are
    prevalence  the share of positives where the model is to be used, for PPV, NPV and net benefits
                (default: the set's own)
    model_file, command     for provenance.json: the file that the model was loaded from, and what
                was said to make the report
    comm        an mpi4py communicator, whose ranks share the pictures; rank 0 alone writes, and its
                Report alone has `plots` and `worst`

    ValueError: a set of other classes, see match_classes, or a prevalence that is none. OSError: a
    file cannot be written.
    """
    check_prevalence(prevalence, model.num_classes)
    dataset = match_classes(dataset, model.class_names, model.num_classes)
    if training is not None:
        training = match_classes(training, model.class_names, model.num_classes)
    folder = Path(folder)
    if comm.leads:
        folder.mkdir(parents=True, exist_ok=True)
    refuse_differences(comm, model, dataset)
    logits = dataset_logits(model, dataset, tta=tta, comm=comm)
    names = model.class_names or tuple(str(label) for label in range(model.num_classes))
    probabilities = softmax(logits)
    predicted = decide(probabilities, model.threshold, model.positive)
    findings = Report(
        figures=measure(
            *positive_last(model.positive, dataset.labels, probabilities, predicted),
            resamples,
            seed,
            prevalence,
        ),
        summary=Evaluation.from_logits(
            logits, dataset.labels, names, model.threshold, model.positive, prevalence
        ),
        paths=dataset.paths,
        labels=dataset.labels,
        predicted=predicted,
        probabilities=probabilities,
        class_names=names,
        positive=model.positive,
        threshold=model.threshold,
        notes=[
            translate("Not evaluated: {path}: {why}", path=path, why=why)
            for path, why in dataset.skipped
        ],
        prevalence=prevalence,
        curve=_curve(model.positive, dataset.labels, probabilities, prevalence),
    )
    if not comm.leads:
        return findings
    findings.provenance.update(_provenance(model, dataset, model_file, command))
    checked = _check(training, dataset)
    _explain_worst(findings, model, dataset, folder / "worst")
    _write_plots(findings, folder)
    write_predictions(
        Judged(title or "", dataset.paths, names, dataset.labels, predicted, probabilities),
        folder / "predictions.csv",
    )
    if set(names) == set(palm.CLASS_NAMES):
        _write_results(findings, folder / "Classification_Results.csv")
    _write_json(findings, folder / "metrics.json", resamples, seed)
    _dump(findings.provenance, folder / "provenance.json")
    write_page(
        findings,
        checked,
        folder / "index.html",
        title or translate("SqueezeNet: report"),
        resamples,
    )
    return findings


def _curve(
    positive: int | None,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    prevalence: float | None,
) -> DecisionCurve | None:
    if positive is None:
        return None
    return decision_curve(labels == positive, probabilities[:, positive], prevalence)


def _provenance(
    model: Network, dataset: Dataset, file: str | os.PathLike | None, command: str | None
) -> dict[str, Any]:
    said: dict[str, Any] = {"weights": hash_of(model.state_dict()), "precision": model.precision}
    if file is not None:
        said = {"file": os.path.basename(file), "sha256": file_hash(file), **said}
    return {
        "date": now(),
        "command": command,
        "model": said,
        "data": data_of(dataset),
        "software": software(),
        "training": model.provenance,
    }


def _check(training: Dataset | None, dataset: Dataset) -> DataCheck | None:
    if training is None:
        return None
    return check_data(training, dataset)


def _explain_worst(findings: Report, model: Network, dataset: Dataset, folder: Path) -> None:
    of_truth = findings.probabilities[np.arange(len(findings.labels)), findings.labels]
    folder.mkdir(exist_ok=True)
    for rank in range(1, WORST + 1):  # of an earlier report: it may have had other pictures
        for stale in folder.glob(f"{rank}_*{WORST_ENDING}"):
            stale.unlink()
    for rank, place in enumerate(np.argsort(of_truth, kind="stable")[:WORST].tolist(), 1):
        path, label = findings.paths[place], int(findings.labels[place])
        explanation = explain(model, dataset.original(place), label)
        explanation.save(folder / f"{rank}_{Path(path).stem}{WORST_ENDING}")
        findings.worst.append((place, explanation))


# -- Plots -----------------------------------------------------------------------------------------


def _write_plots(findings: Report, folder: Path) -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        findings.notes.append(translate("There are no plots, for matplotlib is not installed."))
        warnings.warn(
            "the report has no plots, for matplotlib is not installed (pip install matplotlib)",
            stacklevel=3,
        )
        return
    from ..base.plots import caption
    from . import plots

    names, labels = findings.class_names, findings.labels
    paths = {name: folder / f"{name}.png" for name in PLOTS}
    plots.confusion_plot(findings.summary.confusion_matrix, names, paths[PLOTS[0]])
    positive = findings.positive
    columns = list(range(len(names))) if positive is None else [positive]
    matrix = findings.summary.confusion_matrix
    shares = np.diag(matrix) / np.maximum(1, matrix.sum(axis=1))
    plots.roc_plot(
        labels[:, None] == columns,
        findings.probabilities[:, columns],
        tuple(names[column] for column in columns),
        None if positive is None else (1 - shares[1 - positive], shares[positive]),
        paths["roc"],
    )
    most = findings.probabilities.max(axis=1)
    right = findings.probabilities.argmax(axis=1) == labels
    plots.reliability_plot(right, most, findings.summary.calibration_error, paths["reliability"])
    score, what = most, caption("the most probable class")
    if positive is not None:
        score, what = findings.probabilities[:, positive], names[positive]
    threshold = None if positive is None else findings.threshold or 0.5
    plots.scores_plot(labels, score, names, what, threshold, paths["scores"])
    plots.precision_recall_plot(
        labels[:, None] == columns,
        findings.probabilities[:, columns],
        tuple(names[column] for column in columns),
        paths["precision_recall"],
    )
    if findings.curve is None:
        del paths["net_benefit"]
    else:
        plots.net_benefit_plot(findings.curve, threshold, paths["net_benefit"])
    findings.plots.update(paths)


# -- Tables ----------------------------------------------------------------------------------------


def _write_results(findings: Report, path: Path) -> None:
    """The file that the PALM challenge asks for: a picture's name and the probability that it is
    pathologic, whichever class is the positive one."""
    risks = findings.probabilities[:, findings.class_names.index(palm.CLASS_NAMES[1])]
    rows = (
        (os.path.basename(picture), f"{risk:.6f}")
        for picture, risk in zip(findings.paths, risks, strict=True)
    )
    write_table(path, ["FileName", "PM Risk"], rows, end="\n")


def _write_json(findings: Report, path: Path, resamples: int, seed: int) -> None:
    contents = {
        "pictures": len(findings.paths),
        "class_names": list(findings.class_names),
        "positive": findings.positive,
        "threshold": findings.threshold,
        "loss": findings.summary.loss,
        "confusion_matrix": findings.summary.confusion_matrix.tolist(),
        "figures": {name: figure.to_dict() for name, figure in findings.figures.items()},
        "prevalence": findings.prevalence,
        "per_class": [asdict(row) for row in findings.summary.per_class],
        "net_benefit": None if findings.curve is None else findings.curve.to_dict(),
        "intervals": {"confidence": 0.95, "resamples": resamples, "seed": seed},
    }
    _dump(contents, path)


def _dump(contents: dict[str, Any], path: Path) -> None:
    import json

    write_text(path, json.dumps(contents, ensure_ascii=False, indent=2) + "\n")
