"""The drawn pictures: PNG files that decode to what was drawn, and two classes that differ."""

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c import synthetic
from squeezenet_c._native import core


def test_png_decodes_to_what_was_drawn():
    for shape in ((1, 1, 3), (40, 31, 3)):
        picture = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
        assert np.array_equal(core.decode_image(synthetic.encode_png(picture)), picture)


def test_pictures_are_a_function_of_seed_and_differ():
    first = synthetic.draw(0, 1, 64)
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, synthetic.draw(0, 1, 64))
    assert not np.array_equal(first, synthetic.draw(0, 2, 64))
    with pytest.raises(ValueError, match="label is 2"):
        synthetic.draw(2)
    # Atrophy is pale, so blue is what tells the classes apart.
    blue = [[synthetic.draw(c, s, 64)[..., 2].mean() for s in range(10)] for c in (0, 1)]
    assert np.mean(blue[1]) > np.mean(blue[0]) + 2


def test_written_set(tmp_path):
    dataset = sq.synthetic.write(tmp_path, 6, seed=1, size=48)
    assert dataset.class_counts() == {"synthetic normal": 3, "synthetic atrophy": 3}
    again = sq.Dataset.from_folder(tmp_path, synthetic.CLASS_NAMES)
    assert sorted(again.paths) == sorted(dataset.paths)
