"""SGD, gradient clipping and the average of weights: against PyTorch and NumPy, and in runs that
are stopped and resumed. Adam and what optimizers have in common are in test_finetuning.py."""

import functools

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.training.resume import RunState

SIDE = 64
QUIET = {"progress": False}


def make(**options):
    return sq.Model("1_1", 2, **{"seed": 1, "dropout": 0.0, "image_size": SIDE, **options})


def filled_with_noise(model, seed, size=0.1):
    """Its gradients, of no picture."""
    noise = np.random.default_rng(seed).standard_normal(model.parameter_count)
    model.flat_gradients[:] = (size * noise).astype(np.float32)


def flat(state):
    return np.concatenate([np.ravel(tensor) for tensor in state.values()])


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(v, other[k]) for k, v in one.items())


def torch_twin(model):
    """Torch's tensors of a model by name, and what gives them its gradients."""
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(value) for name, value in model.state_dict().items()}

    def take_gradients():
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(np.array(model.gradients[name]))

    return torch, tensors, take_gradients


# -- SGD -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_sgd_is_torchs(options):
    model = make()
    torch, tensors, take_gradients = torch_twin(model)
    mine = sq.SGD(model, lr=0.02, **options, body_lr_scale=0.1)
    head = [tensor for name, tensor in tensors.items() if name.startswith("classifier")]
    body = [tensor for name, tensor in tensors.items() if not name.startswith("classifier")]
    groups = [{"params": body, "lr": 0.002}, {"params": head, "lr": 0.02}]
    theirs = torch.optim.SGD(groups, **options)
    for step in range(4):
        filled_with_noise(model, step)
        take_gradients()
        mine.step()
        theirs.step()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, tensors[name].numpy(), rtol=1e-6, atol=1e-7, err_msg=name)
    if options["momentum"]:
        for name, buffer in mine.state_dict()["momentum_buffer"].items():
            expected = theirs.state[tensors[name]]["momentum_buffer"].numpy()
            np.testing.assert_allclose(buffer, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_sgd_leaves_what_is_frozen_or_masked_bit_for_bit():
    plain, held = make(), make()
    options = {"lr": 0.1, "weight_decay": 0.1, "freeze": "features.3"}
    first, second = sq.SGD(plain, **options), sq.SGD(held, **options)
    mask = np.random.default_rng(3).random(held.parameter_count) < 0.4
    second.mask = mask
    before = held.state_dict()
    for step in range(3):
        for model, optimizer in ((plain, first), (held, second)):
            filled_with_noise(model, step)
            optimizer.step()
    after, buffer = held.state_dict(), flat(second.state_dict()["momentum_buffer"])
    assert np.array_equal(flat(after)[~mask], flat(before)[~mask]) and not buffer[~mask].any()
    assert np.array_equal(flat(after)[mask], flat(plain.state_dict())[mask])
    for name, value in before.items():
        assert np.array_equal(value, after[name]) == name.startswith("features.3."), name


def every_kind(model):
    return sq.SGD(model, 0.05, nesterov=True, weight_decay=0.1, clip_norm=3.0, ema=0.99)


def test_bits_do_not_depend_on_threads():
    states, threads = [], sq.get_num_threads()
    try:
        for count in (1, 2, 3):
            sq.set_num_threads(count)
            model = make()
            optimizer = every_kind(model)
            for step in range(3):
                filled_with_noise(model, step)
                optimizer.step()
            states.append((flat(model.state_dict()), flat(optimizer.average)))
    finally:
        sq.set_num_threads(threads)
    for found in states[1:]:
        assert np.array_equal(found[0], states[0][0]) and np.array_equal(found[1], states[0][1])


def test_a_state_is_continued():
    whole, first, second = make(), make(), make(seed=2)

    def run(model, optimizer, steps):
        for step in steps:
            filled_with_noise(model, step)
            optimizer.step()
        return optimizer

    run(whole, every_kind(whole), range(4))
    state = run(first, every_kind(first), range(2)).state_dict()
    second.load_state_dict(first.state_dict())
    resumed = every_kind(second)
    resumed.load_state_dict(state)
    run(second, resumed, range(2, 4))
    assert resumed.step_count == 4 and same(second.state_dict(), whole.state_dict())
    for key, words in (
        ("momentum_buffer", "has no 'momentum_buffer'"),
        ("average", "no 'average'"),
        ("nesterov", "has no 'nesterov'"),
    ):
        with pytest.raises(ValueError, match=words):
            resumed.load_state_dict({k: v for k, v in state.items() if k != key})
    with pytest.raises(ValueError, match="has an average, and this optimizer keeps none"):
        sq.SGD(second).load_state_dict(state)
    with pytest.raises(ValueError, match="has no 'betas'"):
        sq.Adam(second).load_state_dict(state)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"momentum": 1.0}, "momentum is 1, expected 0 or more, less than 1"),
        ({"momentum": float("nan")}, "momentum is nan, expected"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum above 0"),
        ({"lr": -1.0}, "lr is -1, expected a number of at least 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0, expected a finite number above 0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan, expected"),
        ({"ema": 1.0}, "ema is 1, expected 0 or more, less than 1"),
        ({"ema": float("nan")}, "ema is nan, expected"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0, expected"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        sq.SGD(make(), **arguments)


def test_an_optimizer_is_one_by_a_rule():
    with pytest.raises(TypeError, match="expected Adam or SGD"):
        core.Optimizer(make())


# -- Clipping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [0.5, 30.0, 1e4])
def test_clipping_is_torchs(norm):
    model = make()
    torch, tensors, take_gradients = torch_twin(model)
    optimizer = sq.Adam(model, lr=0.0, clip_norm=norm)
    filled_with_noise(model, 1)
    take_gradients()
    before = model.flat_gradients.copy()
    optimizer.step()
    length = torch.nn.utils.clip_grad_norm_(list(tensors.values()), norm)
    expected = np.concatenate([tensor.grad.numpy().ravel() for tensor in tensors.values()])
    np.testing.assert_allclose(model.flat_gradients, expected, rtol=1e-6)
    assert np.array_equal(before, model.flat_gradients) == (float(length) < norm)


def test_only_what_learns_has_a_length():
    model = make()
    optimizer = sq.SGD(model, freeze="features", clip_norm=1.0)
    mask = np.arange(model.parameter_count) % 2 == 0
    optimizer.mask = mask
    filled_with_noise(model, 1)
    counted = mask & (np.arange(model.parameter_count) >= optimizer.spans[0][0])
    length = np.linalg.norm(model.flat_gradients[counted].astype(np.float64))
    expected = model.flat_gradients * np.float32(1 / (length + 1e-6))
    optimizer.step()
    np.testing.assert_allclose(model.flat_gradients, expected, rtol=1e-6)


# -- The average -----------------------------------------------------------------------------------


def test_the_average_by_its_formula():
    model = make()
    optimizer = sq.Adam(model, lr=0.01, ema=0.3)
    expected = flat(model.state_dict()).astype(np.float64)
    for step in range(1, 6):
        filled_with_noise(model, step)
        optimizer.step()
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * flat(model.state_dict())
    assert [min(0.3, (1 + t) / (10 + t)) == 0.3 for t in (1, 5)] == [False, True]
    np.testing.assert_allclose(flat(optimizer.average), expected, rtol=1e-5, atol=1e-7)
    assert sq.Adam(model).average is None


# -- Runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    dataset = sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 32, size=SIDE)
    return dataset.at_size(SIDE).split(0.33)


RUN = {"epochs": 3, "batch_size": 8, "lr": 0.02, "clip_norm": 1.0, "ema": 0.9, **QUIET}
NESTEROV = functools.partial(sq.SGD, nesterov=True)


def test_a_run_with_all_of_it_is_resumed_bit_for_bit(sets, tmp_path):
    whole, best, state = make(), tmp_path / "best", tmp_path / "state"
    given = {**RUN, "optimizer": NESTEROV, "freeze": 1, "weight_decay": 0.01}
    straight = sq.train(whole, *sets, **given, checkpoint=tmp_path / "whole")
    left = [6]  # four questions an epoch: in the middle of the second

    def stop():
        left[0] -= 1
        return left[0] == 0

    assert sq.train(make(), *sets, **given, state=state, stop=stop).interrupted
    resumed = make(seed=9)
    history = sq.train(resumed, *sets, **given, resume=state, checkpoint=best)
    assert [(r.train_loss, r.valid_loss) for r in history] == [
        (r.train_loss, r.valid_loss) for r in straight
    ]
    assert same(resumed.state_dict(), whole.state_dict())
    assert best.read_bytes() == (tmp_path / "whole").read_bytes()
    for other, words in (
        ({"optimizer": "adam"}, "optimizer is 'adam', expected 'sgd', with which the run"),
        ({"optimizer": "sgd"}, "nesterov is False, expected True, with"),
        ({"clip_norm": None}, "clip_norm is None, expected 1.0, with"),
        ({"ema": 0.99}, "ema is 0.99, expected 0.9, with"),
    ):
        with pytest.raises(ValueError, match=words):
            sq.train(make(), *sets, **{**given, **other}, resume=state)


def test_what_is_judged_kept_and_held_is_the_average(sets, tmp_path):
    best, state, model = tmp_path / "best", tmp_path / "state", make()
    seen = []
    history = sq.train(
        model, *sets, **RUN, checkpoint=best, state=state,
        on_epoch=lambda row, model: seen.append(model.state_dict()),
    )  # fmt: skip
    kept = RunState.read(state)
    assert same(kept.groups["average"], model.state_dict()) and same(seen[-1], model.state_dict())
    assert not same(kept.groups["model"], model.state_dict())
    assert sq.evaluate(model, sets[1]).loss == history[-1].valid_loss
    assert sq.evaluate(sq.Model.load(best), sets[1]).loss == history.best.valid_loss
    assert same(kept.best, sq.Model.load(best).state_dict())
    assert same(seen[history.best.epoch - 1], kept.best)
    learning = make()
    sq.train(learning, *sets, **{**RUN, "ema": None})
    assert same(learning.state_dict(), kept.groups["model"])  # which the average leaves alone


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"optimizer": "lion"},
            "optimizer is 'lion', expected 'adam' or 'sgd', or an",
        ),
        ({"optimizer": "sgd", "lr": None}, "optimizer is 'sgd' and lr is not given"),
        ({"optimizer": None}, "optimizer is None, expected"),
        ({"clip_norm": -1.0}, "clip_norm is -1"),
        ({"ema": 2.0}, "ema is 2"),
    ],
    ids=str,
)
def test_what_train_refuses(sets, options, words):
    with pytest.raises(ValueError, match=words):
        sq.train(make(), *sets, **{**RUN, **options})


def test_an_optimizer_that_is_made_has_its_own_options(sets):
    model = make()
    with pytest.raises(ValueError, match="weight_decay and clip_norm and ema and an opt"):
        sq.train(model, *sets, **RUN, weight_decay=0.1, optimizer=sq.SGD(model))


def test_the_command(sets, tmp_path, capsys):
    data, run = tmp_path / "pictures.txt", tmp_path / "run"
    sets[0].write_list(data)
    given = ["--epochs", "1", "--batch-size", "8", "--image-size", "64", "--optimizer", "sgd"]
    assert main(["train", str(data), *given]) == 1
    assert "optimizer is 'sgd' and lr is not given" in capsys.readouterr().err
    given += ["--lr", "0.02", "--momentum", "0.8", "--nesterov", "--clip-norm", "1", "--ema", "0.9"]
    assert main(["train", str(data), *given, "--out", str(run)]) == 0
    state = RunState.read(run)
    found = {name: state.arguments[name] for name in ("momentum", "nesterov", "clip_norm", "ema")}
    assert found == {"momentum": 0.8, "nesterov": True, "clip_norm": 1.0, "ema": 0.9}
    assert state.optimizer["momentum"] == 0.8 and state.groups["momentum_buffer"]
    assert main(["train", "--resume", str(run), "--epochs", "2"]) == 0
    assert main(["train", str(data), "--momentum", "0.5", "--out", str(tmp_path / "no")]) == 1
    assert "--momentum and --nesterov are of --optimizer sgd" in capsys.readouterr().err
