"""What int8 and compression cost on the PALM photographs: accuracy, AUC and calibration error of a
model in float32, in int8, and compressed, over several seeds.

    python benchmarks/compression.py PALM_FOLDER --pretrained WEIGHTS [--arch 1_1] [--seeds 5]
    python benchmarks/compression.py PALM_FOLDER --arch 1_1            # from scratch

Everything is trained on the training photographs (without those that are validation photographs
too), nothing is chosen on the validation photographs, and these are looked at once a model. With
--results FILE a run that was stopped goes on where it was.
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


def rows_of(
    options: argparse.Namespace, training: Any, validation: Any, seed: int
) -> dict[str, dict[str, float]]:
    """Every form of a seed's model, by its name."""
    import squeezenet_c as sq

    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.safetensors")
        model, rows["float32"] = measured(
            lambda: trained(options, training, seed), validation, file
        )
        _, rows["int8"] = measured(lambda: sq.quantize(model, training), validation, file)
        for size in options.size_kb:
            _, rows[f"{size:g} kB"] = measured(
                lambda size=size: sq.compress(  # type: ignore[misc]
                    model, training, validation, size_kb=size, seed=seed, progress=False
                ),
                validation,
                file,
            )
    return rows


def say(seeds: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table: means over the seeds, with Student's interval, and what is lost against float32."""
    print(f"{len(seeds)} seeds\n{'':8} " + " ".join(f"{name:>26}" for name in FIGURES))
    for form in next(iter(seeds.values())):
        cells = []
        for name in FIGURES:
            values = np.array([rows[form][name] for rows in seeds.values()])
            lost = values - np.array([rows["float32"][name] for rows in seeds.values()])
            cell = f"{values.mean():.4f}"
            if len(values) in T_QUANTILE:
                half = T_QUANTILE[len(values)] * values.std(ddof=1) / math.sqrt(len(values))
                cell += f" +- {half:.4f}"
            cells.append(f"{cell} ({lost.mean():+.4f})")
        rows = [row[form] for row in seeds.values()]
        size, took = (np.mean([row[key] for row in rows]) for key in ("bytes", "seconds"))
        print(f"{form:8} " + " ".join(f"{cell:>26}" for cell in cells), end="")
        print(f"  {size:9,.0f} bytes  {took:6.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="PALM_FOLDER")
    parser.add_argument("--pretrained", metavar="WEIGHTS", help="default: from scratch")
    parser.add_argument("--arch", default="1_1", choices=("1_0", "1_1"), help="from scratch")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size-kb", type=float, nargs="*", default=[100.0, 64.0])
    parser.add_argument("--results", metavar="FILE", help="JSON of all rows, written by the seed")
    options = parser.parse_args()
    training, validation = sets_of(options.data)
    print(f"{len(training)} training and {len(validation)} validation photographs", flush=True)
    results = Path(options.results) if options.results else None
    seeds = json.loads(results.read_text()) if results and results.exists() else {}
    for seed in range(options.seeds):
        if str(seed) in seeds:
            continue
        seeds[str(seed)] = rows_of(options, training, validation, seed)
        if results:
            results.write_text(json.dumps(seeds, indent=1))
        print(seed, json.dumps(seeds[str(seed)]), flush=True)
    say(seeds)


if __name__ == "__main__":
    main()
