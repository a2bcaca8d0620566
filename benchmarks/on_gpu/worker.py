"""The process that measures: python -m on_gpu.worker FILE --device D --scale S --ends T --shares GROUP=SECONDS,...

It goes on from what the file says is over. It ends with LOST where the device answers no more: another process may go on."""

import argparse
import sys
from functools import partial
from pathlib import Path

LOST = 3


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--ends", type=float, required=True)
    parser.add_argument("--shares", required=True)
    options = parser.parse_args()
    options.shares = {name: float(seconds) for name, _, seconds in (share.partition("=") for share in options.shares.split(","))}
    return options


def main() -> int:
    options = parsed()
    from on_gpu import cache, device, groups, record, scale, tables, watch

    watch.end_with_parent()
    with device.opened(options.device) as machine:
        found = record.Record(options.file, options.ends, machine)
        run = groups.Run(found, getattr(scale, options.scale.upper()), machine)
        with cache.counted() as counts:
            for group, share in options.shares.items():
                if group in found.data["over"]:
                    continue
                try:
                    found.begin(group, share)
                    found.guarded(group, "all of it", partial(groups.GROUPS[group], run))
                except record.ShareUsed:
                    found.leave_out(group, "the rest", "its share of the time was up")
                except record.OutOfTime:
                    return 0
                except record.Lost:
                    return LOST
                finally:
                    found.count("compiled", group, counts.taken())
                    found.save()
                found.end(group)
                print(tables.table(group, found.groups[group]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
