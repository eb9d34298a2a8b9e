"""The language of predictions, plots and reports: English, or Chinese where that is asked for."""

import ast
import warnings
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.base import language, plots
from squeezenet_c.cli import main
from squeezenet_c.reports import page

PACKAGE = Path(sq.__file__).parent
SIZE = 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, and an untrained model with PALM's class names."""
    home = tmp_path_factory.mktemp("language")
    drawn = sq.synthetic.write(home / "pictures", 12, size=SIZE)
    model = sq.Model(seed=0, image_size=SIZE, base_e=32, incr_e=32)
    model.class_names = sq.palm.CLASS_NAMES
    model.save(home / "model.safetensors")
    sq.Dataset(drawn.paths, drawn.labels, sq.palm.CLASS_NAMES).write_list(home / "list.txt")
    return home


# -- Which language --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh_TW@radical"}, "zh"),
        ({"LANG": "zha_CN"}, "en"),  # Zhuang
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LC_CTYPE": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_the_locale_says_it(monkeypatch, variables, expected):
    sq.set_language(None)
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sq.language() == expected


def test_a_chosen_language_goes_first(monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert sq.language() == "en"
    sq.set_language(None)
    assert sq.language() == "zh"
    with pytest.raises(ValueError, match="language is 'de', expected one of en, zh or None"):
        sq.set_language("de")
    assert sq.language() == "zh"


def test_a_text_without_values_is_taken_as_it_is():
    assert language.translate("{odd} 100 %") == "{odd} 100 %"
    sq.set_language("zh")
    assert language.translate("no such text {x}", x=1) == "no such text 1"


# -- The table -------------------------------------------------------------------------------------


def _literals() -> tuple[set[str], set[str]]:
    """(texts that are translated, all strings) of the package without the table."""
    translated, strings = set(), set()
    for path in PACKAGE.rglob("*.py"):
        if path.name == "language.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.add(node.value)
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            text = node.args[0]
            if name in ("translate", "caption") and isinstance(text, ast.Constant):
                translated.add(text.value)
    tables = {text for row in page.MEANING.values() for text in row}
    tables |= {*page.CAPTIONS.values(), *page.PROVENANCE.values()}
    return translated | tables, strings


def test_every_text_has_a_translation_and_every_translation_a_use():
    translated, strings = _literals()
    assert len(translated) > 60
    assert translated - set(language.CHINESE) == set()
    assert set(language.CHINESE) - strings == set()


def test_translations_have_the_same_places():
    def places(text: str) -> list[tuple[str | None, str | None]]:
        return sorted((name, form) for _, name, form, _ in Formatter().parse(text) if name)

    for english, chinese in language.CHINESE.items():
        assert places(english) == places(chinese), english


# -- The command line ------------------------------------------------------------------------------


def test_predict(home, capsys):
    command = ["predict", str(home / "model.safetensors"), str(home / "pictures")]
    assert main([*command, "--lang", "en"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert all("Predicted: " in line and ", confidence: 0." in line for line in lines)
    assert "病理性近视 (pathologic myopia)" in lines[0] or "(not pathologic)" in lines[0]
    assert main([*command, "--lang", "zh"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "预测结果为：" in line and "病理性近视,置信度为: 0." in line
    with pytest.raises(SystemExit):
        main([*command, "--lang", "de"])


def test_demo_in_chinese_and_the_run_does_not_keep_it(tmp_path, capsys):
    out = tmp_path / "demo"
    command = ["demo", "--out", str(out), "--pictures", "16", "--epochs", "1", "--lang", "zh"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fonts of this machine
        assert main(command) == 0
    said = capsys.readouterr().out
    for text in ("正在绘制 16 张", "最佳：第 1 轮", "预测结果为：synthetic ", "完成，用时"):
        assert text in said
    run = ["train", str(out / "pictures"), "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main([*run, "--lang", "en"]) == 0
    said_again = (tmp_path / "run" / "args.yaml").read_text(encoding="utf-8").splitlines()
    assert not any(line.startswith("lang:") for line in said_again)


# -- The report's page -----------------------------------------------------------------------------


def test_page(home, tmp_path):
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_list(home / "list.txt", sq.palm.CLASS_NAMES)
    pages = {}
    for name in ("en", "zh"):
        sq.set_language(name)
        sq.report(model, dataset, tmp_path / name, training=dataset, resamples=20)
        pages[name] = (tmp_path / name / "index.html").read_text(encoding="utf-8")
    english, chinese = pages["en"], pages["zh"]
    assert '<html lang="en">' in english and '<html lang="zh-CN">' in chinese
    assert "<title>SqueezeNet: report</title>" in english
    assert "病理性近视 (pathologic myopia)" in english and "pathologic" not in chinese
    for text in ("灵敏度", "特异度", "准确率", "ROC 曲线下面积", "95% 置信区间", "评估报告"):
        assert text in chinese and text not in english
    for text in language.CHINESE:
        if len(text) > 20 and "{" not in text:
            assert text not in chinese


# -- Plots -----------------------------------------------------------------------------------------


def _texts(monkeypatch: pytest.MonkeyPatch, font: str | None) -> set[str]:
    """What stands in the plots where `font` is all that is installed for Chinese."""
    figure_module = pytest.importorskip("matplotlib.figure")
    from squeezenet_c.reports import plots as report_plots
    from squeezenet_c.training import history

    texts = set()

    def collect(draw, size, path):
        figure = figure_module.Figure(figsize=size)
        draw(figure)
        texts.update(found.get_text() for found in figure.findobj(lambda a: hasattr(a, "get_text")))

    monkeypatch.setattr(plots, "chinese_font", lambda: font)
    for module in (plots, report_plots, history):
        monkeypatch.setattr(module, "draw_figure", collect)
    names = sq.palm.CLASS_NAMES
    happened = np.array([True, False, True])
    score = np.array([0.9, 0.2, 0.6])
    plots.bar_chart(dict.fromkeys(names, 3))
    report_plots.confusion_plot(np.array([[1, 2], [0, 3]]), names, None)
    report_plots.roc_plot(happened[:, None], score[:, None], names[1:], (0, 1), None)
    report_plots.reliability_plot(happened, score, 0.1, None)
    report_plots.scores_plot(happened.astype(np.int64), score, names, names[1], 0.5, None)
    history.History([history.Epoch(1, 0.5, 0.7, 0.5, 0.7, 1e-3, 1.0)]).plot()
    return texts


@pytest.mark.parametrize(
    ("name", "font", "some", "none"),
    [
        ("en", None, {"accuracy", "ROC curve", "pathologic myopia", "threshold 0.5"}, "率"),
        ("en", "A font", {"accuracy", "ROC curve", "病理性近视", "threshold 0.5"}, "率"),
        ("zh", None, {"accuracy", "ROC curve", "pathologic myopia", "threshold 0.5"}, "率"),
        ("zh", "A font", {"准确率", "ROC 曲线", "病理性近视", "阈值 0.5", "数量"}, "curve"),
    ],
)
def test_plots_are_chinese_where_a_font_is(monkeypatch, name, font, some, none):
    sq.set_language(name)
    texts = _texts(monkeypatch, font)
    assert some <= texts
    assert not any(none in text for text in texts)
    if font is None:
        assert all(text.isascii() or text == "−" for text in texts)
