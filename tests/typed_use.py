"""Calls as users write them, for mypy alone: what the documentation shows has to pass type checks.
No test runs this; `mypy` reads it."""

from pathlib import Path

import numpy as np

import squeezenet_c as sq


def train_and_predict(folder: Path) -> float:
    train, valid = sq.Dataset.from_folder(folder).split(0.2, seed=0)
    model = sq.Model("1_1", num_classes=2, seed=0)
    history = sq.train(model, train, valid, epochs=2, checkpoint=folder / "best.safetensors")
    history.plot(folder / "curves.png")
    best = sq.Model.load(folder / "best.safetensors")
    temperature: float = best.calibrate(valid)
    assert temperature == best.temperature
    whole: sq.Model = sq.quantize(best, train)
    best = whole if whole.precision == "int8" else best.quantize(train, pictures=20)
    answer = sq.predict(best, valid.paths[0])
    evaluation: sq.Evaluation = sq.evaluate(best, valid)
    report: sq.Report = sq.report(best, valid, folder / "report")
    comparison: sq.Comparison = sq.compare(best, model, valid, folder / "compared")
    difference: float | None = comparison.differences["auc"].p
    assert difference is None or evaluation.ppv is None or best.provenance["seed"] == 0
    return answer.confidence + evaluation.accuracy + report.summary.accuracy


def copy_weights(a: sq.Model, b: sq.Model) -> None:
    a.load_state_dict(b.state_dict())
    twin: sq.Model = a.copy()
    optimizer = sq.Adam(twin, lr=1e-3)
    optimizer.load_state_dict(optimizer.state_dict())


def step(model: sq.Model, x: np.ndarray, labels: list[int]) -> float:
    optimizer = sq.Adam(model)
    probabilities = model.predict_proba(["a.jpg", "b.jpg"])
    names = [answer.name for answer in sq.predict(model, ["a.jpg", "b.jpg"])]
    assert len(names) == len(probabilities)
    return model.train_step(x, labels, optimizer)
