"""The commands on a model or an installation as such: `export`, `summary` and `info`."""

import argparse
import json
import os
from typing import Any

from .. import Model, build_info
from ..compression.quantize import quantize
from ..compression.size import size_table, total_size
from ..data.layouts import load_training_data
from ..data.provenance import file_hash, lines_of
from ..files.export import STEPS_TOLERANCE, TOLERANCE, export, exported_precision, verify
from ..files.native import model_file
from ..inference.predict import match_classes
from ..summary import summary_totals
from .classes import MOST
from .groups import group
from .options import add_model, add_network, add_precision, fail, network_of, positive

# -- export ----------------------------------------------------------------------------------------


def add_export(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    add_model(parser)
    parser.add_argument(
        "out", metavar="OUT", help="the file to write, ending in .pth, .pt, .onnx, .safetensors, "
        "or of an int8 model in .c or .html (a page that answers pictures in a browser, offline)"
    )  # fmt: skip
    group(parser, "data").add_argument(
        "--calibrate", metavar="DATA", nargs="+", help="quantise the model on the way, with scales "
        "from these training pictures (see `quantize`)"
    )  # fmt: skip
    group(parser, "output").add_argument(
        "--verify", metavar="PICTURE", nargs="+", help="then compare logits of these "
        "pictures, by ONNX Runtime or PyTorch from the file written, with ours"
    )  # fmt: skip
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    if options.calibrate:
        model = _quantised(options)
    else:
        model = Model.load(options.model)
    export(model, options.out)
    print(f"Written: {options.out}")
    if not options.verify:
        return 0
    difference = verify(model, options.out, options.verify)
    tolerance, unit = TOLERANCE, "of the largest logit"
    if exported_precision(model, options.out) == "int8":
        tolerance, unit = STEPS_TOLERANCE, "steps of the last convolution's sums"
    count = len(options.verify)
    print(f"Largest difference of logits over {count} pictures: {difference:.2g} {unit}")
    if not difference <= tolerance:  # so that NaN fails too
        return fail(
            f"{options.out} does not compute what the model does, within {tolerance:g} {unit}"
        )
    return 0


def _quantised(options: argparse.Namespace) -> Model:
    model = Model.load(options.model, "float32")
    training = load_training_data(options.calibrate, model.class_names).training
    return quantize(model, match_classes(training, model.class_names, model.num_classes))


# -- summary ---------------------------------------------------------------------------------------


def add_summary(parser: argparse.ArgumentParser) -> None:
    """The options of `summary`."""
    add_model(parser, nargs="?")
    add_network(parser)
    network = group(parser, "network")
    network.add_argument("--num-classes", type=positive, default=2, help="without MODEL")
    network.add_argument(
        "--image-size", type=positive, help="of the picture, pixels a side (default: the model's)"
    )
    group(parser, "output").add_argument(
        "--json", action="store_true", help="print the totals only, as JSON"
    )
    parser.set_defaults(run=_summary)


def _summary(options: argparse.Namespace) -> int:
    if options.model:
        model = Model.load(options.model)
    else:
        model = network_of(options, options.num_classes)
    size = options.image_size or model.image_size
    print(json.dumps(summary_totals(model, size)) if options.json else model.summary(size))
    return 0


# -- info ------------------------------------------------------------------------------------------


def add_info(parser: argparse.ArgumentParser) -> None:
    """The options of `info`."""
    add_model(parser, nargs="?", text="say what is in it (default: what is installed)")
    computing = group(parser, "computing")
    computing.add_argument("--plan", metavar="ARCH", help="time each op of a network, 1_0 or 1_1")
    computing.add_argument("--training", action="store_true", help="the plan of training")
    add_precision(parser)
    computing.add_argument(
        "--image-size", type=positive, default=224, help="of --plan's picture, pixels a side"
    )
    computing.add_argument(
        "--repeats", type=positive, default=20, help="passes, of which the median is shown"
    )
    group(parser, "output").add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    if options.model:
        return _model_info(options)
    rows = None
    if options.plan:
        size = options.image_size
        model = Model(options.plan, precision=options.precision)
        rows = model.plan(size, size, options.training, options.repeats)
    if options.json:
        print(json.dumps(build_info() | ({"plan": rows} if options.plan else {})))
        return 0
    for name, value in build_info().items():
        lines = [", ".join(value)] if isinstance(value, list) else [value]
        if isinstance(value, dict):  # convolutions: one kind of layer a line
            lines = [
                f"{layer}: {', '.join(f'{part} {backend}' for part, backend in parts.items())}"
                for layer, parts in value.items()
            ]
        for number, line in enumerate(lines):
            print(f"{'' if number else name:16}{line}".rstrip())
    if rows:
        _print_plan(rows)
    return 0


def _model_info(options: argparse.Namespace) -> int:
    path = model_file(options.model)
    model = Model.load(path)
    facts: dict[str, Any] = {
        "file": path,
        "bytes": os.path.getsize(path),
        "sha256": file_hash(path),
        "version": model.version,
        "classes": [model.name_of(label) for label in range(model.num_classes)],
        "image_size": model.image_size,
        "parameters": model.parameter_count,
        "precision": model.precision,
    }
    if model.quantization is not None:
        size = total_size(model)
        facts |= {"density": size.density, "bits_a_weight": size.bits_a_weight}
    if options.json:
        print(json.dumps(facts | {"provenance": model.provenance}, ensure_ascii=False))
        return 0
    for name, value in facts.items():
        if isinstance(value, list):
            value = ", ".join(value[:MOST]) + (", ..." if len(value) > MOST else "")
        shown = f"{value:.3f}" if isinstance(value, float) else value
        print(f"{name:16}{value:,}" if isinstance(value, int) else f"{name:16}{shown}")
    for name, text in lines_of(model.provenance):
        print(f"trained: {name:15} {text}")
    if model.quantization is not None:
        print(size_table(model))
    return 0


def _print_plan(rows: list[dict[str, Any]]) -> None:
    columns = ("layer", "op", "implementation", "layout", "milliseconds")
    cells = [[row[column] for column in columns] for row in rows]
    texts = [list(columns)] + [[*cell[:4], f"{cell[4]:.3f}"] for cell in cells]
    widths = [max(len(text[i]) for text in texts) for i in range(len(columns))]
    print()
    for text in texts:
        padded = [f"{word:{width}}" for word, width in zip(text, widths, strict=True)]
        print("  ".join(padded).rstrip())
    print(f"\n{sum(cell[4] for cell in cells):.3f} ms a picture on one thread, {len(rows)} ops")
