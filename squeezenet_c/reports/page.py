"""The report as one page of HTML: pictures are in it as data, and nothing is loaded."""

import base64
import os
from html import escape
from pathlib import Path

from ..base.plots import ENGLISH
from ..base.png import encode_png
from ..data.check import DataCheck
from ..inference.intervals import BINS
from .findings import Report

STYLE = """
body { font: 16px/1.5 sans-serif; color: #222; max-width: 62rem }
body { margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem } h2 { font-size: 1.25rem; margin-top: 2.2rem }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; text-align: left }
th, td { border-bottom: 1px solid #ccc; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 0 } figcaption { font-size: .9rem; overflow-wrap: anywhere }
.plots, .worst { display: grid; gap: 1.5rem; align-items: start }
.plots, .worst { grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)) }
.plots img { width: 100% } .worst img { width: 50% }
.wrong { color: #a40000; font-weight: bold }
.note { background: #f4f4f0; padding: .6rem 1rem }
"""

# What a figure is called, and what it says.
MEANING = {
    "accuracy": ("Accuracy", "share of all pictures that are classified rightly"),
    "auc": (
        "AUC",
        "area under the ROC curve: how often a picture of the class gets a higher score than one "
        "that is not; 0.5 is chance, 1 is perfect",
    ),
    "sensitivity": ("Sensitivity", "share of the pictures of {positive} that are found"),
    "specificity": ("Specificity", "share of the other pictures that are recognised as such"),
    "sensitivity_at_95_specificity": (
        "Sensitivity at 95 % specificity",
        "share that would be found by the threshold that wrongly reports at most 5 % of the others",
    ),
    "f1": ("F1", "harmonic mean of sensitivity and precision (the share of reports that is right)"),
    "calibration_error": (
        "Expected calibration error",
        "how far probabilities are from what comes true, on average; 0 is perfect",
    ),
}
CAPTIONS = {
    "confusion_matrix": "How many pictures of each true class were given which answer.",
    "roc": "What every threshold would find (up) and wrongly report (right).",
    "reliability": f"In {BINS} equal bins: the probability given, and how often it came true.",
    "scores": "How the probabilities of each true class are distributed.",
}


def write_page(
    findings: Report, checked: DataCheck | None, path: Path, title: str, resamples: int
) -> None:
    """Write the page; checked: of its training data, or None."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(findings),
        "<h2>Figures</h2>",
        _figures(findings),
        "<p>In brackets: 95 % intervals. Of shares of pictures by Wilson (1927), of the AUC of two "
        "classes by Newcombe (2006, method 5, on Hanley &amp; McNeil's variance), of the other "
        f"figures by a percentile bootstrap over the pictures ({resamples} resamples), which gives "
        "none where all resamples agree. They tell how much a figure would vary with other "
        "pictures of the same kind; they say nothing of other cameras, clinics or patients.</p>",
        "<h2>Answers</h2>",
        _confusion(findings),
        _plots(findings),
        "<h2>Where it is most wrong</h2>",
        _worst(findings),
    ]
    if checked is not None:
        parts += ["<h2>Data</h2>", f"<pre>{escape(str(checked))}</pre>"]
    parts.append('<p class="note">For research and teaching. This is no medical device.</p>')
    body = "\n".join(parts)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
        encoding="utf-8",
    )


def _named(name: str) -> str:
    """A class's name as HTML, with the English of PALM's Chinese ones."""
    return escape(f"{name} ({ENGLISH[name]})" if name in ENGLISH else name)


def _summary(findings: Report) -> str:
    names = findings.class_names
    counts = [int((findings.labels == label).sum()) for label in range(len(names))]
    kinds = ", ".join(f"{_named(name)}: {count}" for name, count in zip(names, counts, strict=True))
    text = f"<p>{len(findings.paths)} pictures ({kinds}). "
    if findings.positive is not None:
        positive = _named(names[findings.positive])
        threshold = 0.5 if findings.threshold is None else findings.threshold
        text += f"The positive class is {positive}. A picture is called so from a probability of "
        text += f"{threshold:.3g} on"
        text += "." if findings.threshold is None else ", a threshold that is stored in the model."
    else:
        text += "A picture is given the class of the largest probability."
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in findings.notes)
    return f"{text}</p>{notes}"


def _figures(findings: Report) -> str:
    rows = []
    positive = _named(findings.class_names[findings.positive or 0])  # of two classes alone asked
    for key, figure in findings.figures.items():
        name, meaning = MEANING[key]
        value, interval = "-", ""
        if figure.value is not None:
            value, interval = f"{figure.value:.3f}", "(no interval)"
        if figure.low is not None:
            interval = f"({figure.low:.3f} to {figure.high:.3f}, {figure.method})"
        rows.append(
            f'<tr><th>{name}</th><td class="number">{value}</td><td class="number">{interval}'
            f"</td><td>{meaning.format(positive=positive)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _confusion(findings: Report) -> str:
    names = [_named(name) for name in findings.class_names]
    head = "".join(f"<th>called {name}</th>" for name in names)
    rows = [
        f"<tr><th>{name}</th>{''.join(f'<td class=number>{count}</td>' for count in row)}</tr>"
        for name, row in zip(names, findings.summary.confusion_matrix.tolist(), strict=True)
    ]
    return f"<table><tr><th>truly</th>{head}</tr>{''.join(rows)}</table>"


def _plots(findings: Report) -> str:
    figures = [
        f'<figure><img alt="{escape(CAPTIONS[name])}" src="{_data(path.read_bytes())}">'
        f"<figcaption>{escape(CAPTIONS[name])}</figcaption></figure>"
        for name, path in findings.plots.items()
    ]
    return f'<div class="plots">{"".join(figures)}</div>'


def _worst(findings: Report) -> str:
    figures = []
    for place, explanation in findings.worst:
        said = findings.predicted[place]
        verdict = (
            "called so"
            if said == explanation.label
            else f'<span class="wrong">called {_named(findings.class_names[said])}</span>'
        )
        name = escape(os.path.basename(findings.paths[place]))
        images = "".join(
            f'<img alt="{what} {name}" src="{_data(encode_png(pixels))}">'
            for what, pixels in (("picture", explanation.picture), ("map", explanation.overlay))
        )
        figures.append(
            f"<figure>{images}<figcaption>{name}: truly {_named(explanation.name)}, which was given"
            f" the probability {explanation.probability:.3g}; {verdict}</figcaption></figure>"
        )
    return (
        f"<p>The {len(figures)} pictures whose true class was given the least probability, the "
        "worst first, each as the network sees it. Beside it, the class activation map of the true "
        "class: red where the picture speaks most for it, blue where least, whatever the class's "
        f'probability is.</p><div class="worst">{"".join(figures)}</div>'
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
