"""Writes cases of rows and images with NaN and infinities in them, with PyTorch's results: special_cases.py DIR"""
import sys, numpy as np, torch
from cases import Writer, documented
W = Writer(sys.argv[1]); F = torch.nn.functional
W.about["versions"]["torch"] = torch.__version__
torch.manual_seed(1)
DT = {torch.float32: "f32", torch.float16: "f16"}
def put(id, op, ins, args, want, theirs=None, index=()):
    """`want` is computed in float64, and `theirs` by PyTorch in the dtype itself."""
    arrays = [t.numpy().astype(np.uint32) if k in index else t.numpy() for k, t in enumerate(ins)]
    dt = ins[0].dtype
    outs = [{"value": w.numpy().astype(np.uint32) if not w.is_floating_point() else w.to(dt).numpy()} for w in want]
    if theirs is not None: outs[0]["alt"] = theirs.numpy()
    if dt == torch.float32: outs[0]["bound"] = documented(op, [t.astype(np.float64) for t in arrays], want[0].double().numpy(), args)
    W.case(f"special/{op}/{id}", op, [W.spec(t) for t in arrays], args, outs)
def bilinear(x, size):
    """Of float64. PyTorch multiplies numbers beyond the images' edges by 0, which makes NaN of an infinity; here a weight of 0 is none."""
    f = lambda t: F.interpolate(t.double(), size, mode="bilinear")
    touches = lambda mask: f(mask) > 0
    up, down = touches(x == inf), touches(x == -inf)
    y = f(torch.where(x.isfinite(), x, 0.0))
    y = torch.where(up, inf, torch.where(down, -inf, y))
    return torch.where(touches(x.isnan()) | (up & down), nan, y)
nan, inf = float("nan"), float("inf")
for dt in DT:
    for shape in [(3, 5), (4, 64), (2, 300), (2, 5000), (1500, 7), (2, 3, 4)]:
        for name, values in {"nan": [nan], "inf": [inf], "-inf": [-inf], "inf,-inf": [inf, -inf], "nan,inf": [nan, inf], "all -inf": None, "big": [60000.0, -60000.0]}.items():
            x = torch.randn(shape).to(dt)
            if values is None: x[0] = -inf
            else:
                flat = x.view(-1)
                for k, v in enumerate(values): flat[(k * 2 + 1) % flat.numel()] = v
            n = x.dim(); xd = x.double()
            id = f"{DT[dt]} {shape} {name}"
            for axis in range(n):
                a = {"axis": axis}
                put(id, "softmax", [x], a, [torch.softmax(xd, axis)], torch.softmax(x, axis))
                put(id, "log_softmax", [x], a, [torch.log_softmax(xd, axis)], torch.log_softmax(x, axis))
                put(id, "argmax", [x], {**a, "keep": False}, [torch.argmax(x, axis)])
                put(id, "argmin", [x], {**a, "keep": False}, [torch.argmin(x, axis)])
                r = {"axes": [axis], "keep": False}
                put(id, "amax", [x], r, [torch.amax(x, axis)]); put(id, "amin", [x], r, [torch.amin(x, axis)])
                if not (dt == torch.float16 and name == "big"):
                    put(id, "sum", [x], r, [torch.sum(xd, axis)], torch.sum(x, axis)); put(id, "mean", [x], r, [torch.mean(xd, axis)], torch.mean(x, axis))
            put(id, "layer_norm", [x], {"has": [False, False], "eps": 1e-5, "axes": 1}, [F.layer_norm(xd, shape[-1:])], F.layer_norm(x, shape[-1:]))
            put(id, "rms_norm", [x], {"has": [False, False], "eps": 1e-5, "axes": 1}, [F.rms_norm(xd, shape[-1:], eps=1e-5)], F.rms_norm(x, shape[-1:], eps=1e-5))
            if n == 2:
                t = torch.randint(0, shape[1], (shape[0],))
                if name != "big": put(id, "cross_entropy", [x, t], {}, [F.cross_entropy(xd, t)], F.cross_entropy(x, t), index=(1,))
                w = torch.randn(shape[1], 3).to(dt)
                if name != "big": put(id, "matmul", [x, w], {}, [xd @ w.double()], x @ w)
    for name, values in {"nan": [nan], "inf": [inf], "-inf": [-inf], "two nan": [nan, nan]}.items():
        x = torch.randn(2, 2, 7, 8).to(dt); f = x.view(-1)
        for k, v in enumerate(values): f[9 + 3 * k] = v
        xd = x.double(); id = f"{DT[dt]} {name}"
        for k, s, p in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 1)]:
            win = {"kernel": [k, k], "stride": [s, s], "padding": [p, p], "dilation": [1, 1], "groups": 1, "ceil_mode": False, "count_include_pad": True}
            y, i = F.max_pool2d(x, k, s, p, return_indices=True)
            put(id, "max_pool2d_with_indices", [x], win, [y, i])
            put(id, "avg_pool2d", [x], win, [F.avg_pool2d(xd, k, s, p)], F.avg_pool2d(x, k, s, p))
            put(id, "unfold", [x], win, [F.unfold(xd, k, 1, p, s)])
            w = torch.randn(3, 2, k, k).to(dt)
            put(id, "conv2d", [x, w], win, [F.conv2d(xd, w.double(), None, s, p)], F.conv2d(x, w, None, s, p))
        for size in [(14, 16), (3, 4), (9, 5)]:
            put(id, "upsample_nearest", [x], {"size": list(size)}, [F.interpolate(xd, size)])
            put(id, "upsample_bilinear", [x], {"size": list(size)}, [bilinear(x, size)])
W.close()
