"""Training pictures changed at random: what is drawn, what becomes of them to the bit, the step
that takes bytes, and the sheet."""

import re

import change_oracle
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.data.augment import PRESETS

EVERYTHING = sq.Augment(
    rotation=30,
    scale=0.3,
    translation=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.5,
    hue=0.1,
    erasing=0.6,
    horizontal_flip=True,
    vertical_flip=True,
    quarter_turns=True,
)
SIDE, CLASSES = 48, 3


def noise(n, h, w, seed=0):
    """Pictures that are smooth in places and not in others."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 4, 4, 3)).repeat(-(-h // 4), 1).repeat(-(-w // 4), 2)
    fine = rng.integers(-40, 41, (n, h, w, 3))
    return (coarse[:, :h, :w] + fine).clip(0, 255).astype(np.uint8)


# -- What is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*core.AUGMENTATION, "everything"])
def test_changes_are_drawn_as_the_oracle_draws_them(name):
    values = {name: 0.3} if name != "everything" else vars(EVERYTHING)
    if core.AUGMENTATION.get(name) is True:
        values = {name: True}
    augment = sq.Augment(**values)
    for seed, epoch, index in [(0, 1, 0), (7, 3, 12), (2**64 - 1, 2**40, 2**40), (3, 2, 5)]:
        (row,) = augment.changes(seed, epoch, [index], 40, 56)
        found, expected = (
            change_oracle.as_dict(row),
            change_oracle.draw(values, seed, epoch, index, 40, 56),
        )
        for field, value in expected.items():
            # Cosines of another library may fall on the other side of a half.
            assert (np.abs(found[field] - value) <= 0.51).all(), (field, found[field], value)
        allowed = bool(values.get("horizontal_flip")) + 2 * bool(values.get("vertical_flip"))
        assert found["flips"] == core.augment_flips(seed, epoch, [index])[0] & allowed


def test_what_is_drawn_depends_on_seed_epoch_and_number_alone():
    whole = EVERYTHING.changes(5, 2, np.arange(500), SIDE, SIDE)
    assert np.array_equal(EVERYTHING.changes(5, 2, [499, 3, 3], SIDE, SIDE), whole[[499, 3, 3]])
    for other in [(6, 2, np.arange(500)), (5, 3, np.arange(500)), (5, 2, np.arange(500, 1000))]:
        same = EVERYTHING.changes(*other, SIDE, SIDE) == whole
        assert not same[:, 2:8].all(axis=1).any()
    assert EVERYTHING.changes(5, 2, [], SIDE, SIDE).shape == (0, whole.shape[1])


def test_ranges_are_reached_and_not_passed():
    rows = [change_oracle.as_dict(row) for row in EVERYTHING.changes(0, 1, np.arange(4000), 64, 64)]
    columns = np.array([row["column"] for row in rows]) / 65536
    size = 1 / np.hypot(columns[:, 0], columns[:, 1])
    assert 0.7 <= size.min() < 0.71 and 1.29 < size.max() <= 1.3001
    angle = np.rad2deg(np.arctan2(columns[:, 1], columns[:, 0])) % 90  # but for quarter turns
    assert ((angle < 30.1) | (angle > 59.9)).all() and ((angle > 29) & (angle < 30.1)).any()
    sums = np.array([row["colours"].sum(axis=1) for row in rows]) / 65536  # b times c
    assert 0.36 <= sums.min() < 0.42 and 1.8 < sums.max() <= 1.961
    erased = np.array([row["erased"] for row in rows])
    areas = erased[:, 2] * erased[:, 3] / 64**2
    assert abs((areas > 0).mean() - 0.6) < 5 * np.sqrt(0.24 / 4000)  # standard deviations
    assert 0.015 < areas[areas > 0].min() < 0.03 and 0.3 < areas.max() < 0.335
    assert (erased[:, :2] + erased[:, 2:]).max() == 64 and erased[:, :2].max() > 32


def test_another_range_leaves_the_other_changes_as_they_were():
    alone = sq.Augment(rotation=10).changes(1, 1, [4], SIDE, SIDE)[0]
    more = sq.Augment(rotation=10, hue=0.1, erasing=1).changes(1, 1, [4], SIDE, SIDE)[0]
    assert np.array_equal(alone[2:8], more[2:8]) and not np.array_equal(alone, more)


# -- What becomes of a picture ---------------------------------------------------------------------


@pytest.mark.parametrize("augment", [EVERYTHING, *PRESETS.values()], ids=str)
def test_pictures_are_changed_as_the_oracle_changes_them(augment):
    pictures = noise(24, 40, 56)
    changes = augment.changes(3, 1, np.arange(24), 40, 56)
    core.set_num_threads(1)
    found = core.change_pictures(pictures, changes)
    for picture, row, changed in zip(pictures, changes, found, strict=True):
        assert np.array_equal(changed, change_oracle.change(picture, row))
    core.set_num_threads(2)
    assert np.array_equal(core.change_pictures(pictures, changes), found)


def test_any_numbers_are_a_change():
    """Of another picture, or of none: nothing outside is read or written."""
    rng = np.random.default_rng(0)
    pictures = noise(60, 9, 13)
    changes = rng.integers(-(2**31), 2**31, (60, 25)).astype(np.int32)
    changes[20:, 15:17] %= 4
    changes[20:, 17:19] %= 12
    changes[40:, 1:8] >>= 12
    for picture, row, found in zip(
        pictures, changes, core.change_pictures(pictures, changes), strict=True
    ):
        assert np.array_equal(found, change_oracle.change(picture, row))


def test_turns_and_flips_are_exact():
    """No pixel is interpolated, and none comes from beyond the edge."""
    pictures = noise(40, SIDE, SIDE)
    turning = sq.Augment(quarter_turns=True, horizontal_flip=True)
    changes = turning.changes(0, 1, np.arange(40), SIDE, SIDE)
    seen = set()
    for picture, changed in zip(pictures, core.change_pictures(pictures, changes), strict=True):
        ways = {(t, f): np.rot90(picture, t)[:, :: 1 - 2 * f] for t in range(4) for f in (0, 1)}
        seen |= {way for way, turned in ways.items() if np.array_equal(turned, changed)}
    assert len(seen) == 8


def test_colours_are_those_of_the_formulas():
    """In floating point, without the rounding of 2^-16."""
    picture = np.random.default_rng(1).integers(60, 200, (1, 30, 30, 3)).astype(np.uint8)
    grey = picture @ [0.299, 0.587, 0.114]
    for field in ("brightness", "contrast", "saturation"):
        (row,) = changes = sq.Augment(**{field: 0.4}).changes(0, 1, [9], 30, 30)
        said = change_oracle.as_dict(row)
        b, c, s = 1.0, 1.0, 1.0
        if field == "saturation":
            s = (said["colours"][0, 0] / 65536 - 0.299) / 0.701
        elif field == "contrast":
            c = said["colours"].sum(axis=1)[0] / 65536
        else:
            b = said["colours"][0, 0] / 65536
        assert 0.6 <= b * c * s <= 1.4 and b * c * s != 1
        expected = b * picture
        expected = c * expected + (1 - c) * b * grey.mean()
        expected = s * expected + (1 - s) * (c * grey + (1 - c) * grey.mean())[..., None]
        found = core.change_pictures(picture, changes)
        assert np.abs(found - expected.clip(0, 255)).max() < 0.52, field
    changes = sq.Augment(hue=0.5).changes(0, 1, [9], 30, 30)
    turned = core.change_pictures(picture, changes)
    unclipped = ((turned > 0) & (turned < 255)).all(axis=-1)
    assert unclipped.mean() > 0.9 and np.abs(turned.astype(int) - picture).mean() > 10
    difference = np.abs(turned @ [0.299, 0.587, 0.114] - grey)[unclipped]
    assert difference.max() < 1.5  # their grey value stays


def test_beyond_the_edges_a_picture_is_black():
    white = np.full((20, SIDE, SIDE, 3), 255, np.uint8)
    moved = core.change_pictures(
        white, sq.Augment(translation=0.5).changes(0, 1, np.arange(20), SIDE, SIDE)
    )
    share = (moved == 0).mean(axis=(1, 2, 3))
    assert ((moved == 0) | (moved == 255)).mean() > 0.9 and share.min() < 0.3 < share.max()


# -- The step that takes bytes ---------------------------------------------------------------------


def gradients(model, x, labels, **options):
    loss = model.compute_gradients(x, labels, seed=3, step=2, **options)
    return loss, model.last_losses, model.last_logits, model.flat_gradients.copy()


def equal(found, expected):
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("options", ["plain", "own part", "frozen", "probabilities"])
def test_a_step_of_bytes_is_the_step_of_what_they_become(precision, options, monkeypatch):
    monkeypatch.setenv("SQZ_BF16", "emulate")
    model = sq.Model("1_1", CLASSES, seed=1, image_size=SIDE, mean="imagenet", precision=precision)
    pictures, labels = noise(5, SIDE, SIDE), np.array([0, 1, 2, 0, 1])
    given = {
        "plain": {},
        "own part": {"global_batch": 20, "indices": [2, 3, 5, 8, 19]},
        "frozen": {"frozen": sq.Adam(model, freeze="features").frozen},
        "probabilities": {"temperature": 2.0},
    }[options]
    if options == "probabilities":
        labels = np.eye(CLASSES)[labels] * 0.7 + 0.1
    for augment in (EVERYTHING, PRESETS["none"]):
        changes = augment.changes(4, 1, np.arange(5), SIDE, SIDE)
        x = model.preprocessing.normalise(core.change_pictures(pictures, changes))
        core.set_num_threads(1)
        expected = gradients(model, x, labels, **given)
        for threads in (1, 2):
            core.set_num_threads(threads)
            assert equal(gradients(model, pictures, labels, changes=changes, **given), expected)
    assert equal(gradients(model, pictures, labels, **given), expected)


def test_flips_are_those_of_before():
    """What `train` has always done with a picture."""
    model = sq.Model("1_1", CLASSES, image_size=SIDE)
    pictures, numbers = noise(12, SIDE, SIDE), np.array([3, 9, 4, 100, 7, 1, 0, 2, 5, 6, 8, 10])
    labels = np.arange(12) % CLASSES
    x = model.preprocessing.normalise(pictures, core.augment_flips(2, 1, numbers))
    changes = sq.Augment.of(True).changes(2, 1, numbers, SIDE, SIDE)
    assert set(changes[:, 0]) == {0, 1, 2, 3} and not changes[:, 1].any()
    expected = gradients(model, x, labels)
    assert equal(gradients(model, pictures, labels, changes=changes), expected)


def test_a_step_of_bytes_refuses_other_arrays():
    model = sq.Model("1_1", CLASSES, image_size=SIDE)
    pictures, labels = noise(2, SIDE, SIDE), [0, 1]
    changes = EVERYTHING.changes(0, 1, [0, 1], SIDE, SIDE)
    x = model.preprocessing.normalise(pictures)
    with pytest.raises(ValueError, match="changes are for pictures of uint8, and x is float32"):
        model.compute_gradients(x, labels, changes=changes)
    for wrong in (changes[:1], changes[:, 1:], changes.astype(np.int64), 3):
        with pytest.raises(ValueError, match=r"changes is an array of .*, expected int32 and \(2"):
            model.compute_gradients(pictures, labels, changes=wrong)
        with pytest.raises(ValueError, match="changes is an array of"):
            core.change_pictures(pictures, wrong)
    with pytest.raises(ValueError, match=r"x has shape \(2, 3, 48, 48\), expected \(N, H, W, 3\)"):
        model.compute_gradients(pictures.transpose(0, 3, 1, 2), labels)
    with pytest.raises(ValueError, match=r"mean\[0\] is 0.5 and std\[0\] 9.9.*, expected finite"):
        sq.Model("1_1", CLASSES, image_size=SIDE, std=1e-40).compute_gradients(pictures, labels)


# -- Training --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 10, size=48).at_size(48)


def train(dataset, **options):
    model = sq.Model("1_1", 2, seed=3, image_size=48, base_e=32, incr_e=32)
    recipe = sq.Recipe(lr=1e-3, schedule="constant", warmup_epochs=0)
    history = sq.train(
        model, dataset, **{"epochs": 2, "batch_size": 5, "recipe": recipe, "seed": 2} | options,
        progress=False,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("teacher", [False, True])
def test_training_sees_the_changes(pictures, teacher):
    """Two epochs by hand, of floats."""
    by_hand = sq.Model("1_1", 2, seed=3, image_size=48, base_e=32, incr_e=32)
    taught = {"teacher": sq.Model("1_1", 2, seed=9, image_size=48)} if teacher else {}
    model, _ = train(pictures, augment=EVERYTHING, **taught)
    optimizer = sq.Adam(by_hand, 1e-3)
    for epoch in (1, 2):
        for indices, squares in pictures.batches(5, core.shuffle(10, 2, epoch)):
            changes = EVERYTHING.changes(2, epoch, indices, 48, 48)
            x = by_hand.preprocessing.normalise(core.change_pictures(squares, changes))
            labels = pictures.labels[indices]
            if teacher:
                logits = taught["teacher"].forward(x).astype(np.float64)
                labels = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            by_hand.compute_gradients(x, labels, seed=2)
            optimizer.step()
    for name, values in by_hand.state_dict().items():
        close = np.testing.assert_allclose if teacher else np.testing.assert_array_equal
        close(model.state_dict()[name], values, **({"rtol": 1e-4, "atol": 1e-6} if teacher else {}))


def test_a_run_that_is_augmented_is_resumed(pictures, tmp_path):
    whole, _ = train(pictures, augment="fundus,erasing=0.5")
    state = tmp_path / "run.state"
    train(pictures, augment="fundus,erasing=0.5", epochs=1, state=state)
    model, history = train(pictures, augment="fundus,erasing=0.5", resume=state)
    assert len(history) == 2
    for name, values in whole.state_dict().items():
        assert np.array_equal(model.state_dict()[name], values), name
    with pytest.raises(ValueError, match="augment is 'flips', expected '.*erasing=0.5.*'"):
        train(pictures, resume=state)


def test_the_commands(pictures, tmp_path, capsys):
    data, run, sheet = tmp_path / "list.txt", tmp_path / "run", tmp_path / "sheet.png"
    pictures.write_list(data)
    begin = ["train", str(data), "--epochs", "1", "--augment", "fundus,hue=0.1", "--base-e", "8"]
    assert main([*begin, "--incr-e", "8", "--image-size", "48", "--out", str(run)]) == 0
    assert "augment: fundus,hue=0.1\n" in (run / "args.yaml").read_text()
    assert main(["train", "--resume", str(run)]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--no-augment"]) == 1
    assert "augment is 'none', expected 'brightness=0.2," in capsys.readouterr().err
    assert (
        main(["augment", str(data), "--out", str(sheet), "--pictures", "1", "--columns", "2"]) == 0
    )
    said = capsys.readouterr().out
    assert said.startswith("fundus: brightness=0.2") and f"in {sheet}" in said
    assert core.read_image(str(sheet)).shape == (232, 2 * 228 + 4, 3)
    with pytest.raises(SystemExit):
        main(["augment", str(data), "--out", str(sheet), "--augment", "rotation=200"])
    assert "rotation is 200, expected a number from 0 to 180" in capsys.readouterr().err


# -- Augment ---------------------------------------------------------------------------------------


def test_its_fields_are_those_of_the_library():
    kinds = {name: type(value) for name, value in vars(sq.Augment()).items()}
    assert kinds == {n: bool if m is True else float for n, m in core.AUGMENTATION.items()}
    for name, largest in core.AUGMENTATION.items():
        assert getattr(sq.Augment(**{name: largest}), name) == largest


@pytest.mark.parametrize("name", core.AUGMENTATION)
def test_what_is_out_of_range_is_refused(name):
    largest = core.AUGMENTATION[name]
    wrong = [1, "yes", None] if largest is True else [-0.1, largest + 0.1, True, "1", np.nan]
    for value in wrong:
        with pytest.raises(ValueError, match=f"{name} is .*, expected (a number from|True or)"):
            sq.Augment(**{name: value})


@pytest.mark.parametrize(
    ("meant", "expected"),
    [
        (True, PRESETS["flips"]),
        (False, sq.Augment()),
        ("fundus", PRESETS["fundus"]),
        ("rotation=15,brightness=.2", sq.Augment(rotation=15, brightness=0.2)),
        (
            "flips, rotation=15, quarter_turns",
            sq.Augment(rotation=15, horizontal_flip=True, vertical_flip=True, quarter_turns=True),
        ),
        (EVERYTHING, EVERYTHING),
    ],
)
def test_what_augment_may_be(meant, expected):
    found = sq.Augment.of(meant)
    assert found == expected and sq.Augment.of(str(found)) == found
    assert str(sq.Augment.of(False)) == "none" and str(sq.Augment.of(True)) == "flips"


@pytest.mark.parametrize("wrong", ["", "flip", "rotation", "rotation=x", "quarter_turns=1", "a=1"])
def test_what_augment_may_not_be(wrong):
    with pytest.raises(ValueError, match=f"augment is {wrong!r}: .* is none of .* rotation=15"):
        sq.Augment.of(wrong)
    with pytest.raises(ValueError, match="augment is 3, expected True, False, an Augment"):
        sq.Augment.of(3)
    with pytest.raises(ValueError, match="hue is 0.7, expected a number from 0 to 0.5"):
        sq.Augment.of("hue=0.7")


def test_a_sheet_shows_what_training_sees(pictures, tmp_path):
    dataset, path = pictures, tmp_path / "sheet.png"
    sq.augment_sheet(dataset, EVERYTHING, path, seed=3, pictures=3, columns=4)
    sheet = core.read_image(str(path))
    assert sheet.shape == (3 * 52 + 4, 4 * 52 + 4, 3) and (sheet[:4] == 255).all()
    for row, index in enumerate([0, 4, 9]):
        cells = [sheet[row * 52 + 4 : row * 52 + 52, c * 52 + 4 : c * 52 + 52] for c in range(4)]
        assert np.array_equal(cells[0], dataset[index][0])
        changes = EVERYTHING.changes(3, 2, [index], 48, 48)
        assert np.array_equal(cells[2], core.change_pictures(dataset[index][0][None], changes)[0])
    sq.augment_sheet(dataset[:2], "flips", path, columns=1)
    assert core.read_image(str(path)).shape == (2 * 52 + 4, 56, 3)
    with pytest.raises(ValueError, match=re.escape("a sheet of 0 rows and 8 columns")):
        sq.augment_sheet(dataset, "flips", path, pictures=0)
