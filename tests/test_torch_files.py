"""PyTorch's files read without it: good ones, made by hand and by PyTorch, and every way in which
one can lie."""

import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.files import torch_pickle, torch_read

Refuses = Callable[..., None]
NUMBERS = np.arange(6, dtype="<f4")
FLOAT = "torch.FloatStorage"
TENSOR = "torch._utils._rebuild_tensor_v2"


# -- Files by hand: opcodes as in the standard library's pickletools.py ----------------------------


def plain(value: object) -> bytes:
    """The opcodes of a value that pickle can write."""
    return pickle.dumps(value, 2)[2:-1]


def name(dotted: str) -> bytes:
    module, _, last = dotted.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def whole(program: bytes) -> bytes:
    return b"\x80\x02" + program + b"."


def dict_of(*items: bytes) -> bytes:
    """An OrderedDict of opcodes: key, value, key, value, ..."""
    return name("collections.OrderedDict") + b")R(" + b"".join(items) + b"u"


def tensor(
    shape: object = (2, 3),
    strides: object = (3, 1),
    offset: object = 0,
    count: object = 6,
    storage: str = FLOAT,
    key: object = "0",
) -> bytes:
    identifier = b"(" + plain("storage") + name(storage) + plain(key) + plain("cpu") + plain(count)
    rest = plain(offset) + plain(shape) + plain(strides) + plain(False) + dict_of()
    return name(TENSOR) + b"(" + identifier + b"tQ" + rest + b"tR"


def write(path: Path, program: bytes, records: dict[str, bytes] | None = None) -> None:
    """An archive of a pickle and other records; by default one storage of six numbers."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any/data.pkl", whole(program))
        for record, contents in (records or {"data/0": NUMBERS.tobytes()}).items():
            archive.writestr(f"any/{record}", contents)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@pytest.fixture
def refuses(path: Path) -> Refuses:
    """Asserts that the file is refused with a message that names it."""

    def check(message: str) -> None:
        with pytest.raises(sq.BadFileError, match=message) as raised:
            torch_read.read(str(path))
        assert str(path) in str(raised.value)

    return check


# -- What is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (tensor(), NUMBERS.reshape(2, 3)),
        (tensor((3, 2), (1, 3)), NUMBERS.reshape(2, 3).T),
        (tensor((2,), (2,), 1), [1, 3]),
        (tensor((1, 2), (1 << 70, 5)), [[0, 5]]),  # a stride that is never taken
        (tensor((), ()), 0),
        (tensor((0, 6), (6, 1), 6), np.zeros((0, 6))),
    ],
)
def test_views(path: Path, tensors: bytes, expected: object) -> None:
    write(path, dict_of(plain("a"), tensors))
    state, metadata = torch_read.read(str(path))
    assert state["a"].dtype == np.float32 and state["a"].flags.c_contiguous
    assert state["a"].shape == np.shape(expected) and np.array_equal(state["a"], expected)
    assert metadata == {}


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("element", ["Float", "Half", "BFloat16"])
def test_elements_and_byte_orders(path: Path, order: str, element: str) -> None:
    bits = NUMBERS.view(np.uint32) >> 16 if element == "BFloat16" else NUMBERS
    stored = bits.astype({"Float": "f4", "Half": "f2", "BFloat16": "u2"}[element])
    stored = stored.astype(stored.dtype.newbyteorder("<" if order == "little" else ">"))
    records = {"data/0": stored.tobytes(), "byteorder": order.encode()}
    write(path, dict_of(plain("a"), tensor(storage=f"torch.{element}Storage")), records)
    assert np.array_equal(torch_read.read(str(path))[0]["a"], NUMBERS.reshape(2, 3))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_under_a_key_among_other_things(path: Path, key: str) -> None:
    others = plain(
        {"epoch": 3, "lr": 0.1, "best": None, "name": "β", "done": [True, (1, 2)], 1: []}
    )
    other_tensor = plain("step") + tensor(storage="torch.LongStorage", key="not there")
    inner = dict_of(plain("module._orig_mod.a"), tensor())
    write(path, others + b"(" + other_tensor + plain(key) + inner + b"u")
    state, _ = torch_read.read(str(path))
    assert list(state) == ["a"]


def test_shared_storages_and_attributes(path: Path) -> None:
    program = dict_of(plain("a"), tensor((3,), (1,)), plain("b"), tensor((3,), (1,), 3))
    attributes = plain({"_metadata": {"": {"version": 1}}})
    write(path, program + attributes + b"b")
    state, _ = torch_read.read(str(path))
    assert np.array_equal(state["b"], [3, 4, 5]) and len(state) == 2


# -- Pickles that are more than tensors ------------------------------------------------------------


class Calls:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object):
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_calls_are_refused_by_name_and_not_made(
    tmp_path: Path, path: Path, refuses: Refuses, protocol: int, nested: bool
) -> None:
    evidence = tmp_path / "evidence"
    for function, argument, found in (
        (os.system, f"touch {evidence}", rf"{os.name}\.system"),
        (eval, f"open({str(evidence)!r}, 'w')", r"(builtins|__builtin__)\.eval"),
        (os.mkdir, str(evidence), rf"{os.name}\.mkdir"),
    ):
        call = Calls(function, argument)
        program = pickle.dumps({"state_dict": [{"a": (call,)}]} if nested else call, protocol)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("any/data.pkl", program)
        # Protocols 0 and 1 have opcodes that no state_dict has; nested, those come first.
        opcodes = r"|the pickle opcode \w+" if nested and protocol < 2 else ""
        refuses(f"({found}{opcodes}).* found in its pickle; only tensors")
        with pytest.raises(sq.BadFileError):
            sq.Model.load(path)
    assert not evidence.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (name("os.system") + plain("x") + b"\x85R", r"os\.system found"),
        (b"\x8c\x05posix\x8c\x06system\x93.", r"posix\.system found"),
        (b"(S'x'\nios\nsystem\n", "opcode STRING of x"),
        (b"(ios\nsystem\n", r"opcode INST of os\.system"),
        (b"(" + name("os.system") + b"o", r"os\.system found"),
        (name("torch.nn.modules.linear.Linear") + b")\x81", r"nn\.modules\.linear\.Linear found"),
        (name("collections.OrderedDict") + b")\x81", "opcode NEWOBJ"),
        (name("collections.OrderedDict.fromkeys"), r"OrderedDict\.fromkeys found"),
        (name("collections.OrderedDict") + plain((1,)) + b"R", "a call of .*OrderedDict with a tu"),
        (name(FLOAT) + b")R", "a call of torch.FloatStorage"),
        (plain("x") + b")R", "a call of a value of the type str with a tuple of 0"),
        (
            name(TENSOR) + plain({"__code__": 1}) + b"b",
            "rebuild_tensor_v2 that is given attributes",
        ),
        (name(TENSOR) + plain((None, {"__defaults__": ()})) + b"b", "that is given attributes"),
        (name(TENSOR) + plain((1, 2)) + b"R", "a tensor made of a tuple of 2"),
        (b"\x82\x01", "opcode EXT1"),
        (b"\x8f", "opcode EMPTY_SET"),
        (
            plain("storage") + b"Q",
            "a persistent id that is no storage's but a value of the type str",
        ),
        (b"(" + plain("storage") + name(TENSOR) + plain("0") * 2 + plain(1) + b"tQ", "persistent"),
        (plain([1]) + plain(1) + plain(2) + b"s", "of the type list that is given items"),
        (plain(1) + plain(1) + b"a", "of the type int that is appended to"),
        (b"}(" + plain((1, 2)) + plain(1) + b"u", "a dict with a tuple of 2 for a key"),
        (b"}(" + plain("a") + plain(1) + plain("a") + plain(2) + b"u", "has the key 'a' twice"),
        (b"}(" + plain("a") + b"u", "a damaged pickle"),
        (b"h\x05", "a damaged pickle"),
        (b"t", "a damaged pickle"),
        (b"\xff", "a damaged pickle"),
        (b"\x80\x09N", "protocol 9"),
        (b"NN", "more or less than one object"),
        (b"", "more or less than one object"),
        (b"X\xff\xff\xff\xffabc", "a damaged pickle"),
        (b"N" * (torch_pickle.MOST_BYTES + 1), "a pickle of 4194308 bytes"),
    ],
)
def test_refused_pickles(path: Path, refuses: Refuses, program: bytes, message: str) -> None:
    write(path, program)
    refuses(message)


def test_a_pickle_that_does_not_end(path: Path, refuses: Refuses) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any/data.pkl", b"\x80\x02}")
    refuses("a damaged pickle")


def test_a_memo_number_asks_for_no_memory(path: Path) -> None:
    """Python's own unpickler makes a table of twice the number's size of it."""
    write(path, b"Nr" + struct.pack("<I", 0xFFFFFFF0) + b"0" + dict_of(plain("a"), tensor()))
    with pytest.raises(sq.BadFileError, match="opcode POP"):
        torch_read.read(str(path))
    assert torch_pickle.load(whole(b"}r" + struct.pack("<I", 0xFFFFFFF0))) == {}


def test_what_holds_itself(path: Path, refuses: Refuses) -> None:
    inside: list[object] = []
    inside.append(inside)
    write(path, plain(inside))
    refuses("a list, expected a state_dict")
    write(path, plain({"a": inside}))
    refuses("under 'a' is no tensor but list")
    write(path, b"]" * 100000 + b"a" * 99999)  # deeper than any recursion
    refuses("a list, expected a state_dict")


# -- Tensors that are not what they say ------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (tensor((2, 3), (4, 1)), "a has 6 elements and reaches number 6 of a storage of 6"),
        (tensor((2, 3), (3, 1), 1), "a has 6 elements and reaches number 6 of a storage of 6"),
        (tensor((7,), (0,)), "a has 7 elements and reaches number 0 of a storage of 6"),
        (tensor((2, 3), (1 << 62, 1)), "reaches number 4611686018427387906 of a storage of 6"),
        (tensor((1 << 40, 1 << 40), (0, 0)), r"the shape \[1099511627776, 1099511627776\]"),
        (tensor((300, 300), (0, 0)), r"the shape \[300, 300\] in a storage of 6, which"),
        (tensor((0, 1 << 80), (1, 1)), "more than the file holds"),
        (tensor((2, 3), (3, 1), 0, 1 << 50), "more than the file holds"),
        (tensor((2, 3), (3, 1), 0, 7), "the storage of a has 24 bytes, expected 28"),
        (tensor((2, 2), (2, 1), 0, 4), "the storage of a has 24 bytes, expected 16"),
        (tensor((-2, -3), (3, 1)), r"a tensor of the shape \(-2, -3\)"),
        (tensor((2, 3), (-3, 1)), r"strides \(-3, 1\)"),
        (tensor((2, 3), (3, 1), -1), "a tensor of the shape"),
        (tensor((2, 3), (3, 1), 0, -6), "a tensor of the shape"),
        (tensor((2, 3), (3,)), "a tensor of the shape"),
        (tensor((2, 3.0), (3, 1)), "a tensor of the shape"),
        (tensor((True,), (1,)), "a tensor of the shape"),
        (tensor((1,) * 9, (1,) * 9), "a tensor of the shape"),
        (tensor([2, 3], (3, 1)), "a tensor made of"),
        (tensor((2, 3), (3, 1), 0.5), "a tensor made of"),
        (tensor((2, 3), (3, 1), 0, 6.0), "a persistent id"),
        (tensor(key=0), "a persistent id"),
        (tensor(key="../../0"), r"no record 'data/\.\./\.\./0'"),
        (tensor(key="1"), "no record 'data/1'"),
        (tensor(storage="torch.DoubleStorage"), "a is of the type Double, expected Float, Half"),
        (tensor(storage="torch.LongStorage"), "a is of the type Long"),
        (tensor(storage="torch.HalfStorage"), "the storage of a has 24 bytes, expected 12"),
        (tensor(storage="torch.StrangeStorage"), r"torch\.StrangeStorage found"),
        (plain(3), "under 'a' is no tensor but int"),
    ],
)
def test_tensors_that_lie(path: Path, refuses: Refuses, tensors: bytes, message: str) -> None:
    write(path, dict_of(plain("a"), tensors))
    refuses(message)


def test_many_tensors_over_one_storage(path: Path, refuses: Refuses) -> None:
    items = [plain(f"{i}") + b"h\x07" for i in range(5000)]
    values = np.zeros(10000, "<f4").tobytes()
    first = plain("a") + tensor((10000,), (1,), 0, 10000) + b"q\x07"
    write(path, b"}(" + first + b"".join(items) + b"u", {"data/0": values})
    refuses("its tensors take 200040000 bytes, but the file has only")


# -- Archives --------------------------------------------------------------------------------------


def test_archives_that_are_not_pytorchs(path: Path, refuses: Refuses) -> None:
    good = {"data/0": NUMBERS.tobytes()}
    program = dict_of(plain("a"), tensor())
    for records, message in (
        ({**good, "byteorder": b"middle"}, "byteorder is b'middle', expected little or big"),
        ({**good, "constants.pkl": b""}, "a TorchScript program"),
        ({**good, "extra/squeezenet_c.json": b"{"}, "is not JSON of text by key"),
        ({**good, "extra/squeezenet_c.json": b'{"spec": 1}'}, "is not JSON of text by key"),
        ({"data/1": b""}, "no record 'data/0'"),
    ):
        write(path, program, records)
        refuses(message)
    for names, message in (
        (["data.pkl"], "with 0 records NAME/data.pkl"),
        (["a/b/data.pkl"], "not a file that torch.save wrote"),
        (["a/data.pkl", "b/data.pkl"], "with 2 records"),
        (["a/data.pkl", "a/data/0", "a/data/0"], "two records are called 'a/data/0'"),
    ):
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's, of the same name twice
            for member in names:
                archive.writestr(member, whole(program))
        refuses(message)


def test_compressed_records(path: Path, refuses: Refuses) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("any/data.pkl", whole(dict_of(plain("a"), tensor())))
        archive.writestr("any/data/0", bytes(1 << 20))
    refuses("its records are larger than the file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("any/data.pkl", whole(b"N"))
    refuses("'data.pkl' is compressed, expected stored")


def test_damage_anywhere(path: Path) -> None:
    """Cut anywhere, or with any byte changed, a file is refused or gives six numbers."""
    write(path, dict_of(plain("a"), tensor()))
    contents = path.read_bytes()
    chance = random.Random(0)
    damaged = [contents[:length] for length in range(4, len(contents), 3)]
    for position in range(4, len(contents)):
        changed = bytearray(contents)
        changed[position] ^= 1 << chance.randrange(8) if position % 2 else 0xFF
        damaged.append(bytes(changed))
    outcomes = {"read": 0, "refused": 0}
    for file in damaged:
        path.write_bytes(file)
        try:
            state, _ = torch_read.read(str(path))
            assert sum(array.size for array in state.values()) <= 6
            outcomes["read"] += 1
        except sq.BadFileError as error:
            assert str(path) in str(error)
            outcomes["refused"] += 1
    assert outcomes["refused"] > 2 * outcomes["read"]


def test_old_format(path: Path) -> None:
    path.write_bytes(torch_read.OLD_MAGIC + b"anything")
    with pytest.raises(sq.BadFileError, match=r"before version 1\.6.*torch\.save\(torch\.load"):
        sq.Model.load(path)

    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(sq.BadFileError, match="a pickle by itself, which could run any code"):
        sq.Model.load(path)


def test_a_safetensors_file_that_begins_like_a_pickle(path: Path) -> None:
    """Its header's length, 0x280, is written 80 02."""
    entry = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    path.write_bytes(struct.pack("<Q", 0x280) + json.dumps(entry).encode().ljust(0x280) + b"abcd")
    with pytest.raises(sq.BadFileError, match=r"no tensor features\.0\.weight"):
        sq.Model.load(path)


# -- Models ----------------------------------------------------------------------------------------


def test_the_contents_tell_the_kind(tmp_path: Path) -> None:
    model = sq.Model("1_1", 3, seed=2)
    model.save(tmp_path / "a.pth")
    model.export(tmp_path / "b.pt")
    os.rename(tmp_path / "b.pt", tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        loaded = sq.Model.load(tmp_path / file)
        assert all(np.array_equal(loaded.state_dict()[k], v) for k, v in model.state_dict().items())
    with pytest.raises(FileNotFoundError):
        sq.Model.load(tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError, match="is a folder without weights/best.safetensors"):
        sq.Model.load(tmp_path)


def test_a_replaced_head_is_said(tmp_path: Path) -> None:
    model = sq.Model("1_1", 3, seed=2, class_names=["a", "b", "c"])
    model.export(tmp_path / "three.pth")
    with pytest.warns(UserWarning, match=r"three\.pth.* for 3 classes, is replaced .* for 2$") as w:
        tuned = sq.Model.from_pretrained(tmp_path / "three.pth", num_classes=2)
    assert w[0].filename == __file__
    assert tuned.num_classes == 2 and tuned.class_names is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sq.Model.from_pretrained(tmp_path / "three.pth", 3).class_names == ("a", "b", "c")


@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_imagenet_weights_by_way_of_pytorch(shared: Path, path: Path, version: str) -> None:
    """Saved by PyTorch as programs save it: what is read is what PyTorch has, and so are the
    probabilities of photographs; and those are right."""
    torch = pytest.importorskip("torch")
    source = shared / "pretrained" / f"squeezenet{version}-imagenet.safetensors"
    state = {k: torch.tensor(v) for k, v in sq.Model.load(source).state_dict().items()}
    paths = [shared / "imagenet_samples" / picture for picture in ("cat.jpg", "000017.jpg")]
    for saved, element in (
        (state, torch.float32),
        ({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}}, torch.float32),
        ({k: v.half() for k, v in state.items()}, torch.float16),
        ({"model": {k: v.bfloat16() for k, v in state.items()}}, torch.bfloat16),
    ):
        torch.save(saved, path)
        model = sq.Model.load(path)
        rounded = {k: v.to(element).float() for k, v in state.items()}
        ours = model.state_dict()
        assert all(np.array_equal(ours[k], v.numpy()) for k, v in rounded.items())
    model, spec = sq.Model.from_pretrained(source), {"version": version, "bypass": None}
    x = np.stack([model.preprocessing.square(sq._core.read_image(file)) for file in paths])
    normalised = torch.tensor(model.preprocessing.normalise(x))
    logits = networks.torch_forward(state, normalised, spec | {"final_relu": True})
    probabilities = model.predict_proba(paths)
    assert np.abs(probabilities - logits.softmax(1).numpy()).max() < 1e-4
    lines = (shared / "imagenet_samples" / "synset_words.txt").read_text().splitlines()
    best = [[lines[i].split(" ", 1)[1] for i in row.argsort()[::-1]] for row in probabilities]
    assert best[0][0].startswith("kit fox") and best[1][0].startswith("paddle")
    assert "tiger cat" in best[0][: {"1_0": 5, "1_1": 2}[version]]


def test_what_pytorch_saves_besides(path: Path, refuses: Refuses) -> None:
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(3, 2)
    torch.save(linear, path)
    refuses(r"torch\.nn\.modules\.linear\.Linear found")
    torch.save(linear.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(sq.BadFileError, match=r"before version 1\.6"):
        torch_read.is_torch_file(str(path))
    optimizer = torch.optim.Adam(linear.parameters())
    linear(torch.ones(3)).sum().backward()
    optimizer.step()
    saved = {"state_dict": linear.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 4}
    torch.save(saved, path)
    state, _ = torch_read.read(str(path))
    assert np.array_equal(state["weight"], linear.weight.detach().numpy())
    torch.save({"weight": torch.arange(12.0).reshape(3, 4).T[1:]}, path)
    assert np.array_equal(
        torch_read.read(str(path))[0]["weight"], np.arange(12.0).reshape(3, 4).T[1:]
    )
