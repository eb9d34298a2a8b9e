"""The table of a spec's fields, which all that takes or shows a spec goes by."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core

STUB = Path(__file__).resolve().parent.parent / "squeezenet_c" / "_core.pyi"
OTHERS = {
    "version": "1_0",
    "num_classes": 3,
    "final_relu": True,
    "dropout": 0.25,
    "bypass": "complex",
    "squeeze_ratio": 0.5,
    "pct_3x3": 0.25,
    "base_e": 64,
    "incr_e": 32,
    "freq": 4,
}


def test_a_spec_is_what_was_given():
    assert sq.Model(**OTHERS).spec == OTHERS
    assert core.Network().spec == core.SPEC_FIELDS
    assert core.Network(**OTHERS, seed=1).spec == OTHERS
    assert list(core.SPEC_FIELDS) == list(OTHERS)
    for name, value in OTHERS.items():
        network = core.Network(**{name: value})
        assert network.spec == core.SPEC_FIELDS | {name: value}
        assert type(network.spec[name]) is type(value)


def test_signatures_have_the_tables_fields_and_defaults():
    """Where people and editors read them, they are written out."""
    parameters = inspect.signature(sq.Model).parameters
    for name, default in core.SPEC_FIELDS.items():
        assert parameters[name].default == default, name
    (network,) = (
        node
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Network"
    )
    (init,) = (node for node in network.body if getattr(node, "name", "") == "__init__")
    names = [argument.arg for argument in (*init.args.args[1:], *init.args.kwonlyargs)]
    defaults = [ast.literal_eval(node) for node in (*init.args.defaults, *init.args.kw_defaults)]
    stub = dict(zip(names, defaults, strict=True))
    assert stub.pop("seed") == 0 and stub == core.SPEC_FIELDS


@pytest.mark.parametrize("version", ["1_0", "1_1"])
@pytest.mark.parametrize("bypass", [None, "simple", "complex"])
def test_parameter_shapes(version, bypass):
    spec = {"version": version, "num_classes": 3, "bypass": bypass, "base_e": 45, "incr_e": 18}
    network = core.Network(**spec)
    shapes = core.parameter_shapes(**spec)
    assert shapes == {key: value.shape for key, value in network.state_dict().items()}
    assert list(shapes) == list(network.state_dict())
    assert sum(np.prod(shape) for shape in shapes.values()) == network.parameter_count


def test_parameter_shapes_of_a_network_too_large_to_make():
    shapes = core.parameter_shapes("1_1", 65536, base_e=65536, squeeze_ratio=1)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) > 10**11


def test_numbers_of_numpy():
    network = core.Network(
        num_classes=np.int64(3), dropout=np.float32(0.25), final_relu=np.bool_(True)
    )
    assert network.spec == core.SPEC_FIELDS | {
        "num_classes": 3,
        "dropout": 0.25,
        "final_relu": True,
    }


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {"squeeze": 1}, r"Network\(\) got an unexpected keyword argument 'squeeze'"),
        (("1_1", 2, 0), {}, r"Network\(\) takes at most 2 positional arguments \(3 given\)"),
        (("1_1",), {"version": "1_1"}, r"Network\(\) got two values for 'version'"),
        ((), {"num_classes": "2"}, "num_classes is '2', expected a whole number from 1 to 65536"),
        ((), {"dropout": None}, "dropout is None, expected a number of at least 0, below 1"),
        ((), {"final_relu": 1}, "final_relu is 1, expected True or False"),
        ((), {"seed": 0.5}, "'float' object cannot be interpreted as an integer"),
    ],
)
def test_wrong_types(arguments, keywords, message):
    with pytest.raises(TypeError, match=message):
        core.Network(*arguments, **keywords)
    with pytest.raises(TypeError, match="unexpected keyword argument 'seed'"):
        core.parameter_shapes(seed=0)
