"""For each of PyTorch's operations that the crate has: a sample as cases of the crate's, or why it is none.

A handler takes an entry of `op_db` and one of its samples, and gives one case or several, such as a gradient's too.
"""
import operator
import torch
from torch_base import DT, NE, Case, axis, is_t, js, number_fits, promoted, same_kind, wide
from torch_images import avg_pool, conv2d, interpolate, max_pool, pair, unfold

F = torch.nn.functional

UNARY = {"neg": "neg", "abs": "abs", "exp": "exp", "log": "log", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tanh": "tanh",
         "sigmoid": "sigmoid", "nn.functional.relu": "relu", "rsqrt": "rsqrt", "reciprocal": "reciprocal", "floor": "floor",
         "ceil": "ceil", "round": "round", "nn.functional.silu": "silu", "nn.functional.gelu": "gelu", "square": "square"}
# Of integers they give f32.
REAL = ["exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "rsqrt", "reciprocal"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]


def unary(o, s):
    op = UNARY[o.name]
    x = s.input
    if op == "round" and (s.kwargs.get("decimals") or o.variant_test_name): 
        if s.kwargs.get("decimals", 0) != 0: raise NE("decimals of round")
    if op == "gelu" and s.kwargs.get("approximate") == "tanh": op = "gelu_tanh"
    if not x.is_floating_point() and op in REAL: return promoted(op, x, None, lambda x, _: o.op(x, *s.args, **s.kwargs))
    if not x.is_floating_point() and op in ("silu", "gelu", "gelu_tanh"): raise NE(f"{op} of integers")
    # Of integers these are copies, and have no other form.
    return Case(op, [x], promotes=op in ("floor", "ceil", "round") and not x.is_floating_point())


def operands(s):
    x = s.input
    y = s.args[0] if s.args else s.kwargs.get("other")
    return x, y


def changes(op, x, y):
    """Whether a binary op converts an operand, or has a result of another dtype than both."""
    tensors = [t for t in (x, y) if is_t(t)]
    kinds = {t.dtype for t in tensors}
    real = any(t.is_floating_point() for t in tensors)
    return len(kinds) > 1 or not real and (op == "div" or any(isinstance(v, float) for v in (x, y)))


def two(op, x, y):
    """A binary op of tensors or numbers."""
    if any(isinstance(v, complex) for v in (x, y)): raise NE("complex")
    if not is_t(x) and not is_t(y): raise NE("two numbers")
    if any(is_t(t) and t.dtype == torch.bool for t in (x, y)): raise NE("dtype bool")
    f = FUNCTIONS.get(op) or getattr(operator, op)
    number = None if is_t(x) and is_t(y) else x if is_t(y) else y
    name = op
    if is_t(x) and not is_t(y): name = op + "_scalar"
    if is_t(y) and not is_t(x):
        if op in ("div_floor", "div_trunc", "fmod"): raise NE(f"a number in front of {op}")
        name = FLIPPED.get(op, op) + "_scalar" if op in COMPARE else f"r{op}_scalar"
    if changes(op, x, y):
        if name == "rpow_scalar": raise NE("pow of a number and integers")
        c = promoted(name, x, y, f)
    else:
        c = Case(name, [t for t in (x, y) if is_t(t)])
        if number is None: c.more["no_in_place"] = tuple(torch.broadcast_shapes(x.shape, y.shape)) != tuple(x.shape)
    if number is not None: c.args["scalar"] = js(number if isinstance(number, float) else int(number))
    return c


FUNCTIONS = {"maximum": torch.maximum, "minimum": torch.minimum, "div": operator.truediv, "remainder": torch.remainder, "fmod": torch.fmod,
             "div_floor": lambda x, y: torch.div(x, y, rounding_mode="floor"), "div_trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc")}
FLIPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


def binary(o, s):
    x, y = operands(s)
    n = o.name
    op = {"maximum": "maximum", "minimum": "minimum", "max": "maximum", "min": "minimum", "true_divide": "div", "floor_divide": "div_floor"}.get(n, n)
    if n.startswith("__r"):
        op = {"mod": "remainder"}.get(n[3:-2], n[3:-2]); x, y = y, x
    if n == "rsub": op = "sub"; x, y = y, x
    alpha = s.kwargs.get("alpha", 1)
    if n == "div" and s.kwargs.get("rounding_mode"): op = "div_" + s.kwargs["rounding_mode"]
    if alpha != 1 or "alpha" in s.kwargs:
        if n == "rsub": raise NE("alpha of rsub")
        if not (is_t(x) and is_t(y)): raise NE("alpha with a number")
        same_kind(x, y)
        a = number_fits(x, alpha)
        return Case("add_alpha", [x, y], {"alpha": js(a if op == "add" else -a), "shape": list(torch.broadcast_shapes(x.shape, y.shape))})
    return two(op, x, y)


def where(o, s):
    # op_db calls it as where(self=x, condition, other)
    x, c, y = s.input, s.args[0], s.args[1] if len(s.args) > 1 else s.kwargs.get("other")
    if any(isinstance(v, complex) for v in (x, y)): raise NE("complex")
    if not is_t(x) and not is_t(y): raise NE("two numbers")
    # A number is a tensor without dimensions, which promotes as a number does.
    kind = lambda v, other: torch.float32 if isinstance(v, float) and not other.is_floating_point() else other.dtype
    if not is_t(x): x = torch.tensor(x, dtype=kind(x, y))
    if not is_t(y): y = torch.tensor(y, dtype=kind(y, x))
    if torch.bool in (x.dtype, y.dtype): raise NE("dtype bool")
    if x.dtype == y.dtype: return Case("where", [c, x, y])
    return Case("where", [c, x, y], want=lambda: torch.where(c, x.double(), y.double()), alt=lambda: torch.where(c, x, y), promotes=True)


def masked_fill(o, s):
    x, m, v = s.input, s.args[0], s.args[1]
    v = v if is_t(v) else torch.tensor(number_fits(x, v), dtype=x.dtype)
    same_kind(x, v)
    return Case("where", [m, v, x])


def clamp(o, s):
    x = s.input
    low = s.args[0] if len(s.args) > 0 else s.kwargs.get("min")
    high = s.args[1] if len(s.args) > 1 else s.kwargs.get("max")
    if o.name == "clamp_max": low, high = None, low
    if o.name == "clamp_min": high = None
    if is_t(low) or is_t(high):
        same_kind(x, *[t for t in (low, high) if is_t(t)])
        if any(t is not None and not is_t(t) for t in (low, high)): raise NE("tensor and number")
        grows = any(torch.broadcast_shapes(x.shape, t.shape) != x.shape for t in (low, high) if is_t(t))
        return Case("clamp", [x] + [t for t in (low, high) if is_t(t)], {"has": [is_t(low), is_t(high)]}, no_in_place=grows)
    if not x.is_floating_point() and any(isinstance(v, float) for v in (low, high)):
        return Case("clamp_scalar", [x], {"min": None if low is None else js(low), "max": None if high is None else js(high)},
                    want=lambda: x.double().clamp(low, high), alt=lambda: x.clamp(low, high), promotes=True)
    return Case("clamp_scalar", [x], {"min": None if low is None else js(number_fits(x, low)), "max": None if high is None else js(number_fits(x, high))})


def dims(d, rank):
    if d is None: return []
    if isinstance(d, int): d = [d]
    return [axis(v, rank) for v in d]


def reduction(o, s):
    x = s.input
    k = dict(s.kwargs)
    names = ["dim", "keepdim"]
    for n, v in zip(names, s.args): k[n] = v
    if k.get("dtype") not in (None, x.dtype): raise NE("dtype of a reduction")
    if k.get("dtype") is not None and o.name == "sum" and x.dtype == torch.int32: pass
    if o.name == "mean" and not x.is_floating_point(): raise NE("mean of integers")
    d, keep = k.get("dim"), bool(k.get("keepdim", False))
    if o.name in ("argmax", "argmin"):
        if d is None:
            if keep: raise NE("argmax of all axes with keepdim")
            return Case(o.name + "_all", [x], {}, truth=["index"])
        return Case(o.name, [x], {"axis": axis(d, x.dim()), "keep": keep}, truth=["index"])
    if o.name in ("max", "min"):
        if o.variant_test_name == "reduction_with_dim":
            return Case(o.name + "_with_index", [x], {"axis": axis(d, x.dim()), "keep": keep}, truth=[None, "index"])
        return Case("a" + o.name, [x], {"axes": [], "keep": False})
    return Case(o.name, [x], {"axes": dims(d, x.dim()), "keep": keep})


def variance(o, s):
    x, k = s.input, dict(s.kwargs)
    k |= dict(zip(["unbiased"] if s.args and isinstance(s.args[0], bool) else ["dim", "unbiased", "keepdim"], s.args))
    correction = k.get("correction")
    if correction is None: correction = int(k.get("unbiased", True))
    if correction != int(correction) or correction < 0: raise NE("a correction that isn't 0, 1, 2, …")
    op = o.name[:3]
    d, keep = dims(k.get("dim"), x.dim()), bool(k.get("keepdim", False))
    f = lambda t: getattr(torch, op)(t, dim=d or None, correction=correction, keepdim=keep)
    return Case(op, [x], {"axes": d, "keep": keep, "correction": int(correction)}, want=lambda: f(x.double()), alt=lambda: f(x))


def softmax(o, s):
    x = s.input
    d = s.args[0] if s.args else s.kwargs["dim"]
    to = s.kwargs.get("dtype")
    if to not in (None, x.dtype): raise NE("dtype of softmax")
    if not x.is_floating_point(): raise NE("softmax of integers")
    return Case(o.name.split(".")[-1], [x], {"axis": axis(d, x.dim())})


def layer_norm(o, s):
    x, shape = s.input, s.args[0]
    rest = list(s.args[1:]) + [None] * 3
    if o.name == "nn.functional.rms_norm":
        w, eps = rest[0], s.kwargs.get("eps", rest[1])
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        return Case("rms_norm", [x] + ([w] if is_t(w) else []), {"has": [is_t(w), False], "eps": eps, "axes": len(shape)},
                    want=lambda: F.rms_norm(x.double(), shape, None if w is None else w.double(), eps))
    w, b, eps = s.kwargs.get("weight", rest[0]), s.kwargs.get("bias", rest[1]), s.kwargs.get("eps", rest[2])
    eps = 1e-5 if eps is None else eps
    return Case("layer_norm", [x] + [t for t in (w, b) if is_t(t)], {"has": [is_t(w), is_t(b)], "eps": eps, "axes": len(shape)})


def native_layer_norm(o, s):
    x, shape, w, b, eps = s.input, *s.args
    return Case("layer_norm", [x] + [t for t in (w, b) if is_t(t)], {"has": [is_t(w), is_t(b)], "eps": eps, "axes": len(shape)},
                want=lambda: F.layer_norm(x.double(), shape, wide(w), wide(b), eps), alt=lambda: F.layer_norm(x, shape, w, b, eps))


def product(o, s):
    x, y = s.input, s.args[0]
    if o.name == "__rmatmul__": x, y = y, x
    same_kind(x, y)
    return Case("bmm" if o.name == "bmm" else "matmul", [x, y])


def linear(o, s):
    same_kind(s.input, *s.args)
    w = s.args[0]
    if w.dim() != 2: raise NE("linear with a vector for a weight")
    b = s.args[1] if len(s.args) > 1 else s.kwargs.get("bias")
    if is_t(b) and b.dim() != 1: raise NE("linear with a bias that isn't (n)")
    return Case("linear", [s.input, w] + ([b] if is_t(b) else []))


def addmm(o, s):
    c, a, b = s.input, s.args[0], s.args[1]
    k = s.kwargs
    return Case("gemm", [a, b, c], {"alpha": js(number_fits(a, k.get("alpha", 1))), "beta": js(number_fits(a, k.get("beta", 1))), "trans_a": False, "trans_b": False})


def view_of(o, s):
    """Ops whose result is a view: by the crate's own method where it has one, otherwise by reshape."""
    x, n = s.input, o.name
    y = o.op(x, *s.args, **s.kwargs)
    if not is_t(x) or not is_t(y): raise NE("not a tensor")
    shape = list(y.shape)
    rank = x.dim()
    a = s.args
    if n in ("permute", "permute_copy"):
        p = a[0] if a and isinstance(a[0], (tuple, list)) else (a or s.kwargs["dims"])
        return Case("permute", [x], {"axes": [axis(d, rank) for d in p]})
    if n in ("transpose", "transpose_copy", "swapaxes"):
        d = list(a) + [s.kwargs[k] for k in ("dim0", "dim1") if k in s.kwargs]
        return Case("transpose", [x], {"first": axis(d[0], rank), "second": axis(d[1], rank)})
    if n in ("t", "t_copy"):
        if rank != 2: raise NE("t of a vector or scalar")
        return Case("t", [x])
    if n in ("mT", "T"):
        if rank < 2: raise NE("t of a vector or scalar")
        return Case("permute", [x], {"axes": list(range(rank - 2)) + [rank - 1, rank - 2] if n == "mT" else list(range(rank))[::-1]})
    if n == "movedim":
        src, dst = a[0], a[1]
        src, dst = ([axis(v, rank) for v in ([q] if isinstance(q, int) else q)] for q in (src, dst))
        order = [None] * rank
        for p, q in zip(src, dst): order[q] = p
        rest = iter([d for d in range(rank) if d not in src])
        return Case("permute", [x], {"axes": [next(rest) if v is None else v for v in order]})
    if n in ("narrow", "narrow_copy"):
        st = int(a[1])
        return Case("narrow", [x], {"axis": axis(a[0], rank), "start": st + x.shape[a[0]] if st < 0 else st, "length": int(a[2])})
    if n == "select": return Case("select", [x], {"axis": int(a[0]), "index": int(a[1])})
    if n == "slice":
        k = dict(zip(["dim", "start", "end", "step"], a)) | s.kwargs
        d = axis(k.get("dim", 0), rank)
        # The crate refuses what goes beyond the axis, where Python cuts it off.
        start, end, step = slice(k.get("start"), k.get("end"), k.get("step", 1)).indices(x.shape[d])
        return Case("slice", [x], {"parts": [[d, start, max(start, end), step]]})
    if n in ("squeeze", "squeeze_copy"):
        return Case("squeeze", [x], {"axes": None if not a else [a[0]] if isinstance(a[0], int) else list(a[0])})
    if n in ("unsqueeze", "unsqueeze_copy"): return Case("unsqueeze", [x], {"axis": int(a[0])})
    if n == "flatten" and rank:
        first, last = (list(a) + [s.kwargs.get("start_dim", 0), s.kwargs.get("end_dim", -1)][len(a):])[:2]
        return Case("flatten", [x], {"first": axis(first, rank), "last": axis(last, rank)})
    if n in ("expand", "expand_copy", "expand_as", "broadcast_to"):
        return Case("expand", [x], {"shape": shape})
    if n in ("contiguous",):
        if s.kwargs.get("memory_format") not in (None, torch.contiguous_format, torch.preserve_format): raise NE("memory_format channels_last")
        return Case("contiguous", [x])
    if n in ("clone",):
        return Case("copied", [x])
    return Case("reshape" if y._base is not None or y.data_ptr() == x.data_ptr() else "reshape_copy", [x], {"shape": shape})


def parts(o, s):
    """Ops whose result is a list of views."""
    x, n = s.input, o.name
    a = dict(zip(["into", "dim"], s.args)) | s.kwargs
    d = axis(a.get("dim", 0), x.dim())
    if n.startswith("unbind"): return [Case("select", [x], {"axis": d, "index": i}, want=lambda i=i: x.select(d, i)) for i in range(x.shape[d])]
    op = "chunk" if "chunk" in n else "split_with_sizes" if isinstance(a["into"], (list, tuple)) else "split"
    return Case(op, [x], {"into": a["into"], "axis": d})


def cat(o, s):
    ts = list(s.input)
    d = s.args[0] if s.args else s.kwargs.get("dim", 0)
    if o.name == "stack": return Case("stack", ts, {"axis": int(d)})
    same_kind(*ts)
    return Case("cat", ts, {"axis": axis(d, max(t.dim() for t in ts))})


def indexed(o, s):
    x, d, i = s.input, s.args[0], s.args[1]
    if not is_t(i): raise NE("index is a number")
    n = o.name
    a = {"axis": axis(d, x.dim())}
    if n == "gather": return Case("gather", [x, i], a, index=(1,))
    if n == "index_select": return Case("index_select", [x, i], a, index=(1,))
    y = s.args[2]
    if not is_t(y): raise NE("source is a number")
    same_kind(x, y)
    if n == "scatter_add": return Case("scatter_add", [x, i, y], a, index=(1,))
    # Composed where there is an alpha: the source is multiplied first.
    return Case("index_add", [x, i, y], {**a, "alpha": js(number_fits(x, s.kwargs.get("alpha", 1)))}, index=(1,))


def take_along(o, s):
    x, i = s.input, s.args[0]
    d = s.args[1] if len(s.args) > 1 else s.kwargs.get("dim")
    if d is None: raise NE("take_along_dim without a dim")
    d = axis(d, x.dim())
    if any(x.shape[k] != i.shape[k] for k in range(x.dim()) if k != d): raise NE("take_along_dim broadcasts the index")
    return Case("gather", [x, i], {"axis": d}, index=(1,))


def embedding(o, s):
    w, i = s.input, s.args[0]
    if s.kwargs.get("max_norm") is not None: raise NE("max_norm of embedding")
    flat = i.reshape(-1)
    return Case("index_select", [w, flat], {"axis": 0}, index=(1,), want=lambda: F.embedding(flat, w.double()), alt=lambda: F.embedding(flat, w))


def mse(o, s):
    x, y = s.input, s.args[0]
    if s.kwargs.get("weight") is not None: raise NE("weight of mse_loss")
    if x.shape != y.shape: raise NE("mse_loss broadcasts")
    a = {"reduction": s.kwargs.get("reduction", "mean")}
    xd = x.double().requires_grad_()
    g, = torch.autograd.grad(F.mse_loss(xd, y.double(), **a).sum(), xd)
    return [Case("mse_loss", [x, y], a), Case("mse_loss_backward", [x, y], a, want=lambda: g)]


def cross_entropy(o, s):
    x, y = s.input, s.args[0]
    k = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0} | s.kwargs
    if y.is_floating_point(): raise NE("class probabilities as targets of cross_entropy")
    w = k.pop("weight", None)
    # Targets are i32, which have the negative ones that are ignored, too.
    ins = [x, y.to(torch.int32)] + ([w] if is_t(w) else [])
    cases = []
    # The database has no sample with label smoothing.
    for smoothing in sorted({k["label_smoothing"], 0.3}):
        a = {**k, "label_smoothing": smoothing}
        f = lambda x, a=a: F.cross_entropy(x, y, None if w is None else w.to(x.dtype), **a)
        xd = x.double().requires_grad_()
        l = f(xd)
        g, = torch.autograd.grad(l.sum(), xd)
        cases.append(Case("cross_entropy", ins, a, want=lambda l=l: l.detach(), alt=lambda f=f: f(x)))
        cases.append(Case("cross_entropy_backward", ins, a, want=lambda g=g: g))
    return cases


def arange(o, s):
    want = o.op(s.input, *s.args, **s.kwargs)
    if want.dtype not in DT: raise NE(f"dtype {str(want.dtype)[6:]}")
    a = [s.input, *s.args]
    start, step = (0, 1) if len(a) == 1 else (a[0], a[2] if len(a) > 2 else 1)
    return Case("arange", [], {"count": want.numel(), "start": float(start), "step": float(step), "dtype": DT[want.dtype]}, want=lambda: want, alt=lambda: want, cast=True)


def filled(o, s):
    n = o.name
    y = o.op(s.input, *s.args, **s.kwargs)
    if y.dtype not in DT: raise NE(f"dtype {str(y.dtype)[6:]}")
    like = n.endswith("_like") and y.dtype == s.input.dtype
    if like and n != "full_like": return Case(n, [s.input])
    if n in ("zeros", "zeros_like", "new_zeros", "ones"): return Case("ones" if n == "ones" else "zeros", [], {"shape": list(y.shape), "dtype": DT[y.dtype]}, want=lambda: y, alt=lambda: y, cast=True)
    if not y.numel(): v = 0
    else: v = y.flatten()[0].item()
    if n == "fill": return Case("fill_", [s.input], {"scalar": js(v)})
    if like: return Case("full_like", [s.input], {"scalar": js(v)})
    return Case("full", [], {"shape": list(y.shape), "dtype": DT[y.dtype], "scalar": js(v)}, want=lambda: y, alt=lambda: y, cast=True)


def cast(o, s):
    x = s.input
    to = {"float": torch.float32, "int": torch.int32, "half": torch.float16}[o.name]
    if s.kwargs.get("memory_format") == torch.channels_last: raise NE("memory_format channels_last")
    y = x.to(to)
    if x.is_floating_point() and to == torch.int32:
        bad = ~(torch.isfinite(x) & (x.abs() < 2 ** 31))
        if bool(bad.any()): raise NE("cast to integers beyond their range (torch leaves it open)")
    return Case("cast", [x], {"to": DT[to]}, want=lambda: y, alt=lambda: y, cast=True)


HANDLERS = {}
for n in UNARY: HANDLERS[n] = unary
for n in ["add", "sub", "rsub", "mul", "div", "true_divide", "maximum", "minimum", "pow", "__radd__", "__rsub__", "__rmul__", "__rdiv__", "__rpow__", "__rmod__", "floor_divide",
          "remainder", "fmod"] + COMPARE: HANDLERS[n] = binary
for n in ["sum", "mean", "amax", "amin", "argmax", "argmin"]: HANDLERS[n] = reduction
for n in ["softmax", "log_softmax"]: HANDLERS[n] = softmax
for n in ["matmul", "mm", "bmm", "mv", "dot", "__rmatmul__"]: HANDLERS[n] = product
for n in ["permute", "permute_copy", "transpose", "transpose_copy", "t", "t_copy", "T", "mT", "movedim", "narrow", "narrow_copy", "select", "slice", "expand", "expand_copy", "expand_as", "broadcast_to", "contiguous", "clone", "reshape", "reshape_as", "view", "view_copy", "view_as", "squeeze", "squeeze_copy", "unsqueeze", "unsqueeze_copy", "flatten", "unflatten", "ravel"]: HANDLERS[n] = view_of
for n in ["gather", "index_select", "scatter_add", "index_add"]: HANDLERS[n] = indexed
for n in ["var", "std"]: HANDLERS[n] = variance
for n in ["chunk", "unsafe_chunk", "split", "unsafe_split", "split_with_sizes", "split_with_sizes_copy", "unbind", "unbind_copy"]: HANDLERS[n] = parts
for n in ["clamp", "clamp_min", "clamp_max"]: HANDLERS[n] = clamp
for n in ["nn.functional.interpolate", "nn.functional.upsample_nearest", "nn.functional.upsample_bilinear"]: HANDLERS[n] = interpolate
for n in ["full", "fill", "zeros", "ones", "full_like", "zeros_like", "ones_like", "new_full", "new_zeros", "new_ones", "scalar_tensor"]: HANDLERS[n] = filled
for n in ["float", "int", "half"]: HANDLERS[n] = cast
HANDLERS |= {"where": where, "masked_fill": masked_fill, "nn.functional.layer_norm": layer_norm, "nn.functional.rms_norm": layer_norm,
             "native_layer_norm": native_layer_norm, "nn.functional.linear": linear, "addmm": addmm, "cat": cat, "stack": cat, "take_along_dim": take_along,
             "nn.functional.embedding": embedding, "nn.functional.conv2d": conv2d, "nn.functional.max_pool2d": max_pool,
             "nn.functional.avg_pool2d": avg_pool, "nn.functional.unfold": unfold, "nn.functional.mse_loss": mse,
             "nn.functional.cross_entropy": cross_entropy, "arange": arange}


def handler(o):
    n, v = o.name, o.variant_test_name
    if n in ("max", "min"): return binary if v == "binary" else reduction
    if n == "nn.functional.interpolate" and v not in ("nearest", "bilinear"): return None
    return HANDLERS.get(n)
