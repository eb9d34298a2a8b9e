"""The PALM data set (iChallenge-PM): photographs of the eye, pathologic myopia (1) or not (0).

Fang et al., "Open fundus photograph dataset with pathologic myopia recognition and anatomical
structure annotation", Scientific Data 2024. A training picture's first letter tells its class: P is
pathologic; H (high myopia) and N (normal) are not. Validation labels are in a spreadsheet.
"""

import itertools
import os
import warnings
import zipfile
from pathlib import Path

from .._native import core
from ..base.read import brief, open_regular
from .dataset import Dataset

CLASS_NAMES = ("非病理性近视", "病理性近视")
# The spreadsheet of PALM has 401 rows of 5 columns, 60 kB as XML, of which openpyxl makes up to 100
# times as many bytes of objects, and reads under 1 MB a second.
MOST_ROWS, MOST_COLUMNS, MOST_SHEET_BYTES = 20_000, 64, 1 << 22
LABEL_OF_LETTER = {"H": 0, "N": 0, "P": 1}
TRAINING_FOLDER, VALIDATION_FOLDER = "PALM-Training400", "PALM-Validation400"
LABELS_FILE = "PM_Label_and_Fovea_Location.xlsx"


def load(folder: str | os.PathLike, **options) -> tuple[Dataset, Dataset]:
    """(training set, validation set) of the PALM files in `folder`: unpacked, at any depth, or as
    they are downloaded (training.zip, validation.zip, valid_gt.zip), unpacked there first.

    `options` are Dataset's. FileNotFoundError says what is missing; BadFileError names a picture
    whose name or label is not what it should be. A label without its picture is a warning.
    """
    return load_training(folder, **options), load_validation(folder, **options)


def load_training(folder: str | os.PathLike, **options) -> Dataset:
    """The training set alone; see load."""
    pictures = _pictures(folder, TRAINING_FOLDER, "training.zip")
    labels = [_label_by_name(path) for path in pictures]
    return Dataset(pictures, labels, CLASS_NAMES, **options)


def load_validation(folder: str | os.PathLike, **options) -> Dataset:
    """The validation set alone; see load."""
    pictures = _pictures(folder, VALIDATION_FOLDER, "validation.zip")
    labels_file = _find_file(Path(folder), LABELS_FILE)
    if not labels_file:
        raise FileNotFoundError(
            f"{folder} has no {LABELS_FILE} with the validation labels, nor a valid_gt.zip"
        )
    label_of = read_labels(labels_file)
    labels = []
    for path in pictures:
        name = os.path.basename(path)
        if name not in label_of:
            raise core.BadFileError(f"{labels_file} has no label for the picture {path}")
        labels.append(label_of[name])
    without = sorted(set(label_of) - {os.path.basename(path) for path in pictures})
    if without:
        warnings.warn(
            f"{len(without)} of the {len(label_of)} pictures in {labels_file} are not in "
            f"{os.path.dirname(pictures[0])}, {without[0]} for one",
            stacklevel=2,
        )
    return Dataset(pictures, labels, CLASS_NAMES, **options)


def is_palm(folder: str | os.PathLike) -> bool:
    """Whether `folder` looks like PALM: one of its folders, or one of its zip files, is in it."""
    from .archives import ARCHIVES

    names = {name.lower() for name in os.listdir(folder)}
    known = {TRAINING_FOLDER.lower(), VALIDATION_FOLDER.lower(), *ARCHIVES}
    return bool(names & known) or _find_folder(Path(folder), TRAINING_FOLDER) is not None


def kind_counts(training: Dataset) -> dict[str, int]:
    """Training pictures by the letter their name begins with: H, N and P."""
    letters = [os.path.basename(path)[0].upper() for path in training.paths]
    return {letter: letters.count(letter) for letter in LABEL_OF_LETTER}


def plot_kind_counts(training: Dataset, path: str | os.PathLike | None = None) -> None:
    """The tutorial's bar chart of H, N and P: written to `path`, or shown."""
    from ..base.plots import bar_chart

    bar_chart(kind_counts(training), path)


def write_lists(folder: str | os.PathLike, training: Dataset, validation: Dataset) -> None:
    """Write the tutorial's train.txt and valid.txt into `folder`."""
    training.write_list(Path(folder) / "train.txt")
    validation.write_list(Path(folder) / "valid.txt")


def read_labels(path: str | os.PathLike) -> dict[str, int]:
    """Label by file name, from the spreadsheet's columns imgName and Label. BadFileError: it is no
    spreadsheet, or lacks a column; a label that is not 0 or 1; two labels for a picture."""
    rows = _sheet_rows(path)
    header = [str(cell).strip() if cell is not None else "" for cell in rows[0]] if rows else []
    for column in ("imgName", "Label"):
        if column not in header:
            raise core.BadFileError(
                f"{path} has the columns {', '.join(filter(None, header)) or '(none)'}; expected "
                f"imgName and Label"
            )
    name_column, label_column = header.index("imgName"), header.index("Label")
    labels: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if all(cell is None for cell in row):
            continue
        name, label = row[name_column], row[label_column]
        if not isinstance(name, str) or not name.strip():
            raise core.BadFileError(f"{path}, row {number}: imgName is {name!r}")
        if isinstance(label, bool) or label not in (0, 1):
            raise core.BadFileError(f"{path}, row {number}: Label is {label!r}, expected 0 or 1")
        if labels.setdefault(name.strip(), int(label)) != label:
            raise core.BadFileError(f"{path}, row {number}: a second, other label for {name}")
    return labels


def _sheet_rows(path: str | os.PathLike) -> list[tuple]:
    """The cells of the first sheet, all rows of one width. A sheet may number its rows and columns
    as it likes, and each number stands for all that are skipped: so both are bounded."""
    import openpyxl

    from .archives import check_sizes

    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as parts:
                check_sizes(path, parts, os.fstat(file.fileno()).st_size, MOST_SHEET_BYTES)
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()
            cells = sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS)
            rows = list(itertools.islice(cells, MOST_ROWS + 1))
            if len(rows) > MOST_ROWS:
                raise ValueError(f"it has more than {MOST_ROWS} rows")
        except core.BadFileError:
            raise
        except Exception as error:  # openpyxl lets errors of zip, XML and its own through
            reason = brief(error)
            raise core.BadFileError(f"{path} is not an xlsx spreadsheet: {reason}") from None
    width = max(map(len, rows), default=0)
    return [tuple(row) + (None,) * (width - len(row)) for row in rows]


def _label_by_name(path: str) -> int:
    letter = os.path.basename(path)[0].upper()
    if letter not in LABEL_OF_LETTER:
        raise core.BadFileError(
            f"{path}: a training picture's name begins with H, N or P; this one's with {letter}"
        )
    return LABEL_OF_LETTER[letter]


def _pictures(folder: str | os.PathLike, name: str, archive: str) -> list[str]:
    from .archives import unpack_archive

    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    unpack_archive(root, archive)
    if name == VALIDATION_FOLDER:
        unpack_archive(root, "valid_gt.zip")
    found = _find_folder(root, name)
    if not found:
        raise FileNotFoundError(f"{root} has no folder {name} with .jpg files, nor a {archive}")
    return [str(path) for path in sorted(found.iterdir()) if _is_photograph(path)]


def _is_photograph(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg") and not path.name.startswith(".")


def _find_folder(root: Path, name: str) -> Path | None:
    """The folder called `name`, at any depth, `root` included, that holds photographs itself."""
    for parent, folders, _ in os.walk(root):
        folders.sort()
        here = Path(parent)
        resolved = here.resolve().name if here == root else here.name
        if resolved == name and any(_is_photograph(path) for path in here.iterdir()):
            return here
    return None


def _find_file(root: Path, name: str) -> Path | None:
    for parent, folders, files in os.walk(root):
        folders.sort()
        if name in files:
            return Path(parent, name)
    return None
