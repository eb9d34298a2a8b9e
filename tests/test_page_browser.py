"""`export eyes.html` in a real browser: Debian's chromium, driven by Playwright."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import page_support
import pytest
from portable_support import SMALL, pictures_of, quantised

import squeezenet_c as sq

SECONDS = 60  # that anything is waited for
CLOSE = 0.02  # of probabilities: browsers decode JPEG themselves

Page = Any  # of Playwright, which carries no types where it is missing


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    page_support.need("ziglang")
    with page_support.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def palm_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page_support.need("ziglang")
    path = tmp_path_factory.mktemp("page") / "eyes.html"
    sq.palm.model().export(path)
    return path


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Page]]:
    """opened(path, ...): a page in a context of its own. At the end, none has said anything on its
    console, or asked for anything but itself and what it made."""
    contexts, said, asked = [], [], []

    def opened(path: Path, width: int = 1000, **options: Any) -> Page:
        options = {"locale": "en-US", **options}
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(1000 * SECONDS)
        context.on("request", lambda request: asked.append(request.url))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("worker", lambda worker: asked.append(worker.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not said
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []
    assert any(url.startswith("file:") for url in asked)


def give(page: Page, paths: list[Path], answered: int) -> None:
    """Files to the page's input, and until that many more are answered than there were."""
    there = page.locator("#rows tr").count()
    page.set_input_files("#files", paths)
    page.locator("#rows tr").nth(there + len(paths) - 1).wait_for()
    page.locator("#progress").wait_for(state="hidden")
    found = page.locator("#rows tr:not(.problem)").count()
    assert found == answered


def saved(page: Page) -> list[dict[str, str]]:
    """The table that it saves, as rows by the names of columns."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    data = Path(download.value.path()).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.endswith(b"\r\n")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def probabilities_of(row: dict[str, str]) -> list[float]:
    return [float(text) for name, text in row.items() if name.startswith("probability ")]


def pixels(page: Page) -> np.ndarray:
    """What is drawn at the top."""
    found = page.evaluate(
        """() => {
            const canvas = document.getElementById("picture");
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const context = copy.getContext("2d");
            context.drawImage(canvas, 0, 0);
            return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
        }"""
    )
    side = int((len(found) / 4) ** 0.5)
    return np.array(found).reshape(side, side, 4)[..., :3]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[sq.Model, Path]:
    """An untrained model of four classes with long and odd names, and its page."""
    page_support.need("ziglang")
    names = ['a, quoted "name"', "</script>", "wort" * 20, "病理性近视"]
    model = quantised(64, **SMALL, num_classes=4, class_names=names)
    path = tmp_path_factory.mktemp("small") / "small.html"
    model.export(path)
    return model, path


def picture_files(folder: Path, pictures: np.ndarray, kind: str = "png") -> list[Path]:
    image = pytest.importorskip("PIL.Image", reason="build: Pillow is not installed")
    paths = [folder / f"{number}.{kind}" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        image.fromarray(picture).save(path)
    return paths


# -- Answers ---------------------------------------------------------------------------------------


def test_photographs_are_answered_as_by_the_package(
    opened: Callable[..., Page], palm_page: Path, palm_folder: Path, tmp_path: Path
) -> None:
    """Twenty, and files among them that are no pictures: these are named, and nothing is lost."""
    page, model = opened(palm_page), sq.palm.model()
    paths = sorted((palm_folder / "PALM-Validation400").glob("*.jpg"))[:20]
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(paths[0].read_bytes()[:-2000])
    text = tmp_path / 'notes, "mine".txt'
    text.write_text("no picture")
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    bad = [cut, text, empty]
    give(page, [*paths[:3], *bad, *paths[3:]], answered=20)
    status = page.locator("#status").inner_text()
    assert status == f"20 pictures answered. Not answered: {', '.join(path.name for path in bad)}"
    rows = saved(page)
    assert [row["file"] for row in rows if row["problem"]] == [path.name for path in bad]
    assert {row["problem"] for row in rows} == {"", "no picture that this browser can read"}
    rows = [row for row in rows if not row["problem"]]
    assert [row["file"] for row in rows] == [path.name for path in paths]
    for row, answer in zip(rows, sq.predict(model, [str(path) for path in paths]), strict=True):
        assert (int(row["label"]), row["name"]) == (answer.label, answer.name), row["file"]
        found = probabilities_of(row)
        assert np.abs(np.array(found) - answer.probabilities).max() < CLOSE, row["file"]
        assert float(row["confidence"]) == found[answer.label]
        shown = page.locator("#rows tr", has_text=row["file"]).locator("td.number").inner_text()
        assert shown == f"{100 * found[answer.label]:.2f}%"


def test_two_hundred_pictures(
    opened: Callable[..., Page], palm_page: Path, palm_folder: Path
) -> None:
    """In one go, in the worker; what the page keeps of each is little."""
    page = opened(palm_page)
    paths = sorted((palm_folder / "PALM-Training400").rglob("*.jpg"))[:200]
    client = page.context.new_cdp_session(page)

    def heap() -> float:
        client.send("HeapProfiler.collectGarbage")
        metrics = client.send("Performance.getMetrics")["metrics"]
        return next(row["value"] for row in metrics if row["name"] == "JSHeapUsedSize")

    client.send("Performance.enable")
    give(page, paths[:100], answered=100)
    before = heap()
    page.set_input_files("#files", paths[100:])
    page.locator("#progress").wait_for(state="visible")
    assert re.fullmatch(r"1\d\d of 200", page.locator("#count").inner_text())
    page.locator("#progress").wait_for(state="hidden")
    assert page.locator("#status").inner_text() == "200 pictures answered."
    print(f"{(heap() - before) / 100:.0f} bytes a picture in JavaScript's memory")
    assert heap() - before < 100 * 10_000
    answers = sq.predict(sq.palm.model(), [str(path) for path in paths])
    for row, answer in zip(saved(page), answers, strict=True):
        assert np.abs(np.array(probabilities_of(row)) - answer.probabilities).max() < CLOSE


def test_lossless_pictures_of_any_kind(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    """The package's probabilities: grey, a palette, transparent, large, thin."""
    image = pytest.importorskip("PIL.Image", reason="build: Pillow is not installed")
    model, path = small
    random = np.random.RandomState(4)
    coarse = random.randint(0, 256, (30, 20, 4)).astype(np.uint8)
    coarse[::2, :, 3] = 0
    picture = np.kron(coarse, np.ones((9, 9, 1), np.uint8))
    whole = image.fromarray(picture[..., :3])
    files = {
        "plain.png": whole,
        "plain.bmp": whole,
        "grey.png": whole.convert("L"),
        "palette.png": whole.quantize(64),
        "transparent.png": image.fromarray(picture),
        "large.png": image.fromarray(np.kron(picture[..., :3], np.ones((8, 8, 1), np.uint8))),
        "thin.png": image.fromarray(picture[:1, :, :3]),
    }
    for name, file in files.items():
        file.save(tmp_path / name)
    paths = [tmp_path / name for name in files]
    page = opened(path)
    give(page, paths, answered=len(paths))
    expected = model.predict_proba([str(path) for path in paths])
    assert np.ptp(expected, axis=0).max() > 0.05, "all pictures look alike"
    for row, probabilities in zip(saved(page), expected, strict=True):
        np.testing.assert_allclose(
            probabilities_of(row), probabilities, atol=1e-6, err_msg=str(row)
        )


def test_the_threshold_decides(opened: Callable[..., Page], tmp_path: Path) -> None:
    model = quantised(49, **SMALL, positive=0, class_names=["yes", "no"])
    paths = picture_files(tmp_path, pictures_of(49))
    model.threshold = float(np.sort(model.predict_proba([str(path) for path in paths])[:, 0])[1])
    model.export(tmp_path / "eyes.html")
    page = opened(tmp_path / "eyes.html")
    give(page, paths, answered=3)
    answers = model.predict([str(path) for path in paths])
    assert {answer.label for answer in answers} == {0, 1}
    assert [row["name"] for row in saved(page)] == [answer.name for answer in answers]
    says = f"yes is the answer where its probability is at least {100 * model.threshold:.2f}%."
    assert page.locator("#rule").inner_text() == says


# -- The map ---------------------------------------------------------------------------------------


def test_the_map_is_explains_and_the_slider_takes_it_away(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    model, path = small
    paths = picture_files(tmp_path, pictures_of(80))
    page = opened(path)
    give(page, paths, answered=3)
    for file in paths:
        page.get_by_role("button", name=file.name).click()
        page.locator("#file", has_text=file.name).wait_for()
        explained = sq.explain(model, str(file))
        assert page.locator("#name").inner_text() == explained.name
        slider = page.get_by_label("Activation map", exact=True)
        slider.press("End")
        np.testing.assert_allclose(pixels(page), explained.overlay, atol=1)
        assert np.abs(explained.overlay.astype(int) - explained.picture).max() > 30
        slider.press("Home")
        np.testing.assert_array_equal(pixels(page), explained.picture)


def test_a_photograph_is_turned_as_its_camera_says(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="build: Pillow is not installed")
    exif = image.Exif()
    exif[0x0112] = 6
    picture = np.kron(pictures_of(64)[1, :8, :5], np.ones((16, 16, 1), np.uint8))
    image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    page = opened(small[1])
    give(page, [tmp_path / "turned.jpg"], answered=1)
    page.locator("#answer").wait_for()
    page.get_by_label("Activation map", exact=True).press("Home")
    expected = sq.explain(small[0], str(tmp_path / "turned.jpg")).picture
    assert np.abs(pixels(page) - expected).mean() < 2
    assert np.abs(pixels(page)[::-1, ::-1] - expected).mean() > 5


# -- Everybody can use it --------------------------------------------------------------------------


def test_by_keyboard_alone(opened: Callable[..., Page], palm_page: Path, tmp_path: Path) -> None:
    paths = picture_files(tmp_path, pictures_of(64))
    page = opened(palm_page)

    def tab() -> str:
        page.keyboard.press("Tab")
        return page.evaluate("() => document.activeElement.id || document.activeElement.innerText")

    assert tab() == "language"
    with page.expect_file_chooser() as chooser:
        assert tab() == "files"
        page.keyboard.press("Enter")
    chooser.value.set_files(paths)
    page.locator("#answer").wait_for()
    page.locator("#progress").wait_for(state="hidden")
    assert [tab() for _ in range(6)] == ["opacity", "save", "clear", "0.png", "1.png", "2.png"]
    page.keyboard.press("Enter")
    page.locator("#file", has_text="2.png").wait_for()
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("[aria-current=true]").inner_text() == "2.png"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # clear
    assert page.locator("#rows tr").count() == 0 and page.locator("#answer").is_hidden()
    give(page, paths[:1], answered=1)


def test_names_and_roles(opened: Callable[..., Page], palm_page: Path, tmp_path: Path) -> None:
    """What a screen reader is told: every control has a name, and what changes is announced."""
    page = opened(palm_page)
    give(page, picture_files(tmp_path, pictures_of(64)), answered=3)
    page.locator("#answer").wait_for()
    for role, name in (
        ("heading", "What does the picture show?"),
        ("slider", "Activation map"),
        ("table", "All pictures"),
        ("table", "Probabilities"),
        ("columnheader", "Confidence"),
        ("rowheader", "1.png"),
        ("button", "Clear"),
        ("img", "0.png with the activation map of"),
    ):
        assert page.get_by_role(role, name=name).count() == 1, (role, name)
    assert page.get_by_label("Choose pictures").get_attribute("type") == "file"
    assert page.get_by_role("status").inner_text() == "3 pictures answered."
    assert "0.png" in page.locator("[aria-live=polite]").inner_text()
    unnamed = page.evaluate(
        "() => Array.from(document.querySelectorAll('button, input')).filter("
        "(node) => !(node.innerText || node.labels?.length)).length"
    )
    assert unnamed == 0


def test_on_a_phone(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    """360 pixels wide, with long names: nothing has to be scrolled sideways."""
    page = opened(small[1], width=360, device_scale_factor=2, is_mobile=True, has_touch=True)
    paths = picture_files(tmp_path, pictures_of(64))
    for number, stem in enumerate(("IMG_20260101_123456789_HDR" * 4, "照片" * 40)):
        paths.append(paths[number].rename(tmp_path / f"{stem}.png"))
    (tmp_path / ("x" * 200)).write_text("no picture")
    give(page, [*paths[2:], tmp_path / ("x" * 200)], answered=3)
    page.locator("#answer").wait_for()
    for _ in range(2):
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360
        page.locator("#language").click()


def test_chinese_and_english(opened: Callable[..., Page], palm_page: Path, tmp_path: Path) -> None:
    """By the browser's language, and by the button."""
    paths = picture_files(tmp_path, pictures_of(64)[:1])
    page = opened(palm_page, locale="zh-CN")
    give(page, paths, answered=1)
    page.locator("#answer").wait_for()
    chinese = page.locator("body").inner_text()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    for text in ("仅供教学使用，不是医疗器械。", "已得出 1 张图片的结果。", "置信度", "激活图"):
        assert text in chinese
    assert re.sub(r"SqueezeNet v|squeezenet_c|English|CSV|png", "", chinese).isascii() is False
    assert not re.search(r"[A-Za-z]{4,}", re.sub("SqueezeNet|squeezenet_c|English", "", chinese))
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    english = page.locator("body").inner_text()
    for text in ("Teaching material, not a medical device.", "1 picture answered.", "Confidence"):
        assert text in english
    assert page.locator("#name").inner_text() in (
        "病理性近视 (pathologic myopia)",
        "非病理性近视 (not pathologic)",
    )
    page.get_by_role("button", name="中文").click()
    assert page.locator("body").inner_text() == chinese


# -- What else happens -----------------------------------------------------------------------------


def test_pictures_are_dropped(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    page = opened(small[1])
    data = picture_files(tmp_path, pictures_of(64)[:1])[0].read_bytes()
    dropped = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            for (const name of ["=1+2.png", 'a "b", c.png'])
                data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        list(data),
    )
    for event in ("dragover", "drop"):
        page.dispatch_event("#drop", event, {"dataTransfer": dropped})
    page.locator("#rows tr").nth(1).wait_for()
    page.locator("#progress").wait_for(state="hidden")
    assert [row["file"] for row in saved(page)] == ["=1+2.png", 'a "b", c.png']
    assert list(saved(page)[0])[4:8] == [f"probability {name}" for name in small[0].class_names]


def test_a_broken_engine_is_said(
    opened: Callable[..., Page], small: tuple[sq.Model, Path], tmp_path: Path
) -> None:
    """As in a browser that is too old; files are named all the same."""
    page_text = small[1].read_text(encoding="utf-8")
    (tmp_path / "eyes.html").write_text(
        re.sub(r'(id="engine">)[^<]{40}', r"\1" + "A" * 40, page_text), encoding="utf-8"
    )
    page = opened(tmp_path / "eyes.html")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text().startswith("This browser cannot run the model")
    give(page, picture_files(tmp_path, pictures_of(64)), answered=0)
    assert page.locator("#rows tr.problem").count() == 3
    assert page.locator("#status").inner_text().endswith("Not answered: 0.png, 1.png, 2.png")
