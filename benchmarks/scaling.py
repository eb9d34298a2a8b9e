"""How does training scale over the ranks of MPI, here and on a network?

    python benchmarks/scaling.py [--rounds 3] [--seconds 2] [--out FOLDER]

Measures, on this machine: a step of one process with two threads and of two ranks with one, and of
one thread, in turns; the exchange of gradients over their number, through memory and through TCP;
and, as root where `ip` and `tc` are, the exchange in a network namespace whose loopback is held to
some rates. A time is the least of a turn's, for other work on the machine only adds to it (at a
held rate the median, for a bucket that is full lets the first bytes through). From these figures
cost.py says how far training scales on real networks, and what sending while computing could gain.

Prints it all, and writes scaling.json and scaling.png. Needs the extra `mpi`, and matplotlib for
the chart. A minute on two idle cores. Where the machine is never idle, --model takes ROUND below
for the figures, and measures only the layers' shares.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cost
import measure
from run import machine

from squeezenet_c import build_info

ARCH = "1_1"
BATCH = 16
FLOATS = 723_522  # v1.1's parameters, of two classes
SIZES = (1, 1000, 10_000, 100_000, 300_000, 1_000_000, 3_000_000)
NAMESPACE = "squeezenet_c_scaling"
RATES = (8000, 2000, 400)  # Mbit/s of the loopback, which has both directions
LANES = 16
RANKS = tuple(1 << i for i in range(11))
# An EPYC (Zen 4) whose other core was busy: the CPU's time of a picture; Adam and packing; a sum in
# NumPy and what brings it there; four messages of mpi4py.
ROUND = cost.Machine(picture=12e-3, step=1.5e-3, add=4e-10, level=60e-6)
RESULTS = Path(__file__).resolve().parent / "results"


# -- In a process of its own -----------------------------------------------------------------------


def work(job: dict[str, Any]) -> dict[str, Any]:
    """A measurement, on all ranks."""
    import numpy as np

    import squeezenet_c as sq
    from squeezenet_c.base.ranks import ranks_of

    comm = None
    if job["ranks"] > 1:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    ranks = ranks_of(comm)
    sq.set_num_threads(job["threads"])
    if job["what"] == "plan":
        rows = sq.Model(ARCH).plan(224, 224, training=True, repeats=20)
        layers: dict[str, dict[str, float]] = {}
        for row in rows:
            way = "back" if "backward" in row["op"] else "forward"
            layer = layers.setdefault(row["layer"], {"back": 0.0, "forward": 0.0})
            layer[way] += row["milliseconds"] / 1000
        counts = {
            layer["name"]: layer["parameter_count"] for layer in sq.Model(ARCH).layers(224, 224)
        }
        return {
            "layers": [
                {"name": name, "floats": counts.get(name, 0), **ways}
                for name, ways in layers.items()
            ]
        }
    if job["what"] == "exchange":
        least, middle, sent = [], [], []
        for size in job["sizes"]:
            gradients, rows = np.zeros(size, np.float32), np.zeros((BATCH, 2))
            times = []
            before = _sent()
            end = time.perf_counter() + job["seconds"] / len(job["sizes"])
            while any(ranks.every(time.perf_counter() < end or len(times) < 5)):
                start = time.perf_counter()
                ranks.add(gradients, [slice(0, size)], rows)
                times.append(time.perf_counter() - start)
            least.append(min(times))
            middle.append(statistics.median(times))
            sent.append((_sent() - before) / len(times) / ranks.size)
        return {"seconds": least, "medians": middle, "bytes": sent}
    model = sq.Model(ARCH, seed=0)
    optimizer = sq.Adam(model)
    own = ranks.of_batch(job["batch"])
    x = np.random.RandomState(0).uniform(-1, 1, (job["batch"], 3, 224, 224)).astype(np.float32)[own]
    labels = np.arange(job["batch"])[own] % 2
    steps, exchanges, computing = [], [], []
    end = time.perf_counter() + job["seconds"]
    while any(ranks.every(time.perf_counter() < end or len(steps) < 6)):
        start, cpu = time.perf_counter(), time.process_time()
        model.compute_gradients(x, labels, job["batch"], indices=own)
        middle = time.perf_counter()
        ranks.add(model.flat_gradients, optimizer.learning, np.zeros((job["batch"], 2)))
        exchanges.append(time.perf_counter() - middle)
        optimizer.step()
        steps.append(time.perf_counter() - start)
        computing.append(time.process_time() - cpu)
    return {
        "step": min(steps[2:]),
        "cpu": min(computing[2:]),
        "exchange": min(exchanges[2:]),
    }


def _sent() -> int:
    """Bytes that have gone through the loopback of this namespace."""
    return int(Path("/sys/class/net/lo/statistics/tx_bytes").read_text())


def run(
    what: str, ranks: int = 1, threads: int = 1, tcp: bool = False, rate: int = 0, **job: Any
) -> dict[str, Any]:
    """A measurement by so many ranks; tcp: through a loopback of its own, at `rate` Mbit/s."""
    job |= {"what": what, "ranks": ranks, "threads": threads}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", json.dumps(job)]
    if ranks > 1:
        beside = Path(sys.executable).with_name("mpirun")
        launcher = [str(beside) if beside.exists() else "mpirun", "-n", str(ranks)]
        if ranks > len(os.sched_getaffinity(0)):
            launcher += ["--oversubscribe", "--bind-to", "none"]
        if tcp:
            launcher += ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self"]
            launcher += ["--mca", "btl_tcp_if_include", "lo"]
        command = launcher + command
    if tcp:
        _held_to(rate)
        command = ["ip", "netns", "exec", NAMESPACE, *command]
    result = subprocess.run(
        command,
        env=measure.environment(
            OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="2"
        ),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def _held_to(rate: int) -> None:
    inside = ["ip", "netns", "exec", NAMESPACE, "tc", "qdisc"]
    subprocess.run([*inside, "del", "dev", "lo", "root"], stderr=subprocess.DEVNULL)
    if rate:
        held = ["tbf", "rate", f"{rate}mbit", "burst", "256kb", "latency", "400ms"]
        subprocess.run([*inside, "add", "dev", "lo", "root", *held], check=True)


def namespace_made() -> bool:
    """Whether there is one now, with a loopback of its own."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        return False
    subprocess.run(["ip", "netns", "del", NAMESPACE], stderr=subprocess.DEVNULL)  # of a killed run
    for command in (
        ["ip", "netns", "add", NAMESPACE],
        ["ip", "netns", "exec", NAMESPACE, "ip", "link", "set", "lo", "up"],
    ):
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
            return False
    return True


# -- What is measured, and what follows ------------------------------------------------------------


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, as they go into scaling.json."""
    common = {"batch": BATCH, "seconds": options.seconds}
    workers = {
        "one thread": lambda _: run("train", **common),
        "one thread, batch 32": lambda _: run("train", **common | {"batch": 2 * BATCH}),
        "one process, two threads": lambda _: run("train", threads=2, **common),
        "two ranks, one thread each": lambda _: run("train", ranks=2, **common),
    }
    if options.busy:
        workers = {name: work for name, work in workers.items() if name.startswith("one thread")}

    def say(name: str, result: dict[str, Any]) -> None:
        print(f"{name}: {1000 * result['step']:.1f} ms a step", flush=True)

    turns, errors = measure.take_turns(workers, options.rounds, say)
    if errors:
        raise SystemExit("\n".join(errors))
    found: dict[str, Any] = {"turns": turns, "sizes": SIZES, "exchange": {}, "held": {}}
    exchanging = {"ranks": 2, "sizes": SIZES, "seconds": options.seconds}
    found["exchange"]["through memory"] = run("exchange", **exchanging)["seconds"]
    found["layers"] = run("plan")["layers"]
    if namespace_made():
        try:
            found["exchange"]["through TCP"] = run("exchange", tcp=True, **exchanging)["seconds"]
            for rate in RATES:
                job = exchanging | {"sizes": [FLOATS], "seconds": options.seconds / 2}
                held = run("exchange", tcp=True, rate=rate, **job)
                found["held"][rate] = {"seconds": held["medians"][0], "bytes": held["bytes"][0]}
        finally:
            subprocess.run(["ip", "netns", "del", NAMESPACE])
    else:
        print("no network namespace can be made here: the model is not checked against one")
    return found


def machine_of(found: dict[str, Any]) -> cost.Machine:
    """The model's numbers. Those of one thread are of the CPU's time, which is the step's where the
    machine is idle; the levels and the additions are those of ranks that share memory."""
    if "turns" not in found:
        return ROUND
    one, two = (
        min(turn["cpu"] for turn in found["turns"][name])
        for name in ("one thread", "one thread, batch 32")
    )
    picture = (two - one) / BATCH
    times = dict(zip(found["sizes"], found["exchange"]["through memory"], strict=True))
    return cost.Machine(
        picture=picture,
        step=max(0.0, one - BATCH * picture),
        add=(times[3_000_000] - times[1]) / 3_000_000,
        level=times[1] / 2,
    )


def way_back(found: dict[str, Any]) -> list[tuple[float, int]]:
    """cost.overlapped's layers."""
    return [(layer["back"], layer["floats"]) for layer in found["layers"][::-1]]


def by_model(machine: cost.Machine, rate: str) -> float:
    """Seconds of two ranks' exchange at so many Mbit/s, of which each direction has half."""
    link = cost.Network("", int(rate) * 1e6 / 8 / 2, 0.0)
    return cost.exchange(machine, link, 2, FLOATS)


def predictions(found: dict[str, Any]) -> str:
    """Everything in words and tables."""
    here = machine_of(found)
    both, ranks = (
        [turn["step"] for turn in found.get("turns", {}).get(name, ())]
        for name in ("one process, two threads", "two ranks, one thread each")
    )
    said = "not measured, the machine was busy"
    if both:
        said = "{:.3f} ({:.3f} to {:.3f})".format(*measure.ratios(both, ranks))
    lines = [
        f"a picture {1000 * here.picture:.2f} ms, a step besides {1000 * here.step:.2f} ms, "
        f"a level of the exchange {1e6 * here.level:.0f} us, a million floats "
        f"{1e9 * here.add:.2f} ms; {FLOATS * 4 / 1e6:.2f} MB of gradients",
        f"speed of two ranks of one thread over one process of two: {said}",
        "",
        f"exchange of two ranks, loopback held to | ms | by the model | bytes a rank sends (of "
        f"{cost.bytes_sent(2, FLOATS):,.0f})",
    ]
    for rate, result in found.get("held", {}).items():
        lines.append(
            f"{rate} Mbit/s | {1000 * result['seconds']:.1f} | "
            f"{1000 * by_model(here, rate):.1f} | {result['bytes']:,.0f}"
        )
    lines += ["", "twice the ranks make 1.5 times the speed up to (one thread a rank):"]
    for batch in (16, 64, 256, 1024):
        said = ", ".join(
            f"{cost.scales_to(here, network, FLOATS, batch, batch)} at {network.name}"
            for network in cost.NETWORKS
        )
        lines.append(f"batch {batch}: {said}")
    lines += ["", "a step on 16 ranks, batch 16 and 64, ms: as it is; all sent at each level; the"]
    lines[-1] += " best that overlap can be"
    for network in cost.NETWORKS:
        said = []
        for batch in (16, 64):
            step = cost.step(here, network, 16, FLOATS, batch)
            extra = cost.exchange_whole(here, network, 16, FLOATS)
            extra -= cost.exchange(here, network, 16, FLOATS)
            best = cost.overlapped(here, network, 16, way_back(found), batch)
            said.append(f"{1000 * step:.1f}; {1000 * (step + extra):.1f}; {1000 * best:.1f}")
        lines.append(f"{network.name}: {' | '.join(said)}")
    return "\n".join(lines)


def chart(found: dict[str, Any], path: Path) -> None:
    """Four panels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    here = machine_of(found)
    rows = 2 if "turns" in found else 1
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(12, 4.2 * rows), layout="constrained", squeeze=False
    )
    for axis, batch in zip(axes[0], (16, 1024), strict=True):
        ranks = [r for r in RANKS if r <= batch]
        alone = cost.step(here, cost.NETWORKS[0], 1, FLOATS, batch)
        for network in cost.NETWORKS:
            speed = [alone / cost.step(here, network, r, FLOATS, batch) for r in ranks]
            now = [r for r in ranks if r <= LANES]
            (line,) = axis.plot(now, speed[: len(now)], "o-", label=network.name)
            axis.plot(ranks[len(now) - 1 :], speed[len(now) - 1 :], "--", color=line.get_color())
        axis.plot(ranks, ranks, color="grey", linestyle=":", label="as many times as ranks")
        axis.set(
            title=f"batch {batch}", xlabel="ranks of one thread", ylabel="speed, times one rank"
        )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_xticks(ranks, [str(r) for r in ranks])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend()
    axes[0][1].set_title("batch 1024; dashed: past 16 ranks, were there as many lanes")
    if "turns" in found:
        _chart_measured(found, *axes[1])
    figure.suptitle(f"SqueezeNet v1.1, 224 x 224, over MPI's ranks\n{found['machine']}")
    figure.savefig(path, dpi=110)


def _chart_measured(found: dict[str, Any], left: Any, right: Any) -> None:
    here = machine_of(found)
    for name, seconds in found["exchange"].items():
        left.plot(found["sizes"], [1000 * s for s in seconds], "o-", label=name)
    left.axvline(FLOATS, color="grey", linestyle=":", label="v1.1's gradients")
    left.set(xscale="log", yscale="log", xlabel="floats", ylabel="ms")
    left.set_title("the exchange of two ranks here")
    left.legend()
    rates = list(found["held"])
    for shift, times in (
        (-0.2, [found["held"][rate]["seconds"] for rate in rates]),
        (0.2, [by_model(here, rate) for rate in rates]),
    ):
        right.bar([at + shift for at in range(len(rates))], [1000 * t for t in times], 0.4)
    right.set_xticks(range(len(rates)), [f"{rate} Mbit/s" for rate in rates])
    right.set(ylabel="ms", yscale="log")
    right.set_title("that of v1.1's gradients, loopback held to a rate: measured, and the model")


def main() -> None:
    parser = argparse.ArgumentParser(description="how training scales over MPI's ranks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a measurement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--busy", action="store_true", help="leave out what only an idle machine can tell: steps "
        "of several threads or ranks"
    )  # fmt: skip
    parser.add_argument("--model", action="store_true", help="measure the layers alone")
    parser.add_argument("--again", action="store_true", help="of the figures in scaling.json")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        result = work(json.loads(options.work))
        if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
            print(json.dumps(result))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "scaling.json"
    if options.again:
        found = json.loads(file.read_text())
    else:
        found = {"layers": run("plan")["layers"]} if options.model else measured(options)
        found["machine"] = f"{machine(build_info())['cpu']}, {time.strftime('%Y-%m-%d')}"
        file.write_text(json.dumps(found, indent=1) + "\n")
        found = json.loads(file.read_text())
    print(predictions(found))
    chart(found, options.out / "scaling.png")


if __name__ == "__main__":
    main()
