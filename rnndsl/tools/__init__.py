"""What reads a cell for people: explain, dump, pictures."""


class Unfit(ValueError):
    """A cell's name, a shape, a size or a file that does not fit the program."""
