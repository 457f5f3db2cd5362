//! Sums of differences to a number of each output, in one kernel over the elements.

use super::Pass;
use crate::device::Gpu;
use crate::error::TensorError;
use crate::ops::launch::{index, with_gpu};
use crate::ops::shader::{AS_IT_IS, DEVIATION, DISTANCE, Specialization};
use crate::tensor::{DType, Tensor};

/// The sum of the differences to the first element, times 2^-45, given the first element of each output.
pub(in crate::ops) const DISTANCES: Specialization = Specialization::new(
    "distances",
    &[["begin", "load_first(outputs);"], ["prepare", "return distance_to_first(vec4<f32>(x));"]],
)
.calling(&[DISTANCE]);

/// The sum of the squared differences to the mean, given the first element, half of the mean's distance to it, and the mean.
pub(in crate::ops) const SQUARES: Specialization = Specialization::new(
    "squares",
    &[["begin", "load_mean(outputs);"], ["prepare", "return squared_deviation(vec4<f32>(x));"]],
)
.calling(&[DEVIATION]);

/// The storage buffers of a reduction: its input and its output.
const BINDINGS: usize = 2;

impl Tensor {
    /// Whether the device has the storage buffers in a shader for [`Tensor::sum_with`] of so many `numbers`.
    pub(in crate::ops) fn sums_bind(&self, numbers: usize) -> bool {
        numbers <= with_gpu(self, Gpu::storage_buffers).saturating_sub(BINDINGS)
    }

    /// Returns the sums in f32 of what an operation makes of the elements along axes, which are kept with size 1. `numbers` are whole
    /// tensors of f32 with an element for each output. `None` if there are no elements, or more than one launch can go over, or in
    /// several blocks, and on devices with too few storage buffers in a shader.
    #[track_caller]
    pub(in crate::ops) fn sum_with(
        &self,
        name: &'static str,
        operation: Specialization,
        axes: &[usize],
        numbers: &[&Self],
    ) -> Result<Option<Self>, TensorError> {
        let is_reduced = |axis: &usize| axes.is_empty() || axes.contains(axis);
        let is_divided = self.is_divided() || numbers.iter().any(|numbers| numbers.is_divided());
        if !self.sums_bind(numbers.len()) || is_divided || self.elements() == 0 || index(name, self.elements()).is_err()
        {
            return Ok(None);
        }
        let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..self.rank()).partition(is_reduced);
        let pass = Pass::new(self.permute([&kept[..], &reduced].concat())?, kept.len())?;
        if !pass.fits_a_block() {
            return Ok(None);
        }
        let mut sums = pass.run_with(name, operation, DType::F32, 1.0, numbers)?;
        if pass.split() > 1 {
            sums = Pass::new(sums, 1)?.run_all(name, [AS_IT_IS; 2], DType::F32, 1.0)?;
        }
        let shape: Vec<usize> =
            (0..self.rank()).map(|axis| if is_reduced(&axis) { 1 } else { self.shape()[axis] }).collect();
        sums.reshape(&shape).map(Some)
    }
}
