"""Calibrated confidence: the calibration error, the temperature and where it is kept."""

import numpy as np
import pytest

from squeezenet_c.inference import intervals
from squeezenet_c.inference.metrics import (
    BINS,
    Evaluation,
    calibration_bins,
    decide,
    expected_calibration_error,
    softmax,
)


def _answers(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure, three times what they should be, and labels drawn by the third."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes))
    labels = [random.choice(classes, p=row) for row in softmax(logits)]
    return 3 * logits, np.array(labels)


# -- The calibration error -------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.7, 0.3], [0.31, 0.69], [0.97, 0.03], [0.5, 0.5]])
    # Of 15 bins: 0.7 and 0.69 are in the one up to 11/15, right and wrong; 0.97 in the last, right;
    # 0.5, an answer of class 0, in the one up to 8/15, wrong.
    expected = (abs(1 + 0 - 0.7 - 0.69) + abs(1 - 0.97) + abs(0 - 0.5)) / 4
    found = expected_calibration_error([0, 0, 0, 1], probabilities)
    assert found == pytest.approx(expected, abs=1e-12)
    # In one bin: the mean confidence against the share of right answers.
    found = expected_calibration_error([0, 0, 0, 1], probabilities, bins=1)
    assert found == pytest.approx(abs(0.5 - (0.7 + 0.69 + 0.97 + 0.5) / 4), abs=1e-12)
    assert expected_calibration_error([0, 1], np.eye(2)) == 0
    assert expected_calibration_error([1, 0], np.eye(2)) == 1
    for labels, bins in (([], 15), ([0], 0)):
        with pytest.raises(ValueError, match="expected some of both"):
            expected_calibration_error(labels, np.full((len(labels), 2), 0.5), bins)


def test_an_edge_belongs_to_the_bin_below() -> None:
    assert calibration_bins([0, 0.1, 0.2, 0.21, 0.8, 1.0], 5).tolist() == [0, 0, 0, 1, 3, 4]


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_error_against_scikit_learn(classes: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    logits, labels = _answers(400, classes)
    probabilities = softmax(logits)
    right, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    shares, means = calibration.calibration_curve(right, confidence, n_bins=BINS)
    counts = np.histogram(confidence, np.linspace(0, 1, BINS + 1))[0]
    expected = (counts[counts > 0] * np.abs(shares - means)).sum() / 400
    found = expected_calibration_error(labels, probabilities)
    assert found == pytest.approx(expected, abs=1e-12)
    # One definition everywhere: the report's, with its interval, and evaluate's. A threshold is of
    # no concern to it.
    figures = intervals.measure(labels, probabilities, decide(probabilities), resamples=200)
    figure = figures["calibration_error"]
    assert figure.value == pytest.approx(expected, abs=1e-12)
    assert figure.low < figure.value < figure.high
    threshold = 0.3 if classes == 2 else None
    names = tuple("abcde"[:classes])
    result = Evaluation.from_logits(logits, labels, names, threshold)
    assert result.calibration_error == pytest.approx(expected, abs=1e-12)
    assert f"calibration_error {expected:.4f}" in str(result)
    assert result.to_dict()["calibration_error"] == result.calibration_error
