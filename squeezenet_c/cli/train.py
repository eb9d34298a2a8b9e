"""The commands that train: `train` and `demo`."""

import argparse
import time
import warnings
from pathlib import Path

from .. import History, Model, TrainingError, predict, synthetic, train
from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..inference.predict import choose_threshold, evaluate
from ..training.resume import STATE_IN_RUN_FOLDER, RunState
from .classes import add_classes, classes_line
from .options import (
    ARGUMENTS_FILE,
    DEFAULT_ARCH,
    add_finetuning,
    add_precision,
    add_train_options,
    fail,
    on_error,
    positive,
    recipe_of,
    settle_rates,
    whole,
    write_arguments,
)

DEFAULT_VALID_FRACTION = 0.2  # where DATA has no validation set

# -- train -----------------------------------------------------------------------------------------


def add_train(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    add_train_options(parser)
    add_classes(parser)
    add_finetuning(parser)
    add_run_end(parser)
    add_precision(parser)
    parser.set_defaults(run=_train, usage_error=parser.error)


def _train(options: argparse.Namespace) -> int:
    if not options.data:
        options.usage_error("the following arguments are required: DATA")
    check_run_end(options)
    settle_rates(options)
    best, last, csv, png = _outputs(options.out)
    state = Path(options.out) / STATE_IN_RUN_FOLDER if options.out else None
    training, valid = load_training_data(options.data, options.class_names, **on_error(options))
    fraction = options.valid_fraction
    if valid is None and fraction is None:
        fraction = DEFAULT_VALID_FRACTION
    model = _model_to_train(options, training.class_names)
    print(classes_line(model, {"training": training, "validation": valid}), flush=True)
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
    return fail(failure) if failure else 0


def _model_to_train(options: argparse.Namespace, class_names: tuple[str, ...]) -> Model:
    if options.resume:
        model = RunState.read(options.resume).new_network(Model)
    elif options.pretrained:
        model = Model.from_pretrained(
            options.pretrained, seed=options.seed, class_names=class_names
        )
        _take_network(options, model)
    else:
        options.arch = options.arch or DEFAULT_ARCH
        model = Model(
            options.arch,
            num_classes=len(class_names),
            seed=options.seed,
            bypass=options.bypass,
            final_relu=options.final_relu,
        )
    if model.class_names is None:
        model.class_names = class_names
    if options.positive is not None:
        model.positive = options.positive
    return model


def _take_network(options: argparse.Namespace, model: Model) -> None:
    """Into the options, what network the weights to start from are of. ValueError: the options say
    another."""
    for name, found in (
        ("arch", model.version),
        ("bypass", model.spec["bypass"]),
        ("final_relu", model.spec["final_relu"]),
    ):
        given = getattr(options, name)
        if given and given != found:
            shown = "" if given is True else f" {given}"
            raise ValueError(
                f"--{name.replace('_', '-')}{shown} and --pretrained {options.pretrained}: that "
                f"network has {name} {found}"
            )
        setattr(options, name, found)


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


# -- train, once the model is trained --------------------------------------------------------------


def add_run_end(parser: argparse.ArgumentParser) -> None:
    """The options of `train` on it."""
    parser.add_argument(
        "--choose-threshold", action="store_true", help="store in the best model the decision "
        "threshold that is best, by Youden's index, on the --valid-fraction of the training "
        "pictures (default: the more probable class is the answer)"
    )  # fmt: skip


def check_run_end(options: argparse.Namespace) -> None:
    """ValueError, before anything is trained, where there will be no pictures to choose on."""
    if options.choose_threshold and options.valid_fraction is None:
        raise ValueError("--choose-threshold needs --valid-fraction, the pictures it is chosen on")


def end_run(
    options: argparse.Namespace,
    history: History,
    checkpoint: Path,
    training: Dataset,
    valid: Dataset | None,
    fraction: float | None,
) -> None:
    """Choose the threshold and write the confusion matrix, as the options say. The matrix is the
    best model's, on the validation set; without one, on the part of the training set it was chosen
    on. history.held_out is then with the threshold."""
    if not (options.choose_threshold or options.out):
        return
    best = Model.load(checkpoint, options.precision)
    part = None if fraction is None else training.split(fraction, options.seed)[1]
    if options.choose_threshold:
        _store_threshold(best, part, checkpoint)
    found = evaluate(best, part if valid is None else valid)
    if history.held_out:
        history.held_out = found
    if options.out:
        from ..reports.plots import confusion_plot

        path = Path(options.out) / "confusion_matrix.png"
        confusion_plot(found.confusion_matrix, found.class_names, path)


def _store_threshold(best: Model, part: Dataset, checkpoint: Path) -> None:
    """A set that no threshold can be chosen on is worth a warning: the model is trained."""
    try:
        threshold = choose_threshold(best, part)
    except ValueError as error:
        warnings.warn(f"no threshold was chosen: {error}", stacklevel=2)
        return
    best.save(checkpoint)
    print(f"Threshold: {threshold:.4f}, chosen on {len(part)} training pictures held out")


# -- demo ------------------------------------------------------------------------------------------


def add_demo(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("--out", default="runs/demo", metavar="DIR")
    parser.add_argument("--epochs", type=positive, default=8)
    parser.add_argument("--pictures", type=positive, default=160)
    parser.add_argument("--seed", type=whole, default=0)
    parser.set_defaults(run=_demo)


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
        return fail("stopped by Ctrl-C")
    _print_best(history, best)
    example = valid.paths[-1]
    answer = predict(Model.load(best), example)
    print(f"{example}: 预测结果为：{answer.name},置信度为: {answer.confidence:.4f}")
    print(f"Done in {time.perf_counter() - start:.0f} s; all of it is in {options.out}")
    return 0
