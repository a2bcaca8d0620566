"""What no kernel can be made for, and how large a step of one may be."""

VALUES = 2_500  # nodes of a step, its gradients among them; published cells have a few hundred at most
SLOTS = 512  # values that a step carries to the next ones, one for each lag of a state


class Unsupported(Exception):
    """An operation that no kernel can be made for."""


class TooLarge(Unsupported):
    """A step that no kernel is made for, since compilers would take minutes for it."""

    def __init__(self, what: str, most: int):
        super().__init__(f"too large for a kernel: {what}, at most {most:,}")
