"""Arrays of any dtype, shape and layout, and numbers of any size, where the public functions and
the compiled part take arrays: an answer, or one of the exceptions that are documented. What is
read out of bounds the C tests notice; here it is that checks stand before every use."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from property_support import plainly

import squeezenet_c as sq
from squeezenet_c._native import core

DOCUMENTED = (TypeError, ValueError)
SIDE = 32

dtypes = st.one_of(
    st.sampled_from([np.dtype(name) for name in ("uint8", "int8", "float32", "int64")]),
    hn.scalar_dtypes(),
    hn.byte_string_dtypes(max_len=4),
    st.just(np.dtype(object)),
    st.just(np.dtype([("a", "u1"), ("b", "f4")])),
)


def _laid_out(array: np.ndarray, how: int) -> np.ndarray:
    """The same numbers in another order of memory."""
    if how == 1:
        return np.asfortranarray(array)
    if how == 2 and array.ndim:
        return array[::-1]
    if how == 3:
        array.setflags(write=False)
    if how == 4 and array.ndim and array.shape[-1] > 1:
        return array[..., ::2]
    if how == 5 and array.ndim:
        return np.broadcast_to(array[:1], array.shape)
    return array


@st.composite
def arrays(draw: st.DrawFn, *good: tuple[Any, tuple[int, ...]]) -> Any:
    """One of the good dtypes and shapes with values of any kind, or any array, or no array."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(
            st.one_of(st.none(), st.text(max_size=3), st.integers(), st.just([[1], [1, 2]]))
        )
    dtype, shape = draw(st.sampled_from(good))
    dtype = np.dtype(dtype)
    if kind < 4:
        shape = draw(hn.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    if kind in (2, 3, 4):
        dtype = draw(dtypes)
    if kind == 5:
        dtype = dtype.newbyteorder()
    raw = draw(st.binary(min_size=8, max_size=8))
    if dtype.hasobject:
        array = np.full(shape, raw, dtype)
    else:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        data = (raw * (size // 8 + 1))[:size]
        array = (
            np.frombuffer(bytearray(data), dtype).reshape(shape) if size else np.zeros(shape, dtype)
        )
    if kind == 6:
        array = np.zeros(shape, dtype)
    return _laid_out(array, draw(st.integers(0, 5)))


sizes = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([2**31 - 1, 2**31, 2**32, 2**63, -(2**31), 10**30]),
    st.sampled_from([None, "3", 1.5, float("nan"), True]),
)
numbers = st.one_of(st.floats(), sizes)
pictures = arrays((np.uint8, (5, 7, 3)), (np.uint8, (5, 7)), (np.uint8, (5, 7, 4)))
batches = arrays((np.uint8, (2, SIDE, SIDE, 3)), (np.float32, (2, 3, SIDE, SIDE)))


@pytest.fixture(scope="module")
def model() -> sq.Model:
    return sq.Model("1_1", num_classes=2, base_e=2, incr_e=0, image_size=SIDE, seed=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> sq.Dataset:
    return sq.synthetic.write(tmp_path_factory.mktemp("drawn"), 4, size=SIDE)


def try_out(call: Callable[[], object], *more: type[Exception]) -> object:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call()
        except (*DOCUMENTED, *more) as error:
            assert 0 < len(str(error)) < 2000
            return None


# -- Pictures --------------------------------------------------------------------------------------


@plainly
@given(pictures, st.one_of(pictures, st.lists(pictures, max_size=2)), sizes)
def test_pictures(model: sq.Model, picture: Any, images: Any, batch: Any) -> None:
    try_out(lambda: sq.predict(model, picture), OSError)
    found = try_out(lambda: sq.predict_proba(model, images, batch), OSError)
    if found is not None:
        assert np.isfinite(found).all() and found.shape[1] == 2
    try_out(lambda: sq.explain(model, picture, label=batch), OSError)


@plainly
@given(pictures, sizes, sizes, st.sampled_from(["pad", "crop", "", None, 5]))
def test_resizing(picture: Any, h: Any, w: Any, fit: Any) -> None:
    """Sides that are accepted are small, or are refused with the memory they would take."""
    try_out(lambda: core.resize_image(picture, h, w), OverflowError, MemoryError)
    try_out(lambda: core.fit_image(picture, h, fit), OverflowError, MemoryError)


@plainly
@given(
    arrays((np.uint8, (2, 5, 7, 3))),
    arrays((np.float32, (3,)), (np.float64, ())),
    arrays((np.float32, (3,)), (np.float64, ())),
    arrays((np.uint8, (2,))),
    arrays((np.int64, (3,))),
)
def test_normalising(images: Any, mean: Any, std: Any, flips: Any, indices: Any) -> None:
    try_out(lambda: core.normalise(images, mean, std, flips))
    try_out(lambda: sq.Preprocessing(mean=mean, std=std))
    try_out(lambda: core.augment_flips(1, 2, indices), OverflowError)


@plainly
@given(
    arrays((np.float32, (3, 2)), (np.float64, (3, 2))), arrays((np.int64, (3,)), (np.uint8, (3,)))
)
def test_evaluations(logits: Any, labels: Any) -> None:
    found = try_out(lambda: sq.Evaluation.from_logits(logits, labels, ("a", "b")))
    if found is not None:
        assert found.confusion_matrix.sum() == len(labels) == len(logits)


def test_an_evaluation_does_not_spread_labels() -> None:
    """One label for two pictures is not one for each."""
    with pytest.raises(ValueError, match=r"shape \(2, 2\) and labels of \(1,\)"):
        sq.Evaluation.from_logits(np.eye(2, dtype=np.float32), [0], ("a", "b"))


@plainly
@given(
    arrays((np.uint8, (2, 4, 5, 3)), (np.uint8, (2, 4, 5))),
    arrays((np.int64, (2,)), ("U2", (2,)), (object, (2,))),
    arrays((np.int64, (2,)), ("U2", (2,))),
)
def test_sets_of_arrays(X: Any, y: Any, groups: Any) -> None:
    def use() -> None:
        dataset = sq.Dataset.from_arrays(X, y, groups=groups, image_size=8)
        next(dataset.batches(2))
        dataset.split(0.5)

    try_out(use)
    try_out(lambda: core.PictureStore([X], 8).picture(0), OSError)  # a text is a path


# -- Networks --------------------------------------------------------------------------------------


@plainly
@given(batches, sizes)
def test_networks(model: sq.Model, x: Any, bins: Any) -> None:
    for call in (model.forward, model.class_maps, model.pooled_features, model.observe):
        try_out(lambda call=call: call(x))
    count = len(model.activation_groups())
    limits = np.ones(count, np.float32)
    if bins is None or isinstance(bins, str) or not bins > 1000:
        try_out(lambda: model.observe(x, limits, bins), OverflowError)


@plainly
@given(
    arrays((np.float32, (2, 3, SIDE, SIDE))),
    arrays((np.int64, (2,)), (np.uint8, (2,))),
    st.one_of(st.none(), arrays((np.float64, (2,)))),
    numbers,
    sizes,
)
def test_gradients(
    model: sq.Model, x: Any, labels: Any, class_weights: Any, a: Any, b: Any
) -> None:
    x = np.nan_to_num(x) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x
    call = model.compute_gradients
    try_out(lambda: call(x, labels, class_weights=class_weights), OverflowError)
    try_out(lambda: call(x, labels, b, b, b, b, label_smoothing=a, total_weight=a), OverflowError)


@plainly
@given(st.data())
def test_states(model: sq.Model, data: st.DataObject) -> None:
    """What does not fit changes nothing."""
    before = model.state_dict()
    name = data.draw(st.sampled_from(sorted(before)))
    value = data.draw(arrays((np.float32, before[name].shape)))
    changed = before | {name: value}
    if data.draw(st.booleans()):
        del changed[data.draw(st.sampled_from(sorted(before)))]
    try_out(lambda: model.load_state_dict(changed))
    model.load_state_dict(before)
    optimizer = sq.Adam(model)
    state = optimizer.state_dict()
    key = data.draw(st.sampled_from(sorted(state)))
    try_out(lambda: optimizer.load_state_dict(state | {key: value}), OverflowError)
    mask = data.draw(arrays((np.bool_, (model.parameter_count,))))
    try_out(lambda: setattr(optimizer, "mask", mask))
    spans = data.draw(st.lists(st.tuples(sizes, numbers, numbers), max_size=3))
    try_out(lambda: optimizer.set_spans(spans), OverflowError)


@plainly
@given(st.data())
def test_scales(tmp_path_factory: pytest.TempPathFactory, model: sq.Model, data: Any) -> None:
    """Whatever scales are taken, the model can be saved, loaded, run and exported."""
    quantised = model.copy()
    groups = np.array(model.activation_groups())
    outputs = sum(len(values) for values in model.state_dict().values() if values.ndim == 1)
    scales = [1e-45, 1e-38, 1e-20, 1.0, 1e20, 3e38, float("inf"), 0.0, -1.0]
    a, b, std = (data.draw(st.sampled_from(scales[:6])) for _ in range(3))
    activations: Any = np.where(groups < 0, 1, a).astype(np.float32)
    weights: Any = np.full(outputs, b, np.float32)
    if data.draw(st.booleans()):
        weights[data.draw(st.integers(0, outputs - 1))] = data.draw(st.sampled_from(scales))
    if data.draw(st.integers(0, 3)) == 0:
        activations = data.draw(arrays((np.float32, (len(groups),))))
    mean = data.draw(arrays((np.float32, (3,))))
    given_std = np.full(3, std, np.float32)
    for middle in (mean, np.zeros(3, np.float32)):
        try_out(lambda m=middle: quantised.set_quantization(m, given_std, activations, weights))
    if quantised.quantization is None:
        return
    quantised.precision = "int8"
    pictures = np.full((1, SIDE, SIDE, 3), 255, np.uint8)
    logits = try_out(lambda: quantised.forward(pictures))
    path = tmp_path_factory.mktemp("scales")
    try_out(lambda: quantised.export(path / "eyes.c"))
    if (path / "eyes.c").is_file():
        text = (path / "eyes.c").read_text("utf-8").casefold()
        assert not {"inf", "nan"} & set(text.replace("-", " ").replace(",", " ").split())
    quantised.save(path / "a.safetensors")
    if logits is not None and np.isfinite(logits).all():
        again = try_out(lambda: sq.Model.load(path / "a.safetensors"))
        if again is not None:
            np.testing.assert_array_equal(again.forward(pictures), logits)


# -- Codes, codebooks, files -----------------------------------------------------------------------


@plainly
@given(
    arrays((np.int8, (40,))),
    st.one_of(st.binary(max_size=60), arrays((np.uint8, (60,)))),
    sizes,
)
def test_codes(weights: Any, data: Any, count: Any) -> None:
    if not isinstance(count, int) or count < 1 << 16 or count > 1 << 60:
        try_out(lambda: core.decode_weights(data, count), OverflowError, MemoryError)
    stream = try_out(lambda: core.encode_weights(weights))
    if stream is not None:
        again, used = core.decode_weights(stream, weights.size)
        assert used == len(stream) and (again == weights.ravel()).all()


@plainly
@given(
    arrays((np.float32, (4,))),
    arrays((np.float32, (3,))),
    arrays((np.uint8, (3, 5)), (np.uint8, (3, 0))),
    arrays((np.float32, (3, 5))),
    sizes,
)
def test_codebooks(values: Any, units: Any, codes: Any, gradients: Any, count: Any) -> None:
    try_out(lambda: core.codebook_weights(values, units, codes))
    try_out(lambda: core.codebook_gradients(gradients, units, codes, count), OverflowError)


@plainly
@given(
    st.dictionaries(st.text(max_size=4), arrays((np.float32, (2, 3)), (np.int8, (4,))), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.text(max_size=4), sizes), max_size=2),
    st.dictionaries(st.text(max_size=4), st.sampled_from(["F16", "BF16", "F64", 5]), max_size=1),
)
def test_writing(tmp_path_factory: Any, tensors: Any, metadata: Any, dtypes: Any) -> None:
    path = tmp_path_factory.mktemp("written") / "a.safetensors"
    try_out(lambda: core.write_safetensors(str(path), tensors, metadata, dtypes))
    if Path(path).is_file():
        found, said = core.read_safetensors(str(path))
        assert list(found) == list(tensors) and said == metadata


# -- Data sets -------------------------------------------------------------------------------------


@plainly
@given(
    arrays((np.int64, (4,)), (np.uint8, (4,))), arrays((np.int64, (4,)), (np.int64, (2, 2))), sizes
)
def test_datasets(drawn: sq.Dataset, labels: Any, indices: Any, size: Any) -> None:
    try_out(lambda: sq.Dataset(drawn.paths, labels))
    try_out(lambda: drawn.subset(indices), IndexError, OverflowError)
    try_out(lambda: list(drawn.batches(2, indices)), IndexError, OverflowError)
    try_out(lambda: list(drawn.batches(size)), OverflowError, MemoryError)
    try_out(lambda: drawn.split(size))
    if not isinstance(size, int) or abs(size) < 4097 or size > 1 << 32:
        try_out(lambda: drawn.at_size(size)[0], OverflowError)
