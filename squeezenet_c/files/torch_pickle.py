"""Reads the pickle in a PyTorch file without running it.

A pickle is a program for a stack machine, and Python's own machine calls whatever the program
names. This one calls nothing. It knows numbers, text, lists, tuples, dicts and tensors; the names
of classes and functions stay names, of which only those that a state_dict needs are taken:

    collections.OrderedDict             with no arguments: a dict
    torch.FloatStorage and the like     in a persistent id: a Storage
    torch._utils._rebuild_tensor_v2     of a Storage, offset, shape and strides: a Tensor

Everything else is Refused by its name. Opcodes are taken apart by the standard library's
pickletools, whose documentation is also the description of the format.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

NEWEST_PROTOCOL = 5
MOST_BYTES = 4 << 20  # SqueezeNet's is 10 kB; a byte of pickle can become 70 bytes of empty lists
LARGEST_RANK = 8
LARGEST_KEY = 1 << 31  # of a dict: numbers beyond may be chosen so that all have one hash

ORDERED_DICT = "collections.OrderedDict"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
# What torch.save calls the storages of its element types.
STORAGES = {
    f"torch.{element}Storage": element
    for element in (
        *("Float", "Half", "BFloat16", "Double", "Byte", "Char", "Short", "Int", "Long", "Bool"),
        *("ComplexFloat", "ComplexDouble"),
    )
}


class Refused(ValueError):
    """The pickle is damaged, or is more than tensors and plain containers. Says what was found."""


@dataclass(frozen=True)
class Name:
    """A class or a function that the pickle may name. It is never looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """`count` numbers of the type `element` ("Float", ...), in the record data/`key`."""

    element: str
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, in elements. Sizes are whole numbers of 0 or more, as many strides as
    sides; whether they stay inside the storage is not yet checked."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(pickle: bytes) -> Any:
    """What the pickle describes, made of None, bool, int, float, str, bytes, list, tuple, dict and
    Tensor. Refused: see there."""
    if len(pickle) > MOST_BYTES:
        raise Refused(f"a pickle of {len(pickle)} bytes, expected at most {MOST_BYTES}")
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            machine.run(opcode.name, argument)
        return machine.stack[-1]
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise Refused(f"a damaged pickle ({type(error).__name__}: {str(error):.200})") from None


class _Machine:
    """The stack; the stacks below its marks; the memo."""

    CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
    # Opcodes whose argument is the value.
    VALUES = {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
    PUTS, GETS = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
    SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, opcode: str, argument: Any) -> None:
        if opcode in self.VALUES:
            self.stack.append(argument)
        elif opcode in self.CONSTANTS:
            self.stack.append(self.CONSTANTS[opcode])
        elif opcode in self.EMPTY:
            self.stack.append(self.EMPTY[opcode]())
        elif opcode in self.PUTS:
            self.memo[argument] = self.stack[-1]
        elif opcode in self.GETS:
            self.stack.append(self.memo[argument])
        elif opcode in self.SHORT_TUPLES:
            count = self.SHORT_TUPLES[opcode]
            self.stack.append(tuple(self.pop() for _ in range(count))[::-1])
        elif hasattr(self, f"do_{opcode.lower()}"):
            getattr(self, f"do_{opcode.lower()}")(argument)
        else:
            named = f" of {argument.replace(' ', '.')}" if isinstance(argument, str) else ""
            raise Refused(f"the pickle opcode {opcode}{named:.200}")

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    # -- Opcodes: each is called with its argument, None where it has none -------------------------

    def do_proto(self, version: int) -> None:
        if version > NEWEST_PROTOCOL:
            raise Refused(f"pickle protocol {version}, expected at most {NEWEST_PROTOCOL}")

    def do_frame(self, _: int) -> None:
        """A hint for readers that read ahead."""

    def do_stop(self, _: None) -> None:
        if len(self.stack) != 1 or self.below:
            raise Refused("a pickle that leaves more or less than one object")

    def do_mark(self, _: None) -> None:
        self.below.append(self.stack)
        self.stack = []

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_tuple(self, _: None) -> None:
        items = self.pop_to_mark()
        self.stack.append(tuple(items))

    def do_append(self, _: None) -> None:
        item = self.pop()
        self._extend([item])

    def do_appends(self, _: None) -> None:
        self._extend(self.pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        _expect(self.stack[-1], list, "appended to").extend(items)

    def do_setitem(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def do_setitems(self, _: None) -> None:
        self._update(self.pop_to_mark())

    def _update(self, items: list[Any]) -> None:
        target = _expect(self.stack[-1], dict, "given items")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise Refused(f"a dict with {_said(key)} for a key")
            if isinstance(key, int) and abs(key) > LARGEST_KEY:
                raise Refused(f"a dict with a number beyond {LARGEST_KEY} for a key")
            if key in target:
                raise Refused(f"a dict that has the key {str(key)!r:.200} twice")
            target[key] = value

    def do_global(self, argument: str) -> None:
        self._push_name(argument.replace(" ", "."))

    def do_stack_global(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused(f"{_said(name)} of {_said(module)}, where a name is expected")
        self._push_name(f"{module}.{name}")

    def _push_name(self, name: str) -> None:
        if name not in (ORDERED_DICT, REBUILD_TENSOR) and name not in STORAGES:
            raise Refused(f"{name:.200}")
        self.stack.append(Name(name))

    def do_reduce(self, _: None) -> None:
        """A call, of one of the two that are known."""
        arguments, called = self.pop(), self.pop()
        if called == Name(ORDERED_DICT) and arguments == ():
            self.stack.append({})
        elif called == Name(REBUILD_TENSOR):
            self.stack.append(_tensor(arguments))
        else:
            raise Refused(f"a call of {_said(called)} with {_said(arguments)}")

    def do_build(self, _: None) -> None:
        """Attributes. A state_dict has some, its modules' versions; they are not needed."""
        self.pop()
        _expect(self.stack[-1], dict, "given attributes")

    def do_binpersid(self, _: None) -> None:
        match self.pop():
            case ("storage", Name(kind), str(key), str(), int(count)) if kind in STORAGES:
                self.stack.append(Storage(STORAGES[kind], key, count))
            case other:
                raise Refused(f"a persistent id that is no storage's but {_said(other)}")


def _tensor(arguments: Any) -> Tensor:
    """For _rebuild_tensor_v2's arguments (torch/_utils.py): storage, offset, shape, strides,
    requires_grad, backward hooks, and in newer files metadata; the last three do not matter."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _, *_):
            sizes = (storage.count, offset, *shape, *strides)
            if (
                len(shape) == len(strides) <= LARGEST_RANK
                and all(type(size) is int for size in sizes)
                and min(sizes) >= 0
            ):
                return Tensor(storage, offset, shape, strides)
            raise Refused(f"a tensor of the shape {_sides(shape)} and strides {_sides(strides)}")
    raise Refused(f"a tensor made of {_said(arguments)}")


def _sides(sides: tuple) -> str:
    """In words, of a bounded length: tuples that hold tuples twice would be 2^n words long."""
    if len(sides) <= LARGEST_RANK and all(type(side) is int for side in sides):
        return f"{sides}"[:80]
    return f"of {len(sides)} sides that are not all whole numbers"


def _expect(target: Any, kind: type, what: str) -> Any:
    if not isinstance(target, kind):
        raise Refused(f"{_said(target)} that is {what}")
    return target


def _said(found: Any) -> str:
    """What was found, in a few words: what a file holds may be long, deep, or hold itself."""
    if isinstance(found, Name):
        return found.text
    if isinstance(found, tuple):
        return f"a tuple of {len(found)}"
    return "None" if found is None else f"a value of the type {type(found).__name__}"
