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

/// Every index of a shape, in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |prefixes, &size| {
        prefixes.iter().flat_map(|prefix| (0..size).map(move |index| [prefix.as_slice(), &[index]].concat())).collect()
    })
}

impl<T: Copy> Array<T> {
    pub(crate) fn new(shape: &[usize], mut element: impl FnMut() -> T) -> Self {
        let elements = (0..shape.iter().product()).map(|_| element()).collect();
        Self { shape: shape.to_vec(), elements }
    }

    pub(crate) fn by_index(shape: &[usize], element: impl Fn(&[usize]) -> T) -> Self {
        Self { shape: shape.to_vec(), elements: indices(shape).iter().map(|index| element(index)).collect() }
    }

    pub(crate) fn at(&self, index: &[usize]) -> T {
        self.elements[index.iter().zip(&self.shape).fold(0, |place, (index, size)| place * size + index)]
    }

    pub(crate) fn permute(&self, axes: &[usize]) -> Self {
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        Self::by_index(&shape, |index| {
            let mut source = vec![0; axes.len()];
            axes.iter().zip(index).for_each(|(&axis, &at)| source[axis] = at);
            self.at(&source)
        })
    }

    pub(crate) fn narrow(&self, axis: usize, start: usize, length: usize) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = length;
        Self::by_index(&shape, |index| {
            let mut source = index.to_vec();
            source[axis] += start;
            self.at(&source)
        })
    }

    pub(crate) fn expand(&self, shape: &[usize]) -> Self {
        let lead = shape.len() - self.shape.len();
        Self::by_index(shape, |index| {
            let places = self.shape.iter().zip(&index[lead..]);
            let source: Vec<usize> = places.map(|(&size, &at)| if size == 1 { 0 } else { at }).collect();
            self.at(&source)
        })
    }

    pub(crate) fn reshape(&self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), elements: self.elements.clone() }
    }

    pub(crate) fn map<R>(&self, apply: impl Fn(T) -> R) -> Array<R> {
        Array { shape: self.shape.clone(), elements: self.elements.iter().map(|&element| apply(element)).collect() }
    }

    /// Element by element, in order.
    pub(crate) fn map_each<R>(&self, apply: impl FnMut(T) -> R) -> Array<R> {
        Array { shape: self.shape.clone(), elements: self.elements.iter().copied().map(apply).collect() }
    }

    /// Element by element, the shapes broadcast to each other.
    pub(crate) fn zip(&self, other: &Self, apply: impl Fn(T, T) -> T) -> Self {
        let rank = self.shape.len().max(other.shape.len());
        let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let sizes = padded(&self.shape).into_iter().zip(padded(&other.shape));
        let shape: Vec<usize> = sizes.map(|(left, right)| if left == 1 { right } else { left }).collect();
        let (left, right) = (self.expand(&shape), other.expand(&shape));
        let elements = left.elements.iter().zip(&right.elements).map(|(&left, &right)| apply(left, right)).collect();
        Self { shape, elements }
    }

    /// All elements along some axes, joined from `start` on; the axes are kept with size 1 or dropped.
    pub(crate) fn fold<R: Copy>(&self, axes: &[usize], keep: bool, start: R, join: impl Fn(R, T) -> R) -> Array<R> {
        let is_reduced = |axis: usize| axes.is_empty() || axes.contains(&axis);
        let ones = self.shape.iter().enumerate().map(|(axis, &size)| if is_reduced(axis) { 1 } else { size });
        let kept: Vec<usize> = ones.collect();
        let mut sums = vec![start; kept.iter().product()];
        for (index, &element) in indices(&self.shape).iter().zip(&self.elements) {
            let place =
                index.iter().zip(&kept).fold(0, |place, (&at, &size)| place * size + if size == 1 { 0 } else { at });
            sums[place] = join(sums[place], element);
        }
        let axes_left = (0..self.shape.len()).filter(|&axis| !is_reduced(axis));
        let shape = if keep { kept } else { axes_left.map(|axis| self.shape[axis]).collect() };
        Array { shape, elements: sums }
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
