"""The command `compress`: a model's file made as small as is wanted, and what that costs."""

import argparse
import inspect

from .. import compress
from ..base.write import check_writable
from ..compression.size import size_table
from ..files.native import model_file
from ..model import Model
from .classes import classes_line
from .groups import group
from .judged import Row, comparison, load_sets
from .options import add_data_options, add_model, positive, whole
from .stopping import stopped

DEFAULTS = inspect.signature(compress).parameters


def add_compress(parser: argparse.ArgumentParser) -> None:
    """The options of `compress`."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="what the model was trained on, as `train` takes "
        "it: on the training pictures it learns to answer as before, and figures are from the "
        "validation pictures (without these, from a fifth of the former that it does not learn "
        "from)"
    )  # fmt: skip
    output = group(parser, "output")
    output.add_argument("--out", metavar="FILE", required=True, help="the compressed model")
    for name, kind, text in (
        ("size_kb", float, "the file is smaller than so many thousands of bytes"),
        ("epochs", positive, "epochs in which weights are pruned"),
        ("sharing_epochs", positive, "epochs in which the values that weights share learn"),
        ("batch_size", positive, "pictures a step"),
        ("lr", float, "peak learning rate"),
        ("seed", whole, "of the order and the flips of pictures, and of dropout"),
    ):
        group(parser, "training").add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=DEFAULTS[name].default,
            help=text,
        )  # fmt: skip
    output.add_argument("--plot", metavar="FILE", help="a plot of accuracy against size, a PNG")
    output.add_argument(
        "--state", metavar="FILE", help="where the state of the run is written, epoch by epoch"
    )
    output.add_argument(
        "--resume-from", metavar="FILE", help="a --state of the same command that was stopped, "
        "which is then resumed"
    )  # fmt: skip
    add_data_options(parser)
    parser.set_defaults(run=_compress)


def _compress(options: argparse.Namespace) -> int:
    source = model_file(options.model)
    check_writable(options.out)
    model = Model.load(source, "float32")
    training, judged = load_sets(model, options)
    print(classes_line(model, {"training": training, "to judge on": judged}), flush=True)
    try:
        compressed = compress(
            model,
            training,
            judged,
            size_kb=options.size_kb,
            epochs=options.epochs,
            sharing_epochs=options.sharing_epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            seed=options.seed,
            state=options.state,
            resume=options.resume_from,
            plot=options.plot,
        )
    except KeyboardInterrupt:
        state = options.state or options.resume_from
        hint = f"; to resume it, the same with --resume-from {state}" if state else ""
        return stopped(hint)
    before = Row.of(model, source, judged)  # now, for --out may be the same file
    compressed.save(options.out)
    after = Row.of(compressed, options.out, judged)
    print(size_table(compressed))
    print(f"{comparison(before, after, len(judged))}\nWritten: {options.out}")
    return 0
