"""Metrics against scikit-learn."""

import json

import numpy as np
import pytest

from squeezenet_c import Evaluation
from squeezenet_c.inference import metrics

skl = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("classes", [2, 4])
def test_report_equals_scikit_learn(classes):
    random = np.random.default_rng(classes)
    labels = random.integers(classes, size=300)
    logits = random.normal(size=(300, classes)).astype(np.float32).round(1)  # ties too
    logits[np.arange(300), labels] += 1
    names = tuple("abcd"[:classes])
    report = Evaluation.from_logits(logits, labels, names)
    proba, predicted = metrics.softmax(logits), logits.argmax(axis=1)
    score = proba[:, 1] if classes == 2 else proba
    assert report.auc == pytest.approx(skl.roc_auc_score(labels, score, multi_class="ovr"))
    assert report.accuracy == pytest.approx(skl.accuracy_score(labels, predicted))
    assert report.loss == pytest.approx(skl.log_loss(labels, proba), rel=1e-6)
    assert np.array_equal(report.confusion_matrix, skl.confusion_matrix(labels, predicted))
    if classes == 2:
        assert report.sensitivity == pytest.approx(skl.recall_score(labels, predicted))
        assert report.specificity == pytest.approx(skl.recall_score(labels, predicted, pos_label=0))
    else:
        assert report.sensitivity is None and report.specificity is None
    assert json.loads(json.dumps(report.to_dict()))["accuracy"] == report.accuracy
    assert "confusion matrix" in repr(report)


def test_one_class_has_no_auc():
    report = Evaluation.from_logits(np.array([[1, 0], [0, 1]], np.float32), [0, 0], ("a", "b"))
    assert report.auc is None and report.sensitivity is None and report.specificity == 0.5
    assert report.accuracy == 0.5


def test_huge_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    assert metrics.cross_entropy(logits, [0, 1]) == 0
    assert metrics.cross_entropy(logits, [1, 0]) == pytest.approx(2e4)
    assert np.array_equal(metrics.softmax(logits), [[1, 0], [0, 1]])
