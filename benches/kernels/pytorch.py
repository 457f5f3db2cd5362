"""Measures in PyTorch what the benchmark `kernels` measured, and prints both.

    cargo bench --bench kernels -- --json | python3 benches/kernels/pytorch.py

Reads the benchmark's lines of JSON; lines without a `peer` are skipped. A figure is the median of samples of at least
20 ms each, timed by CUDA events, after cuDNN's search for the fastest algorithm (`torch.backends.cudnn.benchmark`).
f32 is computed without TF32. "ratio" is PyTorch's time divided by this crate's: above 1 the crate is faster. "floor" is
the time that the arithmetic takes at the rate of PyTorch's own 8192³ product, in units of the crate's time.
"""

import json
import statistics
import sys

import torch

torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False

DTYPES = {"f32": torch.float32, "f16": torch.float16}


def seconds(run, samples=5, sample_ms=20.0):
    """Returns the median seconds of one run."""

    def sample(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(runs):
            run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    sample(3)
    runs = 1
    while sample(runs) < sample_ms and runs < 1 << 16:
        runs *= 2
    return statistics.median(sample(runs) for _ in range(samples)) / runs / 1e3


def random(shape, dtype):
    return torch.rand(shape, device="cuda", dtype=torch.float32).to(dtype)


def product(peer):
    batch, rows, inner, columns = peer["sizes"]
    dtype = DTYPES[peer["dtype"]]

    def operand(shape, is_transposed):
        shape = shape[::-1] if is_transposed else shape
        matrices = random((batch, *shape), dtype)
        matrices = matrices.mT if is_transposed else matrices
        return matrices if batch > 1 else matrices[0]

    left = operand((rows, inner), peer["transposed"][0])
    right = operand((inner, columns), peer["transposed"][1])
    return lambda: torch.matmul(left, right)


def convolution(peer):
    dtype = DTYPES[peer["dtype"]]
    image, weight = random(peer["image"], dtype), random(peer["weight"], dtype)
    pair = {name: [peer[name]] * 2 for name in ("stride", "padding", "dilation")}
    arguments = [pair["stride"], pair["padding"], pair["dilation"]]
    if peer["pass"] == "forward":
        return lambda: torch.ops.aten.convolution(image, weight, None, *arguments, False, [0, 0], peer["groups"])
    gradient = torch.ops.aten.convolution(image, weight, None, *arguments, False, [0, 0], peer["groups"])
    mask = [peer["pass"] == "input", peer["pass"] == "weight", False]
    return lambda: torch.ops.aten.convolution_backward(
        gradient, image, weight, None, *arguments, False, [0, 0], peer["groups"], mask
    )


def main():
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}")
    square = [1, 8192, 8192, 8192]
    peak = {
        name: 2 * 8192**3 / seconds(product({"sizes": square, "transposed": [False] * 2, "dtype": name}), samples=3)
        for name in DTYPES
    }
    print(", ".join(f"8192³ in {name}: {rate / 1e12:.1f} TFLOP/s" for name, rate in peak.items()))
    print(f"{'work':<58}{'crate µs':>11}{'PyTorch µs':>12}{'ratio':>8}{'floor':>8}")
    for line in sys.stdin:
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        peer = found.get("peer")
        if not peer:
            continue
        run = product(peer) if peer["operation"] == "matmul" else convolution(peer)
        ours, theirs = found["seconds"], seconds(run)
        floor = found["rate"] * 1e9 / peak[peer["dtype"]]
        print(f"{found['work']:<58}{ours * 1e6:>11.1f}{theirs * 1e6:>12.1f}{theirs / ours:>8.2f}{floor:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
