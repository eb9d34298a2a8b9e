"""The commands on single pictures: `predict` and `explain`."""

import argparse
import json
from pathlib import Path

from .. import Model, predict
from ..inference.cam import explain
from .options import add_precision

# -- predict ---------------------------------------------------------------------------------------


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The options of `predict`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    add_precision(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON array only")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    model = Model.load(options.model, options.precision)
    answers = predict(model, options.images)
    if options.json:
        rows = [
            {
                "path": path,
                "label": answer.label,
                "name": answer.name,
                "confidence": answer.confidence,
                "probabilities": answer.probabilities.tolist(),
            }
            for path, answer in zip(options.images, answers, strict=True)
        ]
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    for path, answer in zip(options.images, answers, strict=True):
        where = f"{path}: " if len(answers) > 1 else ""
        print(f"{where}预测结果为：{answer.name},置信度为: {answer.confidence:.4f}")
    return 0


# -- explain ---------------------------------------------------------------------------------------


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for a PNG a picture")
    parser.add_argument("--label", type=int, help="the class's number (default: the answer's)")
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    model = Model.load(options.model)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    for image, name in zip(options.images, _file_names(options.images), strict=True):
        explanation = explain(model, image, options.label)
        explanation.save(folder / name)
        print(
            f"{image}: {explanation.name}, probability {explanation.probability:.4f}, in "
            f"{folder / name}"
        )
    return 0


def _file_names(images: list[str]) -> list[str]:
    """A PNG's name for each: the picture's, with a number where two have the same."""
    names: list[str] = []
    for image in images:
        stem, name, number = Path(image).stem, f"{Path(image).stem}.png", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}.png"
        names.append(name)
    return names
