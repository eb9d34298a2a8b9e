"""An int8 model as one file of C99 that needs no library: csrc/portable's engine, and the model's
numbers in tables of constants. And as what a page's module of WebAssembly is compiled from."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from .._version import __version__
from ..network import Network
from . import integers
from .integers import Layer

SOURCES = Path(core.__file__).with_name("portable")
"""Where the build puts the files of csrc/portable."""

VECTOR = 16  # what lengths of patches and channels of rows are multiples of
INDEXED = 16  # as many values as four bits can tell apart
LINE = 100  # columns
FEW = 20  # classes whose names are in the first lines
NEEDS_INT8 = (
    "the model is not quantised, which a C file and a page need: `squeezenet-c quantize MODEL DATA "
    "--out FILE` first, or `squeezenet-c export` with --calibrate DATA"
)


def c_source(model: Network, stem: str) -> str:
    """The text of a C file that computes a quantised model's logits, bit for bit; its first lines
    say how it is used. All its names begin with `stem`, made an identifier. ValueError: the model
    is not quantised."""
    program = [
        "#ifdef EYES_MAIN\n",
        _source("scale.c"),
        _source("program.c"),
        "#endif /* EYES_MAIN */",
    ]
    return _assembled(model, stem, program)


def page_source(model: Network) -> str:
    """The text of the C file that a page's module is compiled from (portable/page.c says how): the
    engine, scaling, and what the page's worker calls. ValueError: the model is not quantised."""
    return _assembled(model, "eyes", [_source("scale.c"), _source("page.c")])


def _assembled(model: Network, stem: str, user: list[str]) -> str:
    """A C file of the engine and its user."""
    if model.quantization is None:
        raise ValueError(NEEDS_INT8)
    name = identifier(stem)
    tables = _Tables(model)
    before = "\n".join(
        [
            "#include <stddef.h>\n#include <stdint.h>\n",
            *tables.constants(),
            "",
            _source("interface.h"),
            "#ifndef EYES_DECLARATIONS\n",
        ]
    )
    after = "\n".join(
        [
            _source("tables.h"),
            *tables.arrays(),
            _source("sum.c"),
            _source("engine.c"),
            *user,
            "#endif /* EYES_DECLARATIONS */\n",
        ]
    )
    # Class names stay as they are, whatever they begin with.
    return "\n".join(
        [
            _comment(model, tables, stem, name),
            _renamed(before, name),
            _class_names(model, name),
            _renamed(after, name),
        ]
    )


def identifier(stem: str) -> str:
    """What is left of a file's name as the beginning of names in C."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")


def _renamed(text: str, name: str) -> str:
    """With another name in place of eyes and EYES."""
    text = re.sub(r"\beyes_", f"{name}_", text)
    return re.sub(r"\bEYES_", f"{name.upper()}_", text)


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="ascii")


# -- Numbers ---------------------------------------------------------------------------------------


@dataclass
class _Convolution:
    """Whole weights in patches' order, and what follows their sums."""

    weights: NDArray[np.int8]  # (channels, length)
    biases: NDArray[np.int32]
    multipliers: NDArray[np.float32]  # of the last one, to logits
    map_units: NDArray[np.float32]

    def values(self) -> NDArray[np.int8] | None:
        """The 16 values that four bits can choose from, or None: there are more."""
        found = np.unique(self.weights)
        if len(found) > INDEXED:
            return None
        return np.pad(found, (0, INDEXED - len(found)), mode="edge")

    @property
    def bytes(self) -> int:
        """Its weights, biases and multipliers."""
        weights = self.weights.size
        return 8 * len(self.biases) + (weights if self.values() is None else weights // 2 + INDEXED)


def _up(count: int, step: int = VECTOR) -> int:
    return -(-count // step) * step


def _convolutions(model: Network, layers: list[Layer]) -> Iterator[_Convolution]:
    found = integers.convolutions_of(model, layers)
    for conv in found:
        _, columns, rows = conv.layer["out_shape"]
        last = conv is found[-1]
        multipliers = conv.units / (columns * rows if last else conv.output_scale)
        yield _Convolution(
            _patches(conv.weights, conv is not found[0]),
            conv.biases,
            multipliers.astype(np.float32),
            conv.units.astype(np.float32),
        )


def _patches(whole: NDArray[np.int8], padded: bool) -> NDArray[np.int8]:
    """(out, in, height, width) as (out, length): rows, of each the pixels, of each the channels (a
    multiple of 16 where `padded`), and zeros up to a multiple of 16."""
    whole = whole.transpose(0, 2, 3, 1)
    if padded:
        whole = np.pad(whole, ((0, 0), (0, 0), (0, 0), (0, _up(whole.shape[3]) - whole.shape[3])))
    flat = whole.reshape(len(whole), -1)
    return np.pad(flat, ((0, 0), (0, _up(flat.shape[1]) - flat.shape[1])))


# -- Tables ----------------------------------------------------------------------------------------


@dataclass
class _Row:
    """A row of the table of layers: csrc/portable/tables.h has it, in this order."""

    kind: str
    kernel: int
    convolution: int
    in_rows: int
    in_columns: int
    in_channels: int
    out_rows: int
    out_columns: int
    out_channels: int
    squeezed: int = 0
    window: int = 0
    kept: int = -1

    @property
    def row_bytes(self) -> int:
        """Of the longer of the rows that it takes and hands on."""
        handed_on = 0 if self.kind == "EYES_HEAD" else self.out_columns * self.out_channels
        return max(self.in_columns * self.in_channels, handed_on)


class _Tables:
    """What a model's file has besides the engine: sizes, and arrays of constants."""

    def __init__(self, model: Network):
        self.model = model
        layers = model.layers(model.image_size, model.image_size)
        self.convolutions = list(_convolutions(model, layers))
        self.rows: list[_Row] = []
        self.windows = self.patches = 0  # bytes
        self._convolution = 0  # the next one's number
        for number, layer in enumerate(layers):
            self._add(layer, layers[number + 1 : number + 4])
        self.longest = max(conv.weights.shape[1] for conv in self.convolutions)
        self.row_bytes = max(row.row_bytes for row in self.rows)
        self.indexed = any(conv.values() is not None for conv in self.convolutions)

    def _add(self, layer: Layer, following: list[Layer]) -> None:
        """The row that begins with a layer. A Fire's squeeze, two expands and sum are one, the last
        convolution and the average one, and dropout is none."""
        if layer["kind"] == "max_pool":
            row = self._row("EYES_POOL", layer, layer)
            row.window = self._window(row.out_columns * row.out_channels)
        elif layer["inputs"] == (0,):
            row = self._row("EYES_CONVOLUTION", layer, layer)
            row.in_channels = layer["in_shape"][0]
            row.window = self._window(row.kernel * row.in_columns * row.in_channels)
            self._gather(self._next(1), row)
        elif layer["name"].endswith(".squeeze"):
            expand = following[1]
            row = self._row("EYES_FIRE", layer, expand)
            row.out_channels = _up(expand["first_channel"] + expand["out_shape"][0])
            row.squeezed = _up(layer["out_shape"][0])
            row.window = self._window(3 * row.in_columns * row.squeezed)
            if following[2]["kind"] == "sum":
                row.kept = self._window(2 * row.in_columns * row.in_channels)
            self._gather(self._next(3), row)
        elif following and following[0]["kind"] == "average_pool":
            self._row("EYES_HEAD", layer, layer)

    def _row(self, kind: str, first: Layer, last: Layer) -> _Row:
        shapes = []
        for channels, rows, columns in (first["in_shape"], last["out_shape"]):
            shapes += [rows, columns, _up(channels)]
        row = _Row(kind, first["kernel"], self._convolution, *shapes)
        assert kind not in ("EYES_POOL", "EYES_CONVOLUTION") or first["stride"] == 2
        self.rows.append(row)
        return row

    def _window(self, count: int) -> int:
        """The place of so many bytes."""
        self.windows += count
        return self.windows - count

    def _next(self, count: int) -> _Convolution:
        """The last of the next convolutions, which are a row's."""
        self._convolution += count
        return self.convolutions[self._convolution - 1]

    def _gather(self, conv: _Convolution, row: _Row) -> None:
        """Room for the patches of a row of outputs."""
        self.patches = max(self.patches, row.out_columns * conv.weights.shape[1])

    @property
    def constant_bytes(self) -> int:
        return sum(conv.bytes for conv in self.convolutions)

    @property
    def state_bytes(self) -> int:
        """sizeof the state, where an int has four bytes."""
        return _up(
            8 * self.model.num_classes
            + 8 * len(self.rows)
            + 8 * self.longest
            + 4 * self._pairs
            + self.row_bytes
            + self.patches
            + self.windows,
            8,
        )

    @property
    def _pairs(self) -> int:
        return 256 if self.indexed else 1

    def constants(self) -> list[str]:
        """Lines that define sizes."""
        model = self.model
        values: dict[str, object] = {
            "CLASSES": model.num_classes,
            "SIDE": model.image_size,
            "MAP_SIDE": self.rows[-1].in_rows,
            "FINAL_RELU": int(model.spec["final_relu"]),
            "CROP": int(model.preprocessing.fit == "crop"),
            "LAYERS": len(self.rows),
            "CONVOLUTIONS": len(self.convolutions),
            "LONGEST_PATCH": self.longest,
            "PAIRS": self._pairs,
            "ROW_BYTES": self.row_bytes,
            "PATCH_BYTES": self.patches,
            "WINDOW_BYTES": self.windows,
        }
        if model.threshold is not None and model.positive is not None:
            values |= {"POSITIVE": model.positive, "THRESHOLD": repr(model.threshold)}
        return [f"#define EYES_{name} {value}" for name, value in values.items()]

    def arrays(self) -> Iterator[str]:
        """Definitions of constants."""
        rows = []
        for number, conv in enumerate(self.convolutions):
            channels, length = conv.weights.shape
            values = conv.values()
            if values is None:
                yield _array("int8_t", f"weights_{number}", conv.weights.ravel())
                weights = f"eyes_weights_{number}, NULL, NULL"
            else:
                indices = np.searchsorted(np.unique(conv.weights), conv.weights).astype(np.uint8)
                pairs = indices[:, 0::2] | indices[:, 1::2] << 4
                yield _array("uint8_t", f"indices_{number}", pairs.ravel())
                yield _array("int8_t", f"values_{number}", values)
                weights = f"NULL, eyes_indices_{number}, eyes_values_{number}"
            yield _array("int32_t", f"biases_{number}", conv.biases)
            yield _array("float", f"multipliers_{number}", map(_hexadecimal, conv.multipliers))
            rows.append(
                f"    {{{weights}, eyes_biases_{number},\n"
                f"     eyes_multipliers_{number}, {channels}, {length}}},"
            )
        units = _array("float", "map_units", map(_hexadecimal, self.convolutions[-1].map_units))
        yield f"#ifdef EYES_MAPS\n{units}#endif\n"
        yield _table("eyes_convolution", "eyes_convolutions[EYES_CONVOLUTIONS]", rows)
        lines = [f"    {{{', '.join(map(str, astuple(row)))}}}," for row in self.rows]
        yield _table("eyes_layer", "eyes_layers[EYES_LAYERS]", lines)


def _class_names(model: Network, name: str) -> str:
    names = ",\n".join(f"    {literal(model.name_of(i))}" for i in range(model.num_classes))
    size = f"{name.upper()}_CLASSES"
    return f"const char *const {name}_class_names[{size}] = {{\n{names},\n}};\n"


def _table(kind: str, name: str, rows: list[str]) -> str:
    return f"static const {kind} {name} = {{\n" + "\n".join(rows) + "\n};\n"


def _array(kind: str, name: str, values: Iterable[Any]) -> str:
    text = list(map(str, values))
    per_line = max(1, (LINE - 4) // (max(map(len, text)) + 1))
    lines = [
        "    " + ",".join(text[first : first + per_line]) + ","
        for first in range(0, len(text), per_line)
    ]
    return f"static const {kind} eyes_{name}[{len(text)}] = {{\n" + "\n".join(lines) + "\n};\n"


def _hexadecimal(value: np.float32) -> str:
    """As C99 has floats whose bits are exact."""
    digits, _, power = float(value).hex().partition("p")
    return f"{digits.rstrip('0').rstrip('.')}p{power}f"


def literal(text: str) -> str:
    """A string in C: UTF-8, of which only plain ASCII stands as it is."""
    return '"' + "".join(map(_character, text.encode("utf-8"))) + '"'


def _character(byte: int) -> str:
    plain = 32 <= byte < 127 and chr(byte) not in '"\\?'  # ?: of a trigraph
    return chr(byte) if plain else f"\\{byte:03o}"


# -- What its first lines say ----------------------------------------------------------------------


def _comment(model: Network, tables: _Tables, stem: str, name: str) -> str:
    names = [_remark(model.name_of(label)) for label in range(model.num_classes)]
    classes = ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
    threshold = ""
    if model.threshold is not None and model.positive is not None:
        threshold = f"""
 * {names[model.positive]} is the answer where its probability is at least {model.threshold!r}."""
    bits = "4-bit indices" if tables.indexed else "int8"
    what = f"SqueezeNet v{model.version.replace('_', '.')}, {bits}"
    file, upper = _remark(f"{stem}.c"), name.upper()
    state, constants = tables.state_bytes, tables.constant_bytes
    return f"""/* {file}: {what}. Written by squeezenet_c {__version__}, not to be edited.
 *
 * {model.num_classes} classes: {classes}.{threshold}
 * Memory: {name}_state {state:,} bytes, constants {constants:,}, stack about 1,350; no heap.
 * C99; compile with -O3: -Os is up to 3 times slower. Logits have the same bits everywhere.
 *
 *     #define {upper}_DECLARATIONS    // of this file, only what a user needs
 *     #include "{file}"    // which is compiled too, beside this one
 *
 *     static {name}_state state;
 *     float logits[{upper}_CLASSES];
 *     {name}_init(&state);
 *     for (int y = 0; y < {upper}_SIDE; y++)
 *         {name}_row(&state, rgb[y]);    // uint8_t rgb[{upper}_SIDE][3 * {upper}_SIDE]
 *     {name}_finish(&state, logits);    // their softmax is the probabilities
 *
 * With -D{upper}_MAPS, state.maps is the last convolution's output, whose means the logits are.
 * With -D{upper}_MAIN it is a program:
 *
 *     cc -O3 -std=c99 -D{upper}_MAIN {file} -lm -o {name}
 *     ./{name} photo.ppm */"""


def _remark(name: str) -> str:
    """A class's name for a comment."""
    shown = name if name.isprintable() else ascii(name)
    return shown.replace("*/", "* /").replace("/*", "/ *")
