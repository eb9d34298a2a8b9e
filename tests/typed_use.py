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


def other_ways_of_training(train: sq.Dataset, test: sq.Dataset) -> float | None:
    model = sq.Model.from_pretrained("a.safetensors", image_size=96, dropout=0.25)
    rates: sq.RangeTest = sq.lr_find(model, train, optimizer="sgd")
    made = sq.SGD(model, rates.suggestion or 0.01, momentum=0.8, clip_norm=1.0, ema=0.99)
    seen: list[float] = []
    history = model.train(
        train,
        test=test,
        valid_fraction=0.2,
        monitor="auc",
        optimizer=made,
        on_epoch=lambda row, model: seen.append(row.loss),
    )
    return history.best.valid_auc if history.best else None


def step(model: sq.Model, x: np.ndarray, labels: list[int]) -> float:
    optimizer = sq.Adam(model)
    probabilities = model.predict_proba(["a.jpg", "b.jpg"])
    names = [answer.name for answer in sq.predict(model, ["a.jpg", "b.jpg"])]
    assert len(names) == len(probabilities)
    return model.train_step(x, labels, optimizer)
