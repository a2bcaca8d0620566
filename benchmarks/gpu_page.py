"""Writes the page of a run of benchmarks/gpu.py, beside its data: python benchmarks/gpu_page.py FILE.json"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def main() -> int:
    from on_gpu.page import page

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what benchmarks/gpu.py has written")
    file = parser.parse_args().file
    try:
        text = page(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError) as e:
        print(f"gpu_page.py: {file} is not a file that benchmarks/gpu.py has written: {e}", file=sys.stderr)
        return 2
    file.with_suffix(".md").write_text(text)
    print(f"wrote {file.with_suffix('.md')}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
