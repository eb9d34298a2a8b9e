"""The report as one page of HTML: pictures are in it as data, and nothing is loaded."""

import base64
import os
from html import escape
from pathlib import Path

from ..base.language import class_name, language, translate
from ..base.png import encode_png
from ..base.write import write_text
from ..data.check import DataCheck
from ..data.provenance import lines_of
from ..inference.metrics import BINS
from ..inference.weighted import FIRST, PAPER
from .findings import Report

HTML_LANGUAGE = {"en": "en", "zh": "zh-CN"}
STYLE = """
body { font: 1rem/1.5 sans-serif; color: #222; max-width: 62rem }
body { margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem } h2 { font-size: 1.25rem; margin-top: 2.2rem }
h3 { font-size: 1.05rem; margin-top: 1.6rem } pre { white-space: pre-wrap }
.table { overflow-x: auto } .table th { min-width: 4rem }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; text-align: left }
th, td { border-bottom: 1px solid #ccc; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 0 } figcaption { font-size: .9rem }
.plots, .worst { display: grid; gap: 1.5rem; align-items: start }
.plots, .worst { grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)) }
.plots img { width: 100% } .worst img { width: 50% }
.wrong { color: #a40000; font-weight: bold }
.note { background: #f4f4f0; padding: .6rem 1rem }
@media (max-width: 40rem) {
  .figures tr { display: grid; grid-template-columns: auto 1fr; border-bottom: 1px solid #ccc }
  .figures th { grid-column: 1 / 3 } .figures td:last-child { grid-column: 1 / 3 }
  .figures th, .figures td { border: 0; padding: .1rem .4rem; text-align: left }
  .figures tr { padding: .4rem 0 } .figures td.number { white-space: normal }
}
@media print {
  html { font-size: 11px } body { margin: 0; max-width: none; print-color-adjust: exact }
  h1, h2, h3 { break-after: avoid } figure, tr, .note { break-inside: avoid }
  .plots { grid-template-columns: 1fr 1fr } .worst { grid-template-columns: 1fr 1fr 1fr }
  .table { overflow-x: visible } .table th { min-width: 0 }
}
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
    "balanced_accuracy": (
        "Balanced accuracy",
        "mean over the classes of the share of their pictures that is found",
    ),
    "average_precision": (
        "Average precision",
        "area under the curve of precision over sensitivity; the share of positives is chance",
    ),
    "weighted_auc": ("AUC, weighted", "mean of the classes' AUCs, weighed by their pictures"),
    "ppv": ("PPV", "positive predictive value: share of the reports of {positive} that is right"),
    "npv": ("NPV", "negative predictive value: share of the other answers that is right"),
    "lr_positive": (
        "LR+",
        "positive likelihood ratio: by how much a report multiplies the odds of {positive}",
    ),
    "lr_negative": (
        "LR-",
        "negative likelihood ratio: by how much the other answer multiplies these odds",
    ),
    "kappa": ("Cohen's kappa", "agreement with the true classes beyond chance; 1 is perfect"),
    "quadratic_kappa": (
        "Quadratic kappa",
        "the same where classes have an order: answers far off weigh more",
    ),
}
CAPTIONS = {
    "confusion_matrix": "How many pictures of each true class were given which answer.",
    "roc": "What every threshold would find (up) and wrongly report (right).",
    "reliability": "In {bins} equal bins: the probability of the most probable class, and how "
    "often it is the true one, with 95 % intervals.",
    "scores": "How the probabilities of each true class are distributed.",
    "precision_recall": "At every threshold, the share of reports that is right (up) and of "
    "positives that is found (right). Dotted: the share of positives.",
    "net_benefit": "Decision curve: what acting on the model's answers is worth, in finds a "
    "picture less the price of wrong alarms, by the probability from which one acts (Vickers & "
    "Elkin 2006). The model is of use where its curve is the highest.",
}
# What a part of the provenance is called; the names within are those of provenance.json.
PROVENANCE = {
    "date": "Date",
    "command": "Command",
    "model": "Model: ",
    "data": "Pictures: ",
    "software": "Software: ",
    "training": "Its training: ",
}
FIRST_PLOTS = ("confusion_matrix", "roc", "reliability", "scores")


def write_page(
    findings: Report, checked: DataCheck | None, path: Path, title: str, resamples: int
) -> None:
    """Write the page; checked: of its training data, or None."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        _summary(findings),
        _heading(translate("Figures")),
        _figures(findings, FIRST),
        _intervals(resamples),
        _heading(translate("Answers")),
        _confusion(findings),
        _plots(findings, FIRST_PLOTS),
        _heading(translate("Where it is most wrong")),
        _worst(findings),
        _heading(translate("For a paper")),
        _prevalence(findings),
        _figures(findings, PAPER),
        _classes(findings),
        _plots(findings, tuple(name for name in CAPTIONS if name not in FIRST_PLOTS)),
    ]
    if checked is not None:
        parts += [_heading(translate("Data")), f"<pre>{escape(str(checked))}</pre>"]
    parts += [_heading(translate("Where this comes from")), _provenance(findings)]
    warning = translate("For research and teaching. This is no medical device.")
    parts.append(f'<p class="note">{warning}</p>')
    body = "\n".join(parts)
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="{HTML_LANGUAGE[language()]}">\n'
        '<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
    )


def _heading(text: str) -> str:
    return f"<h2>{text}</h2>"


def _intervals(resamples: int) -> str:
    text = translate(
        "In brackets: 95 % intervals. Of shares of pictures by Wilson (1927), of the AUC of two "
        "classes by Newcombe (2006, method 5, on Hanley & McNeil's variance), of the other "
        "figures by a percentile bootstrap over the pictures ({resamples} resamples), which gives "
        "none where all resamples agree; further below, of likelihood ratios by Simel (1991) and "
        "of predictive values at a stated prevalence by Mercaldo (2007), both without one where a "
        "count is 0. They tell how much a figure would vary with other "
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


def _prevalence(findings: Report) -> str:
    if findings.positive is None:
        return ""
    positive = _named(findings.class_names[findings.positive])
    if findings.prevalence is None:
        share = float((findings.labels == findings.positive).mean())
        text = translate(
            "PPV, NPV and net benefits hold where {share:.3g} of all pictures are of {positive}, "
            "as in this set; --prevalence states another share.",
            share=share,
            positive=positive,
        )
    else:
        text = translate(
            "PPV, NPV and net benefits are for a stated prevalence: {share:.3g} of all pictures "
            "are of {positive}.",
            share=findings.prevalence,
            positive=positive,
        )
    return f"<p>{text}</p>"


def _classes(findings: Report) -> str:
    """Of more than two classes; of two the figures above say it."""
    if len(findings.class_names) < 3:
        return ""
    names = ("class", "precision", "recall", "F1", "AUC", "pictures")
    head = "".join(f"<th>{translate(name)}</th>" for name in names)
    rows = []
    for row in findings.summary.per_class:
        shares = (row.precision, row.recall, row.f1, row.auc)
        texts = ["-" if share is None else f"{share:.3f}" for share in shares]
        cells = "".join(f"<td class=number>{text}</td>" for text in (*texts, str(row.support)))
        rows.append(f"<tr><th>{_named(row.name)}</th>{cells}</tr>")
    heading = translate("Each class against the rest")
    table = f'<div class="table"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    return f"<h3>{heading}</h3>{table}"


def _provenance(findings: Report) -> str:
    rows = "".join(
        f"<tr><th>{translate(PROVENANCE[key])}{escape(name)}</th><td>{escape(value)}</td></tr>"
        for key, said in findings.provenance.items()
        for name, value in lines_of(said if isinstance(said, dict) else {"": said})
    )
    return f'<table class="figures">{rows}</table>'


def _figures(findings: Report, names: tuple[str, ...]) -> str:
    rows = []
    positive = _named(findings.class_names[findings.positive or 0])  # of two classes alone asked
    for key in names:
        if key not in findings.figures:
            continue
        figure = findings.figures[key]
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
    return f'<table class="figures">{"".join(rows)}</table>'


def _confusion(findings: Report) -> str:
    names = [_named(name) for name in findings.class_names]
    head = "".join(f"<th>{translate('called {name}', name=name)}</th>" for name in names)
    rows = [
        f"<tr><th>{name}</th>{''.join(f'<td class=number>{count}</td>' for count in row)}</tr>"
        for name, row in zip(names, findings.summary.confusion_matrix.tolist(), strict=True)
    ]
    corner = f"<th>{translate('truly')}</th>"
    return f'<div class="table"><table><tr>{corner}{head}</tr>{"".join(rows)}</table></div>'


def _plots(findings: Report, names: tuple[str, ...]) -> str:
    captions = {name: translate(text, bins=BINS) for name, text in CAPTIONS.items()}
    figures = [
        f'<figure><img alt="{captions[name]}" src="{_data(path.read_bytes())}">'
        f"<figcaption>{captions[name]}</figcaption></figure>"
        for name, path in findings.plots.items()
        if name in names
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
