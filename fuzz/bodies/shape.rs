//! Views and shapes of extreme sizes, on a device without a driver: a typed error or a tensor, never a panic.

use crate::device;
use crate::input::Input;
use std::sync::OnceLock;
use wgpu_pool::{AvgPool2d, Conv2d, Corners, DType, MaxPool2d, Padding, Pool, Tensor, TensorError, Unfold, f16};

/// Never dropped: wgpu must not be used while a thread exits.
static POOL: OnceLock<Pool> = OnceLock::new();

fn shape(input: &mut Input<'_>) -> Vec<usize> {
    let rank = input.below(9);
    (0..rank).map(|_| input.extreme()).collect()
}

fn axes(input: &mut Input<'_>, most: usize) -> Vec<usize> {
    let count = input.below(most);
    (0..count).map(|_| input.extreme()).collect()
}

fn two(input: &mut Input<'_>) -> [usize; 2] {
    [input.extreme(), input.extreme()]
}

fn padding(input: &mut Input<'_>) -> Padding {
    let [top, bottom, left, right] = four(input);
    Padding { top, bottom, left, right }
}

fn patches(input: &mut Input<'_>) -> Unfold {
    Unfold { kernel_size: two(input), stride: two(input), padding: padding(input), dilation: two(input) }
}

fn convolution(input: &mut Input<'_>) -> Conv2d {
    Conv2d { stride: two(input), padding: padding(input), dilation: two(input), groups: input.extreme() }
}

fn maximum(input: &mut Input<'_>) -> MaxPool2d {
    let ceil_mode = input.byte() & 1 == 1;
    MaxPool2d { kernel_size: two(input), stride: two(input), padding: padding(input), dilation: two(input), ceil_mode }
}

fn average(input: &mut Input<'_>) -> AvgPool2d {
    let [ceil_mode, count_include_pad] = [input.byte() & 1 == 1, input.byte() & 1 == 1];
    AvgPool2d { kernel_size: two(input), stride: two(input), padding: padding(input), ceil_mode, count_include_pad }
}

fn four(input: &mut Input<'_>) -> [usize; 4] {
    [input.extreme(), input.extreme(), input.extreme(), input.extreme()]
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let pool = POOL.get_or_init(|| device::pool(wgpu::Features::empty())).clone();
    let dtype = [DType::F32, DType::I32, DType::U32, DType::F16][input.below(4)];
    let Ok(mut tensor) = Tensor::empty(&pool, shape(&mut input), dtype) else { return };
    while !input.is_empty() {
        match step(&pool, &tensor, &mut input) {
            Ok(next) => tensor = next,
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let elements = tensor.elements();
        if elements <= 1 << 16 {
            assert_eq!(length(&tensor), Some(elements));
        }
    }
    pool.check().unwrap_or_else(|broken| panic!("{broken}"));
}

/// Returns the elements that are read. `None` if the device or the limit has no room to read them.
fn length(tensor: &Tensor) -> Option<usize> {
    let read = match tensor.dtype() {
        DType::F32 => tensor.read_blocking::<f32>().map(|elements| elements.len()),
        DType::I32 => tensor.read_blocking::<i32>().map(|elements| elements.len()),
        DType::F16 => tensor.read_blocking::<f16>().map(|elements| elements.len()),
        _ => tensor.read_blocking::<u32>().map(|elements| elements.len()),
    };
    read.ok()
}

fn step(pool: &Pool, tensor: &Tensor, input: &mut Input<'_>) -> Result<Tensor, TensorError> {
    match input.below(22) {
        0 => tensor.reshape(shape(input)),
        1 => tensor.narrow(input.below(9), input.extreme(), input.extreme()),
        2 => tensor.transpose(input.below(9), input.below(9)),
        3 => tensor.permute(axes(input, 9)),
        4 | 5 => tensor.expand(shape(input)),
        6 => tensor.contiguous(),
        7 => tensor.copied(),
        8 => {
            let axes = axes(input, 4);
            if input.byte() & 1 == 1 { tensor.sum_keepdim(axes) } else { tensor.sum(axes) }
        }
        9 => tensor.add(tensor),
        10 => tensor.add(&Tensor::empty(pool, shape(input), tensor.dtype())?),
        11 => Tensor::cat(&[tensor, tensor], input.extreme()),
        12 => tensor.t(),
        13 => tensor.softmax(input.extreme()),
        14 => tensor.unfold(patches(input)),
        15 => tensor.fold([input.extreme(), input.extreme()], patches(input)),
        16 => tensor.max_pool2d_with_indices(maximum(input)).map(|pooled| pooled.0),
        17 => tensor.avg_pool2d_backward(four(input), average(input)),
        18 => tensor.upsample_bilinear([input.extreme(), input.extreme()], Corners::Outer),
        19 => tensor.conv2d(tensor, None, convolution(input)),
        20 => {
            let index = Tensor::empty(pool, shape(input), DType::U32)?;
            let axis = input.extreme();
            if input.byte() & 1 == 0 { tensor.gather(axis, &index) } else { tensor.index_select(axis, &index) }
        }
        _ => Tensor::arange(pool, input.extreme(), 0_u32, 1),
    }
}
