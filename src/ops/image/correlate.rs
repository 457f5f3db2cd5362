//! Convolutions and their gradients by the input as one kernel: the kernels of `lib/convolution.wgsl`, which are given the image
//! and the packed weights, and never an unfolded image.

use super::KernelWindow;
use crate::error::TensorError;
use crate::ops::activation::Activation;
use crate::ops::launch::{grid, index, iterations, launch, loop_limit, with_gpu, workgroup_size};
use crate::ops::placed::Placed;
use crate::ops::shader::{
    AS_IT_IS, CONV2D_COOPERATIVE, CONV2D_NARROW, CONV2D_PACK, CONV2D_SINGLE, CONV2D_TILED, Shader, Specialization,
    Variant,
};
use crate::tensor::{DType, Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// Elements of a vector of packed weights.
const FOUR: usize = 4;
/// Outputs and windows of a workgroup of `conv2d_narrow.wgsl`, and the channels of a unit of its packed weights.
const NARROW: [usize; 2] = [8, 512];
const NARROW_PACK: usize = 4;
/// Channels of a unit of the packed weights of `conv2d_tiled.wgsl`.
const TILED_PACK: usize = 8;
/// Rows of windows of an invocation of `conv2d_single.wgsl`.
const SINGLE_ROWS: usize = 8;
/// Outputs and windows of a workgroup of `conv2d_cooperative.wgsl`, and the units of a slice.
const COOPERATIVE: [usize; 2] = [128, 128];
const COOPERATIVE_UNITS: usize = 4;
/// Workgroups that occupy a large GPU.
const MANY_WORKGROUPS: usize = 128;
/// Elements of all sums of the parts of the K dimension, which occupy a large GPU, and the least units of a part.
const MOST_SUMS: usize = 1 << 22;
const LEAST_UNITS: usize = 16;
/// Tiles of [`CONV2D_TILED`] by the number of outputs of a group.
const TILE_OF_MANY: usize = 0;
pub(super) const TILE_OF_SOME: usize = 1;
const TILE_OF_FEW: usize = 2;

/// The parameters of `lib/convolution.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    size: [u32; 2],
    written: [u32; 2],
    windows: [u32; 2],
    kernel: [u32; 2],
    dilation: [u32; 2],
    phases: [u32; 2],
    stride: [u32; 2],
    tap_step: [u32; 2],
    tap_move: [u32; 2],
    origin: [u32; 2],
    channels: u32,
    outputs: u32,
    groups: u32,
    count: u32,
    image_offset: u32,
    bias_offset: u32,
    weights_across: u32,
    first_unit: u32,
    end_unit: u32,
    span: u32,
    tiles: u32,
    accumulate: u32,
}

/// The parameters of `conv2d_pack.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct PackParams {
    count: u32,
    rows: u32,
    across: u32,
    pack: u32,
    channels: u32,
    outputs: u32,
    kernel: [u32; 2],
    weight_offset: u32,
    group_stride: u32,
    output_stride: u32,
    channel_stride: u32,
    tap_stride: [u32; 2],
}

/// The kernel that computes a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// `conv2d_single.wgsl`.
    Single,
    /// `conv2d_narrow.wgsl`.
    Narrow,
    /// `conv2d_tiled.wgsl` with one of its tiles: see [`CONV2D_TILED`].
    Tiled(usize),
    /// `conv2d_cooperative.wgsl`.
    Cooperative,
}

/// The sums that both a convolution and its gradient by the input are, as stated in `lib/convolution.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Of a group: those that are summed over, and those of the result.
    pub(super) channels: usize,
    pub(super) outputs: usize,
    /// Of the image that is read, and of the result.
    pub(super) size: [usize; 2],
    pub(super) written: [usize; 2],
    /// The window of the convolution, also for its gradient.
    pub(super) window: KernelWindow,
    /// Whether this is the gradient by the input of the convolution.
    pub(super) is_gradient: bool,
}

/// The epilogue of a correlation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<'a> {
    /// One element for each output of all groups.
    pub(super) bias: Option<&'a Tensor>,
    pub(super) activation: Option<Activation>,
}

impl Finish<'_> {
    /// Stores the sums unchanged.
    pub(super) const NONE: Self = Self { bias: None, activation: None };

    /// The activation in a kernel.
    pub(super) fn operation(&self, name: &'static str, dtype: DType) -> Result<Specialization, TensorError> {
        self.activation.map_or(Ok(AS_IT_IS), |activation| activation.on(name, dtype))
    }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl Correlation {
    /// The shape of the result.
    pub(super) fn shape(&self) -> [usize; 4] {
        [self.batch, self.groups * self.outputs, self.written[0], self.written[1]]
    }

    /// The result of the kernel that suits the device and the sizes, or of `kernel`. `weight` has the convolution's shape.
    #[track_caller]
    pub(super) fn run(&self, image: &Tensor, weight: &Tensor, finish: Finish<'_>) -> Result<Tensor, TensorError> {
        let channels = self.channels;
        let dtype = image.dtype();
        if self.shape().contains(&0) {
            return image.new_empty(self.shape(), dtype);
        }
        if channels == 0 || self.size.contains(&0) {
            // There is no element to bind, and the sum of no elements is 0: that of a 0 that no window reads or of 0 times 0.
            let outputs = if self.is_gradient { [self.groups, self.outputs] } else { [self.groups * self.outputs, 1] };
            let [rows, columns] = self.window.kernel;
            let weight = Tensor::zeros(&image.pool(), [outputs[0], outputs[1], rows, columns], dtype)?;
            let image = Tensor::zeros(&image.pool(), [self.batch, self.groups, 1, 1], dtype)?;
            return Self { channels: 1, size: [1, 1], ..*self }.run(&image, &weight, finish);
        }
        let image = &image.contiguous()?;
        let bias = match finish.bias {
            Some(bias) => Some(bias.contiguous()?.in_other_storage_than(image)?),
            None => None,
        };
        let finish = Finish { bias: bias.as_ref(), ..finish };
        let kernel = self.kernel(image);
        let packed = self.packed(weight, kernel)?;
        let units = self.units(kernel);
        let parts = self.parts(kernel, image);
        if parts > 1 {
            let shape = [&[parts], &self.shape()[..]].concat();
            let sums = image.new_empty(shape, dtype.number())?;
            index(self.name, sums.elements())?;
            self.dispatch(kernel, [&sums, image, &packed], Finish::NONE, 0..units, parts)?;
            let sum = sums.sum(0)?;
            let sum = match finish.bias {
                Some(bias) => sum.add(&bias.to(dtype.number())?.reshape([1, self.groups * self.outputs, 1, 1])?)?,
                None => sum,
            };
            return finish.activation.map_or(Ok(sum.clone()), |activation| activation.apply(&sum))?.to(dtype);
        }
        let most = if kernel == Kernel::Single { units } else { self.most_units(kernel) };
        let is_whole = units <= most;
        // Sums that continue in the next dispatch are not rounded.
        let output = image.new_empty(self.shape(), if is_whole { dtype } else { dtype.number() })?;
        for first in (0..units).step_by(most) {
            let end = units.min(first + most);
            let finish = if end == units { finish } else { Finish::NONE };
            self.dispatch(kernel, [&output, image, &packed], finish, first..end, 1)?;
        }
        output.to(dtype)
    }

    /// Parts of the K dimension, with sums of their own: more than one where a large GPU would otherwise have too few
    /// workgroups for a long sum. All sums together have at most 16 MiB, since a workgroup's have 16, 32 or 64 KiB.
    fn parts(&self, kernel: Kernel, image: &Tensor) -> usize {
        let units = self.units(kernel);
        let [outputs, windows] = kernel.tile();
        if matches!(kernel, Kernel::Single | Kernel::Narrow) || units > self.most_units(kernel) {
            return 1;
        }
        let wanted = match with_gpu(image, crate::device::Gpu::is_software) {
            true => 1,
            false => MOST_SUMS / (outputs * windows) / self.workgroups([outputs, windows]),
        };
        let wanted = wanted.min(units / LEAST_UNITS);
        #[cfg(test)]
        let wanted = forced::PARTS.get().unwrap_or(wanted);
        // As many as parts of equal length fill, so that none is empty.
        units.div_ceil(units.div_ceil(wanted.max(1)))
    }

    /// Windows of the phases on each axis: places of the result, rounded up to whole phases.
    fn windows(&self) -> [usize; 2] {
        let phases = self.phases();
        [0, 1].map(|axis| self.written[axis].div_ceil(phases[axis]))
    }

    fn phases(&self) -> [usize; 2] {
        // Where there is one window only, no stride matters.
        [0, 1].map(|axis| if self.is_gradient && self.size[axis] != 1 { self.window.stride[axis] } else { 1 })
    }

    /// Places from one tap to the next; where there is one tap, none matters.
    fn dilation(&self) -> [usize; 2] {
        [0, 1].map(|axis| if self.window.kernel[axis] == 1 { 1 } else { self.window.dilation[axis] })
    }

    /// Taps from one tap of a phase to the next.
    fn tap_step(&self) -> [usize; 2] {
        let (phases, dilation) = (self.phases(), self.dilation());
        [0, 1].map(|axis| phases[axis] / divisor(phases[axis], dilation[axis]))
    }

    /// Units along the K dimension, of the phase with the most taps.
    fn units(&self, kernel: Kernel) -> usize {
        let (step, size) = (self.tap_step(), self.window.kernel);
        let taps = [0, 1].map(|axis| size[axis].div_ceil(step[axis]));
        self.channels.div_ceil(kernel.pack()).saturating_mul(taps[0]).saturating_mul(taps[1])
    }

    /// Loop iterations of an invocation apart from those along the K dimension.
    fn other_iterations(&self) -> u64 {
        let step = self.tap_step();
        (0..2).map(|axis| iterations(step[axis].min(self.window.kernel[axis]) as u64, 0)).sum()
    }

    /// Units that one dispatch can add up.
    fn most_units(&self, kernel: Kernel) -> usize {
        let left = loop_limit().saturating_sub(self.other_iterations() + 3);
        usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(kernel.units_at_once()).max(kernel.units_at_once())
    }

    /// The kernel that suits the sizes and the device.
    fn kernel(&self, image: &Tensor) -> Kernel {
        let chosen = self.fastest(image);
        #[cfg(test)]
        let chosen = forced::KERNEL.get().unwrap_or(chosen);
        match chosen {
            // These have a single pass over the K dimension.
            Kernel::Single if self.single_iterations() > loop_limit() => Kernel::Narrow,
            Kernel::Cooperative if self.units(chosen) > self.most_units(chosen) => Kernel::Tiled(TILE_OF_SOME),
            _ => chosen,
        }
    }

    /// The fastest kernel. On an H100 with images of 16 × 128 × 128 and kernels of 3 × 3, the narrow one reaches 3.6 TFLOP/s
    /// with 4 channels and 9.2 with 8, tiles of 32 × 256 1.5 and 5.6. With 16 channels they reach 11.5 and 12.6, with 32 12
    /// and 27. With 64 channels tiles of 32 × 256 reach 30, of 64 × 64 33, of 128 × 128 19; with 128 channels 31, 36 and 39.
    fn fastest(&self, image: &Tensor) -> Kernel {
        match self.outputs {
            1 => return Kernel::Single,
            2..=8 => return Kernel::Narrow,
            9..=32 => return Kernel::Tiled(TILE_OF_FEW),
            _ => {}
        }
        let (is_large, is_cooperative) =
            with_gpu(image, |gpu| (!gpu.is_software() && gpu.has_large_workgroups(), gpu.has_cooperative_matrices()));
        if is_cooperative && image.dtype() == DType::F16 {
            return Kernel::Cooperative;
        }
        let suits_large = self.outputs > 64 && self.workgroups(CONV2D_TILED[TILE_OF_MANY].tile) >= MANY_WORKGROUPS;
        Kernel::Tiled(if is_large && suits_large { TILE_OF_MANY } else { TILE_OF_SOME })
    }

    /// Loop iterations of an invocation of `conv2d_single.wgsl`.
    fn single_iterations(&self) -> u64 {
        let [rows, columns] = self.window.kernel.map(|size| size as u64);
        iterations(self.channels as u64, iterations(rows, iterations(columns, 0))) + self.other_iterations()
    }

    /// Workgroups of a kernel with these outputs and windows in a tile; saturates.
    fn workgroups(&self, [outputs, windows]: [usize; 2]) -> usize {
        let ([rows, columns], phases) = (self.windows(), self.phases());
        let phases = [0, 1].map(|axis| phases[axis].min(self.written[axis]));
        let tiles = self.batch.saturating_mul(rows).saturating_mul(columns).div_ceil(windows);
        let all = [self.groups, self.outputs.div_ceil(outputs), phases[0], phases[1]];
        all.into_iter().fold(tiles, usize::saturating_mul)
    }

    /// Weights in the order in which a kernel reads them.
    #[track_caller]
    fn packed(&self, weight: &Tensor, kernel: Kernel) -> Result<Tensor, TensorError> {
        let Self { name, groups, channels, outputs, window, .. } = *self;
        let number = |value| index(name, value);
        let pack = kernel.pack();
        let bytes = weight.dtype().bytes();
        let across = outputs.next_multiple_of(FOUR);
        let rows = arithmetic::size_of(&[channels.next_multiple_of(pack), window.kernel[0], window.kernel[1]], bytes)?;
        let packed = weight.new_empty([groups, rows, across], weight.dtype())?;
        let count = number(packed.elements())?;
        let &[of_output, of_channel, of_row, of_column] = weight.strides() else {
            return Err(TensorError::Dimensions { operation: name, wanted: "4", shape: weight.shape().to_vec() });
        };
        // In the gradient the convolution's outputs are summed over. They are what its groups divide.
        let (group_stride, output_stride, channel_stride) = match self.is_gradient {
            false => (outputs * of_output, of_output, of_channel),
            true => (channels * of_output, of_channel, of_output),
        };
        let (source, weight_offset) = Placed::of(weight).bind(name, 1)?;
        let params = PackParams {
            count,
            rows: number(rows)?,
            across: number(across)?,
            pack: number(pack)?,
            channels: number(channels)?,
            outputs: number(outputs)?,
            kernel: [number(window.kernel[0])?, number(window.kernel[1])?],
            weight_offset,
            group_stride: number(group_stride)?,
            output_stride: number(output_stride)?,
            channel_stride: number(channel_stride)?,
            tap_stride: [number(of_row)?, number(of_column)?],
        };
        let bindings = [Placed::of(&packed).bind_whole(name)?, source];
        let program = with_gpu(weight, |gpu| CONV2D_PACK.program(gpu, Variant::plain(weight.dtype())))?;
        let workgroups = grid(count.div_ceil(workgroup_size(weight)));
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), workgroups, 0)?;
        Ok(packed)
    }

    /// Adds up a range of the K dimension, in parts; the first tensor is written.
    #[track_caller]
    fn dispatch(
        &self,
        kernel: Kernel,
        [output, image, packed]: [&Tensor; 3],
        finish: Finish<'_>,
        units: std::ops::Range<usize>,
        parts: usize,
    ) -> Result<(), TensorError> {
        let Self { name, batch, groups, channels, outputs, size, written, window, .. } = *self;
        let number = |value| index(name, value);
        let pair =
            |[rows, columns]: [usize; 2]| -> Result<[u32; 2], TensorError> { Ok([number(rows)?, number(columns)?]) };
        // Kernels count positions in 32 bits, also within the padding.
        for axis in [0, 1] {
            let image = if self.is_gradient { written[axis] } else { size[axis] };
            number(arithmetic::padded_size(image, window.padding[axis]).unwrap_or(usize::MAX))?;
            number(window.extent(axis).unwrap_or(usize::MAX))?;
        }
        let (windows, phases, dilation, tap_step) = (self.windows(), self.phases(), self.dilation(), self.tap_step());
        let stride = [0, 1].map(|axis| {
            let is_one = self.is_gradient || written[axis] == 1;
            if is_one { 1 } else { window.stride[axis] }
        });
        let before = pair(window.padding.map(|[before, _]| before))?;
        let moves = pair([0, 1].map(|axis| dilation[axis] * tap_step[axis] / phases[axis]))?;
        // The gradient's taps go backwards, and the convolution starts before the image.
        let (origin, tap_move) = match self.is_gradient {
            true => (before, moves.map(u32::wrapping_neg)),
            false => (before.map(u32::wrapping_neg), moves),
        };
        let count = number(arithmetic::size_of(&[batch, windows[0], windows[1]], 1)?)?;
        let tile = kernel.tile();
        let (tiles, workgroups) = match kernel {
            Kernel::Single => {
                let rows = windows[0].div_ceil(SINGLE_ROWS);
                let tiles = arithmetic::size_of(&[batch, groups, outputs, rows, windows[1]], 1)?;
                let phases = [0, 1].map(|axis| phases[axis].min(written[axis]));
                let invocations = number(arithmetic::size_of(&[tiles, phases[0], phases[1]], 1)?)?;
                (number(tiles)?, invocations.div_ceil(workgroup_size(image)))
            }
            _ => (count.div_ceil(number(tile[1])?), number(self.workgroups(tile).saturating_mul(parts))?),
        };
        let bias = finish.bias.map(|bias| Placed::of(bias).bind_contiguous(name, 1)).transpose()?;
        let (source, image_offset) = Placed::of(image).bind_contiguous(name, 1)?;
        let params = Params {
            size: pair(size)?,
            written: pair(written)?,
            windows: pair(windows)?,
            kernel: pair(window.kernel)?,
            dilation: pair(dilation)?,
            phases: pair(phases)?,
            stride: pair(stride)?,
            tap_step: pair(tap_step)?,
            tap_move,
            origin,
            channels: number(channels)?,
            outputs: number(outputs)?,
            groups: number(groups)?,
            count,
            image_offset,
            bias_offset: bias.map_or(0, |(_, offset)| offset),
            weights_across: number(packed.shape()[2] / FOUR)?,
            first_unit: number(units.start)?,
            end_unit: number(units.end)?,
            span: number(units.len().div_ceil(parts))?,
            tiles,
            accumulate: u32::from(units.start > 0),
        };
        let is_vec4 = phases == [1, 1] && (written[0] * written[1]).is_multiple_of(FOUR);
        let variant = Variant {
            operation: finish.operation(name, image.dtype())?,
            bias: bias.is_some(),
            output: output.dtype(),
            ..Variant::plain(image.dtype())
        };
        let program = with_gpu(image, |gpu| kernel.shader(parts > 1, is_vec4).program(gpu, variant))?;
        let output = Placed::of(output).bind_whole(name)?;
        let mut bindings = [output, source, Placed::of(packed).bind_whole(name)?, output];
        let bound = match bias {
            Some((bias, _)) => {
                bindings[3] = bias;
                &bindings[..]
            }
            None => &bindings[..3],
        };
        let slices = (units.len().div_ceil(kernel.units_at_once())) as u64;
        let loops = match kernel {
            Kernel::Single => self.single_iterations(),
            _ => iterations(slices, 0) + 1 + self.other_iterations(),
        };
        launch(name, &program, bound, bytemuck::bytes_of(&params), grid(workgroups), loops)
    }
}

impl Kernel {
    /// Outputs and windows of a workgroup.
    fn tile(self) -> [usize; 2] {
        match self {
            Self::Single => [1, 1],
            Self::Narrow => NARROW,
            Self::Tiled(number) => CONV2D_TILED[number].tile,
            Self::Cooperative => COOPERATIVE,
        }
    }

    /// Channels of a unit.
    fn pack(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Narrow => NARROW_PACK,
            Self::Tiled(_) | Self::Cooperative => TILED_PACK,
        }
    }

    /// Units of one iteration of the loop along the K dimension.
    fn units_at_once(self) -> usize {
        match self {
            Self::Single | Self::Narrow => 1,
            Self::Tiled(number) => CONV2D_TILED[number].slice / TILED_PACK,
            Self::Cooperative => COOPERATIVE_UNITS,
        }
    }

    fn shader(self, in_parts: bool, is_vec4: bool) -> &'static Shader {
        match self {
            Self::Single => &CONV2D_SINGLE,
            Self::Narrow => &CONV2D_NARROW,
            Self::Tiled(number) => &CONV2D_TILED[number].shaders[usize::from(in_parts)][usize::from(is_vec4)],
            Self::Cooperative => &CONV2D_COOPERATIVE[usize::from(in_parts)][usize::from(is_vec4)],
        }
    }
}

/// Whether a test has chosen a kernel.
pub(super) fn is_forced() -> bool {
    #[cfg(test)]
    return forced::KERNEL.get().is_some();
    #[cfg(not(test))]
    false
}

/// A kernel for all sizes and devices, for tests on one thread.
#[cfg(test)]
pub(super) mod forced {
    use super::Kernel;
    use std::cell::Cell;

    thread_local! {
        pub(super) static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
        pub(super) static PARTS: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `act` with this kernel for every correlation.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops::image) fn with<R>(kernel: Kernel, act: impl FnOnce() -> R) -> R {
        let before = KERNEL.replace(Some(kernel));
        let result = act();
        KERNEL.set(before);
        result
    }

    /// Runs `act` with this number of parts of the K dimension.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops::image) fn with_parts<R>(parts: usize, act: impl FnOnce() -> R) -> R {
        let before = PARTS.replace(Some(parts));
        let result = act();
        PARTS.set(before);
        result
    }
}
