"""A network that learns from another's answers."""

import networks
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.inference.metrics import softmax

SIDE, CLASSES = 48, 3
SMALL = {"image_size": SIDE, "base_e": 32, "incr_e": 32, "class_names": ("circle", "square")}
OPTIONS = {"epochs": 3, "batch_size": 5, "lr": 1e-3, "progress": False}


# -- The loss --------------------------------------------------------------------------------------


def make(**options):
    return sq.Model("1_1", CLASSES, **{"seed": 1, "dropout": 0.0, "image_size": SIDE, **options})


def batch(n=6):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, 3, SIDE, SIDE)).astype(np.float32)
    return x, generator.integers(0, CLASSES, n)


def probabilities(rows: int = 6) -> np.ndarray:
    found = np.random.default_rng(3).random((rows, CLASSES)) ** 3
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("smoothing, weights", [(0.0, None), (0.1, [0.2, 1.0, 3.5])])
def test_loss_of_probabilities_is_torchs(smoothing, weights, temperature):
    pytest.importorskip("torch")
    model = make()
    x, _ = batch()
    wanted = probabilities()
    loss = model.compute_gradients(
        x, wanted, label_smoothing=smoothing, class_weights=weights, temperature=temperature
    )
    networks.check_loss_is_torchs(model, loss, wanted, smoothing, weights, temperature)


def test_gradients_for_probabilities_are_the_losss_differences():
    """Of the last bias, to which every logit is added: its differences need no small step's
    luck."""
    model, wanted = make(dropout=0.0), probabilities()
    x, _ = batch()
    options = {"temperature": 2.0}
    model.compute_gradients(x, wanted, **options)
    found, state = model.gradients["classifier.1.bias"].copy(), model.state_dict()
    for i in range(CLASSES):
        losses = []
        for step in (1e-2, -1e-2):
            bias = state["classifier.1.bias"].copy()
            bias[i] += step
            model.load_state_dict(state | {"classifier.1.bias": bias})
            losses.append(model.compute_gradients(x, wanted, **options))
        assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(found[i], rel=1e-3, abs=1e-5)


def test_probabilities_that_are_sure_are_the_labels_bit_for_bit():
    model = make(dropout=0.5)
    x, labels = batch()
    loss = model.compute_gradients(x, labels)
    gradients = model.flat_gradients.copy()
    assert model.compute_gradients(x, np.eye(CLASSES)[labels]) == loss
    assert np.array_equal(model.flat_gradients, gradients)
    before = sq.get_num_threads()
    try:
        sq.set_num_threads(1)
        again = model.compute_gradients(x, np.eye(CLASSES, dtype=np.float32)[labels])
    finally:
        sq.set_num_threads(before)
    assert again == loss and np.array_equal(model.flat_gradients, gradients)


def test_probabilities_of_a_batch_in_parts():
    model, wanted = make(), probabilities()
    x, _ = batch()
    weights = [0.5, 1.0, 2.0]
    whole = model.compute_gradients(x, wanted, class_weights=weights)
    parts = [
        model.compute_gradients(x[k : k + 3], wanted[k : k + 3], 6, k, class_weights=weights)
        for k in (0, 3)
    ]
    assert sum(parts) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p: p[:, :2], r"labels has shape \(5, 2\), expected \(5,\) or \(5, 3\)"),
        (lambda p: p[:4], r"labels has shape \(4, 3\), expected"),
        (lambda p: p * [[1], [1], [1.01], [1], [1]], "for picture 2 add up to 1.01, expected 1"),
        (
            lambda p: p * np.nan,
            "the probability of class 0 for picture 0 is nan, expected at least",
        ),
        (lambda p: p * 0 + [1.5, -0.5, 0], "of class 1 for picture 0 is -0.5, expected at least 0"),
        (lambda p: p * 0 + [np.inf, 0, 0], "for picture 0 add up to inf, expected 1"),
    ],
)
def test_what_is_no_probabilities(change, words):
    x, _ = batch(n=5)
    with pytest.raises(ValueError, match=words), np.errstate(invalid="ignore"):
        make().compute_gradients(x, change(probabilities(5)))


# -- The loop --------------------------------------------------------------------------------------


def student(pictures, **options):
    return sq.Model(**SMALL | {"class_names": pictures.class_names}, seed=1, **options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 16, size=SIDE).at_size(SIDE)


@pytest.fixture(scope="module")
def teacher(pictures):
    """Made surer than it is, so that its answers are no halves."""
    model = student(pictures)
    sq.train(model, pictures, **OPTIONS)
    model.divide_logits(0.05)
    return model


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_loop_asks_the_teacher_about_the_pictures_as_the_student_sees_them(
    pictures, teacher, temperature
):
    """One epoch of one batch is one step, flips and all."""
    trained, by_hand = student(pictures), student(pictures)
    recipe = sq.Recipe(lr=1e-3, schedule="constant", warmup_epochs=0)
    history = sq.train(
        trained,
        pictures,
        epochs=1,
        batch_size=len(pictures),
        seed=2,
        recipe=recipe,
        teacher=teacher,
        temperature=temperature,
        progress=False,
    )
    order = core.shuffle(len(pictures), 2, 1)
    ((indices, shown),) = pictures.batches(len(pictures), order)
    x = by_hand.preprocessing.normalise(shown, core.augment_flips(2, 1, indices))
    optimizer = sq.Adam(by_hand, 1e-3)
    loss = by_hand.compute_gradients(
        x, softmax(teacher.forward(x) / temperature), seed=2, temperature=temperature
    )
    optimizer.step()
    assert history[0].train_loss == pytest.approx(loss, rel=1e-12)
    for name, values in trained.state_dict().items():
        assert np.array_equal(values, by_hand.state_dict()[name]), name


def test_a_student_comes_nearer_to_its_teacher_than_by_labels(pictures, teacher):
    """Labels ask for certainty, and the teacher is not certain."""
    far = []
    for options in ({}, {"teacher": teacher}):
        learnt = teacher.copy()
        sq.train(learnt, pictures, **OPTIONS, **options)
        far.append(np.abs(learnt.predict_proba(pictures) - teacher.predict_proba(pictures)).mean())
    assert far[1] < far[0] / 2


def test_a_run_with_a_teacher_is_resumed_bit_for_bit(pictures, teacher, tmp_path):
    whole, halves = student(pictures), student(pictures)
    sq.train(whole, pictures, teacher=teacher, **OPTIONS)
    recipe = {"state": tmp_path / "run.state", "teacher": teacher}

    class Stop(sq.Adam):
        def step(self):
            if self.step_count == 5:
                raise KeyboardInterrupt
            super().step()

    history = sq.train(halves, pictures, **OPTIONS, **recipe, optimizer=Stop(halves, 1e-3))
    assert history.interrupted and len(history) == 1
    sq.train(halves, pictures, **OPTIONS, resume=tmp_path / "run.state", teacher=teacher)
    for name, values in whole.state_dict().items():
        assert np.array_equal(values, halves.state_dict()[name]), name
    for wrong in ({}, {"teacher": whole}, {"teacher": teacher, "temperature": 2.0}):
        with pytest.raises(ValueError, match="teacher is .*, expected 'a network of float32"):
            sq.train(halves, pictures, **OPTIONS, resume=tmp_path / "run.state", **wrong)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda p, s: s, {}, "the teacher is the model itself"),
        (lambda p, s: sq.Model("1_1", 3, image_size=SIDE), {}, "the teacher has the classes 3"),
        (
            lambda p, s: sq.Model(**SMALL | {"class_names": ("a", "b")}),
            {},
            "has the classes .'a', 'b'., expected",
        ),
        (lambda p, s: student(p, mean=0.3), {}, "the teacher takes pictures by .*0.3"),
        (lambda p, s: s.quantize(p), {}, "a teacher does not compute in int8"),
        (lambda p, s: s.copy(), {"label_smoothing": 0.1}, "label_smoothing and class_weights are"),
        (lambda p, s: s.copy(), {"class_weights": "balanced"}, "and a teacher has none"),
        (lambda p, s: s.copy(), {"temperature": 0.0}, "temperature is 0.0, expected"),
        (lambda p, s: s.copy(), {"temperature": float("nan")}, "temperature is nan, expected"),
    ],
)
def test_what_is_no_teacher(pictures, make, options, words):
    model = student(pictures)
    before = model.state_dict()
    with pytest.raises(ValueError, match=words):
        sq.train(model, pictures, teacher=make(pictures, model), **OPTIONS, **options)
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_temperature_needs_a_teacher(pictures):
    with pytest.raises(ValueError, match="temperature is 2.0, and there is no teacher"):
        sq.train(student(pictures), pictures, temperature=2.0, **OPTIONS)
