"""Kills training runs, again and again, as `kill -9` or a power cut would:

    python tests/faults/kill.py [--count 500] [--seed 0] [--launcher "mpirun -n 2 --bind-to none"]

A run is begun (in an empty folder, or with --overwrite in one that holds another run), killed, and
resumed and killed three times more; then it is resumed for the last time. Kills come after a random
time; just before a random open, fsync, rename or unlink of its files; or in the midst of a write
(preload.c). After each kill every file that is there is whole, and in the end the run's weights,
state and table are those of a run that nobody killed, bit for bit. Under a launcher as often as all
processes only one is killed, a rank or the launcher itself; the others then have to end soon."""

import argparse
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fault_support as faults  # noqa: E402

KILLS_A_RUN = 4


class Killer:
    """Kills runs in `home`, and knows what an unharmed one does."""

    def __init__(self, home: Path, seed: int = 0, launcher: str = ""):
        self.home, self.seed = home, seed
        self.launcher = shlex.split(launcher)
        self.kills: Counter[str] = Counter()
        self.library = faults.preload(home)
        faults.make_data(home)
        self.whole, self.other = home / "whole", home / "other"
        self.operations = self._count()
        begun = time.monotonic()
        command = faults.train_command(home, self.other, "--seed", "5")
        status, said = faults.command(command, launcher=self.launcher)
        self.seconds = time.monotonic() - begun
        assert status == 0, said

    def _count(self) -> dict[str, int]:
        count = self.home / "count"
        environment = faults.faulty(self.library, self.whole, "write:0:0", count)
        status, said = faults.command(faults.train_command(self.home, self.whole), environment)
        assert status == 0, said
        return {kind: int(n) for kind, n in map(str.split, count.read_text().splitlines())}

    def one_run(self, number: int) -> None:
        """One run, killed KILLS_A_RUN times."""
        run, chance = self.home / f"run{number}", random.Random(f"{self.seed} {number}")
        begin = faults.train_command(self.home, run)
        if number % 4 == 3:
            faults.copy_run(self.other, run)
            begin.append("--overwrite")
        for _ in range(KILLS_A_RUN):
            self._kill(["train", "--resume", run] if _is_begun(run) else begin, run, chance)
            faults.check_run_folder(run)
        arguments = ["train", "--resume", run] if _is_begun(run) else begin
        status, said = faults.command(arguments, launcher=self.launcher)
        assert status == 0, said
        faults.check_run_folder(run)
        faults.check_same_run(run, self.whole)
        shutil.rmtree(run)

    def _kill(self, arguments: list[str | Path], run: Path, chance: random.Random) -> None:
        way = chance.choice(["time", *(kind for kind, n in self.operations.items() if n)])
        environment = None
        if way != "time":
            place = chance.randint(1, self.operations[way])
            what = "half" if way == "write" else "kill"
            environment = faults.faulty(self.library, run, f"{way}:{place}:{what}")
        process = faults.start(arguments, environment, self.launcher)
        if way == "time":
            time.sleep(chance.uniform(0, 1.2 * self.seconds))
            if self.launcher and chance.random() < 0.5:
                way = "time, one process"
                faults.kill_one(process, chance)
            else:
                faults.kill_session(process)
        _, said = process.communicate(timeout=300)
        faults.wait_for_session(process)
        ended = process.returncode == 0 and "too late" or way
        assert process.returncode in (0, -signal.SIGKILL) or self.launcher, said
        self.kills[ended] += 1


def _is_begun(run: Path) -> bool:
    """Whether the state there is of the run that is killed; else there is none, or it is another's
    that was to be overwritten."""
    state = run / "weights" / "last.state"
    return state.exists() and faults.RunState.read(run).arguments["seed"] == 0


def kill_runs(home: Path, count: int, seed: int = 0, launcher: str = "") -> Counter[str]:
    """Kill `count` times, or a few times more. How often in which way."""
    killer = Killer(home, seed, launcher)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(killer.one_run, range(-(-count // KILLS_A_RUN))))
    return killer.kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=500, help="the late ones too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", default="", help="words before the command")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder  # where killed launchers leave their files
        kills = kill_runs(Path(folder), options.count, options.seed, options.launcher)
    late = kills.pop("too late", 0)  # the run had ended, or did less than it was to be killed at
    ways = ", ".join(f"{way} {number}" for way, number in sorted(kills.items()))
    print(f"{kills.total()} kills ({ways}), {late} that came too late: nothing lost")


if __name__ == "__main__":
    main()
