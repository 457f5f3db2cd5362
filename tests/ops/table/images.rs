//! Rows of operations on images, and of their gradients.

use super::{ALL, FLOATS, Row, any, below, check, rectified};
use crate::common::Outcome;
use crate::model::{Array, indices};
use crate::window::Window;
use wgpu_pool::{Activation, Corners, DType, Tensor, TensorError};

/// Images and windows over them: odd sizes, gaps, edges, and several outputs of a kernel's block.
const WINDOWS: [([usize; 4], usize, Window); 3] = [
    ([2, 3, 5, 7], 4, Window::new([3, 3], [1, 1], [1, 1])),
    ([3, 2, 6, 4], 9, Window::new([2, 3], [2, 1], [1, 0])),
    ([1, 4, 4, 8], 8, Window::new([1, 2], [1, 3], [0, 1])),
];
/// Windows of convolutions alone: groups, of which one is depthwise, a dilation, and a padding that differs from edge to edge.
const CONVOLVED: [([usize; 4], usize, Window); 3] = [
    ([2, 4, 5, 7], 6, Window { groups: 2, dilation: [1, 2], ..Window::new([2, 3], [1, 1], [1, 2]) }),
    ([1, 3, 6, 8], 6, Window { groups: 3, padding: [[0, 2], [1, 0]], ..Window::new([3, 2], [2, 1], [0, 0]) }),
    ([2, 3, 7, 4], 9, Window { dilation: [3, 1], padding: [[2, 3], [0, 1]], ..Window::new([2, 2], [1, 2], [0, 0]) }),
];
/// Windows of patches alone.
const UNFOLDED: [([usize; 4], usize, Window); 1] =
    [([2, 3, 7, 6], 1, Window { dilation: [2, 3], padding: [[1, 0], [2, 1]], ..Window::new([3, 2], [2, 1], [0, 0]) })];
/// Windows of pooling alone: a dilation, and positions that reach beyond the edge.
const POOLED: [([usize; 4], usize, Window); 4] = [
    ([2, 3, 7, 9], 1, Window { padding: [[0, 1], [2, 0]], ..Window::new([3, 4], [2, 3], [0, 0]) }),
    ([1, 2, 8, 7], 1, Window { padding: [[1, 2], [0, 2]], ceil_mode: true, ..Window::new([4, 4], [3, 2], [0, 0]) }),
    ([2, 3, 7, 9], 1, Window { dilation: [2, 1], ceil_mode: true, ..Window::new([3, 2], [2, 3], [1, 1]) }),
    ([1, 2, 8, 7], 1, Window { dilation: [1, 2], ceil_mode: true, ..Window::new([3, 3], [2, 2], [0, 1]) }),
];
const AVERAGED: [([usize; 4], usize, Window); 7] = [
    (
        [1, 2, 8, 7],
        1,
        Window { padding: [[0, 2], [0, 1]], count_include_pad: false, ..Window::new([4, 3], [2, 1], [0, 0]) },
    ),
    ([2, 3, 7, 9], 1, Window { padding: [[0, 1], [2, 0]], ..Window::new([3, 4], [2, 3], [0, 0]) }),
    ([1, 2, 8, 7], 1, Window { padding: [[1, 2], [0, 2]], ceil_mode: true, ..Window::new([4, 4], [3, 2], [0, 0]) }),
    (
        [1, 2, 8, 7],
        1,
        Window { padding: [[2, 0], [1, 2]], count_include_pad: false, ..Window::new([4, 5], [3, 2], [0, 0]) },
    ),
    ([2, 3, 7, 9], 1, Window { ceil_mode: true, ..Window::new([3, 2], [2, 3], [1, 1]) }),
    ([1, 2, 8, 7], 1, Window { count_include_pad: false, ..Window::new([3, 3], [2, 2], [0, 1]) }),
    ([2, 1, 6, 8], 1, Window { ceil_mode: true, count_include_pad: false, ..Window::new([3, 4], [2, 3], [1, 2]) }),
];

fn stops(size: [usize; 4], window: Window) -> [usize; 2] {
    window.positions([size[2], size[3]])
}

/// Every place of an image under every stop of a window: the stop, the tap of the window, and the place in the image.
fn under(size: [usize; 4], window: Window) -> Vec<([usize; 2], [usize; 2], [usize; 2])> {
    taps_of(size, window).into_iter().filter_map(|(stop, tap, place)| Some((stop, tap, place?))).collect()
}

/// A position of a window, a tap, and the place in the image.
type Tap = ([usize; 2], [usize; 2], Option<[usize; 2]>);

/// As [`under`], with the taps over the padding, which have no place.
fn taps_of(size: [usize; 4], window: Window) -> Vec<Tap> {
    let mut found = Vec::new();
    for stop in indices(&stops(size, window)) {
        for tap in indices(&window.kernel) {
            let (stop, tap) = ([stop[0], stop[1]], [tap[0], tap[1]]);
            found.push((stop, tap, window.under([size[2], size[3]], stop, tap)));
        }
    }
    found
}

/// The number of an element in row-major order.
fn place(shape: &[usize], index: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |place, (index, size)| place * size + index)
}

fn add(array: &mut Array<f64>, index: &[usize], value: f64) {
    let at = place(&array.shape, index);
    array.elements[at] += value;
}

fn zeros(shape: &[usize]) -> Array<f64> {
    Array::new(shape, || 0.0)
}

/// Calls `each` with the indices of an image, a weight and a result that a convolution multiplies and adds up; with none of an
/// image for the zeros of the padding.
fn convolve(
    size: [usize; 4],
    outputs: usize,
    window: Window,
    mut each: impl FnMut(Option<[usize; 4]>, [usize; 4], [usize; 4]),
) {
    let taps = taps_of(size, window);
    for n in 0..size[0] {
        let channels = size[1] / window.groups;
        for (o, c) in (0..outputs).flat_map(|o| (0..channels).map(move |c| (o, c))) {
            let first = o / (outputs / window.groups) * channels;
            for &(stop, within, place) in &taps {
                let image = place.map(|place| [n, first + c, place[0], place[1]]);
                each(image, [o, c, within[0], within[1]], [n, o, stop[0], stop[1]]);
            }
        }
    }
}

pub(super) fn convolutions() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, outputs, window) in WINDOWS.into_iter().chain(CONVOLVED) {
        let [batch, channels, ..] = size;
        let weight = [outputs, channels / window.groups, window.kernel[0], window.kernel[1]];
        let [height, width] = stops(size, window);
        let result = [batch, outputs, height, width];
        let run = move |x: &[&Tensor]| Ok(vec![x[0].conv2d(x[1], Some(x[2]), window.conv())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&result);
            convolve(size, outputs, window, |i, w, r| add(&mut sums, &r, i.map_or(0.0, |i| x[0].at(&i)) * x[1].at(&w)));
            vec![sums.zip(&x[2].reshape(&[outputs, 1, 1]), |sum, bias| sum + bias)]
        };
        rows.push(Row::new("conv2d", ALL, vec![any(&size), any(&weight), any(&[outputs])], run, model).within(1e-5));
        let relu = Some(Activation::Relu);
        let run = move |x: &[&Tensor]| Ok(vec![x[0].conv2d_then(x[1], Some(x[2]), window.conv(), relu)?]);
        let model = move |x: &[&Array<f64>], dtype: DType| {
            let sums = model(x, dtype).remove(0);
            vec![sums.map(|sum| rectified(sum, dtype))]
        };
        rows.push(
            Row::new("conv2d_then", ALL, vec![any(&size), any(&weight), any(&[outputs])], run, model).within(1e-5),
        );
        let run = move |x: &[&Tensor]| Ok(vec![x[0].conv2d_backward_input(size, x[1], window.conv())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&size);
            let product = |r: [usize; 4], w: [usize; 4]| x[0].at(&r) * x[1].at(&w);
            convolve(size, outputs, window, |i, w, r| i.into_iter().for_each(|i| add(&mut sums, &i, product(r, w))));
            vec![sums]
        };
        // Every tap at every place, with zeros beyond the edges and between the strides: kernels may multiply some of them.
        let beyond = move |x: &[&Array<f64>], dtype: DType| {
            let mut sums = model(x, dtype).remove(0);
            let channels = size[1] / window.groups;
            for (index, w) in
                indices(&size).iter().flat_map(|index| indices(&weight).into_iter().map(move |w| (index, w)))
            {
                if index[1] % channels == w[1] && index[1] / channels == w[0] / (outputs / window.groups) {
                    add(&mut sums, index, 0.0 * x[1].at(&w));
                }
            }
            vec![sums]
        };
        let row = Row::new("conv2d_backward_input", ALL, vec![any(&result), any(&weight)], run, model).within(1e-5);
        rows.push(row.or(beyond));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].conv2d_backward_weight(x[1], weight, window.conv())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&weight);
            convolve(size, outputs, window, |i, w, r| add(&mut sums, &w, x[0].at(&r) * i.map_or(0.0, |i| x[1].at(&i))));
            vec![sums]
        };
        rows.push(Row::new("conv2d_backward_weight", ALL, vec![any(&result), any(&size)], run, model).within(1e-5));
    }
    rows
}

pub(super) fn patches() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, _, window) in WINDOWS.into_iter().chain(UNFOLDED) {
        let [batch, channels, height, width] = size;
        let [down, across] = stops(size, window);
        let places = window.kernel[0] * window.kernel[1];
        let columns = [batch, channels * places, down * across];
        let line = move |c: usize, within: [usize; 2]| c * places + within[0] * window.kernel[1] + within[1];
        let each = move |mut each: Box<dyn FnMut([usize; 4], [usize; 3]) + '_>| {
            for (stop, within, place) in under(size, window) {
                for (n, c) in (0..batch).flat_map(|n| (0..channels).map(move |c| (n, c))) {
                    each([n, c, place[0], place[1]], [n, line(c, within), stop[0] * across + stop[1]]);
                }
            }
        };
        let run = move |x: &[&Tensor]| Ok(vec![x[0].unfold(window.unfold())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut found = zeros(&columns);
            each(Box::new(|image, column| add(&mut found, &column, x[0].at(&image))));
            vec![found]
        };
        rows.push(Row::new("unfold", ALL, vec![any(&size)], run, model));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].fold([height, width], window.unfold())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut found = zeros(&size);
            each(Box::new(|image, column| add(&mut found, &image, x[0].at(&column))));
            vec![found]
        };
        rows.push(Row::new("fold", ALL, vec![any(&columns)], run, model));
    }
    rows
}

pub(super) fn pools() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, _, window) in WINDOWS.into_iter().chain(POOLED) {
        let [batch, channels, _, width] = size;
        let [down, across] = stops(size, window);
        let result = [batch, channels, down, across];
        let planes = move || (0..batch).flat_map(move |n| (0..channels).map(move |c| (n, c)));
        let run = move |x: &[&Tensor]| {
            let (values, places) = x[0].max_pool2d_with_indices(window.max())?;
            Ok(vec![values, places])
        };
        let model = move |x: &[&Array<f64>], _: DType| {
            let (mut most, mut places) = (Array::new(&result, || f64::NAN), zeros(&result));
            let mut is_first = Array::new(&result, || true);
            for (n, c) in planes() {
                for (stop, _, [row, column]) in under(size, window) {
                    let (at, value) = (place(&result, &[n, c, stop[0], stop[1]]), x[0].at(&[n, c, row, column]));
                    // As PyTorch: the first of equal elements, and the last NaN.
                    if is_first.elements[at] || value > most.elements[at] || value.is_nan() {
                        is_first.elements[at] = false;
                        most.elements[at] = value;
                        places.elements[at] = (row * width + column) as f64;
                    }
                }
            }
            vec![most, places]
        };
        rows.push(Row::new("max_pool2d_with_indices", FLOATS, vec![any(&size)], run, model));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].max_pool2d(window.max())?]);
        let model = move |x: &[&Array<f64>], dtype: DType| vec![model(x, dtype).swap_remove(0)];
        rows.push(Row::new("max_pool2d", FLOATS, vec![any(&size)], run, model));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].max_pool2d_backward(x[1], size, window.max())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&size);
            for (n, c) in planes() {
                for (stop, _, [row, column]) in under(size, window) {
                    let index = [n, c, stop[0], stop[1]];
                    if x[1].at(&index) == (row * width + column) as f64 {
                        add(&mut sums, &[n, c, row, column], x[0].at(&index));
                    }
                }
            }
            vec![sums]
        };
        // Places that no forward pass gave, most of them under their window or not.
        let operands = vec![any(&result), below(&result, size[2] * size[3])];
        rows.push(Row::new("max_pool2d_backward", FLOATS, operands, run, model));
    }
    for (size, _, window) in WINDOWS.into_iter().chain(AVERAGED) {
        let [batch, channels, ..] = size;
        let [down, across] = stops(size, window);
        let result = [batch, channels, down, across];
        let planes = move || (0..batch).flat_map(move |n| (0..channels).map(move |c| (n, c)));
        let counted = move |stop: [usize; 2]| window.counted([size[2], size[3]], stop) as f64;
        let run = move |x: &[&Tensor]| Ok(vec![x[0].avg_pool2d(window.avg())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&result);
            for (n, c) in planes() {
                for (stop, _, [row, column]) in under(size, window) {
                    add(&mut sums, &[n, c, stop[0], stop[1]], x[0].at(&[n, c, row, column]) / counted(stop));
                }
            }
            vec![sums]
        };
        rows.push(Row::new("avg_pool2d", FLOATS, vec![any(&size)], run, model));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].avg_pool2d_backward(size, window.avg())?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut sums = zeros(&size);
            for (n, c) in planes() {
                for (stop, _, [row, column]) in under(size, window) {
                    add(&mut sums, &[n, c, row, column], x[0].at(&[n, c, stop[0], stop[1]]) / counted(stop));
                }
            }
            vec![sums]
        };
        rows.push(Row::new("avg_pool2d_backward", FLOATS, vec![any(&result)], run, model));
    }
    rows
}

/// The interpolation of a resized image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resampling {
    Nearest,
    Bilinear(Corners),
}

/// The interpolation of an element along one axis: two indices and their weights.
fn taps(at: usize, size: usize, out: usize, resampling: Resampling) -> [(usize, f64); 2] {
    let source = match resampling {
        Resampling::Nearest => return [(at * size / out, 1.0), (0, 0.0)],
        Resampling::Bilinear(Corners::Outer) => ((at as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0),
        Resampling::Bilinear(Corners::Centers) => (at * (size - 1)) as f64 / (out.max(2) - 1) as f64,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place of the image")]
    let low = (source as usize).min(size - 1);
    let upper = source - low as f64;
    [(low, 1.0 - upper), ((low + 1).min(size - 1), upper)]
}

/// A function of an element of the small image, an element of the large image, and the weight of the first in the second.
type Weighed<'a> = Box<dyn FnMut([usize; 4], [usize; 4], f64) + 'a>;
type Resample = fn(&Tensor, [usize; 2]) -> Result<Tensor, TensorError>;

pub(super) fn sizes() -> Vec<Row> {
    let kinds: [(&str, Resample, Resample, Resampling); 3] = [
        ("upsample_nearest", Tensor::upsample_nearest, Tensor::upsample_nearest_backward, Resampling::Nearest),
        (
            "upsample_bilinear",
            |x, size| x.upsample_bilinear(size, Corners::Outer),
            |x, size| x.upsample_bilinear_backward(size, Corners::Outer),
            Resampling::Bilinear(Corners::Outer),
        ),
        (
            "upsample_bilinear",
            |x, size| x.upsample_bilinear(size, Corners::Centers),
            |x, size| x.upsample_bilinear_backward(size, Corners::Centers),
            Resampling::Bilinear(Corners::Centers),
        ),
    ];
    let mut rows = Vec::new();
    for (name, run, back, resampling) in kinds {
        for (small, [down, across]) in
            [([2, 3, 3, 5], [7, 9]), ([1, 2, 4, 8], [8, 16]), ([1, 1, 6, 5], [4, 3]), ([1, 2, 1, 5], [3, 1])]
        {
            let [batch, channels, height, width] = small;
            let large = [batch, channels, down, across];
            let each = move |mut each: Weighed<'_>| {
                for index in indices(&large) {
                    let [n, c, row, column] = index[..] else { continue };
                    for (from_row, weight) in taps(row, height, down, resampling) {
                        for (from_column, other) in taps(column, width, across, resampling) {
                            each([n, c, from_row, from_column], [n, c, row, column], weight * other);
                        }
                    }
                }
            };
            let run = move |x: &[&Tensor]| Ok(vec![run(x[0], [down, across])?]);
            let model = move |x: &[&Array<f64>], _: DType| {
                let mut found = zeros(&large);
                // An element next to the place has no part, not even times zero.
                let part = |x: f64, weight: f64| if weight == 0.0 { 0.0 } else { x * weight };
                each(Box::new(|from, to, weight| add(&mut found, &to, part(x[0].at(&from), weight))));
                vec![found]
            };
            let detail = format!("{resampling:?}");
            rows.push(Row::new(name, FLOATS, vec![any(&small)], run, model).within(1e-5).detail(&detail));
            let run = move |x: &[&Tensor]| Ok(vec![back(x[0], [height, width])?]);
            let model = move |x: &[&Array<f64>], _: DType| {
                let mut found = zeros(&small);
                let part = |x: f64, weight: f64| if weight == 0.0 { 0.0 } else { x * weight };
                each(Box::new(|from, to, weight| add(&mut found, &from, part(x[0].at(&to), weight))));
                vec![found]
            };
            let row = Row::new(&format!("{name}_backward"), FLOATS, vec![any(&large)], run, model);
            rows.push(row.within(1e-5).detail(detail));
        }
    }
    rows
}

#[test]
fn convolutions_and_both_gradients() -> Outcome {
    check(&convolutions())
}

#[test]
fn patches_and_images_of_patches() -> Outcome {
    check(&patches())
}

#[test]
fn pooling_and_its_gradients() -> Outcome {
    check(&pools())
}

#[test]
fn other_sizes_and_their_gradients() -> Outcome {
    check(&sizes())
}
