"""The files that every generator writes into a folder.

cases.jsonl          one case a line: an operation of the crate, its inputs and arguments, and the results to expect
data.bin             the arrays that the cases name by their offset, each once
inexpressible.jsonl  samples that the crate has no operation for, with the reasons
about.json           what the generator used and left out
"""
import collections, hashlib, json, os, platform, sys
import numpy as np

NAMES = {np.dtype("float32"): "f32", np.dtype("int32"): "i32", np.dtype("uint32"): "u32", np.dtype("float16"): "f16"}
# Relative and absolute tolerances: those of torch.testing.assert_close.
DEFAULT = {"f32": (1.3e-6, 1e-5), "f16": (1e-3, 1e-5), "i32": (0, 0), "u32": (0, 0)}


class Writer:
    def __init__(self, dir):
        os.makedirs(dir, exist_ok=True)
        self.cases = open(f"{dir}/cases.jsonl", "w")
        self.missing = open(f"{dir}/inexpressible.jsonl", "w")
        self.data = open(f"{dir}/data.bin", "wb")
        self.at, self.known, self.ids = 0, {}, collections.Counter()
        self.count = collections.Counter()
        self.about = {"versions": {"Python": platform.python_version(), "numpy": np.__version__}, "absent": [], "skipped": {}}
        self.about_file, self.broken = f"{dir}/about.json", []

    def blob(self, array):
        raw = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha1(raw).digest() + bytes([len(raw) & 255])
        if key not in self.known:
            self.known[key] = self.at
            raw += bytes(-len(raw) % 4)
            self.data.write(raw)
            self.at += len(raw)
        return self.known[key]

    def spec(self, array, strides=None, offset=False):
        array = np.asarray(array)
        out = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "at": self.blob(array)}
        if strides is not None:
            out["strides"], out["offset"] = list(strides), bool(offset)
        return out

    def name(self, id):
        self.ids[id] += 1
        return f"{id}/{self.ids[id]}"

    def inexpressible(self, id, reasons, text=""):
        self.count["inexpressible"] += 1
        self.missing.write(json.dumps({"id": self.name(id), "reasons": sorted(reasons), "text": text[:300]}) + "\n")

    def case(self, id, op, inputs, args, outputs, rtol=None, atol=None, **more):
        """inputs: specs; outputs: list of dicts with value, alt, bound (arrays) or None to skip."""
        self.count["case"] += 1
        outs = []
        dtype = None
        for o in outputs:
            if o is None:
                outs.append({"skip": True}); continue
            s = self.spec(o["value"])
            if dtype is None or s["dtype"] in ("f32", "f16"): dtype = s["dtype"]
            if o.get("alt") is not None: s["alt"] = self.blob(o["alt"])
            if o.get("bound") is not None: s["bound"] = self.blob(np.asarray(o["bound"], dtype=np.float32))
            outs.append(s)
        r, a = DEFAULT[dtype or "f32"]
        line = {"id": self.name(id), "op": op, "in": inputs, "args": args, "out": outs,
                "rtol": r if rtol is None else rtol, "atol": a if atol is None else atol, **more}
        self.cases.write(json.dumps(line) + "\n")

    def fails(self, id, error):
        """A sample that the generator itself cannot do anything with: a mistake in it, which ends it once it is through."""
        self.broken.append(f"{id}: {type(error).__name__}: {str(error)[:200]}")

    def close(self):
        for f in (self.cases, self.missing, self.data): f.close()
        with open(self.about_file, "w") as f: json.dump(self.about, f)
        print(f"{self.count['case']} cases, {self.count['inexpressible']} not expressible")
        if self.broken: sys.exit("\n".join(["the generator has no answer to:", *self.broken]))


TINY = 1.1754944e-38
def ulp(y, dtype=np.float32):
    with np.errstate(all="ignore"):
        s = np.spacing(np.abs(np.asarray(y, dtype=np.float64)).astype(dtype)).astype(np.float64)
    return np.where(np.isfinite(s), s, 0.0)


def three_roundings(inputs, args):
    """The bound of alpha * a * b + beta * c of f16 as the crate does it: a product, a multiplication and an addition, each rounded."""
    a, b = (np.asarray(x, dtype=np.float64) for x in inputs[:2])
    product = a @ b
    last = product * args["alpha"] + (inputs[2].astype(np.float64) * args["beta"] if len(inputs) > 2 else 0)
    once = lambda y: 0.5 * ulp(y, np.float16)
    # The accumulation in f32, too; and where two bounds touch, an ulp of the neighbouring power of two.
    return (once(product) * abs(args["alpha"]) + once(product * args["alpha"]) + once(last)) * (1 + 2.0 ** -10)


def documented(op, inputs, want, args):
    """The bound that the crate's docs give for f32, an array, or None. `want` and the inputs are float64."""
    x = np.asarray(inputs[0], dtype=np.float64) if inputs else None
    if x is None or x.size == 0: return None
    u = ulp(want)
    with np.errstate(all="ignore"):
        if op in ("neg", "abs", "relu", "floor", "ceil", "round", "maximum", "minimum", "maximum_scalar", "minimum_scalar",
                  "amax", "amin", "clamp", "clamp_scalar", "where", "gather", "index_select", "cat", "max_pool2d", "max_pool2d_with_indices"):
            b = 0 * u
        elif op == "exp": b = (4 + 2 * np.abs(x)) * u
        elif op == "log": b = 3 * u
        elif op == "sqrt": b = 5 * u
        elif op in ("sin", "cos"): b = 4 * u
        elif op == "tanh": b = 8 * u
        elif op == "sigmoid": b = (8 + 2 * np.abs(x)) * u
        elif op == "silu": b = np.maximum((9 + 2 * np.abs(x)) * u, 1e-36)
        elif op == "rsqrt": b = 2 * u
        elif op == "reciprocal": b = 2.5 * u
        elif op in ("gelu", "gelu_tanh"): b = 1e-6 * np.abs(x)
        elif op in ("square", "add", "sub", "mul", "add_scalar", "sub_scalar", "mul_scalar", "radd_scalar", "rsub_scalar", "rmul_scalar"): b = u
        elif op in ("div", "div_scalar", "rdiv_scalar"): b = 2.5 * u
        elif op in ("pow", "pow_scalar", "rpow_scalar"):
            b = 3 * u
        elif op in ("softmax", "rms_norm"): b = 100 * u
        elif op == "layer_norm" and not any(args["has"]): b = 100 * np.maximum(u, ulp(1.0))
        elif op == "log_softmax":
            # Of the finite elements: an infinite span would allow nothing.
            finite = lambda least: np.where(np.isfinite(x), x, least)
            span = np.max(finite(-np.inf), axis=args["axis"], keepdims=True) - np.min(finite(np.inf), axis=args["axis"], keepdims=True)
            b = 100 * ulp(np.maximum(span, 1.0))
        elif op in ("matmul", "bmm", "linear"):
            a, c = np.abs(x), np.abs(np.asarray(inputs[1], dtype=np.float64))
            if op == "linear": c = c.T
            b = a.shape[-1] * 2.0 ** -23 * np.matmul(a, c)
            if op == "linear" and len(inputs) > 2: b = b + np.abs(inputs[2]) * 2.0 ** -23
        elif op in ("sum", "mean"):
            axes = tuple(args["axes"]) if args["axes"] and x.ndim else None
            total = np.sum(np.abs(x), axis=axes, keepdims=args["keep"])
            n = x.size / max(1, np.asarray(total).size)
            b = min(n, 1100) * 2.0 ** -24 * total
            if op == "mean": b = b / max(n, 1) + 2 * u
        else: return None
    b = np.broadcast_to(np.where(np.isnan(b), 0.0, b) + TINY, np.shape(want))
    return b
