"""How many threads are used, forks, OpenMP's waiting threads, and threads that share a picture."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c
from squeezenet_c._native import core

OPENMP = squeezenet_c.build_info()["openmp"]
needs_openmp = pytest.mark.skipif(not OPENMP, reason="build: without OpenMP")
STEERING = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _python(code: str, **settings: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in STEERING}
    environment |= settings
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parent,  # not the source folder, whose package is not compiled
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_test_may_set_threads() -> None:
    """The next one, of the order in this file, must not find them."""
    test_a_test_may_set_threads.before = squeezenet_c.get_num_threads()
    squeezenet_c.set_num_threads(test_a_test_may_set_threads.before + 1)


def test_threads_do_not_leak_from_test_to_test() -> None:
    before = getattr(test_a_test_may_set_threads, "before", squeezenet_c.get_num_threads())
    assert squeezenet_c.get_num_threads() == before


# -- The default number ----------------------------------------------------------------------------

COUNT = "import squeezenet_c as sq; print(sq.get_num_threads(), sq.build_info()['threads'])"


def _allowed(cpus: int) -> int:
    quota = core.quota_cpus("")
    return min(cpus, quota) if quota else cpus


@needs_openmp
@pytest.mark.skipif(not CPUS, reason="hardware: no affinity masks here")
def test_default_is_the_affinity_mask_within_the_quota() -> None:
    assert _python(COUNT) == f"{_allowed(len(CPUS))} {_allowed(len(CPUS))}"


@needs_openmp
@pytest.mark.skipif(not CPUS, reason="hardware: no affinity masks here")
def test_a_child_on_one_cpu_uses_one_thread() -> None:
    code = f"import os; os.sched_setaffinity(0, {{{CPUS[-1]}}}); {COUNT}"
    assert _python(code) == "1 1"


@needs_openmp
@pytest.mark.parametrize(("value", "threads"), [("3", 3), (" 5 ", 5), ("7,2", 7)])
def test_environment_wins_over_affinity(value: str, threads: int) -> None:
    assert _python(COUNT, OMP_NUM_THREADS=value) == f"{threads} {threads}"


@needs_openmp
@pytest.mark.parametrize("value", ["", "0", "-2", "many", "3x", "99999999999999999999"])
def test_a_wrong_environment_is_as_none(value: str) -> None:
    assert _python(COUNT, OMP_NUM_THREADS=value) == _python(COUNT)


@needs_openmp
def test_a_thread_limit_holds_the_default() -> None:
    assert _python(COUNT, OMP_NUM_THREADS="8", OMP_THREAD_LIMIT="3") == "3 3"


@needs_openmp
def test_an_argument_wins_over_all() -> None:
    code = "import squeezenet_c as sq; sq.set_num_threads(4); print(sq.get_num_threads())"
    assert _python(code, OMP_NUM_THREADS="2") == "4"


@needs_openmp
def test_the_number_has_an_upper_bound() -> None:
    with pytest.raises(ValueError, match="threads is 1025, expected 1 to 1024"):
        squeezenet_c.set_num_threads(1025)
    with pytest.raises(ValueError, match="expected 1 to 1024"):
        squeezenet_c.set_num_threads(10**30)
    assert _python(COUNT, OMP_NUM_THREADS="5000") == "1024 1024"


CRAMPED = """
import resource
import numpy as np
import squeezenet_c as sq
from squeezenet_c._native import core

network = core.Network("1_1", 2)
adam = core.Adam(network)
x, labels = np.zeros((16, 3, 40, 40), np.float32), np.zeros(16, np.int64)
pictures, ones = np.zeros((300, 8, 8, 3), np.uint8), (1.0, 1.0, 1.0)
sq.set_num_threads(1)
before = network.forward(x).tobytes()
network.compute_gradients(x, labels)  # its plan is made: what is refused below is threads
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
sq.set_num_threads(600)
refused = []
for work in (
    lambda: network.forward(x),
    lambda: network.forward(x[:1]),
    lambda: network.compute_gradients(x, labels),
    adam.step,
    lambda: core.normalise(pictures, ones, ones),
):
    try:
        work()
        refused.append("no")
    except MemoryError as error:
        refused.append("threads that were set" in str(error))
sq.set_num_threads(1)
print(refused, network.forward(x).tobytes() == before)
"""


@needs_openmp
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardware: no /proc here")
def test_threads_that_cannot_be_had_are_an_error() -> None:
    """GNU OpenMP ends the process where it cannot start a thread."""
    assert _python(CRAMPED, OMP_WAIT_POLICY="passive") == f"{[True] * 5} True"


# -- Quotas ----------------------------------------------------------------------------------------

V2_MOUNT = "30 23 0:26 {mounted} {at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "33 31 0:30 {mounted} {at} rw,relatime - cgroup cgroup rw,cpu,cpuacct"
OTHER_MOUNTS = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset",
]
Tree = Callable[..., int]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes a made-up /proc/self and control groups, and returns the CPUs they allow."""
    if not sys.platform.startswith("linux"):
        pytest.skip("hardware: control groups are Linux's")

    def write(groups: list[str], mounts: list[str], files: dict[str, str]) -> int:
        process = tmp_path / "proc" / "self"
        process.mkdir(parents=True)
        (process / "cgroup").write_text("".join(f"{line}\n" for line in groups))
        (process / "mountinfo").write_text("".join(f"{x}\n" for x in OTHER_MOUNTS + mounts))
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return core.quota_cpus(str(tmp_path))

    return write


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("100001 100000\n", 2),
        ("max 100000\n", 0),
        ("", 0),
        ("nonsense\n", 0),
        ("100000 0\n", 0),
        ("-1 100000\n", 0),
        ("99999999999999999999 1\n", 0),
    ],
)
def test_v2_quota_is_rounded_up(tree: Tree, text: str, cpus: int) -> None:
    mount = V2_MOUNT.format(mounted="/", at="/sys/fs/cgroup")
    assert tree(["0::/a/b"], [mount], {"sys/fs/cgroup/a/b/cpu.max": text}) == cpus


def test_v2_the_tightest_group_on_the_way_up_counts(tree: Tree) -> None:
    files = {
        "sys/fs/cgroup/cpu.max": "800000 100000",
        "sys/fs/cgroup/a/cpu.max": "300000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
        "sys/fs/cgroup/a/b/c/cpu.max": "500000 100000",
        "sys/fs/cgroup/a/other/cpu.max": "100000 100000",
    }
    assert tree(["0::/a/b/c"], [V2_MOUNT.format(mounted="/", at="/sys/fs/cgroup")], files) == 3


def test_v2_in_a_container_that_sees_its_own_group_as_the_root(tree: Tree) -> None:
    mount = V2_MOUNT.format(mounted="/", at="/sys/fs/cgroup")
    assert tree(["0::/"], [mount], {"sys/fs/cgroup/cpu.max": "400000 100000"}) == 4


@pytest.mark.parametrize("group", ["/../sibling", "/elsewhere", "/kube/podded"])
def test_a_group_outside_of_the_mount_falls_back_to_the_mount(tree: Tree, group: str) -> None:
    mount = V2_MOUNT.format(mounted="/kube/pod", at="/sys/fs/cgroup")
    assert tree([f"0::{group}"], [mount], {"sys/fs/cgroup/cpu.max": "400000 100000"}) == 4


def test_v1_quota(tree: Tree) -> None:
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "250000",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
    }
    groups = ["4:cpuset:/", "3:cpu,cpuacct:/job", "1:name=systemd:/x", "0::/x"]
    assert tree(groups, [V1_MOUNT.format(mounted="/", at="/sys/fs/cgroup/cpu")], files) == 3


def test_v1_in_a_container_without_a_namespace(tree: Tree) -> None:
    """As in Docker: the process's group is the one that is mounted."""
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    mount = V1_MOUNT.format(mounted="/docker/f00d", at="/sys/fs/cgroup/cpu")
    assert tree(["3:cpuacct,cpu:/docker/f00d"], [mount], files) == 2


def test_both_versions_side_by_side(tree: Tree) -> None:
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "600000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/cpu.max": "500000 100000",
    }
    mounts = [
        V1_MOUNT.format(mounted="/", at="/sys/fs/cgroup/cpu"),
        V2_MOUNT.format(mounted="/", at="/sys/fs/cgroup/unified"),
    ]
    assert tree(["2:cpu:/", "0::/"], mounts, files) == 5


def test_no_tree_is_no_quota(tmp_path: Path) -> None:
    assert core.quota_cpus(str(tmp_path)) == 0
    assert core.quota_cpus(str(tmp_path / ("x" * 5000))) == 0


# -- Forks and waiting threads ---------------------------------------------------------------------

FORK = """
import json, os, sys
import numpy as np
import squeezenet_c as sq
sq.set_num_threads(3)
model = sq.Model("1_1", num_classes=2, seed=0, dropout=0.0)
x = np.random.default_rng(0).standard_normal((5, 3, 48, 48)).astype(np.float32)
labels = np.array([0, 1, 0, 1, 1])

def work():
    model.compute_gradients(x, labels)
    return model.forward(x[:1]).tobytes() + model.forward(x).tobytes()

def forked(work):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, work())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer

expected = work()                       # the parent has helpers now
same = [forked(work) == expected, work() == expected, forked(lambda: forked(work)) == expected]
print(json.dumps(same))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="hardware: no fork here")
def test_a_fork_works_on_several_threads() -> None:
    assert json.loads(_python(FORK)) == [True, True, True]


def test_importing_leaves_the_environment_alone() -> None:
    code = """
        import os
        before = dict(os.environ)
        import squeezenet_c
        assert dict(os.environ) == before
        print(os.environ.get("GOMP_SPINCOUNT"))
    """
    assert _python(code) == "None"
    assert _python(code, GOMP_SPINCOUNT="77") == "77"


# -- One picture over several threads --------------------------------------------------------------


@pytest.fixture(params=squeezenet_c.build_info()["backends"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    before = squeezenet_c.get_backend(), squeezenet_c.get_num_threads()
    squeezenet_c.set_backend(request.param)
    yield request.param
    squeezenet_c.set_backend(before[0])
    squeezenet_c.set_num_threads(before[1])


@pytest.mark.parametrize(
    ("version", "bypass", "size", "classes"),
    [
        ("1_0", None, (224, 224), 1000),
        ("1_1", None, (224, 224), 2),
        ("1_1", None, (150, 301), 17),
        ("1_0", "simple", (97, 64), 5),
        ("1_1", "complex", (64, 129), 9),
    ],
)
def test_a_shared_picture_has_the_bits_of_one_thread(
    backend: str, version: str, bypass: str | None, size: tuple[int, int], classes: int
) -> None:
    model = squeezenet_c.Model(version, num_classes=classes, bypass=bypass, seed=3)
    x = np.random.default_rng(4).standard_normal((3, 3, *size)).astype(np.float32)
    squeezenet_c.set_num_threads(1)
    expected = model.forward(x)
    for threads in (2, 3, 4, 7):
        squeezenet_c.set_num_threads(threads)
        for n in (1, 2, 3, 1):
            assert model.forward(x[:n]).tobytes() == expected[:n].tobytes(), (threads, n)


@needs_openmp
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardware: no /proc here")
def test_a_shared_picture_has_at_most_16_parts() -> None:
    code = """
        import os
        import numpy as np
        import squeezenet_c as sq
        model, before = sq.Model("1_1", num_classes=2), len(os.listdir("/proc/self/task"))
        sq.set_num_threads(40)
        found = []
        for n in (1, 2):
            model.forward(np.zeros((n, 3, 48, 48), np.float32))
            found.append(len(os.listdir("/proc/self/task")) - before + 1)
        print(*found)
    """
    assert _python(code) == "16 32"


def test_a_shared_picture_with_nan_is_one_error(backend: str) -> None:
    model = squeezenet_c.Model("1_1", num_classes=2, seed=0)
    squeezenet_c.set_num_threads(3)
    x = np.zeros((1, 3, 64, 64), np.float32)
    for place in [(0, 0, 0, 0), (0, 1, 31, 31), (0, 2, 63, 63)]:
        x[place] = np.nan
        with pytest.raises(ValueError, match="^x has NaN or infinity in picture 0$"):
            model.forward(x)
        x[place] = 0
    assert np.isfinite(model.forward(x)).all()


@pytest.mark.parametrize("version", ["1_0", "1_1"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardware: no /proc here")
def test_inference_takes_less_than_100_megabytes(backend: str, version: str) -> None:
    code = f"""
        import numpy as np
        import squeezenet_c as sq
        sq.set_backend({backend!r})
        sq.set_num_threads(2)
        model = sq.Model({version!r}, num_classes=1000)
        for n in (1, 3, 4, 1):
            model.forward(np.zeros((n, 3, 224, 224), np.float32))
        status = open("/proc/self/status").read()
        peak, files = (int(status.split(name)[1].split()[0]) for name in ("VmHWM:", "RssFile:"))
        print(peak - files)
    """
    # The process at its peak, but for the pages of libraries' files: how many of these count is the
    # kernel's choice (one with large folios maps 20 MiB of oneDNN where another maps 5).
    assert int(_python(code)) / 1024 < 75
