//! Inputs of a case: arrays from the data, as tensors with the strides of the case.

use serde_json::Value;
use wgpu_pool::{AvgPool2d, Conv2d, DType, MaxPool2d, Padding, Pool, Tensor, TensorError, Unfold, f16};

/// The error of a run without a result.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The crate's error.
    Refused(String),
    /// This program does not have the operation or the form: the program and the generators do not match.
    Unknown,
}

pub(crate) type R<T> = Result<T, Failure>;

/// The error as its text.
pub(crate) fn e<T>(r: Result<T, TensorError>) -> R<T> {
    r.map_err(|error| Failure::Refused(error.to_string()))
}

/// The layout of inputs for which the case has no strides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    /// Contiguous.
    Contiguous,
    /// Every second element, with an offset of one: `noncontiguous_like` of `torch.testing`.
    Gaps,
    /// The axes in memory in reverse order.
    Reversed,
}

/// The arrays of a folder of cases.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) bytes: Vec<u8>,
    pub(crate) layout: Layout,
}

impl Data {
    fn array<T: bytemuck::Pod>(&self, at: usize, elements: usize) -> Vec<T> {
        bytemuck::pod_collect_to_vec(&self.bytes[at..at + elements * size_of::<T>()])
    }

    /// An array as numbers that hold each of its elements.
    pub(crate) fn numbers(&self, of: DType, at: usize, elements: usize) -> Vec<f64> {
        match of {
            DType::F32 => self.array::<f32>(at, elements).into_iter().map(f64::from).collect(),
            DType::I32 => self.array::<i32>(at, elements).into_iter().map(f64::from).collect(),
            DType::U32 => self.array::<u32>(at, elements).into_iter().map(f64::from).collect(),
            DType::F16 => self.array::<f16>(at, elements).into_iter().map(f64::from).collect(),
            other => panic!("no arrays of {other:?}"),
        }
    }
}

/// The description of one array of a case.
#[derive(Clone, Debug)]
pub(crate) struct Spec<'a>(pub(crate) &'a Value);

impl Spec<'_> {
    pub(crate) fn shape(&self) -> Vec<usize> {
        list(&self.0["shape"])
    }
    pub(crate) fn dtype(&self) -> DType {
        dtype(self.0["dtype"].as_str().unwrap())
    }
    pub(crate) fn at(&self) -> usize {
        num(&self.0["at"])
    }
}

// If a case lacks an argument, its run panics and counts as a panic: no argument has a default.
pub(crate) fn list(v: &Value) -> Vec<usize> {
    v.as_array().unwrap_or_else(|| panic!("no list: {v}")).iter().map(num).collect()
}
pub(crate) fn num(v: &Value) -> usize {
    v.as_u64().unwrap_or_else(|| panic!("no whole number: {v}")) as usize
}
/// An axis or an index, which may be counted from the end.
pub(crate) fn signed(v: &Value) -> i64 {
    v.as_i64().unwrap_or_else(|| panic!("no whole number: {v}"))
}
pub(crate) fn boolean(v: &Value) -> bool {
    v.as_bool().unwrap_or_else(|| panic!("neither true nor false: {v}"))
}
pub(crate) fn real(v: &Value) -> f64 {
    match v {
        Value::String(s) => s.parse().unwrap(),
        _ => v.as_f64().unwrap_or_else(|| panic!("no number: {v}")),
    }
}
pub(crate) fn pair(v: &Value) -> [usize; 2] {
    list(v).try_into().unwrap_or_else(|_| panic!("no pair: {v}"))
}
/// The places at the edges: (height, width) for both edges of an axis, or (top, left, bottom, right).
fn padding(v: &Value) -> Padding {
    match list(v)[..] {
        [rows, columns] => [rows, columns].into(),
        [top, left, bottom, right] => Padding { top, bottom, left, right },
        _ => panic!("no padding: {v}"),
    }
}
pub(crate) fn convolution(a: &Value) -> Conv2d {
    let [stride, dilation] = ["stride", "dilation"].map(|name| pair(&a[name]));
    Conv2d { stride, padding: padding(&a["padding"]), dilation, groups: num(&a["groups"]) }
}
pub(crate) fn max_pool(a: &Value) -> MaxPool2d {
    let [kernel, stride, dilation] = ["kernel", "stride", "dilation"].map(|name| pair(&a[name]));
    MaxPool2d {
        kernel_size: kernel,
        stride,
        padding: padding(&a["padding"]),
        dilation,
        ceil_mode: boolean(&a["ceil_mode"]),
    }
}
pub(crate) fn avg_pool(a: &Value) -> AvgPool2d {
    let [kernel, stride] = ["kernel", "stride"].map(|name| pair(&a[name]));
    let [ceil_mode, count_include_pad] = ["ceil_mode", "count_include_pad"].map(|name| boolean(&a[name]));
    AvgPool2d { kernel_size: kernel, stride, padding: padding(&a["padding"]), ceil_mode, count_include_pad }
}
pub(crate) fn patches(a: &Value) -> Unfold {
    let [kernel, stride, dilation] = ["kernel", "stride", "dilation"].map(|name| pair(&a[name]));
    Unfold { kernel_size: kernel, stride, padding: padding(&a["padding"]), dilation }
}

/// Creates the tensor of a case: with its strides, if they are possible with the crate's views.
pub(crate) fn make(pool: &Pool, data: &Data, s: &Spec) -> R<Tensor> {
    match s.dtype() {
        DType::F32 => place(pool, data, s, f32::NAN),
        DType::I32 => place(pool, data, s, -77_777_777),
        DType::U32 => place(pool, data, s, 0xdead_beef_u32),
        _ => place(pool, data, s, f16::NAN),
    }
}

/// `filler` is the value between and around the elements.
fn place<T: wgpu_pool::Element>(pool: &Pool, data: &Data, s: &Spec, filler: T) -> R<Tensor> {
    let shape = &s.shape()[..];
    let values: Vec<T> = data.array(s.at(), shape.iter().product());
    let plain = || e(Tensor::from_slice(pool, &values, shape));
    let (strides, lead): (Vec<usize>, usize) = match (&s.0["strides"], data.layout) {
        (Value::Null, Layout::Contiguous) => return plain(),
        (Value::Null, Layout::Gaps) => (row_major(shape).iter().map(|s| s * 2).collect(), 1),
        (Value::Null, Layout::Reversed) => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            (row_major(&reversed).into_iter().rev().collect(), 1)
        }
        (strides, _) => (list(strides), usize::from(boolean(&s.0["offset"]))),
    };
    if values.is_empty() {
        return plain();
    }
    let mut dims: Vec<(usize, usize, usize)> =
        (0..shape.len()).filter(|&d| shape[d] > 1 && strides[d] > 0).map(|d| (d, shape[d], strides[d])).collect();
    dims.sort_by_key(|&(_, _, s)| std::cmp::Reverse(s));
    if dims.is_empty() {
        // One element, perhaps repeated.
        let one = e(Tensor::from_slice(pool, &values[..1], vec![1; shape.len()]))?;
        return e(one.expand(shape));
    }
    let mut base = vec![dims[0].1 + lead];
    for pair in dims.windows(2) {
        let ratio = pair[0].2 / pair[1].2;
        if pair[0].2 % pair[1].2 != 0 || pair[1].1 > ratio {
            return plain();
        }
        base.push(ratio);
    }
    base.push(dims.last().unwrap().2);
    if base.len() > 6 {
        return plain();
    }
    let mut room = vec![filler; base.iter().product()];
    for (flat, &value) in values.iter().enumerate() {
        let mut rest = flat;
        let mut at = lead * dims[0].2;
        for d in (0..shape.len()).rev() {
            at += rest % shape[d] * strides[d];
            rest /= shape[d];
        }
        room[at] = value;
    }
    let mut t = e(Tensor::from_slice(pool, &room, &base))?;
    t = e(t.narrow(0, lead, dims[0].1))?;
    for (axis, d) in dims.iter().enumerate().skip(1) {
        t = e(t.narrow(axis, 0, d.1))?;
    }
    t = e(t.narrow(dims.len(), 0, 1))?;
    // Axes of one index at the end, then all in their order.
    let mut order: Vec<usize> = dims.iter().map(|d| d.0).collect();
    let rest: Vec<usize> = (0..shape.len()).filter(|d| !order.contains(d)).collect();
    order.extend(&rest);
    let sizes: Vec<usize> = order.iter().map(|&d| if rest.contains(&d) { 1 } else { shape[d] }).collect();
    t = e(t.reshape(&sizes))?;
    let mut back = vec![0; shape.len()];
    for (position, &d) in order.iter().enumerate() {
        back[d] = position;
    }
    t = e(t.permute(&back))?;
    e(t.expand(shape))
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1);
    }
    strides
}

pub(crate) fn dtype(name: &str) -> DType {
    match name {
        "f32" => DType::F32,
        "i32" => DType::I32,
        "u32" => DType::U32,
        "f16" => DType::F16,
        _ => panic!("dtype {name}"),
    }
}
