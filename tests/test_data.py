"""PictureStore and PictureLoader: pictures in memory up to a bound, and decoded ahead of need."""

import gc
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from squeezenet_c._native import core

SIZE = 20
PICTURE_BYTES = SIZE * SIZE * 3


def write_bmp(path: Path, pixels: np.ndarray) -> None:
    """A 24-bit BMP, whose rows are bottom up, BGR and padded to 4 bytes."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, (width * 3 + 3) // 4 * 4), np.uint8)
    rows[:, : width * 3] = pixels[::-1, :, ::-1].reshape(height, -1)
    header = np.array([40, width, height, 1 | 24 << 16, 0, rows.size, 2835, 2835, 0, 0], "<u4")
    start = np.array([54 + rows.size, 0, 54], "<u4")
    path.write_bytes(b"BM" + start.tobytes() + header.tobytes() + rows.tobytes())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[np.ndarray]]:
    """Thirty files of different sizes with random pixels, and the pictures they become."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(5)
    paths, pictures = [], []
    for i in range(30):
        pixels = rng.integers(0, 256, (*rng.integers(1, 60, 2), 3), np.uint8)
        path = folder / f"{i:02}.bmp"
        write_bmp(path, pixels)
        paths.append(str(path))
        pictures.append(core.fit_image(pixels, SIZE))
    return paths, pictures


# -- The store -------------------------------------------------------------------------------------


def test_pictures_are_the_files_fitted(drawn: tuple) -> None:
    paths, expected = drawn
    store = core.PictureStore(paths, image_size=SIZE)
    assert len(store) == 30 and store.image_size == SIZE
    for _ in range(2):  # decoded, then from memory
        for i, picture in enumerate(expected):
            found = store.picture(i)
            assert found.dtype == np.uint8 and found.shape == (SIZE, SIZE, 3)
            np.testing.assert_array_equal(found, picture)


def test_photographs(palm_folder: Path) -> None:
    paths = sorted(palm_folder.glob("PALM-Training400/*/*.jpg"))[::13][:30]
    assert len(paths) == 30
    store = core.PictureStore(paths, cache_bytes=10 * 224 * 224 * 3)
    order = np.random.default_rng(0).permutation(30)
    loaded = store.loader(order, ahead=7, threads=2).next(30)
    assert loaded.shape == (30, 224, 224, 3)
    for row, i in zip(loaded, order, strict=True):
        expected = core.fit_image(core.read_image(str(paths[i])), 224)
        np.testing.assert_array_equal(row, expected)
        np.testing.assert_array_equal(store.picture(i), expected)
    assert store.cached_bytes == 10 * 224 * 224 * 3


@pytest.mark.parametrize("bound", [0, 1, PICTURE_BYTES - 1, PICTURE_BYTES, 7 * PICTURE_BYTES + 5])
def test_cache_keeps_to_its_bound(drawn: tuple, bound: int) -> None:
    paths, expected = drawn
    store = core.PictureStore(paths, SIZE, bound)
    assert store.cached_bytes == 0
    for _ in range(2):
        for i, picture in enumerate(expected):
            np.testing.assert_array_equal(store.picture(i), picture)
            assert store.cached_bytes <= bound
    assert store.cached_bytes == bound // PICTURE_BYTES * PICTURE_BYTES


def test_cached_pictures_need_no_file_and_are_copies(tmp_path: Path) -> None:
    for name in "ab":
        write_bmp(tmp_path / name, np.full((4, 4, 3), 9, np.uint8))
    store = core.PictureStore([tmp_path / "a", tmp_path / "b"], SIZE, PICTURE_BYTES)
    store.picture(0)[:] = 0
    store.picture(1)
    for name in "ab":
        (tmp_path / name).unlink()
    assert store.picture(0).max() == 9
    with pytest.raises(FileNotFoundError, match="b: "):
        store.picture(1)


def test_a_bad_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "late.bmp"
    store = core.PictureStore([path], SIZE)
    with pytest.raises(FileNotFoundError, match="late.bmp"):
        store.picture(0)
    path.write_bytes(b"no picture")
    with pytest.raises(core.BadFileError, match="late.bmp"):
        store.picture(0)
    write_bmp(path, np.full((4, 4, 3), 200, np.uint8))
    assert store.picture(0).max() == 200


@pytest.mark.parametrize("name", ["病理性近视.bmp", "Œil à gauche.bmp", "👁.bmp", "a b\n c.bmp"])
def test_unicode_paths(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name.removesuffix(".bmp")
    folder.mkdir()
    write_bmp(folder / name, np.full((3, 3, 3), 77, np.uint8))
    store = core.PictureStore([folder / name, str(folder / f"no {name}")], SIZE)
    assert store.picture(0).max() == 77
    with pytest.raises(FileNotFoundError) as raised:
        store.picture(1)
    assert f"no {name}" in str(raised.value)


def test_no_files() -> None:
    store = core.PictureStore([])
    assert len(store) == 0 and store.cached_bytes == 0 and store.image_size == 224
    assert store.loader([]).next(0).shape == (0, 224, 224, 3)
    with pytest.raises(IndexError):
        store.picture(0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("a.jpg",), TypeError, "sources is a str, expected a sequence"),
        ((3,), TypeError, "not iterable"),
        (([1],), TypeError, "int"),
        ((["a\0b"],), ValueError, "null"),
        ((["a", ""],), ValueError, r"paths\[1\] is empty"),
        ((["a"], 0), ValueError, "image_size is 0, expected"),
        ((["a"], 32769), ValueError, "image_size is 32769, expected 1 to 32768"),
        ((["a"], 1 << 70), ValueError, "image_size is 1180591620717411303424"),
        ((["a"], 2.5), TypeError, "float"),
        ((["a"], 8, -1), ValueError, "cache_bytes is -1, expected"),
    ],
)
def test_store_arguments(arguments: tuple, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        core.PictureStore(*arguments)


@pytest.mark.parametrize("index", [-1, 30, 1 << 80, -(1 << 80)])
def test_index_out_of_range(drawn: tuple, index: int) -> None:
    with pytest.raises(IndexError):
        core.PictureStore(drawn[0], SIZE).picture(index)


def test_many_threads_on_one_store(drawn: tuple) -> None:
    paths, expected = drawn
    store = core.PictureStore(paths, SIZE, 11 * PICTURE_BYTES)

    def read(seed: int) -> bool:
        order = np.random.default_rng(seed).integers(0, 30, 100)
        return all(np.array_equal(store.picture(i), expected[i]) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert store.cached_bytes == 11 * PICTURE_BYTES


# -- The loader ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 1, 2, 5, 1000000])
@pytest.mark.parametrize("ahead", [1, 2, 16, 1 << 60])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_loader_keeps_the_order(drawn: tuple, threads: int, ahead: int, cache_bytes: int) -> None:
    paths, expected = drawn
    order = np.random.default_rng(3).integers(0, 30, 67)  # with repetitions
    loader = core.PictureStore(paths, SIZE, cache_bytes).loader(order, ahead, threads)
    at = 0
    for count in [1, 0, 5, 40, 1, 20]:  # some more than are decoded ahead
        pictures = loader.next(count)
        assert pictures.shape == (count, SIZE, SIZE, 3) and pictures.dtype == np.uint8
        for picture in pictures:
            np.testing.assert_array_equal(picture, expected[order[at]])
            at += 1
    assert at == 67
    with pytest.raises(ValueError, match="1 pictures were asked for, but only 0 of 67 are left"):
        loader.next(1)


def test_asking_for_too_many_loses_nothing(drawn: tuple) -> None:
    paths, expected = drawn
    loader = core.PictureStore(paths, SIZE).loader([4, 8, 2])
    for count in [4, 1 << 50]:
        with pytest.raises(ValueError, match="only 3 of 3 are left"):
            loader.next(count)
    np.testing.assert_array_equal(loader.next(3), [expected[i] for i in (4, 8, 2)])


def test_loaders_side_by_side(drawn: tuple) -> None:
    paths, expected = drawn
    store = core.PictureStore(paths, SIZE, 9 * PICTURE_BYTES)
    orders = [np.random.default_rng(seed).permutation(30) for seed in range(4)]
    loaders = [store.loader(order, ahead=8, threads=2) for order in orders]
    for start in range(0, 30, 6):
        for loader, order in zip(loaders, orders, strict=True):
            wanted = [expected[i] for i in order[start : start + 6]]
            np.testing.assert_array_equal(loader.next(6), wanted)


@pytest.mark.parametrize("order", [[1, 2], (1, 2), np.array([1, 2], np.uint8), range(1, 3)])
def test_kinds_of_order(drawn: tuple, order: object) -> None:
    paths, expected = drawn
    loader = core.PictureStore(paths, SIZE).loader(order)
    np.testing.assert_array_equal(loader.next(2), expected[1:3])


def test_order_is_copied(drawn: tuple) -> None:
    paths, expected = drawn
    order = np.arange(30)
    loader = core.PictureStore(paths, SIZE).loader(order, ahead=1)
    order[:] = 0
    np.testing.assert_array_equal(loader.next(30), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0, 30],), ValueError, r"order\[1\] is 30, expected 0 or more and less than 30"),
        (([0, 1, -1],), ValueError, r"order\[2\] is -1, expected"),
        (([0.0, 1.0],), TypeError, "order is an array of float64, expected integers"),
        ((["a"],), TypeError, "expected integers"),
        (([[0, 1]],), ValueError, "order has 2 dimensions, expected 1"),
        (([0], 0), ValueError, "ahead is 0, expected"),
        (([0], -5), ValueError, "ahead is -5, expected"),
        (([0], 1, -1), ValueError, "threads is -1, expected"),
        (([0], 1, 1.5), TypeError, "float"),
    ],
)
def test_loader_arguments(
    drawn: tuple, arguments: tuple, error: type[Exception], words: str
) -> None:
    store = core.PictureStore(drawn[0], SIZE)
    with pytest.raises(error, match=words):
        store.loader(*arguments)


def test_next_arguments(drawn: tuple) -> None:
    loader = core.PictureStore(drawn[0], SIZE).loader([0])
    with pytest.raises(ValueError, match="count is -1"):
        loader.next(-1)
    with pytest.raises(TypeError):
        loader.next("one")
    with pytest.raises(TypeError):
        type(loader)()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bad_at", [0, 1, 12, 29])
def test_a_bad_file_is_reported_at_its_turn(
    drawn: tuple, tmp_path: Path, bad_at: int, threads: int
) -> None:
    paths, expected = drawn
    bad = tmp_path / "坏的.jpg"
    bad.write_bytes(b"this is no picture")
    paths = [*paths[:bad_at], str(bad), *paths[bad_at + 1 :]]
    if bad_at < 29:
        paths[29] = str(tmp_path / "missing.jpg")  # a later failure is never the one reported
    loader = core.PictureStore(paths, SIZE).loader(range(30), ahead=30, threads=threads)
    for i in range(bad_at):
        np.testing.assert_array_equal(loader.next(1)[0], expected[i])
    for count in [1, 1, 30]:  # and it stays so
        with pytest.raises(core.BadFileError, match="坏的.jpg"):
            loader.next(count)


def test_the_first_in_the_order_is_reported_though_it_fails_last(
    drawn: tuple, tmp_path: Path
) -> None:
    late, early = tmp_path / "late", tmp_path / "early"
    stream = io.BytesIO()
    Image.new("L", (2000, 2000)).save(stream, "JPEG")
    late.write_bytes(stream.getvalue()[:-2000] + b"\xff\xd9")  # noticed once it is decoded
    early.write_bytes(b"no picture")
    paths = [drawn[0][0], str(late), str(early), *drawn[0][:5]]
    loader = core.PictureStore(paths, SIZE).loader(range(8), ahead=8, threads=2)
    np.testing.assert_array_equal(loader.next(1)[0], drawn[1][0])
    with pytest.raises(core.BadFileError, match="late"):
        loader.next(1)


def test_a_bad_file_within_a_batch(drawn: tuple, tmp_path: Path) -> None:
    paths = [*drawn[0][:7], str(tmp_path / "missing.bmp"), *drawn[0][7:]]
    loader = core.PictureStore(paths, SIZE).loader(range(31), ahead=2)
    assert len(loader.next(4)) == 4
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="missing.bmp"):
            loader.next(27)


def test_loaders_given_up_early(drawn: tuple) -> None:
    store = core.PictureStore(drawn[0], SIZE, 0)
    for taken in range(12):
        loader = store.loader(np.arange(3000) % 30, ahead=taken + 1, threads=3)
        loader.next(taken)
        del loader
    np.testing.assert_array_equal(store.picture(0), drawn[1][0])


def test_loader_keeps_its_store_alive(drawn: tuple) -> None:
    paths, expected = drawn
    loader = core.PictureStore(paths, SIZE).loader(range(30), ahead=1)
    gc.collect()
    np.testing.assert_array_equal(loader.next(30), expected)


def test_next_from_two_threads_is_refused(drawn: tuple) -> None:
    """Each call gives pictures or raises RuntimeError; those given are each one once, in order."""
    paths, expected = drawn
    loader = core.PictureStore(paths, SIZE, 0).loader(np.arange(3000) % 30, ahead=4, threads=2)
    given, refused = [], []

    def read() -> None:
        for _ in range(10):
            try:
                given.append(len(loader.next(100)))
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) + len(refused) == 30
    assert set(refused) <= {"another thread is in this loader's next"}
    taken = sum(given)
    for i, picture in enumerate(loader.next(3000 - taken), taken):
        np.testing.assert_array_equal(picture, expected[i % 30])


def run_program(lines: str, paths: list[str]) -> str:
    """What a Python of its own prints, given a loader of the pictures 0, 1, 2, 0, 1, 2, ..."""
    start = (
        "import os, signal, sys, time\n"
        "from squeezenet_c._native import core\n"
        "store = core.PictureStore(sys.argv[1:], 200, 0)\n"
        "loader = store.loader([0, 1, 2] * 5000, threads=2)\n"
        "loader.next(3)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", start + lines, *paths[:3]]
    here = Path(__file__).parent  # where no source hides the package
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=here)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_exit_with_a_loader_at_work(drawn: tuple) -> None:
    assert run_program("print('done')", drawn[0]) == "done\n"


def test_interrupts_reach_the_main_thread(drawn: tuple) -> None:
    lines = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
except KeyboardInterrupt:
    print(len(loader.next(5)))
"""
    assert run_program(lines, drawn[0]) == "5\n"


def test_a_fork_has_no_loader(drawn: tuple) -> None:
    lines = """
child = os.fork()
if child == 0:
    try:
        loader.next(1)
    except ValueError as error:
        print(error, flush=True)
    del loader
    os._exit(0)
os.waitpid(child, 0)
print(len(loader.next(5)))
"""
    expected = "a loader works only in the process that made it\n5\n"
    assert run_program(lines, drawn[0]) == expected
