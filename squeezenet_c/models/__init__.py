"""Trained models that come with the package, each with a card beside it that says what it was made
from, how, how good it is and what it is not for."""

from pathlib import Path

NAMES = ("palm",)


def packaged_model(name: str) -> str:
    """The file of the packaged model of this name."""
    return str(Path(__file__).with_name(f"{name}.safetensors"))


def is_packaged(path: str) -> bool:
    """Whether a file is one of these, which are not to be written anew."""
    return Path(path).resolve().parent == Path(__file__).resolve().parent
