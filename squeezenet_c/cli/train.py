"""The commands that train: `train` and `demo`."""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

from .. import History, Model, TrainingError, predict, synthetic, train
from ..base.language import translate
from ..base.ranks import Ranks
from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..inference.predict import choose_threshold, evaluate
from ..training.resume import RunState
from .arguments import ARGUMENTS_FILE, write_arguments
from .classes import add_classes, classes_line
from .groups import group
from .options import (
    DEFAULT_ARCH,
    SHAPES,
    add_finetuning,
    add_precision,
    add_train_options,
    dataset_options,
    network_changes,
    network_of,
    positive,
    settle_rates,
    train_arguments,
    whole,
)
from .predict import answer_line
from .run_folder import RunFolder, add_out, given_folder, new_folder
from .stopping import sigterm_raises, sigterm_waits, stopped

DEFAULT_VALID_FRACTION = 0.2  # where DATA has no validation set

# -- train -----------------------------------------------------------------------------------------


def add_train(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    add_train_options(parser)
    add_classes(parser)
    add_finetuning(parser)
    add_run_end(parser)
    add_precision(parser)
    parser.set_defaults(run=_train, usage_error=parser.error, parser=parser, shared=True)


def _train(options: argparse.Namespace) -> int:
    if not options.data:
        options.usage_error("the following arguments are required: DATA")
    check_run_end(options)
    settle_rates(options)
    ranks: Ranks = options.ranks
    ranks.check_training()
    run = ranks.from_leader(lambda: given_folder(options))
    training, valid, test = load_training_data(
        options.data, options.class_names, **dataset_options(options)
    )
    fraction = options.valid_fraction
    if valid is None and fraction is None:
        fraction = DEFAULT_VALID_FRACTION
    model = model_to_train(options, training.class_names)
    print(
        classes_line(model, {"training": training, "validation": valid, "test": test}), flush=True
    )
    if run is None:
        run = ranks.from_leader(lambda: new_folder("train"))
        options.out = str(run.folder)
        print(f"The run's folder: {run.folder}")
    if not options.resume and ranks.leads:
        run.remove_run()
        write_arguments(run.folder / ARGUMENTS_FILE, options)
    failure: TrainingError | None = None
    stop = sigterm_waits()
    try:
        history = train(
            model,
            training,
            valid,
            test=test,
            **train_arguments(options),
            seed=options.seed,
            checkpoint=run.best,
            valid_fraction=fraction,
            state=run.state,
            resume=run.state if options.resume else None,
            stop=stop,
            comm=ranks,
        )
    except TrainingError as error:
        history, failure = error.history, error
    sigterm_raises()
    if ranks.leads:
        if options.resume:  # only now that they were not refused
            write_arguments(run.folder / ARGUMENTS_FILE, options)
        model.save(run.last)
        _write_history(history, run)
    if history.best:
        if not (history.interrupted or failure):
            end_run(options, history, run, training, valid if test is None else test, fraction)
        _print_best(history, run.best, tested=test is not None)
    if history.interrupted:
        how = f" after {len(history)} whole epochs; to resume it: "
        return stopped(f"{how}squeezenet-c train --resume {options.out}", ranks)
    if failure:
        raise failure
    return 0


def model_to_train(options: argparse.Namespace, class_names: tuple[str, ...]) -> Model:
    """What add_start's options mean, or the run to resume."""
    changes = network_changes(options)
    if options.resume:
        state = options.ranks.from_leader(lambda: RunState.read(options.resume))
        model = state.new_network(Model)
        _refuse_changes(options, model, changes)
    elif options.pretrained:
        model = Model.from_pretrained(
            options.pretrained, seed=options.seed, class_names=class_names, **changes
        )
        _take_network(options, model)
    else:
        options.arch = options.arch or DEFAULT_ARCH
        model = network_of(options, len(class_names), options.seed, **changes)
    if model.class_names is None:
        model.class_names = class_names
    if options.positive is not None:
        model.positive = options.positive
    return model


def _refuse_changes(options: argparse.Namespace, model: Model, changes: dict[str, Any]) -> None:
    """ValueError where the options say another network than the resumed run's."""
    is_now = {**model.preprocessing.to_dict(), "dropout": model.spec["dropout"]}
    asked = model.copy(**changes)
    would_be = {**asked.preprocessing.to_dict(), "dropout": asked.spec["dropout"]}
    for name, found in would_be.items():
        if found != is_now[name]:
            raise ValueError(
                f"--{name.replace('_', '-')} is {found!r}, expected {is_now[name]!r}, with which "
                f"the run in {options.resume} was begun"
            )


def _take_network(options: argparse.Namespace, model: Model) -> None:
    """Into the options, what network the weights to start from are of. ValueError: the options say
    another."""
    for name, found in (
        ("arch", model.version),
        ("bypass", model.spec["bypass"]),
        ("final_relu", model.spec["final_relu"]),
        *((name, model.spec[name]) for name in SHAPES),
    ):
        given = getattr(options, name)
        if given and given != found:
            shown = "" if given is True else f" {given}"
            raise ValueError(
                f"--{name.replace('_', '-')}{shown} and --pretrained {options.pretrained}: that "
                f"network has {name} {found}"
            )
        setattr(options, name, found)


def _write_history(history: History, run: RunFolder) -> None:
    if history.rows:
        history.to_csv(run.csv)
        history.plot(run.plot)


def _print_best(history: History, checkpoint: Path, tested: bool = False) -> None:
    row = history.best
    if row is None:
        return
    share, loss = row.valid_acc, row.valid_loss
    print(
        translate(
            "Best: epoch {epoch}, accuracy {accuracy:.1%}, loss {loss:.3f}, in {path}",
            epoch=row.epoch,
            accuracy=share,
            loss=loss,
            path=checkpoint,
        )
    )
    if history.held_out:
        heading = translate("On the validation set, held out from choosing it:")
        if tested:
            heading = translate("On the test set, held out from choosing it:")
        print(f"{heading}\n{history.held_out}")


# -- train, once the model is trained --------------------------------------------------------------


def add_run_end(parser: argparse.ArgumentParser) -> None:
    """The options of `train` on it."""
    parser = group(parser, "threshold and confidence")
    parser.add_argument(
        "--choose-threshold", action="store_true", help="store in the best model the decision "
        "threshold that is best, by Youden's index, on the --valid-fraction of the training "
        "pictures (default: the more probable class is the answer)"
    )  # fmt: skip
    parser.add_argument(
        "--calibrate", action="store_true", help="make the best model as sure of its answers as "
        "they are right on the --valid-fraction of the training pictures, by one temperature in "
        "its last convolution"
    )  # fmt: skip


def check_run_end(options: argparse.Namespace) -> None:
    """ValueError, before anything is trained, where there will be no pictures to choose on."""
    if options.choose_threshold and options.valid_fraction is None:
        raise ValueError("--choose-threshold needs --valid-fraction, the pictures it is chosen on")
    if options.calibrate and options.valid_fraction is None:
        raise ValueError(
            "--calibrate needs --valid-fraction, the pictures that the temperature is found on"
        )


def end_run(
    options: argparse.Namespace,
    history: History,
    run: RunFolder,
    training: Dataset,
    judged: Dataset | None,
    fraction: float | None,
) -> None:
    """Tell the temperature, choose the threshold and write the confusion matrix, as the options
    say. The matrix is the best model's, on `judged`, the test set or the validation set; without
    one, on the selection set. history.held_out is then with the threshold."""
    ranks: Ranks = options.ranks
    best = ranks.from_leader(lambda: Model.load(run.best, options.precision))
    part = None if fraction is None else training.split(fraction, options.seed)[1]
    if options.calibrate and part is not None:
        print(
            f"Temperature: {best.temperature:.4f}, found on the {len(part)} pictures of the "
            "selection set"
        )
    if options.choose_threshold and part is not None:  # see check_run_end
        _store_threshold(best, part, run.best, ranks)
    reported = part if judged is None else judged
    assert reported is not None  # without a validation set there is a fraction
    found = evaluate(best, reported, comm=ranks)
    if history.held_out:
        history.held_out = found
    if not ranks.leads:
        return
    from ..reports.plots import confusion_plot

    confusion_plot(found.confusion_matrix, found.class_names, run.confusion)


def _store_threshold(best: Model, part: Dataset, checkpoint: Path, ranks: Ranks) -> None:
    """A set that no threshold can be chosen on is worth a warning: the model is trained."""
    try:
        threshold = choose_threshold(best, part, comm=ranks)
    except ValueError as error:
        warnings.warn(f"no threshold was chosen: {error}", stacklevel=2)
        return
    if ranks.leads:
        best.save(checkpoint)
    print(f"Threshold: {threshold:.4f}, chosen on the {len(part)} pictures of the selection set")


# -- demo ------------------------------------------------------------------------------------------


def add_demo(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    add_out(parser, "demo")
    training = group(parser, "training")
    training.add_argument("--epochs", type=positive, default=8, help="how often each is seen")
    training.add_argument("--pictures", type=positive, default=160, help="how many are drawn")
    training.add_argument("--seed", type=whole, default=0, help="of all that is random")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    run = given_folder(options) or new_folder("demo")
    run.remove_run()
    pictures = run.folder / "pictures"
    print(
        translate(
            "Drawing {count} synthetic pictures of eyes into {folder}",
            count=options.pictures,
            folder=pictures,
        )
    )
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
        checkpoint=run.best,
    )
    model.save(run.last)
    _write_history(history, run)
    if history.interrupted:
        return stopped()
    _print_best(history, run.best)
    example = valid.paths[-1]
    answer = predict(Model.load(run.best), example)
    print(f"{example}: {answer_line(answer)}")
    print(
        translate(
            "Done in {seconds:.0f} s; all of it is in {folder}",
            seconds=time.perf_counter() - start,
            folder=run.folder,
        )
    )
    return 0
