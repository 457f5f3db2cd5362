"""What the handlers of PyTorch's samples share: cases, the reasons why a sample is none, and arrays of the crate's dtypes."""
import math
import numpy as np
import torch

DT = {torch.float32: "f32", torch.int32: "i32", torch.float16: "f16"}


class NE(Exception):
    """Not expressible: why."""
    def __init__(self, *why): self.why = why


def is_t(x): return isinstance(x, torch.Tensor)
def wide(x):
    if is_t(x): return x.double() if x.is_floating_point() else x
    if isinstance(x, (list, tuple)): return type(x)(wide(y) for y in x) if not isinstance(x, torch.Size) else x
    return x


def arr(t, index=False):
    """A numpy array of a dtype that the crate has."""
    t = t.detach()
    if t.is_neg() or t.is_conj(): t = t.resolve_neg().resolve_conj()
    if t.dtype == torch.bool: return t.contiguous().numpy().astype(np.uint32)
    if index:
        if t.numel() and int(t.min()) < 0: raise NE("negative indices")
        return t.contiguous().numpy().astype(np.uint32)
    if t.dtype in DT or t.dtype == torch.uint32: return t.contiguous().numpy()
    raise NE(f"dtype {str(t.dtype)[6:]}")


def back(t, like, truth="u32"):
    """A result in float64 or int64 as an array of the crate's dtype."""
    t = t.detach()
    if t.dtype == torch.bool: return t.contiguous().numpy().astype(np.uint32)
    if t.is_floating_point():
        return t.to(torch.float16 if like == "f16" else torch.float32).contiguous().numpy()
    if truth == "index": return t.contiguous().numpy().astype(np.uint32)
    return t.to(torch.int32).contiguous().numpy()  # wraps


def axis(d, rank):
    if is_t(d): d = int(d)
    return d + rank if d < 0 and rank else (0 if d == -1 else d)


class Case:
    def __init__(self, op, inputs, args=None, index=(), want=None, alt=None, truth=None, kinds=None, note="", **more):
        self.op, self.inputs, self.args, self.index, self.want, self.alt = op, inputs, args or {}, index, want, alt
        self.truth, self.kinds, self.more = truth or [], kinds, more


def same_kind(*ts):
    kinds = {t.dtype for t in ts if is_t(t)}
    if len(kinds) > 1: raise NE("mixed dtypes (type promotion)")


def number_fits(x, v):
    """Whether a Python number goes with a tensor without promotion."""
    if isinstance(v, complex): raise NE("complex")
    if isinstance(v, float) and not x.is_floating_point(): raise NE("mixed dtypes (type promotion)")
    return float(v) if not isinstance(v, (int, bool)) else int(v)


def promoted(op, x, y, f):
    """A case whose operands are of different dtypes, or whose result is: of x and y, of which one may be a number. `f` computes it."""
    tensors = [t for t in (x, y) if is_t(t)]
    for t in tensors:
        if t.dtype not in DT: raise NE(f"dtype {str(t.dtype)[6:]}")
    double = lambda v: v.double() if is_t(v) else v
    return Case(op, tensors, want=lambda: f(double(x), double(y)), alt=lambda: f(x, y), promotes=True)


def js(v):
    if isinstance(v, float) and not math.isfinite(v): return {math.inf: "inf", -math.inf: "-inf"}.get(v, "nan")
    return v


def floats_only(name):
    def check(x):
        if not x.is_floating_point(): raise NE(f"{name} of integers (torch gives f32, or the integer itself)")
    return check
