//! The model: arrays on the CPU, each operation in the most obvious way, and how far a device may be from it.

use crate::common::random::Random;
use std::fmt;
use wgpu_pool::{Element, Pool, Tensor, TensorError};

/// An array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Vec<T>,
}

/// Calls `act` with every index of a shape, in row-major order. Loops of integers, because tests are compiled without optimization and spend
/// much of their time here.
pub(crate) fn each_index(shape: &[usize], mut act: impl FnMut(&[usize])) {
    let mut index = vec![0; shape.len()];
    if shape.contains(&0) {
        return;
    }
    loop {
        act(&index);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

/// Every index of a shape, in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    each_index(shape, |index| all.push(index.to_vec()));
    all
}

/// The place of an index in an array whose axes have these strides.
fn dot(index: &[usize], strides: &[usize]) -> usize {
    let (mut place, mut axis) = (0, 0);
    while axis < index.len() {
        place += index[axis] * strides[axis];
        axis += 1;
    }
    place
}

/// The strides of a contiguous array.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

impl<T: Copy> Array<T> {
    pub(crate) fn new(shape: &[usize], mut element: impl FnMut() -> T) -> Self {
        let elements = (0..shape.iter().product()).map(|_| element()).collect();
        Self { shape: shape.to_vec(), elements }
    }

    pub(crate) fn by_index(shape: &[usize], element: impl Fn(&[usize]) -> T) -> Self {
        let mut elements = Vec::with_capacity(shape.iter().product());
        each_index(shape, |index| elements.push(element(index)));
        Self { shape: shape.to_vec(), elements }
    }

    pub(crate) fn at(&self, index: &[usize]) -> T {
        let (mut place, mut axis) = (0, 0);
        while axis < index.len() {
            place = place * self.shape[axis] + index[axis];
            axis += 1;
        }
        self.elements[place]
    }

    /// The elements from `start` on, with these strides.
    fn view(&self, shape: &[usize], strides: &[usize], start: usize) -> Self {
        Self::by_index(shape, |index| self.elements[start + dot(index, strides)])
    }

    pub(crate) fn permute(&self, axes: &[usize]) -> Self {
        let own = strides(&self.shape);
        let [shape, strides] = [&self.shape, &own].map(|of| axes.iter().map(|&axis| of[axis]).collect::<Vec<_>>());
        self.view(&shape, &strides, 0)
    }

    pub(crate) fn narrow(&self, axis: usize, start: usize, length: usize) -> Self {
        let (mut shape, strides) = (self.shape.clone(), strides(&self.shape));
        shape[axis] = length;
        self.view(&shape, &strides, start * strides[axis])
    }

    pub(crate) fn expand(&self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self.clone();
        }
        let own = self.shape.iter().zip(strides(&self.shape)).map(|(&size, stride)| if size == 1 { 0 } else { stride });
        let strides: Vec<usize> = vec![0; shape.len() - self.shape.len()].into_iter().chain(own).collect();
        self.view(shape, &strides, 0)
    }

    pub(crate) fn reshape(&self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), elements: self.elements.clone() }
    }

    pub(crate) fn map<R>(&self, apply: impl Fn(T) -> R) -> Array<R> {
        self.map_each(apply)
    }

    /// Element by element, in order.
    pub(crate) fn map_each<R>(&self, mut apply: impl FnMut(T) -> R) -> Array<R> {
        let mut elements = Vec::with_capacity(self.elements.len());
        for &element in &self.elements {
            elements.push(apply(element));
        }
        Array { shape: self.shape.clone(), elements }
    }

    /// Element by element, the shapes broadcast to each other.
    pub(crate) fn zip(&self, other: &Self, apply: impl Fn(T, T) -> T) -> Self {
        let rank = self.shape.len().max(other.shape.len());
        let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let sizes = padded(&self.shape).into_iter().zip(padded(&other.shape));
        let shape: Vec<usize> = sizes.map(|(left, right)| if left == 1 { right } else { left }).collect();
        let (mut result, right) = (self.expand(&shape), other.expand(&shape));
        let mut place = 0;
        while place < result.elements.len() {
            result.elements[place] = apply(result.elements[place], right.elements[place]);
            place += 1;
        }
        result
    }

    /// All elements along some axes, joined from `start` on; the axes are kept with size 1 or dropped.
    pub(crate) fn fold<R: Copy>(&self, axes: &[usize], keep: bool, start: R, join: impl Fn(R, T) -> R) -> Array<R> {
        let is_reduced = |axis: usize| axes.is_empty() || axes.contains(&axis);
        let ones = self.shape.iter().enumerate().map(|(axis, &size)| if is_reduced(axis) { 1 } else { size });
        let kept: Vec<usize> = ones.collect();
        let mut into = strides(&kept);
        (0..kept.len()).filter(|&axis| is_reduced(axis)).for_each(|axis| into[axis] = 0);
        let mut sums = vec![start; kept.iter().product()];
        let mut next = 0;
        each_index(&self.shape, |index| {
            let place = dot(index, &into);
            sums[place] = join(sums[place], self.elements[next]);
            next += 1;
        });
        let axes_left = (0..self.shape.len()).filter(|&axis| !is_reduced(axis));
        let shape = if keep { kept } else { axes_left.map(|axis| self.shape[axis]).collect() };
        Array { shape, elements: sums }
    }
}

impl Array<f64> {
    /// Whether shape and elements are the same, to the last bit.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let mut pairs = self.elements.iter().zip(&other.elements);
        self.shape == other.shape && pairs.all(|(one, other)| one.to_bits() == other.to_bits())
    }
}

impl Array<f32> {
    /// Whole numbers from -8 to 8: sums and products of few of them are exact in `f32`, in any order.
    pub(crate) fn whole(shape: &[usize], random: &mut Random) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 8")]
        Self::new(shape, || random.whole() as f32)
    }

    /// Real numbers from -1 to 1.
    pub(crate) fn real(shape: &[usize], random: &mut Random) -> Self {
        Self::new(shape, || random.real())
    }
}

impl Array<i32> {
    /// Numbers of every magnitude and both signs.
    pub(crate) fn any(shape: &[usize], random: &mut Random) -> Self {
        Self::new(shape, || (low(random.next())).cast_signed() >> random.below(32))
    }
}

impl Array<u32> {
    pub(crate) fn any(shape: &[usize], random: &mut Random) -> Self {
        Self::new(shape, || low(random.next()) >> random.below(32))
    }
}

impl<T: Element> Array<T> {
    pub(crate) fn to_device(&self, pool: &Pool) -> Result<Tensor, TensorError> {
        Tensor::from_slice(pool, &self.elements, &self.shape)
    }
}

/// A tensor's elements.
pub(crate) fn read<T: Element>(tensor: &Tensor) -> Array<T> {
    let elements = tensor.read_blocking().unwrap_or_else(|error| panic!("{tensor:?} can be read: {error}"));
    Array { shape: tensor.shape().to_vec(), elements }
}

/// Asserts that a tensor is the array, to the last bit but for the sign of zero.
#[track_caller]
pub(crate) fn assert_equal<T: Element + Copy>(tensor: &Tensor, wanted: &Array<T>, what: impl fmt::Display) {
    let found = read::<T>(tensor);
    assert_eq!(found.shape, wanted.shape, "{what}");
    let pairs = found.elements.iter().zip(&wanted.elements);
    if let Some(at) = pairs.clone().position(|(found, wanted)| found != wanted) {
        let wrong = pairs.filter(|(found, wanted)| found != wanted).count();
        panic!(
            "{what}: element {at} of {} is {:?}, not {:?}; {wrong} are wrong",
            found.elements.len(),
            found.elements[at],
            wanted.elements[at]
        );
    }
}

/// Asserts that each element is within `tolerance` of the wanted one; both NaN, or both the same infinity, is as good.
#[track_caller]
pub(crate) fn assert_close(
    tensor: &Tensor,
    wanted: &Array<f64>,
    tolerance: impl Fn(usize, f64) -> f64,
    what: impl fmt::Display,
) {
    let found = read::<f32>(tensor);
    assert_eq!(found.shape, wanted.shape, "{what}");
    for (at, (&found, &wanted)) in found.elements.iter().zip(&wanted.elements).enumerate() {
        let found = f64::from(found);
        let same = found == wanted || (found.is_nan() && wanted.is_nan());
        let most = tolerance(at, wanted);
        assert!(same || (found - wanted).abs() <= most, "{what}: element {at} is {found}, not {wanted} within {most}");
    }
}

/// The distance to the next `f32`, for tolerances in units in the last place. Never below that of the least normal number,
/// since subnormal ones may be flushed.
pub(crate) fn ulp(value: f64) -> f64 {
    value.abs().max(f64::from(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON)
}

pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + error_function(x / 2.0_f64.sqrt()))
}

pub(crate) fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// By its power series, which is good to 1e-8 where it isn't 1 to as much.
fn error_function(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    for n in 1..100 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// The low word.
fn low(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("it is masked")
}
