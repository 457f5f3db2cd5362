"""Writes cases out of ONNX's node tests, which the onnx package makes by itself: onnx_cases.py DIR"""
import sys, warnings
import numpy as np
warnings.filterwarnings("ignore")
import onnx
from onnx import helper, numpy_helper, TensorProto
from onnx.backend.test.case.node import collect_testcases
from cases import NAMES, Writer

W = Writer(sys.argv[1])
W.about["versions"]["onnx"] = onnx.__version__


class NE(Exception):
    def __init__(self, *why): self.why = why


def arr(a, index=None):
    """index: the size of the axis that an int64 tensor looks up in, so that negative ones are named as such."""
    if isinstance(a, list): raise NE("sequences of tensors")
    a = np.asarray(a)
    if a.dtype == np.bool_: return a.astype(np.uint32)
    if a.dtype in (np.int64, np.int32) and index is not None:
        if a.size and a.min() < 0: raise NE("negative indices")
        return a.astype(np.uint32)
    if a.dtype in NAMES: return a
    raise NE(f"dtype {a.dtype}")


class Case:
    def __init__(self, op, inputs, args=None, want=None, more=(), promotes=False):
        self.op, self.inputs, self.args, self.want, self.more, self.promotes = op, inputs, args or {}, want, more, promotes

UNARY = {"Abs": "abs", "Neg": "neg", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Sin": "sin", "Cos": "cos", "Tanh": "tanh",
         "Sigmoid": "sigmoid", "Relu": "relu", "Reciprocal": "reciprocal", "Floor": "floor", "Ceil": "ceil", "Round": "round"}
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Mod": "remainder", "Equal": "eq", "Less": "lt", "Greater": "gt",
          "LessOrEqual": "le", "GreaterOrEqual": "ge"}


def ax(v, rank): return int(v) + rank if v < 0 else int(v)


def window(a, rank, size, kernel, name, out=None):
    """How a 2-D window moves, or why the crate's cannot."""
    if rank != 4: raise NE(f"{rank - 2}-D {name}")
    stride = list(a.get("strides", [1, 1])); d = list(a.get("dilations", [1, 1])); pads = list(a.get("pads", [0] * 4))
    auto = a.get("auto_pad", "NOTSET")
    if auto == "VALID": pads = [0] * 4
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = [0] * 4
        for i in range(2):
            n = -(-size[i] // stride[i])
            total = max(0, (n - 1) * stride[i] + (kernel[i] - 1) * d[i] + 1 - size[i])
            low = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads[i], pads[i + 2] = low, total - low
    ceil = bool(a.get("ceil_mode", 0))
    window = {"kernel": list(kernel), "stride": stride, "padding": pads}
    if name != "avg_pool2d": window["dilation"] = d
    elif d != [1, 1]: raise NE(f"dilation of {name}")
    return {**window, "ceil_mode": ceil} if "pool" in name else window


def plan(n, a, x, y):
    """Cases of a node with attributes a, inputs x (None where left out) and outputs y."""
    o = n.op_type
    rank = x[0].ndim if x and isinstance(x[0], np.ndarray) else 0
    if o in UNARY: return Case(UNARY[o], [arr(x[0])])
    if o == "Gelu": return Case("gelu_tanh" if a.get("approximate") == "tanh" else "gelu", [arr(x[0])])
    if o == "Swish":
        if a.get("alpha", 1.0) != 1.0: raise NE("alpha of Swish")
        return Case("silu", [arr(x[0])])
    if o == "Identity" : return Case("copied", [arr(x[0])])
    if o in BINARY:
        p, q = arr(x[0]), arr(x[1])
        # Of integers, Div truncates and Mod has the sign of the divisor unless fmod is set.
        op = "div_trunc" if o == "Div" and p.dtype.kind in "iu" else BINARY[o] if o != "Mod" else "fmod" if a.get("fmod") else "remainder"
        if p.dtype != q.dtype:
            # The result of Pow is of the base's dtype, which PyTorch's promotion also gives for a floating-point base.
            if o != "Pow" or p.dtype.kind != "f": raise NE("mixed dtypes (type promotion)")
            return Case(op, [p, q], promotes=True)
        return Case(op, [p, q])
    if o in ("Max", "Min"):
        if len(x) > 2: raise NE(f"{o} of {len(x)} tensors at once")
        if len(x) == 1: return Case("copied", [arr(x[0])])
        return Case({"Max": "maximum", "Min": "minimum"}[o], [arr(x[0]), arr(x[1])])
    if o == "Clip":
        low, high = (x + [None, None])[1:3]
        return Case("clamp", [arr(x[0])] + [arr(v) for v in (low, high) if v is not None], {"has": [low is not None, high is not None]})
    if o == "Where": return Case("where", [arr(x[0]), arr(x[1]), arr(x[2])])
    if o == "Cast":
        to = a["to"]
        want = {TensorProto.FLOAT: "f32", TensorProto.INT32: "i32", TensorProto.UINT32: "u32", TensorProto.FLOAT16: "f16"}.get(to)
        if want is None: raise NE(f"dtype {TensorProto.DataType.Name(to).lower()}")
        return Case("cast", [arr(x[0])], {"to": want})
    if o in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"):
        axes = a.get("axes") or (list(np.asarray(x[1]).flatten()) if len(x) > 1 and x[1] is not None else [])
        if not axes and a.get("noop_with_empty_axes"): return Case("copied", [arr(x[0])])
        p = arr(x[0])
        if o == "ReduceMean" and p.dtype.kind in "iu": raise NE("mean of integers")
        return Case({"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin"}[o], [p],
                    {"axes": [ax(v, rank) for v in axes], "keep": bool(a.get("keepdims", 1))})
    if o in ("ArgMax", "ArgMin"):
        if a.get("select_last_index"): raise NE("select_last_index")
        return Case(o.lower(), [arr(x[0])], {"axis": ax(a.get("axis", 0), rank), "keep": bool(a.get("keepdims", 1))}, want=[np.asarray(y[0]).astype(np.uint32)])
    if o in ("Softmax", "LogSoftmax"):
        return Case({"Softmax": "softmax", "LogSoftmax": "log_softmax"}[o], [arr(x[0])], {"axis": ax(a.get("axis", -1), rank)})
    if o in ("LayerNormalization", "RMSNormalization"):
        first = ax(a.get("axis", -1), rank)
        w, b = (x + [None, None])[1:3]
        k = rank - first
        shape = np.asarray(x[0]).shape[first:]
        for t in (w, b):
            if t is not None and np.asarray(t).shape != shape: raise NE("weight that broadcasts")
        args = {"has": [w is not None, b is not None], "eps": float(a.get("epsilon", 1e-5)), "axes": k}
        more = ("mean and 1/std as results of layer_norm",) if len(y) > 1 else ()
        return Case("layer_norm" if o[0] == "L" else "rms_norm", [arr(t) for t in (x[0], w, b) if t is not None], args, want=[arr(y[0])], more=more)
    if o == "MatMul": return Case("matmul", [arr(x[0]), arr(x[1])])
    if o == "Gemm":
        return Case("gemm", [arr(t) for t in x if t is not None], {"alpha": float(a.get("alpha", 1)), "beta": float(a.get("beta", 1)), "trans_a": bool(a.get("transA", 0)), "trans_b": bool(a.get("transB", 0))})
    if o == "Transpose": return Case("permute", [arr(x[0])], {"axes": list(a.get("perm", range(rank)[::-1]))})
    if o in ("Squeeze", "Unsqueeze"):
        axes = a.get("axes") or ([int(v) for v in np.asarray(x[1]).flatten()] if len(x) > 1 and x[1] is not None else None)
        if o == "Squeeze": return Case("squeeze", [arr(x[0])], {"axes": axes})
        if len(axes) == 1: return Case("unsqueeze", [arr(x[0])], {"axis": axes[0]})
    if o in ("Reshape", "Unsqueeze", "Flatten"): return Case("reshape", [arr(x[0])], {"shape": list(y[0].shape)})
    if o == "Slice":
        p = arr(x[0])
        st, en = np.asarray(x[1]), np.asarray(x[2])
        axes = np.asarray(x[3]) if len(x) > 3 and x[3] is not None else np.arange(len(st))
        steps = np.asarray(x[4]) if len(x) > 4 and x[4] is not None else np.ones(len(st), int)
        parts = []
        for s, e_, d, step in zip(st, en, axes, steps):
            if step < 0: raise NE("negative step of a slice")
            d = ax(d, rank)
            # The crate refuses what goes beyond the axis, where ONNX cuts it off.
            s, e_, step = slice(int(s), int(e_), int(step)).indices(p.shape[d])
            parts.append([d, s, max(s, e_), step])
        return Case("slice", [p], {"parts": parts})
    if o == "Split":
        d = ax(a.get("axis", 0), rank)
        return Case("split_with_sizes", [arr(x[0])], {"into": [v.shape[d] for v in y], "axis": d})
    if o == "Concat": return Case("cat", [arr(t) for t in x], {"axis": ax(a["axis"], rank)})
    if o == "Gather":
        d = ax(a.get("axis", 0), rank)
        i = arr(x[1], index=True)
        v = np.asarray(y[0]); shape = x[0].shape
        return Case("index_select", [arr(x[0]), i.reshape(-1)], {"axis": d}, want=[arr(v.reshape(shape[:d] + (i.size,) + shape[d + 1:]))])
    if o == "GatherElements": return Case("gather", [arr(x[0]), arr(x[1], index=True)], {"axis": ax(a.get("axis", 0), rank)})
    if o in ("ScatterElements", "Scatter"):
        if a.get("reduction", "none") != "add": raise NE(f"scatter with reduction={a.get('reduction', 'none')}")
        return Case("scatter_add", [arr(x[0]), arr(x[1], index=True), arr(x[2])], {"axis": ax(a.get("axis", 0), rank)})
    if o == "Conv":
        k = list(x[1].shape[2:])
        w = {**window(a, rank, x[0].shape[2:], k, "conv2d"), "groups": a.get("group", 1)}
        return Case("conv2d", [arr(t) for t in x if t is not None], w)
    if o == "ConvTranspose":
        if rank != 4: raise NE(f"{rank - 2}-D conv_transpose")
        k = list(x[1].shape[2:])
        why = []
        d = list(a.get("dilations", [1, 1]))
        pads, stride = list(a.get("pads", [0] * 4)), list(a.get("strides", [1, 1]))
        out = list(y[0].shape[2:])
        if a.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in a:
            op = list(a.get("output_padding", [0, 0])); pads = [0] * 4
            for i in range(2):
                total = stride[i] * (x[0].shape[2 + i] - 1) + op[i] + (k[i] - 1) * d[i] + 1 - out[i]
                low = total // 2 if a.get("auto_pad") == "SAME_UPPER" else total - total // 2
                if total < 0: why.append("output larger than conv_transpose's"); break
                pads[i], pads[i + 2] = low, total - low
        reach = [out[i] + pads[i] + pads[i + 2] - (k[i] - 1) * d[i] - 1 for i in range(2)]
        if not why and any(reach[i] // stride[i] + 1 != x[0].shape[2 + i] for i in range(2)): why.append("output_padding of conv_transpose")
        if len(x) > 2 and x[2] is not None: why.append("bias of conv2d_backward_input")
        if why: raise NE(*why)
        return Case("conv2d_backward_input", [arr(x[0]), arr(x[1])], {"kernel": k, "stride": stride, "padding": pads, "dilation": d, "groups": a.get("group", 1), "input": list(y[0].shape)})
    if o == "MaxPool":
        p = arr(x[0])
        if p.dtype.kind in "iu": raise NE("max_pool2d of integers")
        w = window(a, rank, x[0].shape[2:], a["kernel_shape"], "max_pool2d")
        flat = len(y) > 1 and x[0].shape[:2] == (1, 1) and not a.get("storage_order")
        if len(y) == 1: return Case("max_pool2d", [p], w)
        return Case("max_pool2d_with_indices", [p], w, want=[arr(y[0]), np.asarray(y[1]).astype(np.uint32) if flat else None])
    if o == "AveragePool":
        w = window(a, rank, x[0].shape[2:], a["kernel_shape"], "avg_pool2d")
        return Case("avg_pool2d", [arr(x[0])], {**w, "count_include_pad": bool(a.get("count_include_pad", 0))})
    if o in ("GlobalAveragePool", "GlobalMaxPool"):
        return Case("mean" if o == "GlobalAveragePool" else "amax", [arr(x[0])], {"axes": list(range(2, rank)), "keep": True})
    if o == "Resize":
        mode, coord = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
        why = []
        if mode == "cubic": raise NE("cubic of Resize")
        if a.get("antialias"): why.append("antialias of Resize")
        if mode == "nearest":
            nm = a.get("nearest_mode", "round_prefer_floor")
            if coord != "asymmetric" or nm != "floor": why.append(f"nearest with {coord}, {nm}")
        elif coord not in ("half_pixel", "align_corners"): why.append(f"linear with {coord}")
        if rank != 4 or y[0].shape[:2] != x[0].shape[:2]: why.append("Resize of other axes than height and width of 4")
        if a.get("exclude_outside"): why.append("exclude_outside")
        sc = x[2] if len(x) > 2 and x[2] is not None else None
        if sc is not None and len(sc) and not why:
            sc = np.asarray(sc)
            if len(sc) == 4 and any(abs(y[0].shape[i] / x[0].shape[i] - sc[i]) > 1e-6 for i in (2, 3)): why.append("scale other than the sizes' ratio")
        if why and mode == "nearest" and rank == 4:
            # Some others come to the same elements.
            v, z = np.asarray(x[0]), np.asarray(y[0])
            if v.dtype == np.float32 and v.shape[:2] == z.shape[:2]:
                rows, cols = (np.arange(z.shape[i]) * v.shape[i] // z.shape[i] for i in (2, 3))
                if np.array_equal(v[:, :, rows][:, :, :, cols], z): why = []
        if why: raise NE(*why)
        if mode == "nearest": return Case("upsample_nearest", [arr(x[0])], {"size": list(y[0].shape[2:])})
        return Case("upsample_bilinear", [arr(x[0])], {"size": list(y[0].shape[2:]), "align_corners": coord == "align_corners"})
    if o == "Upsample": return Case("upsample_nearest", [arr(x[0])], {"size": list(y[0].shape[2:])})
    if o in ("SoftmaxCrossEntropyLoss",):
        # Targets are i32, which have the negative ones that are ignored, too.
        w = [arr(x[2])] if len(x) > 2 and x[2] is not None else []
        args = {"reduction": a.get("reduction", "mean"), "ignore_index": int(a.get("ignore_index", -100)), "label_smoothing": 0.0}
        loss = Case("cross_entropy", [arr(x[0]), np.asarray(x[1]).astype(np.int32), *w], args, want=[arr(y[0])])
        return [loss] + [Case("log_softmax", [arr(x[0])], {"axis": 1}, want=[arr(v)]) for v in y[1:]]
    if o == "Expand": return Case("expand", [arr(x[0])], {"shape": list(y[0].shape)})
    if o == "Range":
        v = arr(y[0])
        return Case("arange", [], {"count": int(v.size), "start": float(x[0]), "step": float(x[2]), "dtype": NAMES[v.dtype]})
    if o == "ConstantOfShape":
        v = arr(y[0])
        return Case("full", [], {"shape": list(v.shape), "dtype": NAMES[v.dtype], "scalar": float(v.flatten()[0]) if v.size else 0.0})
    return None


absent, several = set(), 0
for t in collect_testcases(None):
    nodes = t.model.graph.node
    if len(nodes) != 1:
        several += 1
        continue
    n = nodes[0]
    a = {p.name: helper.get_attribute_value(p) for p in n.attribute}
    a = {k: v.decode() if isinstance(v, bytes) else v for k, v in a.items()}
    for ins, outs in t.data_sets:
        to_np = lambda v: numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v
        ins = [to_np(v) for v in ins]; outs = [to_np(v) for v in outs]
        names = [i.name for i in t.model.graph.input]
        given = dict(zip(names, ins))
        x = [given.get(i) if i else None for i in n.input]
        id = f"onnx/{n.op_type}/{t.name}"
        try:
            cases = plan(n, a, x, outs)
            if cases is None:
                absent.add(n.op_type)
                continue
            for c in cases if isinstance(cases, list) else [cases]:
                want = c.want or [arr(v) for v in outs]
                o = [None if v is None else {"value": np.asarray(v)} for v in want]
                if c.op == "cast" and NAMES[want[0].dtype] != c.args["to"]: raise NE(f"dtype {outs[0].dtype}")
                # Its expected values are written with four decimals, of which the last is off by one; the runner of ONNX allows 1e-3.
                if t.name == "test_averagepool_2d_ceil_last_window_starts_on_pad": o[0]["bound"] = 1e-3 * np.abs(want[0])
                W.case(id, c.op, [W.spec(v) for v in c.inputs], c.args, o,
                       no_in_place=c.op in ("add", "sub", "mul", "div", "div_trunc", "remainder", "fmod", "pow", "maximum", "minimum", "clamp")
                       and c.inputs[0].shape != want[0].shape, **({"promotes": True} if c.promotes else {}))
                for m in c.more: W.inexpressible(id + "#more", [m])
        except NE as ne:
            W.inexpressible(id, ne.why, f"{ {k: v for k, v in a.items() if not isinstance(v, onnx.TensorProto)} } {[None if v is None else (np.asarray(v).dtype.name, np.asarray(v).shape) for v in x]}")
        except Exception as error: W.fails(id, error)
W.about["absent"] = sorted(absent)
W.about["skipped"]["tests whose graph has several nodes"] = several
W.close()
