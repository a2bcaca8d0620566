"""An exported LSTM beside one that is written by hand for its sizes: time of a step here, bytes of code, of RAM, and instructions on a Cortex-M4.

`python benchmarks/export_c.py` prints a table. Both have the same weights and are compiled with the same flags; the best of many rounds is taken, in turn.
Instructions are counted by qemu, which runs one in a nanosecond of its own time; they are no cycles of a chip. What is not installed is left out.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import rnndsl
from rnndsl.export.c.build import CORTEX_M4, host_compiler
from rnndsl.export.c.header import Header, header

ROOT = Path(__file__).resolve().parent.parent
SIZES = ((3, 16), (8, 64), (64, 256))
ROUNDS, STEPS = 40, 200
BOARD_STEPS = 64

BY_HAND = """
#include <math.h>
static float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }
typedef struct { float h[H], c[H]; } hand_state;
static inline void hand_init(hand_state *s) { for (int i = 0; i < H; ++i) s->h[i] = s->c[i] = 0.0f; }
static inline void hand_step(hand_state *s, const float *x, float *y) {
  float gates[4 * H];
  for (int i = 0; i < 4 * H; ++i) {
    float sum = B[i];
    for (int j = 0; j < D; ++j) sum += W[i * D + j] * x[j];
    for (int j = 0; j < H; ++j) sum += R[i * H + j] * s->h[j];
    gates[i] = sum;
  }
  for (int i = 0; i < H; ++i) {
    s->c[i] = sigmoid(gates[H + i]) * s->c[i] + sigmoid(gates[i]) * tanhf(gates[2 * H + i]);
    y[i] = s->h[i] = sigmoid(gates[3 * H + i]) * tanhf(s->c[i]);
  }
}
"""

TIMES = """
#include <time.h>
double seconds(int steps, const float *x, float *y);
double seconds(int steps, const float *x, float *y) {
  NAME_state s;
  NAME_init(&s);
  struct timespec from, to;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
  for (int t = 0; t < steps; ++t) NAME_step(&s, x, y);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
  return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}
"""

ON_BOARD = """
#define TIMER ((volatile unsigned *)0x40000000)  /* control, value, reload: it counts down at 25 MHz */
static void finish(unsigned code) {
  static volatile unsigned block[2] = {0x20026, 0};
  block[1] = code;
  register unsigned r0 __asm__("r0") = 0x20;
  register volatile unsigned *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
  for (;;) {}
}
static void say(unsigned value) {
  static char text[12];
  char *p = text + 11;
  *p = 0;
  do { *--p = (char)('0' + value % 10); value /= 10; } while (value);
  register unsigned r0 __asm__("r0") = 4;
  register char *r1 __asm__("r1") = p;
  __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
}
static float x[XS], y[YS];
static __attribute__((noinline)) void run(void) {
  NAME_state s;
  NAME_init(&s);
  for (int i = 0; i < XS; ++i) x[i] = 0.25f;
  TIMER[2] = 0xFFFFFFFF;
  TIMER[1] = 0xFFFFFFFF;
  TIMER[0] = 1;
  const unsigned from = TIMER[1];
  for (int t = 0; t < STEPS; ++t) NAME_step(&s, x, y);
  say(from - TIMER[1]);
  finish(0);
}
void start(void) {
  *(volatile unsigned *)0xE000ED88 |= 0xFu << 20;  /* the FPU on, before any function may use it */
  __asm__ volatile("dsb\\nisb");
  run();
}
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {(void (*)(void))0x20080000, start};
"""


def programs(d: int, h: int) -> list[tuple[str, str, Header | None]]:
    """The exported LSTM, with int8 too, and the one by hand: a name, the text, and the header."""
    torch.manual_seed(0)
    layer = rnndsl.load(ROOT / "examples" / "lstm.rnn").LSTM(d, h)
    made = [("exported", header(layer, "lstm")), ("exported, int8", header(layer, "lstm_int8", int8=True))]
    arrays = {"W": layer.W, "R": layer.R, "B": layer.b_x + layer.b_h}
    texts = [f"static const float {n}[{t.numel()}] = {{{', '.join(f'{v:.9g}f' if '.' in f'{v:.9g}' or 'e' in f'{v:.9g}' else f'{v:.9g}.0f' for v in t.flatten().tolist())}}};" for n, t in arrays.items()]
    hand = "\n".join([f"enum {{ D = {d}, H = {h} }};", *texts, BY_HAND])
    return [*((name, found.text, found) for name, found in made), ("by hand", hand, None)]


def prefix_of(made: Header | None) -> str:
    return made.prefix if made else "hand"


def seconds(texts: list[tuple[str, str, Header | None]], d: int, h: int, folder: Path) -> list[float]:
    """The least time of a step of each."""
    libraries = []
    for k, (_, text, made) in enumerate(texts):
        source = folder / f"time{k}.c"
        source.write_text("#define _POSIX_C_SOURCE 199309L\n" + text + TIMES.replace("NAME", prefix_of(made)))
        subprocess.run([*(host_compiler() or ("cc",)), "-std=c99", "-O2", "-fPIC", "-shared", "-o", str(source.with_suffix(".so")), str(source), "-lm"], check=True)
        libraries.append(ctypes.CDLL(str(source.with_suffix(".so"))))
        libraries[-1].seconds.restype = ctypes.c_double
    x, y = torch.randn(d), torch.empty(h)
    best = [float("inf")] * len(texts)
    for _ in range(ROUNDS):
        for k, library in enumerate(libraries):
            best[k] = min(best[k], library.seconds(STEPS, ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr())) / STEPS)
    return best


def on_board(text: str, made: Header | None, d: int, h: int, folder: Path) -> tuple[int, int, int]:
    """Of a Cortex-M4: bytes of flash, bytes of stack of a step and its state, and instructions of a step."""
    p = prefix_of(made)
    (folder / "step.c").write_text(text + f"\nvoid step({p}_state *s, const float *x, float *y);\nvoid step({p}_state *s, const float *x, float *y) {{ {p}_step(s, x, y); }}\n")
    gcc = ["arm-none-eabi-gcc", *CORTEX_M4, "-std=c99", "-Os"]
    subprocess.run([*gcc, "-fstack-usage", "-c", "step.c"], cwd=folder, check=True)
    sizes = subprocess.run(["arm-none-eabi-size", "-A", "step.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    flash = sum(int(m[2]) for m in re.finditer(r"^(\.text\S*|\.rodata\S*)\s+(\d+)", sizes, re.M))
    stack = sum(int(v) for v in re.findall(r"\t(\d+)\t", (folder / "step.su").read_text()))
    board = ON_BOARD.replace("NAME", p).replace("XS", str(d)).replace("YS", str(h)).replace("STEPS", str(BOARD_STEPS))
    (folder / "board.c").write_text(text + board)
    place = ["-nostartfiles", "--specs=nosys.specs", "-Wl,--section-start=.vectors=0x0", "-Wl,-Ttext=0x100", "-Wl,-Tdata=0x20000000", "-Wl,-e,start", "-lm", "-lc", "-lgcc"]
    subprocess.run([*gcc[:-1], "-O2", "-std=gnu99", "-o", "board.elf", "board.c", *place], cwd=folder, check=True, capture_output=True)
    qemu = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native", "-kernel", "board.elf"]
    said = subprocess.run(qemu, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    ticks = int(re.findall(r"\d+", said.stdout + said.stderr)[-1])
    return flash, stack + 8 * h, ticks * 40 // BOARD_STEPS


def main() -> int:
    if host_compiler() is None:
        print("there is no C compiler here")
        return 1
    has_board = all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm")))
    print("| LSTM | | µs a step here | flash, Cortex-M4 | RAM, Cortex-M4 | instructions a step |\n|---|---|---|---|---|---|")
    for d, h in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            texts = programs(d, h)
            times = seconds(texts, d, h, folder)
            for k, (what, text, made) in enumerate(texts):
                flash, ram, count = on_board(text, made, d, h, folder) if has_board else (0, 0, 0)
                rest = f"{flash:,} | {ram:,} | {count:,}" if has_board else "– | – | –"
                print(f"| {f'D = {d}, H = {h}' if k == 0 else ''} | {what} | {times[k] * 1e6:.2f} | {rest} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
