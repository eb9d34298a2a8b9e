"""Plots. matplotlib is imported here alone, and only when one is drawn; without it a warning of one
sentence takes the plot's place."""

import io
import os
import warnings
from collections.abc import Callable
from typing import Any

from .language import ENGLISH_NAMES, fill, language, translate
from .write import write_bytes

CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Heiti SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Noto Sans CJK JP",  # what matplotlib finds in the family's .ttc; it has all the characters
    "Noto Sans CJK TC",
)


def draw_figure(
    draw: Callable[[Any], None], size_inches: tuple[float, float], path: str | os.PathLike | None
) -> None:
    """Let `draw` fill a figure, then write it to `path`, or show it."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn(
            "no plot was drawn, for matplotlib is not installed (pip install matplotlib)",
            stacklevel=4,
        )
        return
    font = chinese_font()
    fonts: Any = {"font.sans-serif": [font, "DejaVu Sans"]} if font else {}
    with matplotlib.rc_context(fonts):
        if path is not None:
            figure = Figure(figsize=size_inches, layout="tight")
            draw(figure)
            data = io.BytesIO()
            suffix = os.path.splitext(os.fspath(path))[1]
            figure.savefig(data, dpi=120, format=suffix[1:].lower() or "png")
            write_bytes(path, data.getvalue())
        else:
            import matplotlib.pyplot as plt

            draw(plt.figure(figsize=size_inches, layout="tight"))
            plt.show()


def chinese_font() -> str | None:
    """The name of an installed font with Chinese characters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), None)


def caption(text: str, /, **values: Any) -> str:
    """`translate`'s text, but English where no font for the Chinese is installed."""
    if language() == "zh" and not chinese_font():
        return fill(text, values)
    return translate(text, **values)


def label(name: str) -> str:
    """A class's name; PALM's in English where no font for the Chinese is installed."""
    return name if name.isascii() or chinese_font() else ENGLISH_NAMES.get(name, name)


def bar_chart(counts: dict[str, int], path: str | os.PathLike | None = None) -> None:
    """Pictures of each class as bars."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        bars = axes.bar([label(name) for name in counts], list(counts.values()), width=0.5)
        axes.bar_label(bars)
        axes.margins(y=0.1)  # room for the numbers
        axes.set(
            xlabel=caption("class"),
            ylabel=caption("count"),
            title=caption("pictures of each class"),
        )

    draw_figure(draw, (6, 4), path)
