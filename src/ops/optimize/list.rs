//! One kernel over a list of entries, each of some tensors.
//!
//! A kernel can't bind as many tensors as a model has parameters; it binds the segments that they lie in, each once, and is told
//! where in them they begin. Only whoever records knows that, since compaction moves tensors.

use crate::device::gpu::GpuCommands;
use crate::device::{Gpu, GpuSegment, Location, Memory};
use crate::error::{DeviceError, TensorError};
use crate::heap::SegmentId;
use crate::ops::launch::{check_kinds, check_pools, grid, index, with_gpu};
use crate::ops::shader::{Listed, Variant};
use crate::pool::{Storage, record};
use crate::tensor::{DType, Tensor};

/// Segments that a kernel binds.
const MOST_WINDOWS: usize = 4;
/// Words of the parameters that come after the optimizer's numbers.
const WORDS: usize = 56;
/// Words before those.
const NUMBERS: usize = 8;
/// Elements of an entry that a workgroup has, as `lib/list.wgsl` has it.
const CHUNK: usize = 1024;
/// No device wants bindings to begin at multiples of more.
const LARGEST_ALIGNMENT: u64 = 256;
/// A place within a window has this many bits.
const PLACE_BITS: u32 = 30;

/// Tensors that a kernel takes together, and what it is told: numbers of an optimizer, at most seven of them.
pub(super) struct List<'a, const N: usize> {
    pub(super) name: &'static str,
    pub(super) shaders: &'static Listed,
    pub(super) entries: &'a [[&'a Tensor; N]],
    pub(super) numbers: &'a [f32],
}

/// How much of a segment a kernel binds for the sake of one block.
#[derive(Clone, Copy, Debug)]
enum Windows {
    /// All of it, or the part of as much as can be bound in which the block lies.
    Wide,
    /// The block alone.
    Narrow,
}

/// Entries that one dispatch takes.
#[derive(Debug, Default)]
struct Launch {
    windows: Vec<Location<GpuSegment>>,
    words: Vec<u32>,
    workgroups: usize,
    /// Bytes that it reads or writes: segment, first and one beyond the last.
    touched: Vec<(SegmentId, u64, u64)>,
}

impl<const N: usize> List<'_, N> {
    /// Checks all entries, then runs the kernel over them.
    pub(super) fn run(&self) -> Result<(), TensorError> {
        let Self { name, entries, .. } = *self;
        for entry in entries {
            check(name, entry)?;
            check_pools(name, entries[0][0], entry[0])?;
            index(name, entry[0].elements())?;
        }
        for dtype in [DType::F32, DType::F16] {
            let of_dtype = |entry: &&[&Tensor; N]| entry[0].dtype() == dtype && entry[0].elements() > 0;
            let entries: Vec<&[&Tensor; N]> = entries.iter().filter(of_dtype).collect();
            self.record(&entries, dtype)?;
        }
        Ok(())
    }

    fn record(&self, entries: &[&[&Tensor; N]], dtype: DType) -> Result<(), TensorError> {
        let Some(first) = entries.first() else { return Ok(()) };
        let storages: Vec<&Storage> = entries.iter().flat_map(|entry| entry.map(Tensor::storage)).collect();
        let variant = Variant::plain(dtype);
        with_gpu(first[0], |gpu| {
            record(&storages, |commands, places| {
                let mut launch = Launch::default();
                for (entry, places) in entries.iter().zip(places.chunks(N)) {
                    if !launch.add(entry, places, gpu, Windows::Wide) {
                        launch.run(self, variant, commands, gpu)?;
                        launch = Launch::default();
                        let fits = launch.add(entry, places, gpu, Windows::Wide)
                            || launch.add(entry, places, gpu, Windows::Narrow);
                        assert!(fits, "an entry alone has a window for each tensor");
                    }
                }
                launch.run(self, variant, commands, gpu)
            })
        })?;
        Ok(())
    }
}

impl Launch {
    /// Adds an entry, unless that takes more room than there is, or what it touches is another entry's, which comes first.
    fn add<const N: usize>(
        &mut self,
        entry: &[&Tensor; N],
        places: &[Location<GpuSegment>],
        gpu: &Gpu,
        windows: Windows,
    ) -> bool {
        let element = entry[0].dtype().bytes();
        let ranges = entry.iter().zip(places).map(|(tensor, place)| {
            let span = tensor.layout().span();
            (place.id, place.offset + span.start as u64 * element, place.offset + span.end as u64 * element)
        });
        let ranges: Vec<_> = ranges.collect();
        let meets = |(id, start, end): &(_, u64, u64)| {
            self.touched.iter().any(|(other, first, last)| other == id && start < last && first < end)
        };
        if self.words.len() + N + 1 > WORDS || ranges.iter().any(meets) {
            return false;
        }
        let known = self.windows.len();
        let most = gpu.limits().largest_binding.min(element << PLACE_BITS);
        for place in places {
            if self.windows.iter().any(|window| contains(window, place)) {
                continue;
            }
            let window = window(place, most, windows);
            // Two windows on the same bytes would be two writable bindings of them.
            if self.windows.len() == MOST_WINDOWS || self.windows.iter().any(|other| overlap(other, &window)) {
                self.windows.truncate(known);
                return false;
            }
            self.windows.push(window);
        }
        for (place, (_, start, _)) in places.iter().zip(&ranges) {
            let found = self.windows.iter().position(|window| contains(window, place));
            let window = found.expect("each place has a window");
            let within = (start - self.windows[window].offset) / element;
            let within = u32::try_from(within).expect("a window has no more elements than a place has bits for");
            let window = u32::try_from(window).expect("at most four");
            self.words.push(within | window << PLACE_BITS);
        }
        let count = entry[0].elements();
        self.words.push(u32::try_from(count).expect("it was checked"));
        self.workgroups += count.div_ceil(CHUNK);
        self.touched.extend(ranges);
        true
    }

    fn run<const N: usize>(
        &self,
        list: &List<'_, N>,
        variant: Variant,
        commands: &mut GpuCommands<'_>,
        gpu: &Gpu,
    ) -> Result<(), DeviceError> {
        let Some(last_window) = self.windows.len().checked_sub(1) else { return Ok(()) };
        let program = list.shaders[last_window].program(gpu, variant)?;
        let mut parameters = [0_u32; NUMBERS + WORDS];
        let entries = self.words.len() / (N + 1);
        parameters[0] = u32::try_from(entries).expect("at most as many as there are words");
        for (word, number) in parameters[1..].iter_mut().zip(list.numbers) {
            *word = number.to_bits();
        }
        parameters[NUMBERS..][..self.words.len()].copy_from_slice(&self.words);
        let workgroups =
            u32::try_from(self.workgroups).expect("at most one for each element of what 32 bits can index");
        commands.dispatch(&program, &self.windows, bytemuck::cast_slice(&parameters), grid(workgroups))
    }
}

/// What a kernel binds of a block's segment.
fn window(place: &Location<GpuSegment>, most: u64, windows: Windows) -> Location<GpuSegment> {
    let most = most & !(LARGEST_ALIGNMENT - 1);
    let part = place.offset / most * most;
    let end = (part + most).min(place.segment.buffer().size());
    let is_within = place.offset + place.size <= end;
    let (offset, size) = match windows {
        Windows::Wide if is_within => (part, end - part),
        Windows::Wide | Windows::Narrow => (place.offset, place.size),
    };
    Location { offset, size, ..place.clone() }
}

fn contains(window: &Location<GpuSegment>, place: &Location<GpuSegment>) -> bool {
    let (end, window_end) = (place.offset + place.size, window.offset + window.size);
    window.id == place.id && window.offset <= place.offset && end <= window_end
}

fn overlap(one: &Location<GpuSegment>, other: &Location<GpuSegment>) -> bool {
    one.id == other.id && one.offset < other.offset + other.size && other.offset < one.offset + one.size
}

/// Tensors that one kernel may take together.
fn check<const N: usize>(name: &'static str, tensors: &[&Tensor; N]) -> Result<(), TensorError> {
    let first = tensors[0];
    for tensor in tensors {
        if !tensor.dtype().is_floating_point() {
            return Err(TensorError::NotDefined { operation: name, dtype: tensor.dtype().name() });
        }
        if !tensor.is_contiguous() {
            let (shape, strides) = (tensor.shape().to_vec(), tensor.strides().to_vec());
            return Err(TensorError::NotContiguous { operation: name, shape, strides });
        }
    }
    for (place, tensor) in tensors.iter().enumerate() {
        check_kinds(name, first, tensor)?;
        if tensor.shape() != first.shape() {
            let (left, right) = (first.shape().to_vec(), tensor.shape().to_vec());
            return Err(TensorError::Shape { operation: name, left, right });
        }
        let meets =
            |other: &&Tensor| other.storage().is_same(tensor.storage()) && other.layout().overlaps(tensor.layout());
        if tensors[..place].iter().any(meets) {
            return Err(TensorError::Overlap { operation: name, other: "another tensor of the step" });
        }
    }
    Ok(())
}
