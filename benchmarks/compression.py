"""What int8 and compression cost on the PALM photographs: accuracy, AUC and calibration error of a
model in float32, in int8, and compressed, over several seeds.

    python benchmarks/compression.py PALM_FOLDER --pretrained WEIGHTS [--seeds 0 1 2 3 4]
    python benchmarks/compression.py PALM_FOLDER --arch 1_1                # from scratch

Everything is trained on the training photographs (without those that are validation photographs
too), nothing is chosen on the validation photographs, and these are looked at once a model. With
--results FILE a run that was stopped goes on where it was, and another that asks for more seeds or
sizes does only these; its float32 models are kept beside FILE.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262}  # Student's, 97.5 %, by runs
FIGURES = ("accuracy", "auc", "calibration_error")


def sets_of(folder: str) -> tuple[Any, Any]:
    """(training, validation), no photograph in both."""
    import squeezenet_c as sq

    training, validation = sq.palm.load(folder)
    leaks = sq.check_data(training, validation).leaks
    both = {path for pair in leaks for path in (pair.first, pair.second)}
    kept = [i for i, path in enumerate(training.paths) if path not in both]
    return training.subset(kept), validation


def trained(options: argparse.Namespace, training: Any, seed: int) -> Any:
    """The float32 model of a seed, by the defaults of `train`."""
    import squeezenet_c as sq

    if options.pretrained:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the head is replaced
            model = sq.Model.from_pretrained(
                options.pretrained, class_names=training.class_names, seed=seed
            )
    else:
        model = sq.Model(options.arch, class_names=training.class_names, seed=seed)
    sq.train(model, training, epochs=options.epochs, seed=seed, progress=False)
    return model


def measured(make: Callable[[], Any], validation: Any, file: Path) -> tuple[Any, dict[str, float]]:
    """The model that `make` makes, and its row: figures, bytes, seconds of making it."""
    start = time.perf_counter()
    model = make()
    seconds = time.perf_counter() - start
    model.save(file)
    found = model.evaluate(validation)
    row = {name: getattr(found, name) for name in FIGURES}
    return model, row | {"bytes": file.stat().st_size, "seconds": seconds}


def add_rows(
    rows: dict[str, dict[str, float]],
    options: argparse.Namespace,
    training: Any,
    validation: Any,
    seed: int,
    write: Callable[[], None],
) -> None:
    """Every form of a seed's model that is not among the rows yet, by its name; `write` is called
    after each."""
    import squeezenet_c as sq

    forms: dict[str, Callable[[], Any]] = {"int8": lambda: sq.quantize(model, training)}
    for size in options.size_kb:
        forms[f"{size:g} kB"] = lambda size=size: sq.compress(  # type: ignore[misc]
            model, training, validation, size_kb=size, seed=seed, progress=False
        )
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(
            f"{options.results}.{seed}.safetensors" if options.results else folder + "/float32"
        )
        if "float32" in rows and kept.exists():
            model = sq.Model.load(kept)
        else:
            model, rows["float32"] = measured(
                lambda: trained(options, training, seed), validation, kept
            )
            write()
        for form, make in forms.items():
            if form not in rows:
                _, rows[form] = measured(make, validation, Path(folder, "form"))
                write()


def mean_of(values: list[float]) -> str:
    """With Student's 95 % interval, where there are seeds enough."""
    found = f"{np.mean(values):.4f}"
    if len(values) not in T_QUANTILE:
        return found
    half = T_QUANTILE[len(values)] * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{found} +- {half:.4f}"


def say(seeds: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table: means over the seeds, and what each form has more than its seed's float32 model."""
    for form in next(iter(seeds.values())):
        rows = [(rows[form], rows["float32"]) for rows in seeds.values() if form in rows]
        size, took = (np.mean([row[key] for row, _ in rows]) for key in ("bytes", "seconds"))
        print(f"{form}: {len(rows)} seeds, {size:,.0f} bytes, {took:.1f} s")
        for name in FIGURES:
            found = mean_of([row[name] for row, _ in rows])
            more = mean_of([row[name] - before[name] for row, before in rows])
            print(f"    {name:18} {found:20}  against float32 {more}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="PALM_FOLDER")
    parser.add_argument("--pretrained", metavar="WEIGHTS", help="default: from scratch")
    parser.add_argument("--arch", default="1_1", choices=("1_0", "1_1"), help="from scratch")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--epochs", type=int, help="default: 8 from WEIGHTS, 20 from scratch")
    parser.add_argument("--size-kb", type=float, nargs="*", default=[100.0, 64.0])
    parser.add_argument("--results", metavar="FILE", help="JSON of all rows, written one by one")
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = 8 if options.pretrained else 20
    training, validation = sets_of(options.data)
    print(f"{len(training)} training and {len(validation)} validation photographs", flush=True)
    results = Path(options.results) if options.results else None
    seeds = json.loads(results.read_text()) if results and results.exists() else {}

    def write() -> None:
        if results:
            part = results.with_suffix(".part")
            part.write_text(json.dumps(seeds, indent=1))
            part.replace(results)

    for seed in options.seeds:
        rows = seeds.setdefault(str(seed), {})
        add_rows(rows, options, training, validation, seed, write)
        print(seed, json.dumps(rows), flush=True)
    say(seeds)


if __name__ == "__main__":
    main()
