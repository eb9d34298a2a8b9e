"""SqueezeNetClassifier: scikit-learn's conventions, and its tools on pictures."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

import squeezenet_c as sq
from squeezenet_c.base.png import encode_png

TINY = {"network": {"base_e": 8, "incr_e": 8}, "image_size": 32, "epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """36 pictures of three classes that their colour tells, and the classes' names."""
    random = np.random.default_rng(0)
    y = np.array(["red", "green", "blue"] * 12)
    X = random.integers(0, 90, (36, 40, 40, 3), np.uint8)
    for channel, name in enumerate(("red", "green", "blue")):
        X[y == name, :, :, channel] += 160
    return X, y


@pytest.fixture(scope="module")
def fitted(drawn: tuple) -> sq.SqueezeNetClassifier:
    small = {"base_e": 64, "incr_e": 32, "dropout": 0.0}
    classifier = sq.SqueezeNetClassifier(
        epochs=12, image_size=32, batch_size=6, lr=1e-3, network=small
    )
    assert classifier.fit(*drawn) is classifier
    return classifier


def test_it_learns(fitted: sq.SqueezeNetClassifier, drawn: tuple) -> None:
    X, y = drawn
    assert fitted.classes_.tolist() == ["blue", "green", "red"]
    assert fitted.score(X, y) == 1.0 and (fitted.predict(X) == y).all()
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (36, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert len(fitted.history_) == 12 and fitted.model_.class_names == ("blue", "green", "red")


def test_all_forms_of_X_are_the_same(
    fitted: sq.SqueezeNetClassifier, drawn: tuple, tmp_path: Path
) -> None:
    X = drawn[0][:4]
    paths = [tmp_path / f"{place}.png" for place in range(4)]
    for path, picture in zip(paths, X, strict=True):
        path.write_bytes(encode_png(picture))
    expected = fitted.predict_proba(X)
    objects = np.empty(4, object)
    objects[:] = list(X)
    for same in (list(X), paths, np.array([str(path) for path in paths]), objects):
        assert np.array_equal(fitted.predict_proba(same), expected)
    first = fitted.predict_proba([X[0], X[1][:20]])
    assert np.array_equal(first[0], expected[0]) and first.shape == (2, 3)
    grey = fitted.predict_proba(X[..., 0])
    assert np.array_equal(grey, fitted.predict_proba(np.repeat(X[..., :1], 3, axis=3)))
    by_paths = clone(fitted).set_params(epochs=1).fit(paths, [0, 1, 0, 1])
    by_array = clone(fitted).set_params(epochs=1).fit(X, [0, 1, 0, 1])
    assert np.array_equal(by_paths.predict_proba(X), by_array.predict_proba(X))


def test_clone_and_pickle(fitted: sq.SqueezeNetClassifier, drawn: tuple) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(drawn[0]), fitted.predict_proba(drawn[0]))
    other = clone(fitted)
    assert other.get_params() == fitted.get_params() and not hasattr(other, "model_")
    with pytest.raises(NotFittedError):
        other.predict(drawn[0])


def test_the_best_epoch_and_what_it_is_pretrained_on(
    fitted: sq.SqueezeNetClassifier, drawn: tuple, tmp_path: Path
) -> None:
    X, y = drawn
    path = tmp_path / "pretrained.safetensors"
    fitted.model_.save(path)
    tuned = sq.SqueezeNetClassifier(pretrained=path, epochs=2, valid_fraction=0.25, seed=3)
    numbers = np.select([y == "red", y == "green"], [7.5, -1.0], 30.0)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        tuned.fit(X, numbers)
    with pytest.warns(UserWarning, match="last convolution, for 3 classes, is replaced"):
        tuned.fit(X, np.where(y == "red", 10, -2))
    assert tuned.classes_.tolist() == [-2, 10] and tuned.model_.image_size == 32
    assert tuned.history_.best.valid_acc is not None  # there was a set to choose it on
    with pytest.raises(ValueError, match="arch is '1_0', and that of .* is '1_1'"):
        tuned.set_params(arch="1_0").fit(X, y)
    # The file's classes stand in its order, and the columns in that of classes_.
    turned = sq.Model.load(path)
    order = [2, 0, 1]
    head = turned.state_dict()
    for name in ("classifier.1.weight", "classifier.1.bias"):
        head[name] = head[name][order]
    turned.load_state_dict(head)
    turned.class_names = [turned.class_names[place] for place in order]
    turned.save(path)
    frozen = sq.SqueezeNetClassifier(pretrained=path, epochs=1, lr=1e-12).fit(X, y)
    assert frozen.model_.class_names == ("red", "blue", "green")
    assert (frozen.predict(X) == y).all()


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((4, 5)), [0, 1, 0, 1], r"X is a ndarray of the shape \(4, 5\), expected \(N"),
        (np.zeros((4, 8, 8, 3)), [0, 1, 0, 1], "X is an array of float64, expected"),
        ([], [], "X has 0 samples"),
        (np.zeros((4, 8, 8), np.uint8), [0, 1, 0], "4 pictures and 3 labels, expected as many"),
        (np.zeros((4, 8, 8), np.uint8), [1, 1, 1, 1], "all pictures are of one class, np.int64"),
        (np.zeros((4, 8, 8), np.uint8), None, "requires y to be passed"),
        (["a.png", np.zeros((4, 4), np.uint8)], [0, 1], "picture 0 is the path 'a.png'"),
        ("a.png", [0], "X is a str, expected"),
    ],
)
def test_what_is_refused(X: object, y: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        sq.SqueezeNetClassifier(**TINY).fit(X, y)
    with pytest.raises(TypeError, match="sample_weight"):
        sq.SqueezeNetClassifier(**TINY).fit(X, y, sample_weight=[1])


@pytest.mark.filterwarnings("ignore::squeezenet_c.CollapseWarning")
def test_scikit_learns_tools(drawn: tuple) -> None:
    X, y = drawn
    classifier = sq.SqueezeNetClassifier(**TINY)
    assert cross_val_score(classifier, X, y, cv=3).shape == (3,)
    groups = np.arange(36) // 3
    for data in (X, list(X)):
        found = cross_val_predict(
            classifier, data, y, cv=GroupKFold(2), groups=groups, method="predict_proba"
        )
        assert found.shape == (36, 3)
    search = GridSearchCV(classifier, {"lr": [1e-4, 1e-3], "image_size": [32, 40]}, cv=2)
    search.fit(X, y)
    assert search.best_estimator_.model_.image_size in (32, 40)
    assert search.predict(X[:2]).shape == (2,)
    calibrated = CalibratedClassifierCV(classifier, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X[:5]).sum(axis=1), 1)


class OfRows(sq.SqueezeNetClassifier):
    """Draws a picture of each row of numbers, as scikit-learn's checks have them: a bar for each
    number. All else is SqueezeNetClassifier's."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X, y):
        if y is not None:
            X, y = validate_data(self, X, y)
        self.range_ = np.min(X, axis=0), np.ptp(X, axis=0)
        return super().fit(self._drawn(X), y)

    def predict_proba(self, X):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return super().predict_proba(self._drawn(validate_data(self, X, reset=False)))

    def _drawn(self, X):
        least, span = self.range_
        bars = ((X - least) / np.where(span > 0, span, 1)).clip(0, 1) * 255
        columns = np.arange(32) * X.shape[1] // 32
        return np.repeat(bars[:, None, columns], 32, axis=1).astype(np.uint8)


def test_scikit_learns_checks() -> None:
    """All of them, on rows that become pictures; those of pictures alone are few."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(sq.SqueezeNetClassifier(**TINY))
        results = check_estimator(OfRows(**TINY), on_fail=None, on_skip=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input", "check_classifier_data_not_an_array"}  # no pandas
    assert len(results) > 50


def test_the_package_does_not_import_scikit_learn() -> None:
    code = (
        "import sys, squeezenet_c as sq\n"
        "assert 'sklearn' not in sys.modules\n"
        "sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "try:\n    sq.SqueezeNetClassifier\n"
        "except ImportError as error:\n    print(error)\n"
        "try:\n    sq.nothing\n"
        "except AttributeError as error:\n    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert said.stdout.splitlines() == [
        'SqueezeNetClassifier needs scikit-learn: pip install "squeezenet_c[sklearn]"',
        "module 'squeezenet_c' has no attribute 'nothing'",
    ], said.stderr
