"""Samples of PyTorch's operations on images as cases of the crate's."""
import torch
from torch_base import NE, Case, is_t

F = torch.nn.functional


def pair(v):
    v = list(v) if isinstance(v, (tuple, list)) else [v]
    return [int(q) for q in (v * 2 if len(v) == 1 else v)]


def image_rank(x, name):
    if x.dim() not in (3, 4): raise NE(f"rank {x.dim()} of {name}")


def conv2d(o, s):
    x, w = s.input, s.args[0]
    image_rank(x, "conv2d")
    b = s.args[1] if len(s.args) > 1 else s.kwargs.get("bias")
    k = dict(zip(["stride", "padding", "dilation", "groups"], s.args[2:])) | s.kwargs
    stride, dilation, groups = pair(k.get("stride", 1)), pair(k.get("dilation", 1)), k.get("groups", 1)
    padding = k.get("padding", 0)
    if isinstance(padding, str):
        total = [d * (q - 1) if padding == "same" else 0 for d, q in zip(dilation, w.shape[2:])]
        places = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        padding = pair(padding)
        places = padding * 2
    win = {"kernel": list(w.shape[2:]), "stride": stride, "padding": places, "dilation": dilation, "groups": groups}
    cases = [Case("conv2d", [x, w] + ([b] if is_t(b) else []), win)]
    if x.is_floating_point():
        f = lambda x, w: F.conv2d(x, w, None, stride, padding, dilation, groups)
        xd, wd = x.double().requires_grad_(), w.double().requires_grad_()
        y = f(xd, wd)
        g = torch.randn(y.shape).to(x.dtype)
        gx, gw = torch.autograd.grad(y, (xd, wd), g.double())
        xf, wf = x.float().requires_grad_(), w.float().requires_grad_()
        fx, fw = torch.autograd.grad(f(xf, wf), (xf, wf), g.float())
        cases.append(Case("conv2d_backward_input", [g, w], {**win, "input": list(x.shape)}, want=lambda: gx, alt=lambda: fx.to(x.dtype)))
        cases.append(Case("conv2d_backward_weight", [g, x], {**win, "weight": list(w.shape)}, want=lambda: gw, alt=lambda: fw.to(x.dtype)))
    return cases


def max_pool(o, s):
    x, k = s.input, dict(s.kwargs)
    for n, v in zip(["kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"], s.args): k[n] = v
    image_rank(x, "max_pool2d")
    if not x.is_floating_point(): raise NE("max_pool2d of integers")
    kernel = pair(k["kernel_size"]); stride = pair(k.get("stride") or k["kernel_size"]); padding = pair(k.get("padding", 0))
    dilation, ceil = pair(k.get("dilation", 1)), bool(k.get("ceil_mode", False))
    win = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil}
    f = lambda t: F.max_pool2d(t, kernel, stride, padding, dilation, ceil, return_indices=True)
    if not k.get("return_indices"):
        return [Case("max_pool2d", [x], win, want=lambda: f(x.double())[0], alt=lambda: f(x)[0])]
    cases = [Case("max_pool2d_with_indices", [x], win, want=lambda: f(x.double()), alt=lambda: f(x), truth=[None, "index"])]
    if k.get("return_indices"):
        xd = x.double().requires_grad_()
        y, places = f(xd)
        g = torch.randn(y.shape).to(x.dtype)
        gx, = torch.autograd.grad(y, xd, g.double())
        cases.append(Case("max_pool2d_backward", [g, places], {**win, "input": list(x.shape)}, index=(1,), want=lambda: gx))
    return cases


def avg_pool(o, s):
    x, k = s.input, dict(s.kwargs)
    for n, v in zip(["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"], s.args): k[n] = v
    image_rank(x, "avg_pool2d")
    kernel = pair(k["kernel_size"]); stride = pair(k.get("stride") or k["kernel_size"]); padding = pair(k.get("padding", 0))
    if k.get("divisor_override") not in (None, kernel[0] * kernel[1]): raise NE("divisor_override of avg_pool2d")
    if not x.is_floating_point(): raise NE("avg_pool2d of integers")
    ceil, counts = bool(k.get("ceil_mode", False)), bool(k.get("count_include_pad", True))
    win = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil, "count_include_pad": counts}
    xd = x.double().requires_grad_()
    y = F.avg_pool2d(xd, kernel, stride, padding, ceil, counts, k.get("divisor_override"))
    g = torch.randn(y.shape).to(x.dtype)
    gx, = torch.autograd.grad(y, xd, g.double())
    return [Case("avg_pool2d", [x], win, want=lambda: y.detach()), Case("avg_pool2d_backward", [g], {**win, "input": list(x.shape)}, want=lambda: gx)]


def interpolate(o, s):
    x = s.input
    mode = o.variant_test_name or ("bilinear" if "bilinear" in o.name else "nearest")
    k = dict(s.kwargs)
    if s.args: k["size"] = s.args[0]
    if len(s.args) > 1: k["scale_factor"] = s.args[1]
    corners = k.get("align_corners", True if o.name.startswith("nn.functional.upsample_bilinear") else None)
    if o.name == "nn.functional.upsample_bilinear": corners = True
    y = o.op(x.double() if x.is_floating_point() else x, *s.args, **s.kwargs)
    why = []
    if x.dim() != 4: raise NE(f"rank {x.dim()} of interpolate (1-D or 3-D)")
    size = list(y.shape[2:])
    f = lambda t: F.interpolate(t, size, mode=mode, **({"align_corners": bool(corners)} if mode == "bilinear" else {}))
    if not x.is_floating_point(): raise NE("interpolate of integers")
    if not torch.allclose(f(x.double()), y, rtol=1e-4, atol=1e-5):
        why.append("scale_factor other than the sizes' ratio")
    if k.get("antialias"): why.append("antialias")
    if why: raise NE(*why)
    xd = x.double().requires_grad_()
    z = f(xd)
    g = torch.randn(z.shape).to(x.dtype)
    gx, = torch.autograd.grad(z, xd, g.double())
    xf = x.float().requires_grad_()
    fx, = torch.autograd.grad(f(xf), xf, g.float())
    a = {"align_corners": bool(corners)} if mode == "bilinear" else {}
    return [Case("upsample_" + mode, [x], {"size": size, **a}, want=lambda: z.detach(), alt=lambda: f(x)),
            Case(f"upsample_{mode}_backward", [g], {"size": list(x.shape[2:]), **a}, want=lambda: gx, alt=lambda: fx.to(x.dtype))]


def unfold(o, s):
    x = s.input
    image_rank(x, "unfold")
    k = dict(zip(["kernel_size", "dilation", "padding", "stride"], s.args)) | s.kwargs
    kernel, dilation, padding, stride = (pair(k.get(n, v)) for n, v in (("kernel_size", 1), ("dilation", 1), ("padding", 0), ("stride", 1)))
    win = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    f = lambda t: F.unfold(t, kernel, dilation, padding, stride)
    cases = [Case("unfold", [x], win, want=lambda: f(x.double()) if x.is_floating_point() else f(x))]
    y = f(x.float())
    if x.is_floating_point() and y.numel():
        c = torch.randn(y.shape).to(x.dtype)
        size = list(x.shape[-2:])
        cases.append(Case("fold", [c], {**win, "size": size}, want=lambda: F.fold(c.double(), size, kernel, dilation, padding, stride)))
    return cases
