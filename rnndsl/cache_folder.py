"""Where built kernels are kept, and whether others may write there. Imports nothing heavy, so that a command can look there without torch."""

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

RECORD = "build.json"  # what an entry says of itself; an entry without it is no entry


def cache_folder() -> Path:
    """`RNNDSL_CACHE`, or the platform's place for such files. It need not exist. Raises OSError where there is no home folder."""
    if named := os.environ.get("RNNDSL_CACHE"):
        try:
            return Path(named).expanduser().absolute()
        except RuntimeError as e:
            raise OSError(f"RNNDSL_CACHE is {named}: {str(e).rstrip('.').lower()}") from None
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "rnndsl" / "Cache"
    if sys.platform != "darwin" and os.path.isabs(shared := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(shared) / "rnndsl"
    try:
        home = Path.home()
    except RuntimeError as e:
        raise OSError(f"{str(e).rstrip('.').lower()}; RNNDSL_CACHE may name a folder") from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "rnndsl"


def make_private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for this user alone. Raises OSError where it cannot, or where others may write to one
    that is there: what is loaded from it runs as this user."""
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    refuse_shared(folder)


def refuse_shared(folder: Path) -> None:
    """Raises OSError where others may put something into a folder, or another folder into its place."""
    if not hasattr(os, "geteuid"):  # Windows: a folder of the user's is the user's
        return
    folder = folder.resolve()
    there = folder.stat()
    if not stat.S_ISDIR(there.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if there.st_uid not in (os.geteuid(), 0):  # root may write everywhere
        raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
    if there.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "other users may write to it (chmod go-w)", str(folder))
    for above in folder.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(errno.EPERM, "other users may write to it (chmod o-w)", str(above))


def is_own(path: Path, owner: int | None = None) -> bool:
    """Whether a file or folder is this user's, or that of `owner`, no link, and nobody else may write to it. Raises OSError where there is none."""
    there = path.lstat()
    if not hasattr(os, "geteuid"):
        return not stat.S_ISLNK(there.st_mode)
    shared = there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return there.st_uid == (os.geteuid() if owner is None else owner) and not shared and (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode))


def remove(path: Path) -> None:
    """Removes whatever is at a path, if that can be done; of a link, the link."""
    import shutil

    if path.is_symlink() or not path.is_dir():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
