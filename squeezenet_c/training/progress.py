"""What is seen of a run while it goes on."""


class Progress:
    """A bar over the whole run, with pictures a second and the time left, and lines beside it."""

    def __init__(self, wanted: bool, epochs: int, pictures: int, done: int):
        self._bar = None
        if wanted:
            from tqdm import tqdm

            # disable=None: no bar where stderr is no terminal.
            self._bar = tqdm(
                total=epochs * pictures,
                initial=done * pictures,
                unit=" pictures",
                leave=False,
                disable=None,
                smoothing=0.05,
            )
        self._epochs = epochs

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def pictures(self, count: int, epoch: int) -> None:
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)
            self._bar.update(count)

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
            print(text, flush=True)
            self._bar.refresh()
