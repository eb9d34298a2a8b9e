"""What fine-tuning is made of, against PyTorch and NumPy: weight decay, frozen layers, learning
rates by part, label smoothing, class weights, schedules."""

import networks
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.training.optimizer import OPTIMIZERS, spans_of

SIDE, CLASSES = 64, 3


def make(**options):
    return sq.Model("1_1", CLASSES, **{"seed": 1, "dropout": 0.0, "image_size": SIDE, **options})


def batch(seed=0, n=5):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, 3, SIDE, SIDE)).astype(np.float32)
    return x, generator.integers(0, CLASSES, n)


def filled_with_noise(model, seed):
    """Its gradients, of no picture."""
    noise = np.random.default_rng(seed).standard_normal(model.parameter_count)
    model.flat_gradients[:] = (0.1 * noise).astype(np.float32)


def flat(state):
    return np.concatenate([tensor.ravel() for tensor in state.values()])


# -- The way back, cut short -----------------------------------------------------------------------

FREEZES = [1, 4, "features", "classifier", ["features.7", "features.9.squeeze"], "features.0.bias"]


@pytest.mark.parametrize("freeze", FREEZES, ids=str)
@pytest.mark.parametrize("bypass", [None, "simple", "complex"])
@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_what_learns_has_the_gradients_of_the_whole_way_back(version, bypass, freeze):
    """Bit for bit; the rest has none, though there were some of a batch before."""
    model = sq.Model(version, CLASSES, seed=1, bypass=bypass)
    frozen = sq.Adam(model, freeze=freeze).frozen
    assert frozen and frozen < set(model.gradients)
    x, labels = batch(n=3)
    loss = model.compute_gradients(x, labels, seed=5)
    whole = {name: np.array(gradient) for name, gradient in model.gradients.items()}
    model.compute_gradients(*batch(seed=8, n=18))  # so that lanes have been added
    assert model.compute_gradients(x, labels, seed=5, frozen=frozen) == loss
    for name, gradient in model.gradients.items():
        expected = np.zeros_like(gradient) if name in frozen else whole[name]
        assert np.array_equal(gradient, expected), name


def test_a_frozen_batch_on_more_threads_has_the_same_bits():
    model, before = make(), sq.get_num_threads()
    x, labels = batch(n=21)
    found = []
    try:
        for threads in (1, 3):
            sq.set_num_threads(threads)
            model.compute_gradients(x, labels, frozen=sq.Adam(model, freeze=5).frozen)
            found.append(model.flat_gradients.copy())
    finally:
        sq.set_num_threads(before)
    assert np.array_equal(*found) and found[0].any()


@pytest.mark.parametrize("frozen", [["features.1"], ["features.0.bias"] * 2, "features.0.bias"])
def test_frozen_takes_names_of_parameters(frozen):
    with pytest.raises((ValueError, TypeError), match="frozen is|requires string|not iterable"):
        make().compute_gradients(*batch(), frozen=frozen)
    with pytest.raises(TypeError, match="len"):
        make().compute_gradients(*batch(), frozen=3)


def test_adam_names_what_is_frozen():
    model = make()
    assert sq.Adam(model).frozen == frozenset()
    head = {"classifier.1.weight", "classifier.1.bias"}
    tuned = sq.Adam(model, freeze="features")
    assert tuned.frozen == set(model.gradients) - head == sq.Adam(model, body_lr_scale=0).frozen
    other = sq.Adam(model)
    other.load_state_dict(tuned.state_dict())
    assert other.frozen == tuned.frozen


# -- AdamW -----------------------------------------------------------------------------------------


def test_weight_decay_and_a_slower_body_are_torchs_adamw():
    torch = pytest.importorskip("torch")
    model = make()
    mine = sq.Adam(model, lr=2e-3, weight_decay=0.05, body_lr_scale=0.1)
    tensors = {name: torch.tensor(value) for name, value in model.state_dict().items()}
    head = [tensor for name, tensor in tensors.items() if name.startswith("classifier")]
    body = [tensor for name, tensor in tensors.items() if not name.startswith("classifier")]
    theirs = torch.optim.AdamW(
        [{"params": body, "lr": 2e-4}, {"params": head, "lr": 2e-3}], weight_decay=0.05
    )
    for step in range(5):
        filled_with_noise(model, step)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(np.array(model.gradients[name]))
        mine.step()
        theirs.step()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, tensors[name].numpy(), rtol=1e-6, atol=1e-7, err_msg=name)


def test_weight_decay_by_the_papers_algorithm():
    """Loshchilov & Hutter 2019, algorithm 2, in double precision."""
    model = make()
    lr, decay, (beta1, beta2), eps = 1e-2, 0.3, (0.8, 0.95), 1e-6
    optimizer = sq.Adam(model, lr, (beta1, beta2), eps, weight_decay=decay)
    theta = flat(model.state_dict()).astype(np.float64)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, 4):
        filled_with_noise(model, step)
        gradient = model.flat_gradients.astype(np.float64)
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        update = m / (1 - beta1**step) / (np.sqrt(v / (1 - beta2**step)) + eps)
        theta = theta - lr * (update + decay * theta)
        optimizer.step()
    np.testing.assert_allclose(flat(model.state_dict()), theta, rtol=1e-5, atol=1e-7)


def test_without_decay_it_is_adam_bit_for_bit():
    plain, decayed = make(), make()
    first, second = sq.Adam(plain), sq.Adam(decayed, weight_decay=0.0, body_lr_scale=1.0)
    second.set_spans([(count, 1.0, 0.0) for _, count in _layers(decayed)])
    for step in range(3):
        for model, optimizer in ((plain, first), (decayed, second)):
            filled_with_noise(model, step)
            optimizer.step()
    assert np.array_equal(flat(plain.state_dict()), flat(decayed.state_dict()))


def _layers(model):
    return [(name, view.size) for name, view in model.gradients.items()]


def test_bits_do_not_depend_on_threads():
    states = []
    threads = sq.get_num_threads()
    try:
        for count in (1, 2, 3):
            sq.set_num_threads(count)
            model = make()
            optimizer = sq.Adam(model, weight_decay=0.1, body_lr_scale=0.3, freeze="features.3")
            for step in range(2):
                filled_with_noise(model, step)
                optimizer.step()
            states.append(flat(model.state_dict()))
    finally:
        sq.set_num_threads(threads)
    assert np.array_equal(states[0], states[1]) and np.array_equal(states[0], states[2])


# -- Frozen layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "freeze, frozen",
    [
        ("features", ["features"]),
        ("features.3", ["features.3"]),
        (("features.0", "features.12.squeeze.bias"), ["features.0", "features.12.squeeze.bias"]),
        (3, ["features.0", "features.3", "features.4"]),
        (9, ["features"]),
        ("classifier", ["classifier"]),
    ],
)
def test_frozen_parameters_and_moments_keep_their_bits(freeze, frozen):
    model = make()
    before = model.state_dict()
    optimizer = sq.Adam(model, lr=0.1, weight_decay=0.1, freeze=freeze)
    for step in range(2):
        filled_with_noise(model, step)
        optimizer.step()
    moments = optimizer.state_dict()
    for name, value in model.state_dict().items():
        still = any(name == part or name.startswith(part + ".") for part in frozen)
        assert np.array_equal(value, before[name]) == still, name
        assert (not moments["exp_avg"][name].any()) == still, name
        assert (not moments["exp_avg_sq"][name].any()) == still, name


def test_a_name_is_no_part_of_a_longer_one():
    model = sq.Model("1_0", 2)
    assert any(name.startswith("features.10.") for name in model.gradients)
    with pytest.raises(ValueError, match=r"names 'features\.1', and no parameter's name"):
        sq.Adam(model, freeze="features.1")


def test_spans_are_merged():
    model = make()
    head = sum(model.gradients[f"classifier.1.{kind}"].size for kind in ("weight", "bias"))
    body = model.parameter_count - head
    assert spans_of(model, 0.0, None, 1.0) == [(body + head, 1.0, 0.0)]
    assert spans_of(model, 0.1, None, 0.5) == [(body, 0.5, 0.1), (head, 1.0, 0.1)]
    assert sq.Adam(model, weight_decay=0.2, freeze="features").spans == [
        (body, 0.0, 0.0),
        (head, 1.0, 0.2),
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"freeze": "conv1"}, "freeze names 'conv1', and no parameter's name begins so"),
        ({"freeze": 10}, "freeze is 10, expected .* stages from 1 to 9"),
        ({"freeze": 0}, "freeze is 0, expected"),
        ({"freeze": True}, "freeze is True, expected"),
        ({"freeze": 1.5}, "freeze is 1.5, expected"),
        ({"freeze": ["features", "classifier"]}, "nothing can be learnt"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected"),
        ({"weight_decay": float("nan")}, "weight_decay is nan, expected"),
        ({"body_lr_scale": float("inf")}, "body_lr_scale is inf, expected"),
    ],
)
def test_wrong_arguments_of_adam(arguments, words):
    with pytest.raises(ValueError, match=words):
        sq.Adam(make(), **arguments)


def test_wrong_spans_change_nothing():
    model = make()
    optimizer = sq.Adam(model, weight_decay=0.1)
    count = model.parameter_count
    for spans, words in (
        ([], f"have 0 floats, expected {count}"),
        ([(count - 1, 1, 0)], f"have {count - 1} floats, expected {count}"),
        ([(count, 1, 0), (1, 1, 0)], "span 1 has 1 floats, expected 1 to 0"),
        ([(-1, 1, 0)], "span 0 has 0 floats"),
        ([(count, -1, 0)], "lr_scale of span 0 is -1"),
        ([(count, 1, float("nan"))], "weight_decay of span 0 is nan"),
    ):
        with pytest.raises(ValueError, match=words):
            optimizer.set_spans(spans)
    for spans in (5, [5], [(count, 1)], [(count, "1", 0)]):
        with pytest.raises(TypeError):
            optimizer.set_spans(spans)
    assert optimizer.spans == [(count, 1.0, 0.1)]


def test_the_state_has_the_spans():
    model = make()
    optimizer = sq.Adam(model, weight_decay=0.1, freeze=2, body_lr_scale=0.5)
    other = sq.Adam(make())
    other.load_state_dict(optimizer.state_dict())
    assert other.spans == optimizer.spans and len(other.spans) == 3
    state = optimizer.state_dict()
    del state["spans"]  # of an optimizer from before there were any
    other.load_state_dict(state)
    assert other.spans == [(model.parameter_count, 1.0, 0.0)]


# -- The loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.5]])
def test_loss_is_torchs(smoothing, weights):
    pytest.importorskip("torch")
    model = make()
    x, labels = batch()
    loss = model.compute_gradients(x, labels, label_smoothing=smoothing, class_weights=weights)
    networks.check_loss_is_torchs(model, loss, labels, smoothing, weights)


def test_a_batch_in_parts_is_the_batch():
    model = make()
    x, labels = batch(n=6)
    weights = np.array([0.5, 1.0, 2.0])
    options = {"label_smoothing": 0.2, "class_weights": weights}
    whole = model.compute_gradients(x, labels, **options)
    gradients = model.flat_gradients.copy()
    total = weights[labels].sum()
    parts, summed = 0.0, 0.0
    for first in (0, 4):
        part = slice(first, first + 4)
        parts += model.compute_gradients(
            x[part], labels[part], 6, first, total_weight=total, **options
        )
        summed = summed + model.flat_gradients.astype(np.float64)
    assert parts == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(summed, gradients, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match=r"part of a batch \(4 of 6 pictures\) needs the whole"):
        model.compute_gradients(x[:4], labels[:4], 6, 0, **options)


def test_weights_of_one_and_no_smoothing_change_no_bit():
    model = make(dropout=0.5)
    x, labels = batch()
    plain = model.compute_gradients(x, labels)
    gradients = model.flat_gradients.copy()
    weighted = model.compute_gradients(
        x, labels, label_smoothing=0.0, class_weights=np.ones(CLASSES)
    )
    assert weighted == plain and np.array_equal(model.flat_gradients, gradients)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1, expected 0 to 1"),
        ({"label_smoothing": float("nan")}, "label_smoothing is nan, expected 0 to 1"),
        ({"class_weights": [1.0, 1.0]}, r"class_weights has shape \(2,\), expected \(3,\)"),
        ({"class_weights": [1.0, 0.0, 1.0]}, "the weight of class 1 is 0, expected above 0"),
        ({"class_weights": [1, 1, 1], "total_weight": -1.0}, "total_weight is -1"),
        ({"temperature": 0.0}, "temperature is 0, expected a finite number above 0"),
        ({"temperature": float("nan")}, "temperature is nan, expected"),
        ({"temperature": float("inf")}, "temperature is inf, expected"),
    ],
)
def test_wrong_arguments_of_the_loss(arguments, words):
    with pytest.raises(ValueError, match=words):
        make().compute_gradients(*batch(), **arguments)


# -- The loop --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory):
    dataset = sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 16, size=SIDE).at_size(SIDE)
    return dataset.subset(np.argsort(dataset.labels, kind="stable")[3:])  # 5 of class 0, 8 of 1


def test_balanced_is_the_weights_it_stands_for(unbalanced):
    trained = []
    for weights in ("balanced", [13 / 10, 13 / 16]):
        model = sq.Model("1_1", 2, seed=1, image_size=SIDE)
        history = sq.train(
            model,
            unbalanced,
            epochs=2,
            batch_size=5,
            class_weights=weights,
            label_smoothing=0.1,
            freeze="features",
            progress=False,
        )
        trained.append((history[-1].train_loss, flat(model.state_dict())))
    assert trained[0][0] == trained[1][0] and np.array_equal(trained[0][1], trained[1][1])
    fresh = sq.Model("1_1", 2, seed=1).state_dict()
    for name, value in model.state_dict().items():
        assert np.array_equal(value, fresh[name]) == name.startswith("features"), name


def test_pretrained_weights_are_trained_at_rates_of_their_own(unbalanced, tmp_path, monkeypatch):
    """A rate that is given is the classifier's; the body keeps its ratio to it."""
    fresh = sq.Model("1_1", 2, seed=1, image_size=SIDE)
    fresh.save(tmp_path / "fresh.safetensors")
    tuned = sq.Model.from_pretrained(tmp_path / "fresh.safetensors").copy()
    fine = sq.Recipe.fine_tuning()
    assert fine.lr * fine.body_lr_scale < sq.Recipe().lr
    taken = []
    monkeypatch.setitem(OPTIMIZERS, "adam", lambda *a, **k: taken.append(k) or sq.Adam(*a, **k))
    for model, options, expected in (
        (fresh, {}, (sq.Recipe().lr, 1)),
        (tuned, {}, (fine.lr, fine.body_lr_scale)),
        (fresh, {"lr": 2e-5}, (2e-5, 1)),
        (tuned, {"lr": 2e-5}, (2e-5, fine.body_lr_scale)),
        (tuned, {"lr": fine.lr}, (fine.lr, fine.body_lr_scale)),
        (tuned, {"lr": 2e-5, "body_lr_scale": 0.5}, (2e-5, 0.5)),
        (tuned, {"body_lr_scale": 0.5}, (fine.lr, 0.5)),
        (tuned, {"recipe": sq.Recipe()}, (sq.Recipe().lr, 1)),
    ):
        history = sq.train(model, unbalanced, epochs=2, progress=False, **options)
        assert (max(row.lr for row in history), taken[-1]["body_lr_scale"]) == expected


def test_the_epochs_loss_weighs_pictures_by_class(unbalanced):
    """With a learning rate of 0 it is the whole set's weighted mean, however batches fell."""
    weights = np.array([3.0, 0.5])
    model = sq.Model("1_1", 2, seed=1, image_size=SIDE, dropout=0.0)
    history = sq.train(
        model,
        unbalanced,
        epochs=1,
        batch_size=5,
        lr=0.0,
        augment=False,
        class_weights=weights,
        progress=False,
    )
    (_, pictures), *_ = unbalanced.batches(len(unbalanced))
    x = model.preprocessing.normalise(pictures)
    whole = model.compute_gradients(x, unbalanced.labels, class_weights=weights)
    assert history[0].train_loss == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5, expected 0 to 1"),
        ({"class_weights": "even"}, "class_weights is 'even', expected \"balanced\""),
        ({"class_weights": [1.0]}, "expected 2 finite numbers above 0"),
        ({"class_weights": [1.0, -1.0]}, "expected 2 finite numbers above 0"),
        ({"class_weights": [1.0, float("nan")]}, "expected 2 finite numbers above 0"),
        ({"freeze": "body"}, "freeze names 'body'"),
        ({"weight_decay": -1}, "weight_decay is -1"),
    ],
)
def test_wrong_arguments_of_train(unbalanced, tmp_path, arguments, words):
    state = tmp_path / "state"
    state.write_text("of an earlier run")
    model = sq.Model("1_1", 2, image_size=SIDE)
    with pytest.raises(ValueError, match=words):
        sq.train(model, unbalanced, state=state, progress=False, **arguments)
    assert state.read_text() == "of an earlier run"


def test_balanced_needs_every_class(unbalanced):
    with pytest.raises(ValueError, match='"balanced", and class 2 has no training picture'):
        sq.train(
            sq.Model("1_1", 3, image_size=SIDE),
            unbalanced,
            class_weights="balanced",
            progress=False,
        )


def test_one_file_cannot_be_both(unbalanced, tmp_path):
    both = {"checkpoint": tmp_path / "a", "state": tmp_path / "a"}
    with pytest.raises(ValueError, match="checkpoint and state are both"):
        sq.train(sq.Model("1_1", 2, image_size=SIDE), unbalanced, progress=False, **both)


# -- Schedules -------------------------------------------------------------------------------------

STEPS = 4  # an epoch


def rates(recipe, epochs, losses=()):
    """The rate of each epoch's first step."""
    return [recipe.rate(e * STEPS, STEPS, epochs, losses[:e]) for e in range(epochs)]


def torch_rates(make_schedule, epochs, losses):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make_schedule(torch.optim.lr_scheduler, optimizer)
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*losses[epoch : epoch + 1])
    return found


def test_step_is_torchs():
    recipe = sq.Recipe(1.0, 0, 0, schedule="step", factor=0.3, step_epochs=3)
    expected = torch_rates(lambda s, o: s.StepLR(o, step_size=3, gamma=0.3), 11, [])
    assert rates(recipe, 11) == pytest.approx(expected)


def test_plateau_is_torchs():
    losses = [1.0, 0.9, 0.90001, 0.95, 0.91, 0.85, 0.9, 0.9, 0.85, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    recipe = sq.Recipe(1.0, 0, 0.05, schedule="plateau", factor=0.5, patience=2)
    expected = torch_rates(
        lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=2, min_lr=0.05),
        len(losses),
        losses,
    )
    assert rates(recipe, len(losses), losses) == pytest.approx(expected)
    assert len(set(expected)) >= 4


def test_constant_and_warm_up():
    recipe = sq.Recipe(1.0, 2, schedule="constant")
    warmed = [recipe.rate(step, STEPS, 5) for step in range(5 * STEPS)]
    assert warmed[:8] == pytest.approx([(step + 1) / 9 for step in range(8)])
    assert warmed[8:] == [1.0] * 12
    for schedule in ("step", "plateau", "cosine"):
        other = sq.Recipe(1.0, 2, schedule=schedule, step_epochs=1)
        assert [other.rate(step, STEPS, 5) for step in range(8)] == warmed[:8]


def test_no_schedule_goes_below_its_floor():
    step = sq.Recipe(1.0, 0, 0.2, schedule="step", factor=0.5, step_epochs=1)
    assert rates(step, 5) == pytest.approx([1.0, 0.5, 0.25, 0.2, 0.2])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"schedule": "linear"}, 'schedule is \'linear\', expected "cosine", .* or "constant"'),
        ({"factor": 1.0}, "factor is 1.0"),
        ({"step_epochs": 0}, "step_epochs is 0"),
        ({"patience": -1}, "patience is -1"),
        ({"patience": 1.5}, "patience is 1.5"),
    ],
)
def test_wrong_recipes(arguments, words):
    with pytest.raises(ValueError, match=words):
        sq.Recipe(**arguments)


# -- A mask ----------------------------------------------------------------------------------------


def test_what_a_mask_holds_stays_as_it_is_bit_for_bit_and_the_rest_learns_as_without():
    plain, pruned = make(), make()
    options = {"weight_decay": 0.1, "body_lr_scale": 0.3}
    first, second = sq.Adam(plain, **options), sq.Adam(pruned, **options)
    mask = np.random.default_rng(3).random(pruned.parameter_count) < 0.4
    assert second.mask is None
    second.mask = mask
    assert np.array_equal(second.mask, mask) and second.mask.dtype == bool
    before = flat(pruned.state_dict())
    for step in range(3):
        for model, optimizer in ((plain, first), (pruned, second)):
            filled_with_noise(model, step)
            optimizer.step()
    after, state = flat(pruned.state_dict()), second.state_dict()
    assert np.array_equal(after[~mask], before[~mask])
    assert np.array_equal(after[mask], flat(plain.state_dict())[mask])
    for moments in ("exp_avg", "exp_avg_sq"):
        assert not flat(state[moments])[~mask].any()
        assert np.array_equal(flat(state[moments])[mask], flat(first.state_dict()[moments])[mask])


def test_a_mask_is_part_of_the_state_and_a_wrong_one_is_refused():
    model = make()
    optimizer, other = sq.Adam(model), sq.Adam(model)
    mask = np.arange(model.parameter_count) % 3 == 0
    optimizer.mask = mask
    other.load_state_dict(optimizer.state_dict())
    assert np.array_equal(other.mask, mask)
    for wrong, kind in ((mask[1:], ValueError), (mask.astype(float), TypeError), (3, TypeError)):
        with pytest.raises(kind, match="the mask has"):
            optimizer.mask = wrong
    assert np.array_equal(optimizer.mask, mask)
    other.mask = None
    assert other.mask is None and "mask" not in other.state_dict()
