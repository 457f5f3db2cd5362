"""Writes cases out of PyTorch's operator database and optimizer database.

torch_cases.py DIR. What PyTorch refuses (`error_inputs`) makes no cases: it refuses arguments that the crate doesn't have.
"""
import sys, warnings, zlib
import numpy as np
import torch
warnings.filterwarnings("ignore")
from torch.testing._internal.common_methods_invocations import op_db
from cases import Writer, documented, three_roundings
from torch_base import DT, NE, arr, back, is_t, wide
from torch_handlers import HANDLERS, handler

torch.manual_seed(0)
W = Writer(sys.argv[1])
W.about["versions"]["torch"] = torch.__version__
# Elements above which only the first sample of an operation is kept, and of f32 only.
LARGE = 20_000


def spec(t, index=False):
    a = arr(t, index)
    if t.is_contiguous() and t.storage_offset() == 0: return W.spec(a)
    return W.spec(a, t.stride(), t.storage_offset() > 0)


def describe(s):
    f = lambda x: f"{str(x.dtype)[6:]}{list(x.shape)}" if is_t(x) else ([f(y) for y in x] if isinstance(x, (list, tuple)) else x)
    return f"{f(s.input)} {[f(a) for a in s.args]} {({k: f(v) for k, v in s.kwargs.items()})}"


def emit(id, o, s, c):
    like = "f16" if any(is_t(t) and t.dtype == torch.float16 for t in c.inputs) else "f32"
    specs = [spec(t, k in c.index) for k, t in enumerate(c.inputs)]
    w = c.want() if c.want else o.op(wide(s.input), *[wide(a) for a in s.args], **{k: wide(v) for k, v in s.kwargs.items()})
    try:
        a = c.alt() if c.alt else (None if c.want else o.op(s.input, *s.args, **s.kwargs))
    except (RuntimeError, NotImplementedError):
        a = None
    if any(v is NotImplemented for v in (w, a)): raise NE("two numbers")
    w = list(w) if isinstance(w, (tuple, list)) else [w]
    a = list(a) if isinstance(a, (tuple, list)) else [a] * len(w) if a is None else [a]
    outs = []
    is_f32 = like == "f32" and all(t.dtype in (torch.float32,) for k, t in enumerate(c.inputs) if k not in c.index and t.dtype != torch.bool)
    for k, value in enumerate(w):
        truth = c.truth[k] if k < len(c.truth) else None
        if c.more.get("promotes") and value.is_floating_point(): v = back(value, DT[a[k].dtype])
        elif c.more.get("cast"): v = value.contiguous().numpy()
        else: v = back(value, like, truth)
        out = {"value": v}
        if a[k] is not None and v.dtype in (np.float32, np.float16) and a[k].is_floating_point() and a[k].shape == value.shape:
            alt = a[k].to(torch.float16 if v.dtype == np.float16 else torch.float32).detach().contiguous().numpy()
            with np.errstate(all="ignore"):
                same = np.array_equal(alt, v, equal_nan=True)
            if not same: out["alt"] = alt
        # What is computed in f32 of other dtypes has the accuracy of f32, too.
        computes_f32 = is_f32 or c.more.get("promotes") and v.dtype == np.float32
        xs = [t.detach().double().contiguous().numpy() for t in c.inputs]
        if computes_f32 and v.dtype == np.float32 and value.dtype == torch.float64 and k == 0:
            b = convolved(c) if c.op == "conv2d" else documented(c.op, xs, value.detach().contiguous().numpy(), c.args)
            if b is not None: out["bound"] = b
        if c.op == "gemm" and like == "f16": out["bound"] = three_roundings(xs, c.args)
        outs.append(out)
    more = {k: v for k, v in c.more.items() if k != "cast"}
    W.case(id, c.op, specs, c.args, outs, **more)


def convolved(c):
    """The bound that the crate's docs give for a convolution of f32: k * 2^-23 of the sum of the products' magnitudes."""
    x, w = (t.detach().double().abs() for t in c.inputs[:2])
    top, left, bottom, right = c.args["padding"]
    x = torch.nn.functional.pad(x, (left, right, top, bottom))
    bias = c.inputs[2].detach().double().abs() if len(c.inputs) > 2 else None
    total = torch.nn.functional.conv2d(x, w, bias, c.args["stride"], 0, c.args["dilation"], c.args["groups"])
    return (w[0].numel() * 2.0 ** -23 * total).numpy()


def full_name(o): return o.name + (f".{o.variant_test_name}" if o.variant_test_name else "")


def main():
    unknown = set(HANDLERS) - {o.name for o in op_db}
    if unknown: sys.exit(f"handlers of operations that the database doesn't have: {sorted(unknown)}")
    skipped = 0
    for o in op_db:
        full, h = full_name(o), handler(o)
        if h is None:
            W.about["absent"].append(full)
            continue
        for dtype in (torch.float32, torch.int32, torch.float16):
            if dtype not in o.dtypes: continue
            id = f"torch/{full}/{DT[dtype]}"
            torch.manual_seed(zlib.crc32(full.encode()))
            large = 0
            for s in o.reference_inputs("cpu", dtype, requires_grad=False):
                size = sum(t.numel() for t in [s.input, *s.args] if is_t(t))
                if size > LARGE:
                    large += 1
                    if large > 1 or dtype != torch.float32: skipped += 1; continue
                try:
                    cases = h(o, s)
                    for c in cases if isinstance(cases, list) else [cases]: emit(id, o, s, c)
                except NE as ne: W.inexpressible(id, ne.why, describe(s))
                except Exception as error: W.fails(f"{id}: {describe(s)}", error)
    W.about["skipped"][f"samples of more than {LARGE:,} elements, apart from the first of an operation in f32"] = skipped
    optimizers()
    W.close()


def optimizers():
    from torch.testing._internal.common_optimizers import optim_db
    for info in optim_db:
        name = info.optim_cls.__name__
        if name not in ("SGD", "AdamW", "Adam"): continue
        for oi in info.optim_inputs_func("cpu", torch.float32):
            id = f"torch/optim.{name}/f32"
            k = {**oi.kwargs}
            why = [n for n in ("dampening", "maximize", "amsgrad", "capturable", "differentiable", "foreach", "fused") if k.get(n)]
            why = [f"{n} of {name}" for n in why if n not in ("capturable", "differentiable", "foreach", "fused")]
            if name == "Adam" and k.get("weight_decay"): why.append("Adam with L2 in the gradient (not AdamW)")
            if any(is_t(v) for v in k.values()) and any(is_t(v) and v.numel() > 1 for v in k.values()): why.append("tensor options")
            if why: W.inexpressible(id, why, str(k)); continue
            k = {n: (float(v) if is_t(v) else tuple(float(b) for b in v) if n == "betas" else v) for n, v in k.items()}
            for f in ("foreach", "fused", "capturable", "differentiable"): k.pop(f, None)
            torch.manual_seed(3)
            shapes = [(5,), (3, 4), (7, 1, 2), ()]
            xs = [torch.randn(sh) for sh in shapes]
            steps = [[torch.randn(sh) for sh in shapes] for _ in range(6)]
            def run(dtype):
                ps = [torch.nn.Parameter(x.clone().to(dtype)) for x in xs]
                opt = info.optim_cls(ps, **k)
                for gs in steps:
                    for p, g in zip(ps, gs): p.grad = g.clone().to(dtype)
                    opt.step()
                return [p.detach() for p in ps], opt
            want, opt = run(torch.float64)
            alt, _ = run(torch.float32)
            d = opt.param_groups[0]
            if name == "SGD":
                args = {"lr": d["lr"], "momentum": d["momentum"], "weight_decay": d["weight_decay"], "nesterov": d["nesterov"]}
            else:
                args = {"lr": d["lr"], "beta1": d["betas"][0], "beta2": d["betas"][1], "eps": d["eps"], "weight_decay": d["weight_decay"] if name == "AdamW" else 0.0}
            args["parameters"] = len(shapes)
            ins = [W.spec(t.numpy()) for t in xs] + [W.spec(t.numpy()) for gs in steps for t in gs]
            W.case(id, "sgd" if name == "SGD" else "adamw", ins, args,
                   [{"value": w.float().numpy(), "alt": a.numpy()} for w, a in zip(want, alt)])

main()
