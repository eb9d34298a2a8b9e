"""`export eyes.html`: what is in the page, and its engine without a browser."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_support import Engine, need
from portable_support import SMALL, quantised

import squeezenet_c as sq
from squeezenet_c.base.pictures import to_picture
from squeezenet_c.cli import main
from squeezenet_c.files import page_write
from squeezenet_c.files.page_write import PARTS

ODD_NAMES = ['</script><b a="', "{{engine}} & 病理性近视 \u2028"]


def page_of(folder: Path, model: sq.Model) -> str:
    need("ziglang")
    model.export(folder / "eyes.html")
    return (folder / "eyes.html").read_text(encoding="utf-8")


# -- The page --------------------------------------------------------------------------------------


def test_the_packaged_models_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ziglang")
    monkeypatch.setenv("HOME", "/proc")  # where nothing can be written
    path = tmp_path / "eyes.html"
    assert main(["export", "palm", str(path)]) == 0
    assert capsys.readouterr().out == f"Written: {path}\n"
    print(f"{path.stat().st_size} bytes")
    assert path.stat().st_size < 400_000
    page = path.read_text(encoding="utf-8")
    assert "No answer is a diagnosis" in page.partition("<script>")[0]
    assert page_of(tmp_path, sq.palm.model()) == page


@pytest.mark.parametrize(
    "arguments",
    [{"version": "1_0"}, {"version": "1_1"}, {"version": "1_1", "compressed": True}],
    ids=["v1.0", "v1.1", "v1.1 compressed"],
)
def test_a_page_is_below_a_megabyte(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """At 224, with random weights, which deflate least."""
    size = len(page_of(tmp_path, quantised(224, **arguments)).encode())
    print(f"{size} bytes")
    assert size < 1_000_000


def test_its_policy_lets_its_own_scripts_run_and_nothing_else(tmp_path: Path) -> None:
    page = page_of(tmp_path, quantised(49, **SMALL, class_names=ODD_NAMES))
    policy = html.unescape(re.search(r'Policy" content="([^"]*)"', page)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert rules["worker-src"] == "blob:"
    for rule, element in (("script-src", "script"), ("style-src", "style")):
        texts = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert len(texts) == 1
        digest = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        more = " 'wasm-unsafe-eval'" if element == "script" else ""
        assert rules[rule] == f"'sha256-{digest}'{more}"
    assert not re.search(r"\b(src|href|action|style|on\w+)=", page.partition("<script")[0])
    assert not re.search(r"https?://|\bimport\b|\bfetch\(|XMLHttp|WebSocket", page)


def test_odd_class_names_stay_within_their_element(tmp_path: Path) -> None:
    page = page_of(tmp_path, quantised(49, **SMALL, class_names=ODD_NAMES))
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == page.count("<script") == 4
    facts = json.loads(scripts[0])
    assert facts["names"] == facts["shown"]["en"] == facts["shown"]["zh"] == ODD_NAMES
    assert facts["caution"] is None


# -- Its texts -------------------------------------------------------------------------------------


def test_every_text_is_there_in_chinese_and_none_that_is_not_said() -> None:
    script = "".join((PARTS / name).read_text("utf-8") for name in ("page.js", "worker.js"))
    words = (PARTS / "words.js").read_text("utf-8")
    table = re.search(r"CHINESE = \{(.*?)\n\};", words, re.DOTALL)[1]
    pairs = re.findall(r'^  (?:"([^"]*)"|(\w+)):\s+"([^"]*)",$', table, re.MULTILINE)
    chinese = {quoted or bare: text for quoted, bare, text in pairs}
    assert len(chinese) == len(pairs) == table.count('",\n') + 1
    page = (PARTS / "page.html").read_text("utf-8")
    said = set(re.findall(r"data-say>([^<]*)<", page)) | {page_write.CAUTION}
    said |= set(re.findall(r'say\(\s*"([^"]*)"', script))
    said |= set(re.findall(r'(?:Problem\(|: )"(\w[^"]* [^"]*)"', script))
    said |= set(re.findall(r'\? "([^"]*\.)" : "([^"]*\.)"', script)[0])
    assert said == set(chinese)
    for text, translated in chinese.items():
        places = re.compile(r"\{\w+\}")
        assert sorted(places.findall(text)) == sorted(places.findall(translated)), text


# -- What it needs ---------------------------------------------------------------------------------


def test_a_float32_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sq.Model(image_size=64, **SMALL).save(tmp_path / "float.safetensors")
    assert main(["export", str(tmp_path / "float.safetensors"), str(tmp_path / "eyes.html")]) == 1
    said = capsys.readouterr().err
    assert "not quantised" in said and "--calibrate DATA" in said and said.count("\n") == 1
    assert not (tmp_path / "eyes.html").exists()


def test_without_a_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_write, "find_spec", lambda name: None)
    (tmp_path / "eyes.html").write_text("what was there")
    assert main(["export", "palm", str(tmp_path / "eyes.html")]) == 1
    said = capsys.readouterr().err
    assert 'pip install "squeezenet_c[web]"' in said and said.count("\n") == 1
    assert (tmp_path / "eyes.html").read_text() == "what was there"


def test_a_compiler_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("ziglang")
    monkeypatch.setattr(page_write, "COMMANDS", (("cc", "-c", "no_such_file.c"),))
    assert main(["export", "palm", str(tmp_path / "eyes.html")]) == 1
    said = capsys.readouterr().err
    assert "not compiled by ziglang==0.15.2: " in said and said.count("\n") == 1
    assert not (tmp_path / "eyes.html").exists()


# -- Its engine ------------------------------------------------------------------------------------

SHAPES = [(64, 64), (50, 70), (300, 200), (1000, 61), (60, 1000), (1, 1), (3, 500), (20, 20)]
ENGINES: dict[str, dict[str, Any]] = {
    "pad": {"image_size": 64, **SMALL, "num_classes": 4, "final_relu": True},
    "crop": {"image_size": 61, **SMALL, "fit": "crop", "compressed": True},
    "v1.0 with bypass": {"image_size": 64, "version": "1_0", "bypass": "simple", **SMALL},
}


@pytest.mark.parametrize("name", ENGINES)
def test_square_logits_and_maps_have_the_packages_bits(name: str) -> None:
    model = quantised(**ENGINES[name])
    engine = Engine(model)
    random, side = np.random.RandomState(3), model.image_size
    for height, width in SHAPES:
        coarse = random.randint(0, 256, (height // 7 + 1, width // 7 + 1, 4)).astype(np.uint8)
        rgba = np.kron(coarse, np.ones((7, 7, 1), np.uint8))[:height, :width]
        for alpha, status in ((255, 0), (0, 1)):
            rgba[..., 3] = alpha
            assert engine.answer(rgba) == status and engine.row <= height  # crop leaves some out
            square = model.preprocessing.square(np.ascontiguousarray(rgba[..., :3]))
            np.testing.assert_array_equal(engine.array("square", square.shape, np.uint8), square)
            logits = model.forward(model.input_of(square[None]))[0]
            found = engine.array("logits", logits.shape, np.uint32)
            np.testing.assert_array_equal(found, logits.view(np.uint32), f"{height} x {width}")
            maps = model.class_maps(model.input_of(square[None]))[0]
            found = engine.array("maps", maps.shape, np.uint32)
            np.testing.assert_array_equal(found, maps.view(np.uint32))
    assert engine.answer(np.zeros((side, 65537, 4), np.uint8)) == -1


def test_photographs_of_any_size(shared: Path) -> None:
    """The packaged model's answers, bit for bit, of one far larger than its square too."""
    model = sq.palm.model()
    engine = Engine(model)
    large = sorted((shared / "fundus_fullres").glob("*.jpg"))[:1]
    paths = [*sorted((shared / "palm" / "PALM-Validation400").glob("*.jpg"))[:5], *large]
    assert len(paths) == 6
    for path in paths:
        pixels = to_picture(path)
        alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        assert engine.answer(np.concatenate([pixels, alpha], axis=2)) == 0
        square = model.preprocessing.square(pixels)
        logits = model.forward(model.input_of(square[None]))[0]
        found = engine.array("logits", logits.shape, np.uint32)
        np.testing.assert_array_equal(found, logits.view(np.uint32), path.name)
