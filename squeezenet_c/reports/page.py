"""The report as one page of HTML: pictures are in it as data, and nothing is loaded."""

import base64
import os
from html import escape
from pathlib import Path

from ..base.language import class_name, language, translate
from ..base.png import encode_png
from ..base.write import write_text
from ..data.check import DataCheck
from ..inference.metrics import BINS
from .findings import Report

HTML_LANGUAGE = {"en": "en", "zh": "zh-CN"}
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
        "how far the probability of answers is from the share that is right; 0 is perfect",
    ),
}
CAPTIONS = {
    "confusion_matrix": "How many pictures of each true class were given which answer.",
    "roc": "What every threshold would find (up) and wrongly report (right).",
    "reliability": "In {bins} equal bins: the probability of the most probable class, and how "
    "often it is the true one, with 95 % intervals.",
    "scores": "How the probabilities of each true class are distributed.",
}


def write_page(
    findings: Report, checked: DataCheck | None, path: Path, title: str, resamples: int
) -> None:
    """Write the page; checked: of its training data, or None."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(findings),
        _heading(translate("Figures")),
        _figures(findings),
        _intervals(resamples),
        _heading(translate("Answers")),
        _confusion(findings),
        _plots(findings),
        _heading(translate("Where it is most wrong")),
        _worst(findings),
    ]
    if checked is not None:
        parts += [_heading(translate("Data")), f"<pre>{escape(str(checked))}</pre>"]
    warning = translate("For research and teaching. This is no medical device.")
    parts.append(f'<p class="note">{warning}</p>')
    body = "\n".join(parts)
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="{HTML_LANGUAGE[language()]}">\n'
        '<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
    )


def _heading(text: str) -> str:
    return f"<h2>{text}</h2>"


def _intervals(resamples: int) -> str:
    text = translate(
        "In brackets: 95 % intervals. Of shares of pictures by Wilson (1927), of the AUC of two "
        "classes by Newcombe (2006, method 5, on Hanley & McNeil's variance), of the other "
        "figures by a percentile bootstrap over the pictures ({resamples} resamples), which gives "
        "none where all resamples agree. They tell how much a figure would vary with other "
        "pictures of the same kind; they say nothing of other cameras, clinics or patients.",
        resamples=resamples,
    )
    return f"<p>{escape(text, quote=False)}</p>"


def _named(name: str) -> str:
    """A class's name as HTML."""
    return escape(class_name(name))


def _summary(findings: Report) -> str:
    names = findings.class_names
    counts = [int((findings.labels == label).sum()) for label in range(len(names))]
    kinds = translate(", ").join(
        translate("{name}: {count}", name=_named(name), count=count)
        for name, count in zip(names, counts, strict=True)
    )
    if findings.positive is None:
        rule = translate("A picture is given the class of the largest probability.")
    else:
        positive = _named(names[findings.positive])
        if findings.threshold is None:
            rule = translate(
                "The positive class is {positive}. A picture is called so from a probability of "
                "{threshold:.3g} on.",
                positive=positive,
                threshold=0.5,
            )
        else:
            rule = translate(
                "The positive class is {positive}. A picture is called so from a probability of "
                "{threshold:.3g} on, a threshold that is stored in the model.",
                positive=positive,
                threshold=findings.threshold,
            )
    text = translate(
        "{count} pictures ({kinds}). {rule}", count=len(findings.paths), kinds=kinds, rule=rule
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in findings.notes)
    return f"<p>{text}</p>{notes}"


def _figures(findings: Report) -> str:
    rows = []
    positive = _named(findings.class_names[findings.positive or 0])  # of two classes alone asked
    for key, figure in findings.figures.items():
        name, meaning = MEANING[key]
        value, interval = "-", ""
        if figure.value is not None:
            value, interval = f"{figure.value:.3f}", translate("(no interval)")
        if figure.low is not None:
            interval = translate(
                "({low:.3f} to {high:.3f}, {method})",
                low=figure.low,
                high=figure.high,
                method=translate(figure.method or ""),
            )
        rows.append(
            f'<tr><th>{translate(name)}</th><td class="number">{value}</td>'
            f'<td class="number">{interval}</td>'
            f"<td>{translate(meaning, positive=positive)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _confusion(findings: Report) -> str:
    names = [_named(name) for name in findings.class_names]
    head = "".join(f"<th>{translate('called {name}', name=name)}</th>" for name in names)
    rows = [
        f"<tr><th>{name}</th>{''.join(f'<td class=number>{count}</td>' for count in row)}</tr>"
        for name, row in zip(names, findings.summary.confusion_matrix.tolist(), strict=True)
    ]
    corner = f"<th>{translate('truly')}</th>"
    return f"<table><tr>{corner}{head}</tr>{''.join(rows)}</table>"


def _plots(findings: Report) -> str:
    captions = {name: translate(text, bins=BINS) for name, text in CAPTIONS.items()}
    figures = [
        f'<figure><img alt="{captions[name]}" src="{_data(path.read_bytes())}">'
        f"<figcaption>{captions[name]}</figcaption></figure>"
        for name, path in findings.plots.items()
    ]
    return f'<div class="plots">{"".join(figures)}</div>'


def _worst(findings: Report) -> str:
    figures = []
    for place, explanation in findings.worst:
        said = findings.predicted[place]
        verdict = translate("called so")
        if said != explanation.label:
            called = translate("called {name}", name=_named(findings.class_names[said]))
            verdict = f'<span class="wrong">{called}</span>'
        name = escape(os.path.basename(findings.paths[place]))
        images = "".join(
            f'<img alt="{what} {name}" src="{_data(encode_png(pixels))}">'
            for what, pixels in (
                (translate("picture"), explanation.picture),
                (translate("map"), explanation.overlay),
            )
        )
        text = translate(
            "{file}: truly {name}, which was given the probability {probability:.3g}; {verdict}",
            file=name,
            name=_named(explanation.name),
            probability=explanation.probability,
            verdict=verdict,
        )
        figures.append(f"<figure>{images}<figcaption>{text}</figcaption></figure>")
    text = translate(
        "The {count} pictures whose true class was given the least probability, the "
        "worst first, each as the network sees it. Beside it, the class activation map of the true "
        "class: red where the picture speaks most for it, blue where least, whatever the class's "
        "probability is.",
        count=len(figures),
    )
    return f'<p>{text}</p><div class="worst">{"".join(figures)}</div>'


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
