"""What reads a cell for people: explain, dump, pictures."""


class Unfit(ValueError):
    """A cell's name, a shape, a size or a file that does not fit the program."""


class NoMatplotlib(RuntimeError):
    """Pictures need the extra `plot`."""

    def __init__(self) -> None:
        super().__init__("a picture needs matplotlib; install it with: pip install rnndsl[plot]")
