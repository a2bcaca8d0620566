"""Where built kernels are kept. Imports nothing heavy, so that a command can look there without torch."""

import os
import sys
from pathlib import Path

RECORD = "build.json"  # what an entry says of itself; an entry without it is no entry


def cache_folder() -> Path:
    """`RNNDSL_CACHE`, or the platform's place for such files. It need not exist. Raises OSError where there is no home folder."""
    if named := os.environ.get("RNNDSL_CACHE"):
        return Path(named).expanduser().absolute()
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "rnndsl" / "Cache"
    if sys.platform != "darwin" and os.path.isabs(shared := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(shared) / "rnndsl"
    try:
        home = Path.home()
    except RuntimeError as e:
        raise OSError(f"{str(e).rstrip('.').lower()}; RNNDSL_CACHE may name a folder") from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "rnndsl"
