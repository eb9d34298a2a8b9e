"""Compression: shared values, pruning, and what comes of both."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.compression import compress as compression
from squeezenet_c.compression import sensitivity as module
from squeezenet_c.compression.prune import PruningAdam, largest, prune, weight_names
from squeezenet_c.compression.sensitivity import (
    DENSITIES,
    TRIED,
    allocate,
    bits_a_weight,
    fitted,
    sensitivity,
)
from squeezenet_c.compression.shared_values import SharedValuesAdam, codebooks, shared_values
from squeezenet_c.compression.size import file_bytes, scales_of
from squeezenet_c.files.quantised import whole_weights

SMALL = {"seed": 1, "image_size": 48, "base_e": 32, "incr_e": 32, "mean": (0.4, 0.3, 0.5)}
SIZE_KB = 14
OPTIONS = {
    "size_kb": SIZE_KB,
    "epochs": 4,
    "sharing_epochs": 2,
    "batch_size": 4,
    "lr": 1e-3,
    "progress": False,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in parts, and a model that was trained on them."""
    home = tmp_path_factory.mktemp("compress")
    sq.synthetic.write(home / "train", 40, seed=0, size=48)
    sq.synthetic.write(home / "val", 16, seed=1, size=48)
    model = sq.Model(**SMALL)
    sq.train(model, part(home, "train"), epochs=16, batch_size=4, lr=2e-3, progress=False)
    model.threshold = 0.4
    model.save(home / "model.safetensors")
    return home


def part(home: Path, name: str) -> sq.Dataset:
    return sq.Dataset.from_folder(home / name)


@pytest.fixture(scope="module")
def compressed(home: Path) -> sq.Model:
    """That model of SIZE_KB, and in a file."""
    model = sq.Model.load(home / "model.safetensors")
    small = sq.compress(model, part(home, "train"), part(home, "val"), **OPTIONS)
    small.save(home / "small.safetensors")
    return small


def fill_with_noise(model: sq.Model, seed: int) -> None:
    """Its gradients, of no picture."""
    noise = np.random.default_rng(seed).standard_normal(model.parameter_count)
    model.flat_gradients[:] = (0.1 * noise).astype(np.float32)


# -- Shared values in C ----------------------------------------------------------------------------


def test_weights_are_units_times_values_and_gradients_are_summed_over_them():
    """Han et al. 2016, section 3, in NumPy and double precision."""
    generator = np.random.default_rng(1)
    rows, columns, count = 30, 9, 16
    codes = generator.integers(0, count - 1, (rows, columns)).astype(np.uint8)  # the last is unused
    units = generator.random(rows, np.float32) + np.float32(0.5)
    values = generator.standard_normal(count).astype(np.float32)
    gradients = generator.standard_normal((rows, columns)).astype(np.float32)
    assert np.array_equal(
        core.codebook_weights(values, units, codes), units[:, None] * values[codes]
    )
    found = core.codebook_gradients(gradients, units, codes, count)
    weighted = gradients.astype(np.float64) * units[:, None]
    expected = [weighted[codes == value].sum() for value in range(count)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[-1] == 0


def test_codes_that_do_not_fit_are_refused():
    codes, units = np.full((2, 3), 4, np.uint8), np.ones(2, np.float32)
    values, gradients = np.ones(4, np.float32), np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="weight 0 has the code 4, expected below 4"):
        core.codebook_weights(values, units, codes)
    with pytest.raises(ValueError, match="weight 0 has the code 4, expected below 4"):
        core.codebook_gradients(gradients, units, codes, 4)
    with pytest.raises(ValueError, match="expected 1 to 256"):
        core.codebook_gradients(gradients, units, codes, 300)
    with pytest.raises(ValueError, match=r"codes has shape \(2, 3\)"):
        core.codebook_weights(values, units[:1], codes)
    with pytest.raises(ValueError, match="gradients has shape"):
        core.codebook_gradients(gradients[:1], units, codes, 5)
    with pytest.raises(TypeError, match="uint8"):
        core.codebook_weights(values, units, codes.astype(np.int64))


# -- Pruning ---------------------------------------------------------------------------------------


def test_the_largest_are_kept_and_what_is_0_is_pruned() -> None:
    weights = np.array([[3, -1, 0], [-4, 0.5, 2]], np.float32)
    assert (largest(weights, 0.5) == (np.abs(weights) >= 2)).all()
    assert largest(weights, 0.01).sum() == 1  # rounded up: a layer is never empty
    assert (largest(weights, 1.0) == (weights != 0)).all()
    assert not largest(np.zeros((2, 3), np.float32), 0.5).any()


def test_densities_fall_as_the_paper_has_it_and_what_is_pruned_stays_0() -> None:
    """Zhu & Gupta 2017, equation 1."""
    model = sq.Model(**SMALL)
    names = weight_names(model)
    final = {name: 0.1 if "squeeze" in name else 0.4 for name in names}
    optimizer = PruningAdam(model, final, steps=20, lr=1e-3, weight_decay=0.1)
    zeros = {name: np.zeros(model.gradients[name].shape, bool) for name in names}
    for done in range(1, 26):
        fill_with_noise(model, done)
        optimizer.step()
        state = model.state_dict()
        last = min(done // 5 * 5, 20)  # of the steps that pruned
        for name in names:
            sparsity = (1 - final[name]) + (final[name] - 1) * (1 - last / 20) ** 3
            kept = np.ceil((1 - sparsity) * state[name].size - 1e-9)
            assert np.count_nonzero(state[name]) == kept, (name, done)
            assert not state[name][zeros[name]].any()
            zeros[name] = state[name] == 0
    assert all(state[name].all() for name in state if name not in names)  # biases learn


# -- Which layer how far ---------------------------------------------------------------------------


def test_a_layer_that_the_answers_need_more_keeps_more_and_the_size_is_kept() -> None:
    rises = np.array([0.002, 0.02, 0.5])
    curves = fitted({"needed": 100 * rises, "spare": rises, "like it": rises})
    counts = {"needed": 1000, "spare": 1000, "like it": 1000}

    def size_of(densities):
        return sum(counts[name] * float(bits_a_weight(d)) / 8 for name, d in densities.items())

    sizes = []
    for most in (100, 200, 400, 800):
        densities = allocate(curves, counts, size_of, most)
        sizes.append(size_of(densities))
        assert sizes[-1] <= most
        assert densities["spare"] == densities["like it"] < densities["needed"] or most == 800
    assert all(size > 0.9 * most for size, most in zip(sizes[:3], (100, 200, 400), strict=True))
    assert set(allocate(curves, counts, size_of, 1e9).values()) == {1.0}
    assert set(allocate(curves, counts, size_of, 1).values()) == {DENSITIES[0]}


def test_the_fit_finds_a_power_law_again() -> None:
    rises = {name: size * (np.array(TRIED) ** -1.5 - 1) for name, size in (("a", 3), ("b", 0.1))}
    found = fitted(rises)
    np.testing.assert_allclose(found["a"][:-1] / found["b"][:-1], 30, rtol=1e-9)
    assert np.polyfit(np.log(DENSITIES[:40]), np.log(found["a"][:40]), 1)[0] == pytest.approx(
        -1.5, rel=0.15
    )
    assert (np.diff(found["a"]) < 0).all() and found["a"][-1] == 0


def test_sensitivity_is_measured_layer_by_layer(home) -> None:
    model, pictures = sq.Model.load(home / "model.safetensors"), part(home, "train")
    measured = sensitivity(model, pictures)
    assert list(measured) == weight_names(model)
    name = "features.6.expand3x3.weight"
    twin = model.copy()
    twin.load_state_dict(prune(model.state_dict(), {name: TRIED[2]}))
    p, q = model.predict_proba(pictures).astype(float), twin.predict_proba(pictures).astype(float)
    divergence = (p * np.log(p / q)).sum(axis=1).mean()
    assert measured[name][2] == pytest.approx(divergence, rel=1e-3, abs=1e-7)


# -- Shared values ---------------------------------------------------------------------------------


def test_shared_values_are_where_k_means_ends() -> None:
    weights = np.random.default_rng(0).standard_normal(3000)
    values = shared_values(weights)
    nearest = np.abs(weights[:, None] - values).argmin(axis=1)
    means = [weights[nearest == value].mean() for value in range(len(values))]
    np.testing.assert_allclose(values, means, atol=1e-3)
    assert len(values) == 15 and (np.diff(values) > 0).all()
    assert np.array_equal(shared_values(np.array([3.0, -1.0, 3.0])), [-1, 3])
    assert len(shared_values(np.empty(0))) == 0


def test_values_and_biases_learn_by_adam_on_summed_gradients() -> None:
    """In double precision, and the weights are units times values throughout."""
    model = sq.Model(**SMALL)
    state = prune(model.state_dict(), {name: 0.3 for name in weight_names(model)})
    books = codebooks(state, scales_of(model), model)
    name = "features.6.expand3x3.weight"
    book = books[name]
    values, units = book.values.astype(float), book.units.reshape(*book.shape[:2], 1, 1)
    codes, mean_unit = book.codes.reshape(book.shape), book.units.mean()
    optimizer = SharedValuesAdam(model, books, lr=1e-3)
    plain = sq.Model(**SMALL)
    adam = sq.Adam(plain, 1e-3)
    first, second = np.zeros_like(values), np.zeros_like(values)
    for done in range(1, 4):
        for network, moved in ((model, optimizer), (plain, adam)):
            fill_with_noise(network, done)
            moved.step()
        weighted = model.gradients[name].astype(float) * units
        gradient = np.array([weighted[codes == value].sum() for value in range(len(values))])
        gradient[0] = 0
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        step = first / (1 - 0.9**done) / (np.sqrt(second / (1 - 0.999**done)) + 1e-8)
        values -= 1e-3 / mean_unit * step
    np.testing.assert_allclose(book.values, values, rtol=1e-4, atol=1e-4)
    found, whole = model.state_dict(), np.rint(values)
    assert (whole != values).any()
    np.testing.assert_allclose(found[name], units * whole[codes], rtol=1e-6)
    assert ((found[name] == 0) == (state[name] == 0)).all()
    bias = "features.6.expand3x3.bias"
    assert np.array_equal(found[bias], plain.state_dict()[bias])
    assert not optimizer.frozen


# -- The whole -------------------------------------------------------------------------------------


def test_a_model_of_the_size(home, compressed) -> None:
    model, before = sq.Model.load(home / "model.safetensors"), home / "small.safetensors"
    assert before.stat().st_size < SIZE_KB * 1000 <= 1.15 * before.stat().st_size
    found = sq.Model.load(before)
    assert found.precision == "int8" and found.threshold is None
    for name, whole in whole_weights(found).items():
        assert len(np.unique(whole)) <= 16, name
        assert np.array_equal(whole, whole_weights(compressed)[name])
    valid = part(home, "val")
    logits = found.predict_proba(valid)
    assert np.array_equal(logits, compressed.predict_proba(valid))
    assert found.spec == model.spec  # its dropout too
    found.precision = "float32"
    assert np.abs(found.predict_proba(valid) - logits).max() < 0.1
    assert found.evaluate(valid).accuracy >= model.evaluate(valid).accuracy - 0.1
    assert np.abs(found.predict_proba(valid) - model.predict_proba(valid)).mean() < 0.05


STOPS = {  # where, and at which call of what
    "measuring": (module, "divergence", 3),
    "pruning": (PruningAdam, "step", 25),
    "between the two": (compression, "scales_of", 1),
    "sharing": (SharedValuesAdam, "step", 12),
    "at the end": (compression, "_round_biases", 1),
}


def stop_at(place: tuple[Any, str, int], stop: Callable[[], object], patch: Any) -> None:
    """`stop` instead of that call, and ever after the calls themselves."""
    owner, name, number = place
    real, seen = getattr(owner, name), [0]

    def stopped(*arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] == number:
            stop()
        return real(*arguments)

    patch.setattr(owner, name, stopped)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", STOPS.values(), ids=list(STOPS))
def test_the_same_bits_where_it_was_stopped_and_resumed(
    place, home, compressed, tmp_path, monkeypatch
) -> None:
    model, training = sq.Model.load(home / "model.safetensors"), part(home, "train")
    before, state = model.state_dict(), tmp_path / "run.state"
    stop_at(place, press_ctrl_c, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sq.compress(model, training, part(home, "val"), state=state, **OPTIONS)
    monkeypatch.undo()
    sq.compress(model, training, part(home, "val"), resume=state, **OPTIONS).save(
        tmp_path / "again.safetensors"
    )
    small = (home / "small.safetensors").read_bytes()
    assert (tmp_path / "again.safetensors").read_bytes() == small
    assert all(np.array_equal(model.state_dict()[name], before[name]) for name in before)


KILLED = """
import os, signal, sys
from squeezenet_c.cli import main
from squeezenet_c.compression.{module} import {owner}
real, seen = {owner}.step, [0]
def step(self):
    seen[0] += 1
    if seen[0] == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self)
{owner}.step = step
main(sys.argv[1:])
"""


def test_a_killed_command_is_resumed_to_the_same_file(home, tmp_path, capsys) -> None:
    """kill -9 in the pruning, and again in the sharing."""
    state, outs = str(tmp_path / "run.state"), [tmp_path / "whole", tmp_path / "resumed"]
    begin = ["compress", str(home / "model.safetensors"), str(home), "--size-kb", str(SIZE_KB)]
    begin += ["--epochs", "2", "--sharing-epochs", "2", "--out"]
    assert main([*begin, str(outs[0])]) == 0
    for file, owner, number, option in (
        ("prune", "PruningAdam", 8, "--state"),
        ("shared_values", "SharedValuesAdam", 8, "--resume-from"),
    ):
        script = KILLED.format(module=file, owner=owner, number=number)
        command = [sys.executable, "-c", script, *begin, str(outs[1]), option, state]
        found = subprocess.run(command, capture_output=True, cwd=tmp_path)
        assert found.returncode == -signal.SIGKILL, found.stderr.decode()
    assert main([*begin, str(outs[1]), "--resume-from", state]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_what_is_no_state_of_such_a_run(home, tmp_path, monkeypatch) -> None:
    model, training = sq.Model.load(home / "model.safetensors"), part(home, "train")
    states = {name: tmp_path / name for name in ("pruning", "sharing")}
    for name, state in states.items():
        stop_at(STOPS[name], press_ctrl_c, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            sq.compress(model, training, part(home, "val"), state=state, **OPTIONS)
        monkeypatch.undo()
    wrong = tmp_path / "wrong.state"

    def refused(match: str, kind: type[Exception] = sq.BadFileError, **options: Any) -> None:
        with pytest.raises(kind, match=match):
            sq.compress(model, training, part(home, "val"), resume=wrong, **OPTIONS | options)

    def change(name: str, tensor: str, to: Callable[[Any], Any]) -> None:
        tensors, metadata = core.read_safetensors(str(states[name]))
        tensors[tensor] = np.ascontiguousarray(to(tensors[tensor]))
        core.write_safetensors(str(wrong), tensors, metadata)

    layer = "features.6.expand3x3.weight"
    change("pruning", "mask", lambda mask: mask[1:])
    refused("wrong.state: the mask has shape")
    change("pruning", "mask", lambda mask: mask.astype(np.float32))
    refused("wrong.state: .*mask has the dtype float32")
    change("sharing", f"kept.codes.{layer}", lambda codes: codes[1:])
    refused(f"wrong.state: the shared values of {layer} are not those of such a layer")
    change("sharing", f"kept.codes.{layer}", lambda codes: codes + np.uint8(200))
    refused(f"wrong.state: the shared values of {layer} are not those")
    change("sharing", f"kept.values.{layer}", lambda values: values[:0])
    refused(f"wrong.state: the shared values of {layer} are not those")
    change("sharing", f"kept.moments.{layer}", lambda moments: moments[:, 1:])
    refused(f"wrong.state: the shared values of {layer} do not fit their moments")
    change("sharing", f"model.{layer}", lambda weights: weights)
    refused("size_kb is 17, expected 14", ValueError, size_kb=SIZE_KB + 3)
    refused("lr is 0.01, expected 0.001", ValueError, lr=0.01)
    sq.train(sq.Model(**SMALL), training, epochs=1, state=wrong, progress=False)
    refused("wrong.state: this is no state of compress")
    tensors, metadata = core.read_safetensors(str(states["pruning"]))
    notes = json.loads(metadata["notes"])
    notes["rises"].popitem()
    core.write_safetensors(str(wrong), tensors, metadata | {"notes": json.dumps(notes)})
    refused("wrong.state: its rises are those of other layers")


def test_a_size_that_cannot_be_reached_says_what_can(home) -> None:
    model, training = sq.Model.load(home / "model.safetensors"), part(home, "train")
    with pytest.raises(ValueError, match=r"size_kb is 3, expected at least [\d.]+: ") as raised:
        sq.compress(model, training, size_kb=3, progress=False)
    least = float(str(raised.value).split("at least ")[1].split(":")[0])
    options = {"epochs": 1, "sharing_epochs": 1, "progress": False, "size_kb": least}
    assert file_bytes(sq.compress(model, training, **options)) < least * 1000
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="size_kb is .*, expected"):
            sq.compress(model, training, size_kb=size, progress=False)


def test_what_would_fail_in_the_end_is_refused_before_anything_is_trained(
    home, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(PruningAdam, "__init__", None)  # no run gets there
    model, training = sq.Model.load(home / "model.safetensors"), part(home, "train")
    with pytest.raises(ValueError, match="2 pictures to calibrate on, expected at least 8"):
        sq.compress(model, training[:2], training, progress=False)
    with pytest.raises(ValueError, match="complex bypass"):
        sq.compress(sq.Model(**SMALL, bypass="complex"), training, progress=False)
    for option in ("plot", "state"):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            sq.compress(model, training, **{option: tmp_path / "none" / "file"}, progress=False)
    one_class = training.subset(np.flatnonzero(training.labels == 0))
    with (
        pytest.warns(UserWarning, match="of one class"),
        pytest.raises(ValueError, match="size_kb"),
    ):
        sq.compress(model, one_class, size_kb=1, progress=False)


def test_the_command_prints_what_it_cost(home, tmp_path, capsys) -> None:
    out, plot = tmp_path / "out.safetensors", tmp_path / "way.png"
    arguments = ["compress", str(home / "model.safetensors"), str(home), "--out", str(out)]
    arguments += ["--size-kb", str(SIZE_KB), "--epochs", "1", "--sharing-epochs", "1"]
    assert main([*arguments, "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "bits a weight" in printed and "the same answer for" in printed
    assert f"{out.stat().st_size:,}" in printed and out.stat().st_size < SIZE_KB * 1000
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(["info", str(out)]) == 0
    assert "bits a weight" in capsys.readouterr().out
    assert main(["info", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0.02 < found["density"] < 0.9 and 0.3 < found["bits_a_weight"] < 5
    assert (
        main(
            [
                "compress",
                str(home / "model.safetensors"),
                str(home),
                "--out",
                str(out),
                "--size-kb",
                "2",
            ]
        )
        == 1
    )


# -- Its file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:-1], "codes of classifier.1.weight: "),
        (lambda t: np.append(t, t[:1]), "codes has 1 bytes after the last weights"),
        (lambda t: t[:20], "expected at least one for 1024"),
        (lambda t: t.view(np.int8), "codes is int8"),
        (lambda t: t[None], "expected uint8 of one dimension"),
        (lambda t: np.full_like(t, 255), "codes of features.0.weight: "),
    ],
)
def test_codes_that_are_not_what_they_should_be(
    home, compressed, tmp_path, change, message
) -> None:
    tensors, metadata = core.read_safetensors(str(home / "small.safetensors"))
    broken = tmp_path / "broken.safetensors"
    tensors["codes"] = np.ascontiguousarray(change(tensors["codes"]))
    core.write_safetensors(str(broken), tensors, metadata)
    with pytest.raises(sq.BadFileError, match=message) as raised:
        sq.Model.load(broken)
    assert str(broken) in str(raised.value)


def test_codes_and_weights_at_once_and_a_spec_that_lies(home, compressed, tmp_path) -> None:
    tensors, metadata = core.read_safetensors(str(home / "small.safetensors"))
    broken = str(tmp_path / "broken.safetensors")
    core.write_safetensors(broken, tensors | {"weights": np.zeros(3, np.int8)}, metadata)
    with pytest.raises(sq.BadFileError, match="weights and codes found"):
        sq.Model.load(broken)
    spec = json.loads(metadata["spec"]) | {"base_e": 1 << 15}
    core.write_safetensors(broken, tensors, metadata | {"spec": json.dumps(spec)})
    with pytest.raises(sq.BadFileError, match="expected at least one for 1024"):
        sq.Model.load(broken)


def test_calibrating_keeps_the_file_small(home: Path, compressed: sq.Model, tmp_path: Path) -> None:
    """The last layer's numbers are then no halves; those of the others still are."""
    model = sq.Model.load(home / "small.safetensors")
    model.divide_logits(1.7)
    model.save(tmp_path / "calibrated.safetensors")
    before = (home / "small.safetensors").stat().st_size
    assert (tmp_path / "calibrated.safetensors").stat().st_size < before + 250
    again = sq.Model.load(tmp_path / "calibrated.safetensors")
    valid = part(home, "val")
    np.testing.assert_array_equal(again.predict_proba(valid), model.predict_proba(valid))
    tensors, metadata = core.read_safetensors(str(tmp_path / "calibrated.safetensors"))
    for wrong in (tensors["last_convolution"][:1], tensors["last_convolution"].astype(np.int8)):
        path = tmp_path / "wrong.safetensors"
        core.write_safetensors(str(path), tensors | {"last_convolution": wrong}, metadata)
        with pytest.raises(sq.BadFileError, match=r"last_convolution is .*expected float32 of \[2"):
            sq.Model.load(path)
