"""A report's page in a real browser: Debian's chromium, driven by Playwright."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_support
import pytest

import squeezenet_c as sq
from squeezenet_c.base.language import set_language

SECONDS = 60  # that anything is waited for
LONG = "IMG_20260101_123456789_HDR" * 4


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with page_support.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page in each language, of pictures with long names in long folders: of two classes in
    Chinese, of seven with long names in English."""
    home = tmp_path_factory.mktemp("pages")
    drawn = sq.synthetic.write(home / ("folder" * 20), 14, size=64)
    paths = [
        str(Path(path).rename(Path(path).with_stem(f"{LONG}{i}")))
        for i, path in enumerate(drawn.paths)
    ]
    small = {"image_size": 64, "base_e": 32, "incr_e": 32}
    two = sq.Model(class_names=sq.palm.CLASS_NAMES, **small)
    names = tuple(f"{letter}{'word' * 9}" for letter in "abcdefg")
    seven = sq.Model(num_classes=7, class_names=names, **small)
    sets = {
        two: sq.Dataset(paths, drawn.labels, two.class_names),
        seven: sq.Dataset(paths, [place % 7 for place in range(14)], names),
    }
    pages = {}
    for name, model in (("zh two", two), ("en seven", seven)):
        set_language(name[:2])
        sq.report(
            model, sets[model], home / name, training=sets[model], resamples=5, title="word" * 40,
            command=f"squeezenet-c evaluate {paths[0]}",
        )  # fmt: skip
        pages[name] = home / name / "index.html"
    return pages


def opened(browser: Any, path: Path, width: int) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 800}, java_script_enabled=True)
    page.set_default_timeout(1000 * SECONDS)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("which", ["en seven", "zh two"])
@pytest.mark.parametrize("width", [360, 1000])
def test_it_is_no_wider_than_its_window(browser: Any, reports, which: str, width: int) -> None:
    page = opened(browser, reports[which], width)
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= width
    wide = page.evaluate(
        """() => Array.from(document.querySelectorAll("body *"))
            .filter((node) => !node.closest(".table"))
            .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
            .map((node) => node.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    page.close()


@pytest.mark.parametrize("which", ["en seven", "zh two"])
def test_it_is_printed_whole(browser: Any, reports, which: str) -> None:
    """On A4 nothing is cut off at the right, no figure is torn, and there is no bar to scroll."""
    page = opened(browser, reports[which], 794)  # A4 at 96 dots an inch
    page.emulate_media(media="print")
    found = page.evaluate(
        """() => ({
            width: document.scrollingElement.scrollWidth,
            torn: Array.from(document.querySelectorAll("figure, tr")).filter(
                (node) => getComputedStyle(node).breakInside !== "avoid").length,
            cut: Array.from(document.querySelectorAll(".table")).filter(
                (node) => node.scrollWidth > document.body.clientWidth).length,
            colours: getComputedStyle(document.body).printColorAdjust,
        })"""
    )
    assert found == {"width": 794, "torn": 0, "cut": 0, "colours": "exact"}
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()


def test_newcomers_first(browser: Any, reports) -> None:
    """Headings in both languages, in the same order; the few figures stand before the many."""
    headings = {}
    for which, rows in (("zh two", 7), ("en seven", 4)):
        page = opened(browser, reports[which], 1000)
        headings[which] = page.locator("h2").all_inner_texts()
        assert page.locator("html").get_attribute("lang")[:2] == which[:2]
        names = page.locator("table.figures").first.locator("th").all_inner_texts()
        assert len(names) == rows and names[0] in ("Accuracy", "准确率")
        page.close()
    assert headings["en seven"] == [
        "Figures", "Answers", "Where it is most wrong", "For a paper", "Data",
        "Where this comes from",
    ]  # fmt: skip
    chinese = headings["zh two"]
    assert len(chinese) == 6 and not any(text.isascii() for text in chinese)
