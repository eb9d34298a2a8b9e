"""Pictures on their way to the network: resized, fitted, flipped, normalised, shuffled."""

from __future__ import annotations

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core

Image = pytest.importorskip("PIL.Image", reason="Pillow, the peer of these tests, is missing")
PIL = pytest.importorskip("PIL")

PILLOW_MAJOR = int(PIL.__version__.split(".")[0])


def pillow_resize(array: np.ndarray, h: int, w: int) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize((w, h), Image.Resampling.BICUBIC))


def pillow_fit(array: np.ndarray, size: int) -> np.ndarray:
    """The tutorial's square, with the one pixel that the thinnest pictures keep."""
    h, w = array.shape[:2]
    scale = size / max(h, w)
    new_w, new_h = max(1, int(w * scale)), max(1, int(h * scale))
    square = Image.new("RGB", (size, size), (0, 0, 0))
    resized = Image.fromarray(array).resize((new_w, new_h), Image.Resampling.BICUBIC)
    square.paste(resized, ((size - new_w) // 2, (size - new_h) // 2))
    return np.asarray(square)


def order_depends_on_pillow(h: int, w: int, new_h: int, new_w: int) -> bool:
    """Pillow 13 takes the columns first here, earlier versions never do."""
    return PILLOW_MAJOR < 13 and h - new_h > 2 * max(0, w - new_w)


# -- Resizing --------------------------------------------------------------------------------------


def test_resize_equals_pillow_on_random_sizes():
    rng = np.random.default_rng(7)
    compared = 0
    for _ in range(250):
        h, w, new_h, new_w = (int(side) for side in np.exp(rng.uniform(0, 5.6, 4)))
        if order_depends_on_pillow(h, w, new_h, new_w):
            continue
        array = rng.integers(0, 256, (h, w, 3), np.uint8)
        found = core.resize_image(array, new_h, new_w)
        assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (h, w, new_h, new_w)
        compared += 1
    assert compared >= 100


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (7, 1), (2, 300), (300, 2), (5, 5)])
def test_resize_equals_pillow_between_extremes(sides):
    rng = np.random.default_rng(1)
    array = rng.integers(0, 256, (*sides, 3), np.uint8)
    for new_h, new_w in [(1, 1), (1, 400), (400, 1), (5, 5), sides, (sides[0], 9), (9, sides[1])]:
        if not order_depends_on_pillow(*sides, new_h, new_w):
            found = core.resize_image(array, new_h, new_w)
            assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (new_h, new_w)


def test_resize_overshoots_are_clipped():
    array = np.zeros((8, 8, 3), np.uint8)
    array[:, 4:] = 255
    found = core.resize_image(array, 32, 32)
    assert np.array_equal(found, pillow_resize(array, 32, 32))
    assert found.min() == 0 and found.max() == 255


def test_resize_and_fit_equal_pillow_on_photographs(shared):
    for path in sorted((shared / "fundus_fullres").glob("*.jpg")):
        array = np.array(Image.open(path).convert("RGB"))
        h, w = array.shape[:2]
        for new_h, new_w in [(224, 213), (223, 224), (h, 224), (224, w), (900, 1000), (50, 1000)]:
            if not order_depends_on_pillow(h, w, new_h, new_w):
                found = core.resize_image(array, new_h, new_w)
                assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (new_h, new_w)
        for size in (224, 227, 64):
            assert np.array_equal(core.fit_image(array, size), pillow_fit(array, size))


def test_fit_equals_pillow_on_palm(palm_folder):
    paths = sorted(palm_folder.rglob("*.jpg"))[::50]
    assert paths
    for path in paths:
        array = np.array(Image.open(path).convert("RGB"))
        for size in (224, 100, 300):
            assert np.array_equal(core.fit_image(array, size), pillow_fit(array, size))


def test_fit_equals_pillow_on_random_sizes():
    rng = np.random.default_rng(3)
    for _ in range(100):
        h, w = (int(side) for side in np.exp(rng.uniform(0, 6.3, 2)))
        scale = 224 / max(h, w)
        if order_depends_on_pillow(h, w, max(1, int(h * scale)), max(1, int(w * scale))):
            continue
        array = rng.integers(0, 256, (h, w, 3), np.uint8)
        assert np.array_equal(core.fit_image(array, 224), pillow_fit(array, 224)), (h, w)


def test_fit_keeps_the_tutorials_223():
    """int() cuts 224.0 / side * side where that rounds below 224: for 526 sides below 6000."""
    short = [side for side in range(1, 6000) if int(side * (224.0 / side)) == 223]
    assert len(short) == 526
    for side in short[:12]:
        square = core.fit_image(np.full((side, side, 3), 255, np.uint8), 224)
        lit = square[:, :, 0] > 0
        assert lit.any(axis=0).sum() == 223 and lit.any(axis=1).sum() == 223
        assert np.array_equal(square, pillow_fit(np.full((side, side, 3), 255, np.uint8), 224))
    assert (core.fit_image(np.full((224, 224, 3), 9, np.uint8), 224) == 9).all()


def test_fit_keeps_one_pixel_of_a_thin_picture():
    square = core.fit_image(np.full((2000, 1, 3), 255, np.uint8), 224)
    assert (square[:, :, 1] > 0).sum() == 224


def pillow_crop(array: np.ndarray, size: int) -> np.ndarray:
    """torchvision's Resize(size * 256 // 224) and CenterCrop(size), with the bicubic filter."""
    h, w = array.shape[:2]
    shorter = size * 256 // 224
    resized_h, resized_w = (int(shorter * side / min(h, w)) for side in (h, w))
    top, left = (round((side - size) / 2.0) for side in (resized_h, resized_w))
    return pillow_resize(array, resized_h, resized_w)[top : top + size, left : left + size]


def test_crop_equals_pillow_on_photographs(shared):
    photographs = sorted((shared / "imagenet_samples").glob("*.jpg"))
    assert photographs
    for path in photographs + sorted((shared / "fundus_fullres").glob("*.jpg")):
        array = np.array(Image.open(path).convert("RGB"))
        for size in (224, 227, 64):
            assert np.array_equal(core.fit_image(array, size, "crop"), pillow_crop(array, size))


def test_crop_equals_pillow_on_random_sizes():
    rng = np.random.default_rng(4)
    for _ in range(100):
        h, w = (int(side) for side in np.exp(rng.uniform(2, 6.3, 2)))
        shorter = 256 / min(h, w)
        if order_depends_on_pillow(h, w, int(h * shorter), int(w * shorter)):
            continue
        array = rng.integers(0, 256, (h, w, 3), np.uint8)
        assert np.array_equal(core.fit_image(array, 224, "crop"), pillow_crop(array, 224)), (h, w)


def test_crop_of_a_thin_picture_makes_no_more_than_the_square():
    """Of a picture 1 x 100000, the whole that it is the middle of would take 20 GB."""
    array = np.zeros((1, 100_000, 3), np.uint8)
    array[:, 49_990:50_010] = 255
    for picture in (array, array.transpose(1, 0, 2)):
        assert (core.fit_image(picture, 224, "crop") == 255).all()


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_picture_of_the_size_is_left_as_it_is(fit):
    array = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(core.fit_image(array, 64, fit), array)


@pytest.mark.parametrize("fit", ["squash", "", None, 1])
def test_fit_refuses_other_ways(fit):
    with pytest.raises(ValueError, match=f"fit is {fit!r}, expected 'pad' or 'crop'"):
        core.fit_image(np.zeros((2, 2, 3), np.uint8), 8, fit)
    with pytest.raises(ValueError, match=f"fit is {fit!r}, expected "):
        sq.Model(fit=fit)


def test_resize_takes_arrays_that_are_not_contiguous():
    array = np.random.default_rng(6).integers(0, 256, (40, 60, 3), np.uint8)
    views = [array[::2, ::3], array[::-1], array.transpose(1, 0, 2), np.asfortranarray(array)]
    for view in views:
        expected = core.resize_image(np.ascontiguousarray(view), 17, 19)
        assert np.array_equal(core.resize_image(view, 17, 19), expected)
    frozen = np.zeros((4, 4, 3), np.uint8)
    frozen.flags.writeable = False
    assert core.resize_image(frozen, 2, 2).flags.writeable


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        ([[1]], TypeError, "image is a list, expected a NumPy array of uint8"),
        (np.zeros((2, 2, 3)), TypeError, "image is an array of float64, expected uint8"),
        (
            np.zeros((2, 2), np.uint8),
            ValueError,
            r"image has shape \(2, 2\), expected \(height, width, 3\) with sides of at least 1",
        ),
        (
            np.zeros((2, 2, 4), np.uint8),
            ValueError,
            r"image has shape \(2, 2, 4\), expected \(height, width, 3\)",
        ),
        (np.zeros((0, 2, 3), np.uint8), ValueError, r"image has shape \(0, 2, 3\), expected"),
        (np.zeros((2, 0, 3), np.uint8), ValueError, r"image has shape \(2, 0, 3\), expected"),
    ],
)
def test_resize_refuses_other_arrays(image, error, sentence):
    with pytest.raises(error, match=sentence):
        core.resize_image(image, 3, 3)
    with pytest.raises(error, match=sentence):
        core.fit_image(image, 3)


def test_resize_refuses_other_sizes():
    array = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="height is 0 and width is 3, expected at least 1 each"):
        core.resize_image(array, 0, 3)
    with pytest.raises(ValueError, match="height is 3 and width is -1"):
        core.resize_image(array, 3, -1)
    with pytest.raises(ValueError, match="size is 0, expected at least 1"):
        core.fit_image(array, 0)
    with pytest.raises(ValueError, match="to 1 x 1073741824: every side is 1 to 536870912"):
        core.resize_image(array, 1, 2**30)  # thrice that is no int


THIN = """
import numpy as np
import memory
from squeezenet_c._native import core
thin = np.full((2**24, 1, 3), 7, np.uint8)
before = memory.peak_mib()
assert (core.fit_image(thin, 224).max(axis=(0, 1)) == 7).all()
assert (core.resize_image(thin.reshape(1, -1, 3), 1, 224) == 7).all()
print(memory.peak_mib() - before)
"""


def test_the_weights_of_a_thin_picture_take_little_memory(measured):
    assert measured(THIN) < 100  # MiB, of which 48 are the picture's own size


@pytest.mark.parametrize("sides", [(100_000, 3), (3, 100_000)])
def test_resizing_a_thin_picture_equals_pillow(sides: tuple[int, int]):
    """Its weights are made in several groups."""
    array = np.random.default_rng(3).integers(0, 256, (*sides, 3), np.uint8)
    h, w = (3 if side == 3 else 37 for side in sides)
    assert np.array_equal(core.resize_image(array, h, w), pillow_resize(array, h, w))


# -- Flips, normalising, shuffling -----------------------------------------------------------------


def test_flips_are_fair_and_functions_of_their_arguments():
    flips = core.augment_flips(0, 0, np.arange(40000))
    assert flips.dtype == np.uint8 and flips.max() == 3
    # 10000 expected of each; 5 standard deviations are 433.
    assert (np.abs(np.bincount(flips, minlength=4) - 10000) < 433).all()
    assert np.array_equal(core.augment_flips(0, 0, [39999, 7, 7]), flips[[39999, 7, 7]])
    for seed, epoch in [(1, 0), (0, 1), (2**64 - 1, 2**40)]:
        other = core.augment_flips(seed, epoch, np.arange(40000))
        assert 0.2 < (other == flips).mean() < 0.3
    assert core.augment_flips(0, 0, []).shape == (0,)


def test_flips_refuse_other_arguments():
    with pytest.raises(ValueError, match=r"seed is -1, expected an integer from 0 to 2\*\*64 - 1"):
        core.augment_flips(-1, 0, [1])
    with pytest.raises(ValueError, match="epoch is 18446744073709551616, expected"):
        core.augment_flips(0, 2**64, [1])
    with pytest.raises(ValueError, match=r"indices\[1\] is -3, expected at least 0"):
        core.augment_flips(0, 0, [1, -3])
    with pytest.raises(TypeError):
        core.augment_flips(0.5, 0, [1])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def expected_normalised(pictures: np.ndarray, flips: np.ndarray | None) -> np.ndarray:
    x = pictures.copy()
    for i, flip in enumerate(flips if flips is not None else []):
        if flip & 1:
            x[i] = x[i][:, ::-1]
        if flip & 2:
            x[i] = x[i][::-1]
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    return ((x.astype(np.float32) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)


def test_normalise_is_exactly_the_formula():
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (9, 13, 17, 3), np.uint8)
    found = core.normalise(pictures, MEAN, STD)
    assert found.dtype == np.float32 and found.shape == (9, 3, 13, 17)
    assert np.array_equal(found, expected_normalised(pictures, None))
    flips = np.arange(9, dtype=np.uint8) % 4
    expected = expected_normalised(pictures, flips)
    assert np.array_equal(core.normalise(pictures, MEAN, STD, flips), expected)
    assert np.array_equal(core.normalise(pictures[:, ::-1, ::-1], MEAN, STD, 3 - flips), expected)
    assert core.normalise(pictures[:0], MEAN, STD).shape == (0, 3, 13, 17)


def test_normalise_does_not_depend_on_threads():
    pictures = np.random.default_rng(4).integers(0, 256, (7, 20, 30, 3), np.uint8)
    threads = core.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            core.set_num_threads(count)
            results.append(core.normalise(pictures, MEAN, STD, np.full(7, 1, np.uint8)))
    finally:
        core.set_num_threads(threads)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_normalise_refuses_other_arguments():
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"pictures has shape \(4, 4, 3\), expected \(N, height"):
        core.normalise(pictures[0], MEAN, STD)
    with pytest.raises(TypeError, match="pictures is an array of float32, expected uint8"):
        core.normalise(pictures.astype(np.float32), MEAN, STD)
    with pytest.raises(ValueError, match="mean has 2 numbers, expected 3"):
        core.normalise(pictures, (0.5, 0.5), STD)
    with pytest.raises(ValueError, match=r"std\[1\] is 0, expected a finite number above 0"):
        core.normalise(pictures, MEAN, (1, 0, 1))
    with pytest.raises(ValueError, match=r"mean\[0\] is nan, expected a finite number$"):
        core.normalise(pictures, (float("nan"), 0, 0), STD)
    with pytest.raises(ValueError, match="flips has 3 values for 2 pictures"):
        core.normalise(pictures, MEAN, STD, np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="flips is an array of int64, expected uint8"):
        core.normalise(pictures, MEAN, STD, np.zeros(2, np.int64))


def test_shuffle_is_a_permutation_of_its_seed_and_epoch():
    order = core.shuffle(1000, 3, 0)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert np.array_equal(order, core.shuffle(1000, 3, 0))
    assert not np.array_equal(order, core.shuffle(1000, 3, 1))
    assert not np.array_equal(order, core.shuffle(1000, 4, 0))
    assert core.shuffle(0, 0, 0).shape == (0,) and core.shuffle(1, 0, 0).tolist() == [0]
    with pytest.raises(ValueError, match="count is -1, expected 0 to"):
        core.shuffle(-1, 0, 0)


def test_shuffle_is_fair():
    """Each of the 24 orders of 4, 400 times of 9600; 5 standard deviations are 98."""
    seen = [tuple(core.shuffle(4, 0, epoch)) for epoch in range(9600)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 24 and max(abs(count - 400) for count in counts) < 98
