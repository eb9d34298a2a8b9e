"""Class activation maps: they are the last convolution's output, and fall on the lesion."""

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.inference.cam import enlarge

SIZE = 128


@pytest.fixture(scope="module")
def trained():
    """A small model that tells synthetic pictures apart."""
    labels = np.arange(96) % 2
    pictures = np.stack([sq.synthetic.draw(labels[i], i, SIZE) for i in range(len(labels))])
    model = sq.Model("1_1", seed=1, image_size=SIZE, base_e=32, incr_e=32, dropout=0.0)
    model.class_names = sq.synthetic.CLASS_NAMES
    x = model.preprocessing.normalise(pictures)
    optimizer = sq.Adam(model, lr=5e-4)
    random = np.random.default_rng(0)
    for _ in range(14):
        order = random.permutation(len(labels))
        for start in range(0, len(order), 8):
            batch = order[start : start + 8]
            model.train_step(x[batch], labels[batch], optimizer)
    return model


def _batch(count, size=SIZE):
    return np.random.default_rng(3).normal(size=(count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("final_relu", [False, True])
@pytest.mark.parametrize("backend", ["openmp", "onednn"])
def test_maps_average_to_the_logits(backend, final_relu):
    if backend not in sq.build_info()["backends"]:
        pytest.skip(f"build: no {backend}")
    before = sq.get_backend()
    sq.set_backend(backend)
    try:
        model = sq.Model("1_0", num_classes=5, final_relu=final_relu, seed=2)
        x = _batch(3, 100)
        maps, logits = model.class_maps(x), model.forward(x)
    finally:
        sq.set_backend(before)
    assert maps.dtype == np.float32 and maps.shape[:2] == (3, 5)
    assert maps.shape[2:] == tuple(model.layers(100, 100)[-1]["in_shape"][1:])
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), logits, rtol=1e-4, atol=1e-6)
    assert np.ptp(maps) > 0 and (maps.min() >= 0) == final_relu


def test_maps_have_the_same_bits_on_any_number_of_threads():
    model, x, before = sq.Model(seed=4), _batch(3), sq.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            sq.set_num_threads(threads)
            found.append(model.class_maps(x).tobytes())
    finally:
        sq.set_num_threads(before)
    assert len(set(found)) == 1


def test_maps_of_bfloat16_are_float32(monkeypatch):
    monkeypatch.setenv("SQZ_BF16", "emulate")
    model, x = sq.Model(seed=4), _batch(1)
    exact = model.class_maps(x)
    model.precision = "bfloat16"
    rounded = model.class_maps(x)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded.mean(axis=(2, 3)), model.forward(x), rtol=1e-4, atol=1e-5)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_maps_refuse_what_forward_refuses():
    model, x = sq.Model(), _batch(1)
    x[0, 0, 5, 5] = np.nan
    with pytest.raises(ValueError, match="picture 0"):
        model.class_maps(x)
    for wrong in (np.zeros((1, 4, 96, 96), np.float32), np.zeros((1, 3, 8, 8), np.float32)):
        with pytest.raises(ValueError):
            model.class_maps(wrong)
    with pytest.raises(TypeError):
        model.class_maps(np.zeros((1, 3, 96, 96)))


def test_a_cell_is_enlarged_around_where_it_looks():
    cells = np.zeros((13, 13), np.float32)
    cells[4, 9] = 2
    large = enlarge(cells, 224, 3)
    assert large.shape == (224, 224) and large.dtype == np.float32
    assert np.unravel_index(large.argmax(), large.shape) == (16 * 4 + 15, 16 * 9 + 15)
    assert large[16 * 4 + 15 + 8, 16 * 9 + 15] == pytest.approx(1)  # half way to the next cell
    assert np.count_nonzero(large) == 31 * 31
    assert np.array_equal(enlarge(np.full((3, 5), 7, np.float32), 64, 7), np.full((64, 64), 7))


def test_cells_look_where_enlarge_puts_them():
    """A bright square moves the map most where it is."""
    for version, kernel in (("1_0", 7), ("1_1", 3)):
        model = sq.Model(version, seed=1)
        x = np.zeros((1, 3, 224, 224), np.float32)
        dark = model.class_maps(x)[0, 0]
        x[:, :, 101:108, 133:140] = 3
        change = enlarge(np.abs(model.class_maps(x)[0, 0] - dark), 224, kernel)
        rows, columns = np.mgrid[:224, :224]
        row, column = ((change * side).sum() / change.sum() for side in (rows, columns))
        assert abs(row - 104) < 6 and abs(column - 136) < 6, version


def test_the_map_falls_on_the_lesion(trained):
    hits, mass, area = 0, [], []
    for seed in range(1000, 1020):
        picture, lesion = sq.synthetic.draw_with_lesion(1, seed, SIZE)
        explanation = sq.explain(trained, picture, 1)
        near = explanation.map > 0.7
        hits += lesion.ravel()[explanation.map.argmax()]
        mass.append(lesion[near].mean())
        area.append(lesion.mean())
    assert hits >= 16
    assert np.mean(mass) > max(0.45, 4 * np.mean(area))  # 8 % of a picture is lesion


def test_explanation_is_of_the_answer(trained, tmp_path):
    picture, lesion = sq.synthetic.draw_with_lesion(1, 2000, SIZE)
    assert np.array_equal(picture, sq.synthetic.draw(1, 2000, SIZE)) and 0 < lesion.mean() < 0.5
    assert not sq.synthetic.draw_with_lesion(0, 2000, SIZE)[1].any()
    answer, explanation = sq.predict(trained, picture), sq.explain(trained, picture)
    assert (explanation.label, explanation.name) == (answer.label, answer.name)
    assert explanation.probability == pytest.approx(answer.confidence, abs=1e-5)
    assert explanation.map.dtype == np.float32 and explanation.map.shape == (SIZE, SIZE)
    assert explanation.map.min() == 0 and explanation.map.max() == 1
    assert explanation.overlay.dtype == np.uint8 and explanation.overlay.shape == (SIZE, SIZE, 3)
    raw = sq.explain(trained, picture, raw=True)
    assert raw.map.max() == pytest.approx(raw.cells.max(), rel=1e-5)
    explanation.save(tmp_path / "a.png")
    from squeezenet_c._native import core

    assert np.array_equal(core.read_image(tmp_path / "a.png"), explanation.overlay)
    with pytest.raises(ValueError, match="label is 2, expected 0 to 1"):
        sq.explain(trained, picture, 2)


def test_command_line(trained, tmp_path, capsys):
    trained.save(tmp_path / "model.safetensors")
    paths = sq.synthetic.write(tmp_path / "pictures", 2, size=SIZE).paths
    out = tmp_path / "out"
    command = ["explain", str(tmp_path / "model.safetensors"), *paths, paths[0], "--out", str(out)]
    assert main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    names = sorted(path.name for path in out.iterdir())
    assert names == ["synthetic0000-2.png", "synthetic0000.png", "synthetic0001.png"]
    assert main([*command, "--label", "9"]) == 1
    assert "label is 9" in capsys.readouterr().err
