"""What one pass over the weights costs, beside straightforward torch code that computes the same two documents.

    python bench/weights.py [--quick] [--folder DIR] [--repetitions N]

A pair of checkpoints with the shapes of Qwen3-0.6B in bfloat16 (596 million parameters, 2.4 GB for both) and one of
three times the size are written into a temporary folder (or DIR, where they are kept), read once so that the system
has them in memory, and then:

- the pass, torch, and plain `pread` of the same bytes by the same number of threads alternate, each in a process of
  its own, so that a busy minute meets all of them; memory is the process's growth of anonymous memory, at its peak;
- norms are compared with float64 numpy, tensor by tensor;
- LoRA norms by thin factors alternate with forming the product;
- first use after an installation, and later calls of the command line, are whole processes.

`--quick` takes a model of a twentieth of the size and fewer repetitions: to see that the script runs, not for figures.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from measure import child, conditions, environment, spread, table, target, write

if TYPE_CHECKING:
    from barograph.weights import Pass

VOCABULARY, HIDDEN, MLP, LAYERS = 151_936, 1_024, 3_072, 28
PACKAGES = ("numba", "llvmlite", "numpy", "torch", "safetensors", "msgspec")
CHUNK = 1024 * 1024
LEARNED = 3e-4
MIB = 2**20
PREAD_SIZES = (CHUNK // 4, CHUNK, 4 * CHUNK)
NOT_SHOWN = [
    "Cold files: both sides are in the system's page cache, so no disk is measured.",
    "More than two cores: what the threads share is memory bandwidth, and it is not ours to choose.",
    "float32, float16 and float64 models, which are slower per element and faster per byte.",
    "A cleverer torch script (chunked, or compiled): the one beside us is the one that people write.",
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--repetitions", type=int, default=7)
    arguments.add_argument("--child", type=json.loads)
    given = arguments.parse_args()
    if given.child is not None:
        print(json.dumps(CHILDREN[given.child.pop("what")](**given.child)))
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="barograph-bench-"))
    try:
        result = measured(folder, quick=given.quick, repetitions=3 if given.quick else given.repetitions)
    finally:
        if given.folder is None:
            shutil.rmtree(folder)
    show(result)
    if given.quick:
        for one in result["targets"]:
            print(f"  {one['claim']}: {one['measured']:.4g} (at most {one['at_most']:.4g})")
        print("  quick: nothing written")
    else:
        write(result)


def measured(folder: Path, *, quick: bool, repetitions: int) -> dict[str, object]:
    about = conditions(*PACKAGES)
    layers, vocabulary = (2, 15_000) if quick else (LAYERS, VOCABULARY)
    small = pair(folder / "single", shapes(layers, vocabulary, copies=1))
    passes = alternating(small, repetitions)
    large = pair(folder / "triple", shapes(layers, vocabulary, copies=3))
    sizes = {
        "single_mib": child(__file__, {"what": "pass", "folder": str(small)})["anonymous_mib"],
        "triple_mib": child(__file__, {"what": "pass", "folder": str(large)})["anonymous_mib"],
    }
    accuracy = child(__file__, {"what": "accuracy", "folder": str(small)}, timeout=1800)
    lora = child(__file__, {"what": "lora", "layers": layers, "repetitions": repetitions}, timeout=600)
    starts = first_and_later_use(folder / "tiny")
    return {
        "conditions": about,
        "pass": passes,
        "memory": sizes,
        "accuracy": accuracy,
        "lora": lora,
        "starts": starts,
        "targets": targets(passes, sizes, accuracy, lora, starts),
        "not_shown": NOT_SHOWN,
    }


def targets(passes: dict, sizes: dict, accuracy: dict, lora: dict, starts: dict) -> list[dict[str, object]]:
    """Every bar of the claim; a ratio that must be large is stated as its inverse, which must be small."""
    ours, torch = passes["ours_s"]["median"], passes["torch_s"]["median"]
    return [
        target("wall time of the pass / that of torch, 1/40", ours / torch, 1 / 40),
        target("anonymous memory of the pass / that of torch, 1/50", passes["memory_ratio"], 1 / 50),
        target("bandwidth of pread / that of the pass, 1/0.7", passes["pread_over_ours"], 1 / 0.7),
        target("memory at three times the size / at one, - 1", sizes["triple_mib"] / sizes["single_mib"] - 1, 0.1),
        target("worst relative error of a norm", accuracy["worst_norm_error"], 1e-7),
        target("wrong maxima, minima and counts", accuracy["wrong_exact"], 0),
        target("LoRA norms at r = 16 / forming the product, 1/8", lora["ratio"], 1 / 8),
        target("worst relative error of a LoRA norm", lora["worst_error"], 1e-12),
        target("first use after an installation, s", starts["first_s"]["median"], 3.0),
        target("first use where nothing can be written, s", starts["read_only_s"]["median"], 4.0),
        target("a later call on a small model, s", starts["later_s"]["median"], 0.8),
    ]


def shapes(layers: int, vocabulary: int, *, copies: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Qwen3 of that size; `copies` of it under other layer numbers and names."""
    found: dict[str, tuple[int, ...]] = {}
    for copy in range(copies):
        found[f"model.embed_tokens{copy or ''}.weight"] = (vocabulary, HIDDEN)
        found[f"model.norm{copy or ''}.weight"] = (HIDDEN,)
        for number in range(copy * layers, (copy + 1) * layers):
            layer = f"model.layers.{number}."
            found |= {
                f"{layer}input_layernorm.weight": (HIDDEN,),
                f"{layer}post_attention_layernorm.weight": (HIDDEN,),
                f"{layer}self_attn.q_proj.weight": (2 * HIDDEN, HIDDEN),
                f"{layer}self_attn.k_proj.weight": (HIDDEN, HIDDEN),
                f"{layer}self_attn.v_proj.weight": (HIDDEN, HIDDEN),
                f"{layer}self_attn.o_proj.weight": (HIDDEN, 2 * HIDDEN),
                f"{layer}self_attn.q_norm.weight": (128,),
                f"{layer}self_attn.k_norm.weight": (128,),
                f"{layer}mlp.gate_proj.weight": (MLP, HIDDEN),
                f"{layer}mlp.up_proj.weight": (MLP, HIDDEN),
                f"{layer}mlp.down_proj.weight": (HIDDEN, MLP),
            }
    return found


def pair(folder: Path, wanted: dict[str, tuple[int, ...]]) -> Path:
    """Write a base model and a checkpoint of it, unless they are there; then read both once."""
    offset, header = 0, {}
    for name, shape in wanted.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    for side, moved in (("base", 0.0), ("checkpoint-100", LEARNED)):
        place = folder / side / "model.safetensors"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.write(struct.pack("<Q", len(text)) + text)
                for part, count in enumerate(parts(offset // 2)):
                    file.write(numbers(part, count, moved=moved).tobytes())
        with place.open("rb", buffering=0) as file:
            while file.read(8 * MIB):
                pass
    return folder


def parts(elements: int) -> list[int]:
    """The sizes in which numbers are drawn."""
    whole, rest = divmod(elements, 4_000_000)
    return [4_000_000] * whole + ([rest] if rest else [])


def numbers(part: int, count: int, *, moved: float) -> np.ndarray:
    """Normal weights in bfloat16, moved a little; every part is its own."""
    drawn = 0.02 * np.random.default_rng(part).standard_normal(count, dtype=np.float32)
    if moved:
        drawn += moved * np.random.default_rng(10_000 + part).standard_normal(count, dtype=np.float32)
    return (drawn.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def alternating(folder: Path, repetitions: int) -> dict[str, object]:
    """The pass, torch and pread, one after the other, several times."""
    found: dict[str, list[dict]] = {"pass": [], "torch": [], "pread": []}
    for _ in range(repetitions):
        for what, results in found.items():
            results.append(child(__file__, {"what": what, "folder": str(folder)}, timeout=900))
    ours, torch, pread = ([one["seconds"] for one in found[what]] for what in ("pass", "torch", "pread"))
    memory = [[one["anonymous_mib"] for one in found[what]] for what in ("pass", "torch")]
    return {
        "bytes": found["pass"][0]["bytes"],
        "threads": found["pass"][0]["threads"],
        "ours_s": spread(ours),
        "ours_gb_s": found["pass"][0]["bytes"] / 1e9 / spread(ours)["median"],
        "torch_s": spread(torch),
        "pread_s": spread(pread),
        "pass_cpu_s": statistics.median(one["cpu_s"] for one in found["pass"]),
        "pread_cpu_s": statistics.median(one["cpu_s"] for one in found["pread"]),
        "times_faster_than_torch": spread(torch)["median"] / spread(ours)["median"],
        # One ratio per round, because the three stand in the same minute only within a round.
        "pread_over_ours": statistics.median(min(one) / min(other) for one, other in zip(ours, pread, strict=True)),
        "anonymous_mib": {"ours": statistics.median(memory[0]), "torch": statistics.median(memory[1])},
        "memory_ratio": statistics.median(memory[0]) / statistics.median(memory[1]),
        "where_the_rest_goes": child(__file__, {"what": "breakdown", "folder": str(folder)}),
    }


class PeakAnonymous:
    """The largest growth of the process's anonymous memory while a block runs, sampled every millisecond."""

    def __enter__(self) -> "PeakAnonymous":
        self._before = anonymous_mib()
        self._stop = threading.Event()
        self.mib = 0.0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.001):
            self.mib = max(self.mib, anonymous_mib() - self._before)


def anonymous_mib() -> float:
    """Anonymous resident memory of this process, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return math.nan


def timed_pass(*, folder: str) -> dict[str, object]:
    """In a child: the pass and both documents, five times; before that twice for its memory, kernels included."""
    from barograph.analysis.layer_drift import layer_drift
    from barograph.analysis.weight_stability import weight_stability

    before = anonymous_mib()
    seconds, processor = [], []

    def once() -> "Pass":
        from barograph.weights import drift_pass, open_checkpoint

        began, used = time.perf_counter(), time.process_time()
        base, current = Path(folder, "base"), Path(folder, "checkpoint-100")
        with open_checkpoint(base) as reference, open_checkpoint(current) as checkpoint:
            done = drift_pass(checkpoint, reference=reference)
        layer_drift(done.rows, pattern_ratio=1.5)
        weight_stability(done.rows)
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        return done

    with PeakAnonymous() as peak:  # it takes a tenth of a core, which plain pread beside us does not pay
        once()
        once()
    for _ in range(5):
        done = once()
    return {
        "seconds": seconds[2:],
        "cpu_s": min(processor[2:]),
        "bytes": done.summary.bytes_read,
        "threads": len(os.sched_getaffinity(0)),
        "anonymous_mib": max(peak.mib, anonymous_mib() - before),
    }


def timed_torch(*, folder: str) -> dict[str, object]:
    """In a child: both models loaded, each tensor in float32; norms, maximum and smallest above zero."""
    import torch
    from safetensors.torch import load_file

    with PeakAnonymous() as peak:
        began = time.perf_counter()
        base = load_file(Path(folder, "base", "model.safetensors"))
        current = load_file(Path(folder, "checkpoint-100", "model.safetensors"))
        drift, stability = {}, {}
        for name, weights in current.items():
            now, before = weights.float(), base[name].float()
            drift[name] = (torch.norm(now - before).item(), torch.norm(before).item(), torch.norm(now).item())
            sizes = now.abs()
            stability[name] = (sizes.max().item(), sizes[sizes > 0].min().item())
        seconds = time.perf_counter() - began
    return {"seconds": [seconds], "anonymous_mib": peak.mib}


def timed_pread(*, folder: str, at_once: int = CHUNK) -> dict[str, object]:
    """In a child: the bytes of both files by `pread` into two buffers per thread, five times."""
    files = [os.open(Path(folder, side, "model.safetensors"), os.O_RDONLY) for side in ("base", "checkpoint-100")]
    size = os.fstat(files[0]).st_size
    places: Iterator[int] = iter(())
    lock = threading.Lock()

    def run() -> None:
        buffers = [memoryview(bytearray(at_once)) for _ in files]
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            for file, buffer in zip(files, buffers, strict=True):
                os.preadv(file, [buffer], place)

    seconds, processor = [], []
    for _ in range(6):
        places = iter(range(0, size, at_once))
        used = time.process_time()
        seconds.append(in_threads(run))
        processor.append(time.process_time() - used)
    return {"seconds": seconds[1:], "cpu_s": min(processor[1:])}


def in_threads(run: Callable[[], None]) -> float:
    """Seconds until as many threads as there are cores have run it."""
    threads = len(os.sched_getaffinity(0))
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run) for _ in range(threads)]:
            done.result()
    return time.perf_counter() - began


def breakdown(*, folder: str) -> dict[str, object]:
    """In a child: the pass with less and less of it, best of five; then its arithmetic on what the caches hold.

    One thing cannot be taken away alone: the fingerprint is made in the same walk as the sums. How long it takes by
    itself is the most that the pass could gain without it.
    """
    from barograph.weights import drift_pass, kernels, open_checkpoint
    from barograph.weights.chunks import no_partials

    of_pass = sys.modules["barograph.weights.fused_pass"]

    def passes() -> dict[str, float]:
        """Opening, the pass, and CPU seconds of both."""
        found = []
        for _ in range(6):
            began, used = time.perf_counter(), time.process_time()
            with (
                open_checkpoint(Path(folder, "base")) as reference,
                open_checkpoint(Path(folder, "checkpoint-100")) as checkpoint,
            ):
                opened = time.perf_counter()
                drift_pass(checkpoint, reference=reference)
            ended = time.perf_counter()
            found.append((ended - began, opened - began, time.process_time() - used))
        return dict(zip(("wall_s", "of_which_opening_s", "cpu_s"), min(found[1:]), strict=True))

    full = passes()
    real = of_pass.kernel_of
    # What Python does for each unit, with a kernel that has nothing to do.
    of_pass.kernel_of = lambda _dtype: lambda *given: len(given[4])
    nothing = passes()
    of_pass.kernel_of = real
    return {
        "full_pass": full,
        "without_reading_or_arithmetic": nothing,
        "only_the_reading_of_the_pass": only_reading(folder),
        **{f"pread_{size >> 10}_kib": best(timed_pread(folder=folder, at_once=size)) for size in PREAD_SIZES},
        "arithmetic_one_thread": arithmetic(kernels, no_partials(1)),
    }


def best(measured: dict) -> dict[str, float]:
    """The shortest time, and the CPU seconds."""
    return {"wall_s": min(measured["seconds"]), "cpu_s": measured["cpu_s"]}


def only_reading(folder: str) -> dict[str, float]:
    """The compiled reads of the pass, of all bytes, by as many threads, with nothing done to what was read."""
    from numba import njit

    from barograph.weights import kernels
    from barograph.weights.chunks import Buffers

    filled, piece = kernels._filled, kernels.PIECE_BYTES

    @njit(nogil=True)
    def read(source, begin, end, a, b, stop):
        for byte in range(begin, end, piece):
            if filled(source, byte, min(piece, end - byte), a, b, stop)[0] < 0:
                return byte
        return end

    files = [os.open(Path(folder, side, "model.safetensors"), os.O_RDONLY) for side in ("base", "checkpoint-100")]
    size, stop = os.fstat(files[0]).st_size, np.zeros(1, np.uint8)
    # What follows the header, as in the pass.
    begin = 8 + int.from_bytes(os.pread(files[0], 8, 0), "little")
    source = np.array([files[0], begin, files[1], begin])
    unit = 8 * CHUNK
    read(source, 0, 0, *Buffers().pieces, stop)
    places: Iterator[int] = iter(())
    lock = threading.Lock()

    def run() -> None:
        pieces = Buffers().pieces
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            read(source, place, min(place + unit, size - begin), *pieces, stop)

    found = []
    for _ in range(6):
        places = iter(range(0, size - begin, unit))
        used = time.process_time()
        found.append((in_threads(run), time.process_time() - used))
    return dict(zip(("wall_s", "cpu_s"), min(found[1:]), strict=True))


def arithmetic(kernels, sums: np.ndarray) -> dict[str, float]:
    """One thread on pieces that are in the cache: the whole kernel, its fingerprint alone, and a call for nothing."""
    from numba import njit

    count = kernels.PIECE_BYTES // 2
    a, b = (numbers(0, count, moved=moved).view(np.uint64) for moved in (0.0, LEARNED))
    hashed, mixed, block = kernels._hashed, kernels._mixed, kernels.BLOCK

    @njit(nogil=True)
    def fingerprint(words, keys):
        state = np.uint64(0)
        for first in range(0, len(words), block // 4):
            state = mixed(state, hashed(words, first, block // 4, keys))
        return state

    source, stop, prints = np.array([-1, 0, -1, 0]), np.zeros(1, np.uint8), np.zeros(1, np.uint64)

    def whole(elements: int) -> None:
        counts = np.array([elements])
        kernels.bf16_pass(source, a, b, kernels.KEYS, counts, HIDDEN, sums, prints, stop)

    times = {}
    for name, run in (
        ("whole", lambda: whole(count)),
        ("fingerprint", lambda: fingerprint(b, kernels.KEYS)),
        ("nothing", lambda: whole(0)),
    ):
        run()
        taken = []
        for _ in range(500):
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
        times[name] = statistics.median(taken)
    both = 4 * count / 1e9
    return {
        "gb_s": both / times["whole"],
        "gb_s_without_fingerprint_at_most": both / (times["whole"] - times["fingerprint"]),
        "call_us": 1e6 * times["nothing"],
    }


def accuracy(*, folder: str) -> dict[str, object]:
    """In a child: every tensor of the pass beside float64 numpy."""
    from barograph.weights import drift_pass, open_checkpoint

    worst, wrong = 0.0, 0
    base, current = Path(folder, "base"), Path(folder, "checkpoint-100")
    with open_checkpoint(base) as reference, open_checkpoint(current) as checkpoint:
        for row in drift_pass(checkpoint, reference=reference).rows:
            sums, exact = numpy_sums(reference.tensors[row.tensor], checkpoint.tensors[row.tensor])
            found = (row.delta_squares, row.reference_squares, row.current_squares)
            worst = max(worst, *(abs(math.sqrt(one / other) - 1) for one, other in zip(found, sums, strict=True)))
            wrong += (row.current_max, row.current_min, row.current_zeros, row.changed) != exact
    return {"worst_norm_error": worst, "wrong_exact": wrong}


def numpy_sums(reference, current) -> tuple[list[float], tuple[float, float, int, int]]:
    """Squares of delta, reference and current, and what must be exact, in float64, some elements at a time."""
    sums, largest, smallest, zeros, changed = [0.0, 0.0, 0.0], 0.0, math.inf, 0, 0
    for first in range(0, current.elements, 4_000_000):
        count = min(4_000_000, current.elements - first)
        bits = [
            np.frombuffer(slot.file.read(2 * count, slot.offset + 2 * first), np.uint16)
            for slot in (reference, current)
        ]
        x, y = ((one.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64) for one in bits)
        sums = [one + float(np.sum(part * part)) for one, part in zip(sums, (y - x, x, y), strict=True)]
        sizes = np.abs(y)
        largest = max(largest, float(sizes.max()))
        smallest = min(smallest, float(sizes[sizes > 0].min(initial=math.inf)))
        zeros, changed = zeros + int((y == 0).sum()), changed + int((bits[0] != bits[1]).sum())
    return sums, (largest, smallest, zeros, changed)


def lora(*, layers: int, repetitions: int) -> dict[str, object]:
    """In a child: norms of all adapters of a model at r = 16, by thin factors and by forming the product in float32."""
    from barograph.weights.thin_delta import ThinDelta

    rng = np.random.default_rng(0)
    wanted = [shape for name, shape in shapes(layers, 8, copies=1).items() if "proj" in name]
    factors = [
        (rng.standard_normal((rows, 16), dtype=np.float32), rng.standard_normal((16, columns), dtype=np.float32))
        for rows, columns in wanted
    ]
    thin, dense = [], []
    for _ in range(repetitions):
        began = time.perf_counter()
        ours = [ThinDelta(left=np.float64(b), right=np.float64(a), scale=2.0).squares for b, a in factors]
        between = time.perf_counter()
        theirs = [4.0 * float(np.square(b @ a).sum()) for b, a in factors]
        thin.append(between - began)
        dense.append(time.perf_counter() - between)
    exact = [4.0 * float(np.square(np.float64(b) @ np.float64(a)).sum()) for b, a in factors[:7]]
    return {
        "adapters": len(factors),
        "thin_s": spread([thin]),
        "materialised_s": spread([dense]),
        "ratio": statistics.median(thin) / statistics.median(dense),
        "worst_error": max(abs(math.sqrt(one / other) - 1) for one, other in zip(ours, exact, strict=False)),
        "worst_error_materialised": max(
            abs(math.sqrt(one / other) - 1) for one, other in zip(theirs, exact, strict=False)
        ),
    }


def first_and_later_use(folder: Path) -> dict[str, object]:
    """Whole processes of the command line on a model of two small layers."""
    place = pair(folder, {f"model.layers.{number}.w": (64, 64) for number in range(2)})
    caches = [tempfile.mkdtemp(prefix="barograph-cache-") for _ in range(3)]
    found: dict[str, list[float]] = {"first_s": [], "later_s": [], "read_only_s": []}
    try:
        for cache in caches:
            found["first_s"].append(command(place, NUMBA_CACHE_DIR=cache))
            found["later_s"] += [command(place, NUMBA_CACHE_DIR=cache) for _ in range(3)]
            found["read_only_s"].append(without_a_place(place))
    finally:
        for cache in caches:
            shutil.rmtree(cache)
    return {name: spread([values]) for name, values in found.items()}


def without_a_place(place: Path) -> float:
    """As on a machine where neither the package nor the home can be written: numba finds no place for its cache."""
    with tempfile.TemporaryDirectory() as folder:
        import barograph

        source, copy = Path(barograph.__file__).parent, Path(folder, "barograph")
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "static"))
        (copy / "weights" / "__pycache__").write_text("")
        home = Path(folder, "home")
        home.write_text("")
        return command(place, PYTHONPATH=folder, HOME=str(home), XDG_CACHE_HOME=str(home), PYTHONDONTWRITEBYTECODE="1")


def command(place: Path, **changes: str) -> float:
    """Seconds of `barograph drift`."""
    line = [sys.executable, "-m", "barograph", "drift", str(place / "base"), str(place / "checkpoint-100"), "--json"]
    began = time.perf_counter()
    subprocess.run(line, capture_output=True, check=True, timeout=120, env={**environment(), **changes})
    return time.perf_counter() - began


CHILDREN = {
    "pass": timed_pass,
    "torch": timed_torch,
    "pread": timed_pread,
    "breakdown": breakdown,
    "accuracy": accuracy,
    "lora": lora,
}


def show(result: dict) -> None:
    passes, words = result["pass"], ("median", "p10", "p90", "min")
    for title, spreads in (
        (
            f"{passes['bytes'] / 1e9:.3g} GB of weights, warm, seconds",
            {"pass": passes["ours_s"], "torch": passes["torch_s"], "pread alone": passes["pread_s"]},
        ),
        ("Whole processes, seconds", result["starts"]),
    ):
        table(title, ["what", *words], [[name, *(one[word] for word in words)] for name, one in spreads.items()])
    for title, values in (
        ("Anonymous memory, MiB", passes["anonymous_mib"] | result["memory"]),
        ("Accuracy", result["accuracy"]),
        ("LoRA norms, r = 16", result["lora"]),
    ):
        rows = [[name, one["median"] if isinstance(one, dict) else one] for name, one in values.items()]
        table(title, ["what", "value"], rows)
    cpu = {"pass": passes["pass_cpu_s"], "pread alone": passes["pread_cpu_s"]}
    table("CPU seconds of all threads", ["what", "value"], [[name, one] for name, one in cpu.items()])
    words = ("wall_s", "cpu_s", "of_which_opening_s", "gb_s", "gb_s_without_fingerprint_at_most", "call_us")
    rest = passes["where_the_rest_goes"]
    rows = [[name, *(one.get(word, "") for word in words)] for name, one in rest.items()]
    table("Where the rest goes", ["what", *words], rows)
    print()


if __name__ == "__main__":
    main()
