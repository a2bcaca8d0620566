"""What is measured on: python -m on_gpu.head --device D prints it as JSON, its target and its model too. Ends with 2 where there is no GPU."""

import argparse
import base64
import json
import pickle
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    from on_gpu.device import LEAD, opened
    from rnndsl.tools.bench.machine import machine

    try:
        with opened(options.device) as found:
            about = {**machine(), "device": options.device, **found.about()}
            target = None if options.device == "cpu" else found.target()
            print(json.dumps({"machine": about, "lead": LEAD, "target": target, "tiles": base64.b64encode(pickle.dumps(found.model())).decode()}))
    except RuntimeError as e:
        print(f"gpu.py: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
