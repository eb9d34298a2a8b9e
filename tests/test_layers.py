"""Which modules of the package may import which: one way, as squeezenet_c/README.md draws it."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "squeezenet_c"
# Each floor imports itself and those before it. What is not here is a module of the package's own
# folder that stands where it is named.
FLOORS = (
    ("_native", "_version"),
    ("base",),
    ("preprocessing", "network", "summary"),
    ("data",),
    ("inference",),
    ("files",),
    ("training",),
    ("compression",),
    ("reports",),
    ("model",),
    ("models", "palm", "estimator"),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}


def _parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


def _imported(path: Path) -> list[str]:
    """The parts of the package that a file imports, wherever in it: for types and in functions
    too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found += [
                name[1] if name[1:] else "__init__" for name in names if name[0] == "squeezenet_c"
            ]
        elif isinstance(node, ast.ImportFrom):
            package = ["squeezenet_c", *_parts(path)[:-1]]
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            if base[:1] != ["squeezenet_c"]:
                continue
            if len(base) > 1:
                found.append(base[1])
            else:
                found += [
                    n.name if n.name in {*FLOOR_OF, "_core"} else "__init__" for n in node.names
                ]
    return [name for name in found if name != "_core"]


def _floor(path: Path) -> int:
    return FLOOR_OF[_parts(path)[0]]


def test_every_part_has_a_floor() -> None:
    assert {_parts(path)[0] for path in PACKAGE.rglob("*.py")} == set(FLOOR_OF)


def test_imports_go_one_way() -> None:
    for path in PACKAGE.rglob("*.py"):
        for name in _imported(path):
            where = "/".join(_parts(path))
            assert FLOOR_OF[name] <= _floor(path), f"{where} imports {name}, which stands above it"


def test_the_rule_sees_every_kind_of_import(tmp_path: Path) -> None:
    path = PACKAGE / "data" / "palm.py"
    assert {"_native", "data", "base"} <= set(_imported(path))
