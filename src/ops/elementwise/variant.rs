//! The properties for which a kernel is generated in addition to its steps, and the words of its parameters.

use super::form::{Form, LANES, form};
use crate::device::gpu::SLOT_BYTES;
use crate::error::TensorError;
use crate::ops::launch::{KERNEL_RANK, MOST_BINDINGS, index, with_gpu};
use crate::ops::shader::moves_pairs;
use crate::pool::Storage;
use crate::tensor::{DType, Layout, Tensor};

/// The largest number of inputs of a kernel: with the output, and the constants if they are bound, as many bindings as every
/// WebGPU device supports.
pub const MOST_INPUTS: usize = 6;
/// The output and the inputs.
pub(super) const OPERANDS: usize = MOST_INPUTS + 1;
const _: () = assert!(OPERANDS + 1 == MOST_BINDINGS);

/// The properties for which a kernel is generated, in addition to its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) form: Form,
    pub(super) rank: usize,
    pub(super) inputs: usize,
    /// The dtype of the stored elements: that of the result, or that of its computation.
    pub(super) written: DType,
    /// The dtypes of the inputs.
    pub(super) dtypes: [DType; MOST_INPUTS],
    /// The inputs of rank 0, whose dtype has a lower priority in promotion; empty if all inputs have one dtype.
    pub(super) scalars: [bool; MOST_INPUTS],
    /// The binding of each operand, the output first. Operands in one storage share a binding.
    pub(super) bindings: [u8; OPERANDS],
    pub(super) bound: u8,
    /// The operands whose element is broadcast along the row.
    pub(super) is_broadcast: [bool; OPERANDS],
    /// Whether a vec4 is moved as two numbers of 64 bits: depends on the device and the dtypes.
    pub(super) in_pairs: bool,
}

impl Variant {
    /// For collapsed layouts of operands, the output first, whose elements are read and written as those of other
    /// dtypes, if any are given.
    pub(super) fn new(layouts: &[Layout], inputs: &[&Tensor], output: &Tensor, moved_as: Option<[DType; 2]>) -> Self {
        let form = form(layouts);
        let rank = if form == Form::Flat { 0 } else { layouts[0].rank() };
        let written = moved_as.map_or(output.dtype(), |[_, written]| written);
        let mut variant = Self::of_form(form, rank, inputs.len(), written);
        let mut storages: [Option<&Storage>; OPERANDS] = [None; OPERANDS];
        storages[0] = Some(output.any_storage());
        let is_mixed = inputs.iter().any(|input| input.dtype() != inputs[0].dtype());
        for (number, input) in inputs.iter().enumerate() {
            variant.dtypes[number] = moved_as.map_or(input.dtype(), |[read, _]| read);
            variant.scalars[number] = is_mixed && input.rank() == 0;
            let is_known =
                |&known: &u8| storages[usize::from(known)].is_some_and(|known| known.is_same(input.any_storage()));
            let binding = (0..variant.bound).find(is_known).unwrap_or(variant.bound);
            storages[usize::from(binding)] = Some(input.any_storage());
            variant.bound = variant.bound.max(binding + 1);
            variant.bindings[number + 1] = binding;
        }
        if form == Form::Rows {
            for (is_broadcast, layout) in variant.is_broadcast.iter_mut().zip(layouts) {
                *is_broadcast = layout.strides.last() == Some(&0);
            }
        }
        let dtypes = &variant.dtypes[..inputs.len()];
        let suits = |gpu: &_| moves_pairs(gpu, &[variant.written]) && moves_pairs(gpu, dtypes);
        variant.in_pairs = form != Form::Strided && with_gpu(output, suits);
        variant
    }

    /// For a number of inputs that are in the output's storage.
    pub(super) const fn of_form(form: Form, rank: usize, inputs: usize, written: DType) -> Self {
        Self {
            form,
            rank,
            inputs,
            written,
            dtypes: [DType::F32; MOST_INPUTS],
            scalars: [false; MOST_INPUTS],
            bindings: [0; OPERANDS],
            bound: 1,
            is_broadcast: [false; OPERANDS],
            in_pairs: false,
        }
    }

    /// Returns a number that identifies the variant. The device and the dtypes determine whether elements are moved in pairs.
    pub(super) fn key(&self) -> u64 {
        let mut key = self.written as u64;
        for input in 0..self.inputs {
            key = key * 8 + self.dtypes[input] as u64 * 2 + u64::from(self.scalars[input]);
        }
        for operand in 0..=self.inputs {
            key = key * 16 + u64::from(self.bindings[operand]) * 2 + u64::from(self.is_broadcast[operand]);
        }
        // The number of inputs is last: it determines how many digits precede it.
        ((key * 4 + self.form as u64) * 8 + self.rank as u64) * 8 + self.inputs as u64
    }

    /// The dtype of each binding.
    pub(super) fn binding_dtypes(&self) -> Vec<DType> {
        let mut dtypes = vec![self.written; usize::from(self.bound)];
        for (dtype, binding) in self.dtypes.iter().zip(&self.bindings[1..]).take(self.inputs) {
            dtypes[usize::from(*binding)] = *dtype;
        }
        dtypes
    }
}

/// The parameters of a kernel: words for the iteration over its operands, then the constants. If these exceed the largest size of
/// parameters, the constants are another binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    /// Words before the constants.
    pub(super) walk: usize,
    constants: usize,
    pub(super) binds_constants: bool,
}

impl Parameters {
    pub(super) fn new(variant: &Variant, constants: usize) -> Self {
        let operands = variant.inputs + 1;
        let walk = match variant.form {
            Form::Flat => 2 + operands,
            Form::Rows | Form::Strided => 1 + variant.rank + operands * (1 + variant.rank),
        };
        let words = (walk + constants).next_multiple_of(4);
        Self { walk, constants, binds_constants: words > Words::MOST }
    }

    /// Whether constants are a binding for some iteration over the operands.
    pub(super) fn may_bind(inputs: usize, constants: usize) -> bool {
        let rank = KERNEL_RANK;
        Self::new(&Variant::of_form(Form::Strided, rank, inputs, DType::F32), constants).binds_constants
    }

    /// Words of the parameters, a multiple of four: kernels declare them as vec4.
    pub(super) fn words(&self) -> usize {
        (self.walk + if self.binds_constants { 0 } else { self.constants }).next_multiple_of(4)
    }
}

const _: () = assert!((Words::MOST * size_of::<u32>()) as u64 == SLOT_BYTES);

/// The parameters of a dispatch, in the order in which `wgsl.rs` reads them.
#[derive(Debug)]
pub(super) struct Words {
    words: [u32; Self::MOST],
    count: usize,
}

impl Words {
    const MOST: usize = 64;

    /// The words for `count` invocations: in the flat form the number of elements of the last invocation, and an offset for each
    /// operand; in other forms the sizes, and for each operand its offset and strides.
    pub(super) fn new(
        name: &'static str,
        layouts: &[Layout],
        offsets: &[u32],
        variant: &Variant,
        count: u32,
    ) -> Result<Self, TensorError> {
        let number = |value| index(name, value);
        let mut words = Self { words: [0; Self::MOST], count: 0 };
        words.extend(&[count]);
        if variant.form == Form::Flat {
            words.extend(&[number((layouts[0].elements() - 1) % LANES + 1)?]);
            words.extend(offsets);
            return Ok(words);
        }
        let inner = variant.rank.checked_sub(1);
        let in_vec4s = |axis: usize| variant.form == Form::Rows && Some(axis) == inner;
        for (axis, &size) in layouts[0].shape.iter().enumerate() {
            words.extend(&[number(if in_vec4s(axis) { size / LANES } else { size })?]);
        }
        for (layout, &offset) in layouts.iter().zip(offsets) {
            words.extend(&[offset]);
            for (axis, &stride) in layout.strides.iter().enumerate() {
                words.extend(&[number(if in_vec4s(axis) { stride * LANES } else { stride })?]);
            }
        }
        Ok(words)
    }

    /// Appends words, for which [`Parameters`] has reserved room.
    pub(super) fn extend(&mut self, words: &[u32]) {
        self.words[self.count..self.count + words.len()].copy_from_slice(words);
        self.count += words.len();
    }

    /// The first `count` words, those beyond the last one 0.
    pub(super) fn as_slice(&self, count: usize) -> &[u32] {
        &self.words[..count]
    }
}
