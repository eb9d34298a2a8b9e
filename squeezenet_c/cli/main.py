"""The command line. Exit status: 0 done, 1 the work failed (one sentence on stderr), 2 wrong usage.

A run that Ctrl-C ended is work that failed; what it had done is written all the same.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import (
    History,
    Model,
    TrainingError,
    __version__,
    build_info,
    predict,
    set_backend,
    set_num_threads,
    train,
)
from ..data import synthetic
from ..data.layouts import load_training_data
from ..training.resume import STATE_IN_RUN_FOLDER, RunState
from .options import (
    ARGUMENTS_FILE,
    add_finetuning,
    add_network,
    add_precision,
    add_train,
    begun_with,
    check_network,
    positive,
    recipe_of,
    settle_rates,
    whole,
    write_arguments,
)
from .report import add_check, add_evaluate, add_explain
from .train import add_run_end, check_run_end, end_run

DEFAULT_VALID_FRACTION = 0.2  # where DATA has no validation set


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # Chinese, whatever the locale says
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            if getattr(options, "resume", None):
                begun = begun_with(options)
                options = _parser(begun).parse_args(arguments)
                check_network(options, begun)
            if options.threads is not None:
                set_num_threads(options.threads)
            if options.backend is not None:
                set_backend(options.backend)
            return options.run(options)
        except KeyboardInterrupt:
            return _fail("stopped by Ctrl-C")
        except BrokenPipeError:  # the reader of our output has gone; so has stdout's flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError) as error:
            return _fail(_sentence(error))


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _fail(sentence: str) -> int:
    print(f"squeezenet-c: {sentence}", file=sys.stderr)
    return 1


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"squeezenet-c: warning: {message}", file=sys.stderr)


# -- Options ---------------------------------------------------------------------------------------


def _parser(train_defaults: dict[str, Any] | None = None) -> argparse.ArgumentParser:
    """train_defaults: what `train` takes for options that are not given, in place of its own."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=positive, help="default: all that the process may use")
    common.add_argument(
        "--backend", choices=("mixed", "onednn", "openmp"), help="default: the faster one"
    )
    parser = argparse.ArgumentParser(
        prog="squeezenet-c", description="Train and run SqueezeNet on a CPU."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(run=run)
        return added

    parsed = command("train", _train, "train a model and keep the best one")
    add_train(parsed)
    add_finetuning(parsed)
    add_run_end(parsed)
    add_precision(parsed)
    parsed.set_defaults(usage_error=parsed.error, **(train_defaults or {}))

    parsed = command("evaluate", None, "measure a model on a labelled set")
    add_evaluate(parsed)
    add_precision(parsed)

    add_check(command("check", None, "look for duplicates and unreadable files in data"))

    parsed = command("predict", _predict, "say what is in pictures")
    parsed.add_argument("model", metavar="MODEL")
    parsed.add_argument("images", metavar="IMAGE", nargs="+")
    add_precision(parsed)
    parsed.add_argument("--json", action="store_true", help="print a JSON array only")

    add_explain(command("explain", None, "write what pictures' answers are based on, as colours"))

    parsed = command("export", _export, "write a model for PyTorch or ONNX runtimes")
    parsed.add_argument("model", metavar="MODEL")
    parsed.add_argument(
        "out", metavar="OUT", help="the file to write, ending in .pth, .pt, .onnx or .safetensors"
    )
    parsed.add_argument(
        "--verify", metavar="PICTURE", nargs="+", help="then compare probabilities of these "
        "pictures, by ONNX Runtime or PyTorch from the file written, with ours"
    )  # fmt: skip

    parsed = command("summary", _summary, "print a model's layers")
    parsed.add_argument("model", metavar="MODEL", nargs="?")
    add_network(parsed)
    parsed.add_argument("--num-classes", type=positive, default=2)
    parsed.add_argument("--image-size", type=positive)
    parsed.add_argument("--json", action="store_true", help="print the totals only, as JSON")

    parsed = command("info", _info, "print what is installed and in use")
    parsed.add_argument("--plan", metavar="ARCH", help="time each op of a network: 1_0 or 1_1")
    parsed.add_argument("--training", action="store_true", help="the plan of training")
    add_precision(parsed)
    parsed.add_argument("--image-size", type=positive, default=224)
    parsed.add_argument("--repeats", type=positive, default=20)
    parsed.add_argument("--json", action="store_true")

    parsed = command("demo", _demo, "try everything out on synthetic pictures, in under a minute")
    parsed.add_argument("--out", default="runs/demo", metavar="DIR")
    parsed.add_argument("--epochs", type=positive, default=8)
    parsed.add_argument("--pictures", type=positive, default=160)
    parsed.add_argument("--seed", type=whole, default=0)
    return parser


def _on_error(options: argparse.Namespace) -> dict[str, str]:
    return {"on_error": "skip" if options.skip_bad else "raise"}


# -- Commands --------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    if not options.data:
        options.usage_error("the following arguments are required: DATA")
    check_run_end(options)
    settle_rates(options)
    best, last, csv, png = _outputs(options.out)
    state = Path(options.out) / STATE_IN_RUN_FOLDER if options.out else None
    training, valid = load_training_data(options.data, **_on_error(options))
    fraction = options.valid_fraction
    if valid is None and fraction is None:
        fraction = DEFAULT_VALID_FRACTION
    model = _model_to_train(options, len(training.class_names))
    if options.out and not options.resume:
        write_arguments(Path(options.out) / ARGUMENTS_FILE, options)
    failure = None
    try:
        history = train(
            model,
            training,
            valid,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            checkpoint=best,
            valid_fraction=fraction,
            augment=options.augment,
            early_stopping=options.early_stopping,
            recipe=recipe_of(options),
            precision=options.precision,
            freeze=options.freeze,
            weight_decay=options.weight_decay,
            label_smoothing=options.label_smoothing,
            class_weights=options.class_weights,
            state=state,
            resume=state if options.resume else None,
        )
    except TrainingError as error:
        history, failure = error.history, str(error)
    if options.resume:  # only now that they were not refused
        write_arguments(Path(options.out) / ARGUMENTS_FILE, options)
    if last:
        model.save(last)
    _write_history(history, csv, png)
    if history.best:
        if not (history.interrupted or failure):
            end_run(options, history, best, training, valid, fraction)
        _print_best(history, best)
    if history.interrupted:
        failure = f"stopped by Ctrl-C after {len(history)} whole epochs"
        if state:
            failure += f"; to go on: squeezenet-c train --resume {options.out}"
    return _fail(failure) if failure else 0


def _model_to_train(options: argparse.Namespace, classes: int) -> Model:
    if options.resume:
        return RunState.read(options.resume).new_model()
    if options.pretrained:
        return Model.from_pretrained(options.pretrained, classes, options.seed)
    return Model(
        options.arch,
        num_classes=classes,
        seed=options.seed,
        bypass=options.bypass,
        final_relu=options.final_relu,
    )


def _outputs(out: str | None) -> tuple[Path, Path | None, Path, Path]:
    """(best model, last model, table, plot); folders are made."""
    if out is None:
        return Path("best_model.safetensors"), None, Path("results.csv"), Path("results.png")
    folder = Path(out)
    weights = folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    return (
        weights / "best.safetensors",
        weights / "last.safetensors",
        folder / "results.csv",
        folder / "results.png",
    )


def _write_history(history: History, csv: Path, png: Path) -> None:
    if history.rows:
        history.to_csv(csv)
        history.plot(png)


def _print_best(history: History, checkpoint: Path) -> None:
    row = history.best
    share, loss = row.valid_acc, row.valid_loss
    print(f"Best: epoch {row.epoch}, accuracy {share:.1%}, loss {loss:.3f}, in {checkpoint}")
    if history.held_out:
        print(f"On the validation set, which had no part in choosing it:\n{history.held_out}")


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


def _export(options: argparse.Namespace) -> int:
    from ..files.export import TOLERANCE, export, verify

    model = Model.load(options.model)
    export(model, options.out)
    print(f"Written: {options.out}")
    if not options.verify:
        return 0
    difference = verify(model, options.out, options.verify)
    print(
        f"Largest difference of probabilities over {len(options.verify)} pictures: {difference:.2g}"
    )
    if not difference <= TOLERANCE:  # so that NaN fails too
        return _fail(f"{options.out} does not compute what the model does, within {TOLERANCE:g}")
    return 0


def _summary(options: argparse.Namespace) -> int:
    from ..summary import summary_totals

    if options.model:
        model = Model.load(options.model)
    else:
        model = Model(
            options.arch,
            options.num_classes,
            bypass=options.bypass,
            final_relu=options.final_relu,
        )
    size = options.image_size or model.image_size
    print(json.dumps(summary_totals(model, size)) if options.json else model.summary(size))
    return 0


def _info(options: argparse.Namespace) -> int:
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


def _demo(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    best, last, csv, png = _outputs(options.out)
    pictures = Path(options.out) / "pictures"
    print(f"Drawing {options.pictures} synthetic pictures of eyes into {pictures}")
    dataset = synthetic.write(pictures, options.pictures, options.seed)
    training, valid = dataset.split(0.25, options.seed)
    # Small pictures in small batches: a minute has to hold enough steps to learn in.
    model = Model("1_1", num_classes=2, seed=options.seed, image_size=96)
    history = train(
        model,
        training,
        valid,
        epochs=options.epochs,
        batch_size=8,
        seed=options.seed,
        checkpoint=best,
    )
    model.save(last)
    _write_history(history, csv, png)
    if history.interrupted:
        return _fail("stopped by Ctrl-C")
    _print_best(history, best)
    example = valid.paths[-1]
    answer = predict(Model.load(best), example)
    print(f"{example}: 预测结果为：{answer.name},置信度为: {answer.confidence:.4f}")
    print(f"Done in {time.perf_counter() - start:.0f} s; all of it is in {options.out}")
    return 0
