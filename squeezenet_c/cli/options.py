"""What can be given to the commands."""

import argparse
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import Model, train
from .._native import core
from ..base.ranks import ALONE, Ranks
from ..data.augment import PRESETS, Augment
from ..data.dataset import CACHE_MB
from ..data.tables import GUESSED, Columns
from ..models import NAMES, packaged_model
from ..network import COPY_CHANGES
from ..preprocessing import FITS, Preprocessing
from ..training.history import MONITORS
from ..training.optimizer import NEEDS_LR, OPTIMIZERS, Optimizer
from ..training.recipe import SCHEDULES, Recipe
from .groups import group
from .run_folder import add_out

DEFAULT_ARCH = "1_1"
SHAPES = ("squeeze_ratio", "pct_3x3", "base_e", "incr_e", "freq")  # the paper's metaparameters
# Of what argparse hands us, not of a run.


def fail(sentence: str, ranks: Ranks = ALONE, status: int = 1) -> int:
    """Say why a command's work failed, of `ranks` the first; its exit status."""
    if ranks.leads:
        print(f"squeezenet-c: {sentence}", file=sys.stderr)
    return status


def model_path(text: str) -> str:
    """The file that MODEL means: a packaged model's where it is the name of one."""
    return packaged_model(text) if text in NAMES else text


def add_model(parser: argparse.ArgumentParser, *, nargs: str | None = None, text: str = "") -> None:
    """MODEL, which may be a packaged one's name."""
    text += f"{'; ' if text else ''}a model's file or a run's folder, or {' or '.join(NAMES)}, "
    text += "which comes with the package"
    parser.add_argument("model", metavar="MODEL", type=model_path, nargs=nargs, help=text)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Which columns DATA has where it is a table; see columns_of."""
    reading = group(parser, "data")
    for kind, what in (
        ("image", "of the pictures' paths"),
        ("label", "of their classes"),
        ("group", "of whom or what they are of, as the patient: no group is on two sides"),
    ):
        names = GUESSED[kind]
        reading.add_argument(
            f"--{kind}-column", metavar="NAME", help=f"of DATA.csv the column {what} (default: the "
            f"one called {', '.join(names[:-1])} or {names[-1]})"
        )  # fmt: skip


def columns_of(options: argparse.Namespace) -> Columns:
    return Columns(**{kind: getattr(options, f"{kind}_column") for kind in GUESSED})


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """How pictures are read; see dataset_options."""
    add_columns(parser)
    reading = group(parser, "data")
    reading.add_argument("--skip-bad", action="store_true", help="leave out files that are broken")
    reading.add_argument(
        "--cache-mb", type=whole, default=CACHE_MB, metavar="MIB", help="memory for decoded "
        "pictures of each set (default: %(default)d); past it they are decoded again"
    )  # fmt: skip


def add_split(parser: argparse.ArgumentParser) -> None:
    """Which part of DATA is judged."""
    group(parser, "data").add_argument(
        "--split", metavar="NAME", help="the part of DATA: train, val or test (default: as DATA "
        "says above)"
    )  # fmt: skip


def dataset_options(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of what layouts.py loads."""
    return {
        "columns": columns_of(options),
        "on_error": "skip" if options.skip_bad else "raise",
        "cache_mb": options.cache_mb,
    }


def default(name: str) -> Any:
    """What `train` takes for the argument where nothing is given."""
    return inspect.signature(train).parameters[name].default


def add_network(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """What the network is; several: each metaparameter may have several values."""
    network = group(parser, "network")
    nargs: dict[str, Any] = {"nargs": "+"} if several else {}
    network.add_argument(
        "--arch", choices=("1_0", "1_1"), **nargs,
        help=f"SqueezeNet 1.0 or 1.1 (default: {DEFAULT_ARCH})",
    )  # fmt: skip
    network.add_argument(
        "--bypass", choices=("none", "simple", "complex") if several else ("simple", "complex"),
        **nargs, help="connections around Fire modules, as in the paper's section 6 (default: "
        "none)",
    )  # fmt: skip
    for name, kind, text in (
        ("squeeze_ratio", float, "squeeze filters of a Fire module for each of its expand filters"),
        ("pct_3x3", float, "share of 3x3 filters among expand filters"),
        ("base_e", positive, "expand filters of the first Fire modules"),
        ("incr_e", whole, "by how many these grow, every --freq Fire modules"),
        ("freq", positive, "after how many Fire modules --incr-e is added"),
    ):
        network.add_argument(
            f"--{name.replace('_', '-')}", type=kind, **nargs,
            help=f"{text} (default: {core.SPEC_FIELDS[name]:g})",
        )  # fmt: skip
    network.add_argument(
        "--final-relu", action="store_true", help="a ReLU after the last convolution, as in the "
        "tutorial"
    )  # fmt: skip


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """What else a network that is trained is; see network_changes."""
    ours = Preprocessing()
    parser = group(parser, "network")
    parser.add_argument(
        "--image-size", type=positive, metavar="PIXELS", help="side of the square that pictures "
        f"are brought to (default: {ours.image_size}, with --pretrained its model's)"
    )  # fmt: skip
    parser.add_argument(
        "--mean", type=_word_or_numbers("imagenet"), metavar="NUMBERS", help="what is taken off a "
        "channel, of 0 to 1: imagenet, which sets --std too, one number, or three as 0.5,0.4,0.3 "
        "(default: 0.5, with --pretrained its model's)"
    )  # fmt: skip
    parser.add_argument(
        "--std", type=_word_or_numbers(), metavar="NUMBERS", help="what a channel is then divided "
        "by (default: 0.5, with --pretrained its model's)"
    )  # fmt: skip
    parser.add_argument(
        "--fit", choices=FITS, help="pad pictures to squares, or crop their middle (default: "
        f"{ours.fit}, with --pretrained its model's)"
    )  # fmt: skip
    parser.add_argument(
        "--dropout", type=float, metavar="PROBABILITY", help="before the last convolution, while "
        "training (default: 0.5, with --pretrained its model's)"
    )  # fmt: skip


def network_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of Model, those of add_preprocessing's options that are given."""
    given = {name: getattr(options, name) for name in COPY_CHANGES}
    for name in ("mean", "std"):
        if isinstance(given[name], list) and len(given[name]) == 1:
            given[name] = given[name][0]
    return {name: value for name, value in given.items() if value is not None}


def network_of(options: argparse.Namespace, classes: int, seed: int = 0, **changes: Any) -> Model:
    """A fresh model as add_network's options say."""
    return Model(num_classes=classes, seed=seed, **network_arguments(options), **changes)


def network_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of Model that add_network's options are."""
    return {
        "version": options.arch or DEFAULT_ARCH,
        "bypass": options.bypass,
        "final_relu": options.final_relu,
        **{name: vars(options)[name] for name in SHAPES if vars(options)[name] is not None},
    }


def add_precision(parser: argparse.ArgumentParser) -> None:
    """What is computed in, where nothing need be loaded or something is trained."""
    group(parser, "computing").add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="what to compute "
        "in (default: %(default)s; bfloat16 is faster on a CPU with AVX-512)"
    )  # fmt: skip


def add_model_precision(parser: argparse.ArgumentParser) -> None:
    """What a model that is loaded computes in."""
    group(parser, "computing").add_argument(
        "--precision", choices=("float32", "bfloat16", "int8"), help="what to compute in (default: "
        "int8 if the model is quantised, see `quantize`, else float32; bfloat16 is faster on a CPU "
        "with AVX-512)"
    )  # fmt: skip


def add_augment(parser: argparse.ArgumentParser, default: str) -> None:
    """How training pictures are changed."""
    fields = ", ".join(core.AUGMENTATION)
    augmentation = group(parser, "augmentation")
    augmentation.add_argument(
        "--augment", type=_augment, default=default, metavar="HOW", help="change training pictures "
        f"at random: {', '.join(PRESETS)}, or a list as flips,rotation=15 of these and {fields}"
    )  # fmt: skip
    augmentation.add_argument(
        "--no-augment", dest="augment", action="store_const", const="none", default=default,
        help="as --augment none, leave them as they are (default: they are not)",
    )  # fmt: skip


def _augment(text: str) -> str:
    try:
        Augment.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_tta(parser: argparse.ArgumentParser) -> None:
    """How pictures are shown to the network."""
    group(parser, "computing").add_argument(
        "--tta", action="store_true", help="answer by the mean of the logits of each picture and "
        "its three flips, at four times the work"
    )  # fmt: skip


def add_train_options(parser: argparse.ArgumentParser, command: str = "train") -> None:
    add_training_data(parser)
    add_start(parser)
    add_epochs(parser)
    add_out(parser, command)
    add_data_options(parser)


def add_start(parser: argparse.ArgumentParser) -> None:
    """What network is trained, from which weights on; see train.model_to_train."""
    add_network(parser)
    group(parser, "network").add_argument(
        "--pretrained", metavar="MODEL", type=model_path, help="start from this file's network and "
        "weights; a head for other classes is replaced"
    )  # fmt: skip
    add_preprocessing(parser)


def add_training_data(parser: argparse.ArgumentParser) -> None:
    """DATA, or the run that has it."""
    parser.add_argument(
        "data", metavar="DATA", nargs="*", help="a PALM folder, a folder per class, a folder of "
        "train, val and test, a CSV table, or a list file; a second one is the validation set, a "
        "third the test set"
    )  # fmt: skip
    group(parser, "training").add_argument(
        "--resume", metavar="DIR", help="resume the run in DIR, its --out, where it stopped; "
        "DATA and options are those it was begun with, but for more --epochs"
    )  # fmt: skip


def add_epochs(parser: argparse.ArgumentParser) -> None:
    """The epochs, and what is seen and chosen in them."""
    training = group(parser, "training")
    recipe = Recipe()
    training.add_argument(
        "--epochs", type=positive, default=default("epochs"), help="how often each picture is seen"
    )
    add_steps(parser)
    tuned = Recipe.fine_tuning()
    group(parser, "learning rate and loss").add_argument(
        "--lr", type=float, help=f"peak rate of the classifier (default: {recipe.lr:g}, with "
        f"--pretrained {tuned.lr:g}); --body-lr-scale times that is the other layers'"
    )  # fmt: skip
    training.add_argument(
        "--valid-fraction", type=float, help="choose the best model on this share of the training "
        "pictures, the selection set (default: on the validation set; 0.2 where there is none)"
    )  # fmt: skip
    training.add_argument(
        "--early-stopping", type=positive, metavar="EPOCHS", help="stop after so many without a "
        "new best (default: never)"
    )  # fmt: skip
    training.add_argument(
        "--monitor", choices=tuple(MONITORS), default=default("monitor"), help="what the best "
        "epoch has the most of, of loss the least, on the validation set"
    )  # fmt: skip
    training.add_argument(
        "--ema", type=float, metavar="DECAY", help="judge and keep an exponential moving average "
        "of the weights, as of 0.999 (default: the weights themselves)"
    )  # fmt: skip


def add_steps(parser: argparse.ArgumentParser) -> None:
    """What a step is made of."""
    training = group(parser, "training")
    training.add_argument(
        "--batch-size", type=positive, default=default("batch_size"), help="pictures a step"
    )
    training.add_argument(
        "--seed", type=whole, default=default("seed"), help="of all that is random"
    )
    add_augment(parser, default("augment"))


def add_finetuning(parser: argparse.ArgumentParser) -> None:
    """How is learnt, and at what rates over the run."""
    add_learning(parser)
    add_schedule(parser)


def add_learning(parser: argparse.ArgumentParser) -> None:
    """What learns, how, and from what loss; see learning_arguments."""
    recipe = Recipe()
    parser = group(parser, "learning rate and loss")
    parser.add_argument(
        "--freeze", type=_stages_or_names, metavar="LAYERS", help="what does not learn: the first "
        "stages, 1 to 9, or names, as features or features.0,features.3 (default: all learns)"
    )  # fmt: skip
    parser.add_argument(
        "--body-lr-scale", type=float, metavar="SHARE", help="learning rate of all but the "
        f"classifier, as a share of --lr (default: {recipe.body_lr_scale:g}, with --pretrained "
        f"{Recipe.fine_tuning().body_lr_scale:g})",
    )  # fmt: skip
    parser.add_argument(
        "--optimizer", choices=tuple(OPTIMIZERS), default=default("optimizer"), help="sgd needs "
        "--lr, and has momentum"
    )  # fmt: skip
    parser.add_argument("--momentum", type=float, help="of sgd (default: 0.9)")
    parser.add_argument(
        "--nesterov", action="store_true", help="Nesterov's momentum, of sgd (default: the usual)"
    )
    parser.add_argument(
        "--weight-decay", type=float, default=default("weight_decay"),
        help="AdamW's or, with sgd, torch.optim.SGD's (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--clip-norm", type=float, metavar="NORM", help="scale a step's gradients down to this "
        "Euclidean norm (default: as they are)"
    )  # fmt: skip
    parser.add_argument(
        "--label-smoothing", type=float, default=default("label_smoothing"), metavar="SHARE",
        help="of the target that is spread evenly over the classes",
    )  # fmt: skip
    parser.add_argument(
        "--class-weights", type=_word_or_numbers("balanced"), metavar="WEIGHTS", help="balanced, "
        "or one number a class, as 1,2.5 (default: all the same)"
    )  # fmt: skip


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """The course of the learning rate; see recipe_of."""
    recipe = Recipe()
    parser = group(parser, "learning rate and loss")
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default=recipe.schedule,
        help="the course of the learning rate",
    )
    parser.add_argument(
        "--warmup-epochs", type=float, default=recipe.warmup_epochs,
        help="over which the learning rate rises",
    )  # fmt: skip
    parser.add_argument(
        "--factor", type=float, default=recipe.factor, help="by which step and plateau lower the "
        "learning rate (default: %(default)g)"
    )  # fmt: skip
    parser.add_argument(
        "--step-epochs", type=positive, default=recipe.step_epochs, metavar="EPOCHS",
        help="after which step lowers it (default: %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=whole, default=recipe.patience, metavar="EPOCHS",
        help="without a lower loss that plateau allows (default: %(default)d)",
    )  # fmt: skip


def _stages_or_names(text: str) -> int | list[str]:
    return int(text) if text.isdecimal() else text.split(",")


def _word_or_numbers(*words: str) -> Callable[[str], str | list[float]]:
    """A type for argparse: one of the words, or numbers with commas between them."""

    def read(text: str) -> str | list[float]:
        if text in words:
            return text
        try:
            return [float(word) for word in text.split(",")]
        except ValueError:
            expected = " or ".join([*words, "numbers (1,2.5)"])
            raise argparse.ArgumentTypeError(f"{text} found, {expected} expected") from None

    return read


def positive(text: str) -> int:
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} found, a whole number of at least 1 expected")
    return number


def whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} found, a whole number of at least 0 expected")
    return number


# -- What the options mean -------------------------------------------------------------------------


def settle_rates(options: argparse.Namespace) -> None:
    """Of `train`: learning rates that are not given are the defaults of how the run begins."""
    if options.optimizer == "sgd" and options.lr is None:
        raise ValueError(NEEDS_LR)
    _optimizer_of(options)  # now, where nothing is written yet
    default = Recipe.fine_tuning() if options.pretrained else Recipe()
    recipe = default.with_rates(options.lr, options.body_lr_scale)
    options.lr, options.body_lr_scale = recipe.lr, recipe.body_lr_scale


def train_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of how is trained, whatever the network, its pictures and its files:
    arguments of `train`."""
    return {
        **learning_arguments(options),
        "epochs": options.epochs,
        "early_stopping": options.early_stopping,
        "monitor": options.monitor,
        "ema": options.ema,
        "recipe": recipe_of(options),
        "calibrate": options.calibrate,
    }


def learning_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Of them what a step depends on, but for its rate and its random numbers."""
    return {
        "batch_size": options.batch_size,
        "augment": options.augment,
        "precision": options.precision,
        "optimizer": _optimizer_of(options),
        "clip_norm": options.clip_norm,
        "freeze": options.freeze,
        "weight_decay": options.weight_decay,
        "label_smoothing": options.label_smoothing,
        "class_weights": options.class_weights,
    }


def _optimizer_of(options: argparse.Namespace) -> Callable[..., Optimizer]:
    make = OPTIMIZERS[options.optimizer]
    given = {} if options.momentum is None else {"momentum": options.momentum}
    given |= {"nesterov": True} if options.nesterov else {}
    if given and options.optimizer != "sgd":
        raise ValueError("--momentum and --nesterov are of --optimizer sgd")
    return partial(make, **given)


def recipe_of(options: argparse.Namespace) -> Recipe:
    return Recipe(
        lr=options.lr,
        warmup_epochs=options.warmup_epochs,
        schedule=options.schedule,
        factor=options.factor,
        step_epochs=options.step_epochs,
        patience=options.patience,
        body_lr_scale=options.body_lr_scale,
    )
