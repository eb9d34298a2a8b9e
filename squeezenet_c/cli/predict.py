"""The commands on single pictures: `predict` and `explain`."""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from ..base.language import class_name, translate
from ..base.ranks import Ranks
from ..base.write import write_table
from ..data.folders import find_pictures
from ..inference.cam import explain
from ..inference.predict import Answer, predict_files
from ..model import Model
from .groups import group
from .options import add_model, add_model_precision, add_tta, fail

FEW = 100  # pictures that need no progress bar

# -- predict ---------------------------------------------------------------------------------------


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The options of `predict`."""
    add_model(parser)
    _add_images(parser)
    add_model_precision(parser)
    add_tta(parser)
    group(parser, "data").add_argument(
        "--skip-bad", action="store_true", help="let files that are broken pass"
    )
    output = group(parser, "output")
    output.add_argument("--out", metavar="FILE", help="write the answers into this CSV file too")
    output.add_argument("--json", action="store_true", help="print a JSON array only")
    parser.set_defaults(run=_predict, shared=True)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="a picture, a folder of pictures at any depth, "
        "or a pattern such as 'photos/*.jpg'"
    )  # fmt: skip


def _predict(options: argparse.Namespace) -> int:
    model = Model.load(options.model, options.precision)
    paths = find_pictures(options.images)
    answered: list[tuple[str, Answer]] = []
    bad: list[str] = []
    ranks: Ranks = options.ranks
    with _bar(len(paths) if ranks.leads else 0) as bar:
        for path, answer in predict_files(model, paths, ranks=ranks, tta=options.tta):
            bar.update()
            if isinstance(answer, str):
                bad.append(answer)
                continue
            answered.append((path, answer))
            if not options.json:
                where = f"{path}: " if paths != options.images or len(paths) > 1 else ""
                bar.write(f"{where}{answer_line(answer)}", file=sys.stdout)
    if options.json:
        print(json.dumps([_row(*pair) for pair in answered], ensure_ascii=False))
    if options.out and ranks.leads:
        _write_table(model, answered, options.out)
    return _status(bad, len(paths), options.skip_bad, ranks)


def answer_line(answer: Answer) -> str:
    """What is said of a picture; in Chinese the tutorial's line."""
    return translate(
        "Predicted: {name}, confidence: {confidence:.4f}",
        name=class_name(answer.name),
        confidence=answer.confidence,
    )


def _bar(pictures: int) -> Any:
    """Over so many pictures, on stderr: shown where it is a terminal, and they are many."""
    from tqdm import tqdm

    hidden = None if pictures > FEW else True  # None: where stderr is no terminal
    return tqdm(total=pictures, unit=" pictures", leave=False, disable=hidden)


def _row(path: str, answer: Answer) -> dict[str, Any]:
    return {
        "path": path,
        "label": answer.label,
        "name": answer.name,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities.tolist(),
    }


def _write_table(model: Model, answered: list[tuple[str, Answer]], path: str) -> None:
    names = [f"probability {model.name_of(label)}" for label in range(model.num_classes)]
    rows = (
        (picture, answer.label, answer.name, answer.confidence, *answer.probabilities.tolist())
        for picture, answer in answered
    )
    write_table(path, ["path", "label", "name", "confidence", *names], rows)


def _status(bad: list[str], pictures: int, skip_bad: bool, ranks: Ranks) -> int:
    """Name the files that were no pictures; the exit status."""
    if skip_bad and len(bad) < pictures:
        if bad:
            warnings.warn(f"{len(bad)} files were skipped; the first: {bad[0]}", stacklevel=2)
        return 0
    for reason in bad:
        fail(reason, ranks)
    return 1 if bad else 0


# -- explain ---------------------------------------------------------------------------------------


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    add_model(parser)
    _add_images(parser)
    output = group(parser, "output")
    output.add_argument("--out", metavar="DIR", required=True, help="folder for a PNG a picture")
    output.add_argument("--label", type=int, help="the class's number (default: the answer's)")
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> int:
    model = Model.load(options.model)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    images = find_pictures(options.images)
    for image, name in zip(images, _file_names(images), strict=True):
        explanation = explain(model, image, options.label)
        explanation.save(folder / name)
        print(
            f"{image}: {class_name(explanation.name)}, probability "
            f"{explanation.probability:.4f}, in {folder / name}"
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
