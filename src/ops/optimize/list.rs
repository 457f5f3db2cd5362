//! One kernel over a list of entries, each of which consists of several tensors.
//!
//! A kernel cannot bind as many tensors as a model has parameters. It binds their segments, each once, and receives the
//! tensors' locations in the segments as parameters. These are resolved while the recorder is held, because compaction moves
//! tensors.

use crate::device::gpu::{GpuCommands, Program};
use crate::device::{Gpu, GpuSegment, Location, Memory};
use crate::error::{Argument, DeviceError, ShapeRequirement, TensorError};
use crate::heap::SegmentId;
use crate::ops::launch::{
    check_floating_point, check_iterations, check_kinds, check_pools, grid, index, iterations, with_gpu, workgroup_size,
};
use crate::ops::shader::{Listed, Shader, Variant};
use crate::pool::{Storage, record};
use crate::tensor::{DType, Piece, Tensor, any_divided, elementwise_pieces};

/// The largest number of segments that a kernel binds.
const MOST_WINDOWS: usize = 4;
/// The number of parameter words after the optimizer's numbers.
const WORDS: usize = 56;
/// The number of parameter words before them.
const NUMBERS: usize = 8;
/// The most entries of a dispatch: four words each.
const MOST_ENTRIES: u64 = WORDS as u64 / 4;
/// The elements of an entry for each workgroup, as in `lib/list.wgsl`.
const CHUNK: usize = 1024;
/// No device requires a larger alignment of bindings.
const LARGEST_ALIGNMENT: u64 = 256;
/// The number of bits of an offset within a window.
const PLACE_BITS: u32 = 30;

/// The tensors of one entry, and the optimizer's numbers, at most seven.
pub(super) struct List<'a, const N: usize> {
    pub(super) name: &'static str,
    pub(super) shaders: &'static Listed,
    /// The names of an entry's tensors, as of the fields of the parameter.
    pub(super) fields: [&'static str; N],
    pub(super) entries: &'a [[&'a Tensor; N]],
    pub(super) numbers: &'a [f32],
}

/// The range of a segment that a kernel binds for a block.
#[derive(Clone, Copy, Debug)]
enum Windows {
    /// The whole segment, or the part of the largest bindable size that contains the block.
    Wide,
    /// Only the block.
    Narrow,
}

/// The entries of one dispatch.
#[derive(Debug, Default)]
struct Launch {
    entries: usize,
    windows: Vec<Location<GpuSegment>>,
    words: Vec<u32>,
    workgroups: usize,
    /// The byte ranges that the dispatch reads or writes: segment, start and end.
    touched: Vec<(SegmentId, u64, u64)>,
}

impl<const N: usize> List<'_, N> {
    /// Checks all entries, then runs the kernel over them.
    pub(super) fn run(&self) -> Result<(), TensorError> {
        let Self { name, entries, .. } = *self;
        for (index, entry) in entries.iter().enumerate() {
            check(name, self.fields, index, entry)?;
            let value = |index| Argument::OfParameter { name: self.fields[0], index };
            check_pools(name, (value(0), entries[0][0]), (value(index), entry[0]))?;
        }
        if entries.iter().any(|entry| any_divided(entry.iter().copied())) {
            return self.run_pieces();
        }
        if let Some(entry) = entries.first() {
            // A search of the list, and the elements of a chunk.
            let each = CHUNK.div_ceil(workgroup_size(entry[0]) as usize);
            check_iterations(name, iterations(MOST_ENTRIES, 0) + iterations(each as u64, 0))?;
        }
        for entry in entries {
            index(name, entry[0].elements())?;
            check_bindings(name, entry)?;
        }
        for dtype in [DType::F32, DType::F16] {
            let of_dtype = |entry: &&[&Tensor; N]| entry[0].dtype() == dtype && entry[0].elements() > 0;
            let entries: Vec<&[&Tensor; N]> = entries.iter().filter(of_dtype).collect();
            self.record(&entries, dtype)?;
        }
        Ok(())
    }

    /// Runs the kernel over the pieces of entries with tensors in several blocks.
    fn run_pieces(&self) -> Result<(), TensorError> {
        let pieces = self.entries.iter().map(|entry| elementwise_pieces(self.name, entry));
        let pieces: Vec<Vec<Piece>> = pieces.collect::<Result<_, _>>()?;
        let entries = pieces.iter().flatten().map(|piece| std::array::from_fn(|number| &piece.operands[number]));
        let entries: Vec<[&Tensor; N]> = entries.collect();
        List { entries: &entries, ..*self }.run()
    }

    /// Dispatches entries of one dtype, none of which is empty. In a pool with spilling, the tensors of all entries may need more
    /// memory than the device has: the list is halved until those of a part fit together.
    fn record(&self, entries: &[&[&Tensor; N]], dtype: DType) -> Result<(), TensorError> {
        let variant = Variant::plain(dtype);
        let (mut rest, mut most) = (entries, entries.len());
        while let Some(first) = rest.first() {
            let part = &rest[..most.min(rest.len())];
            let dividing = (part.len() > 1).then(|| first[0].any_storage().dividing());
            let recorded = with_gpu(first[0], |gpu| -> Result<usize, TensorError> {
                let (done, lacking) = self.record_known(part, variant, gpu)?;
                // Compiled before the recorder is locked.
                lacking.map_or(Ok(()), |shader| shader.program(gpu, variant).map(drop))?;
                Ok(done)
            });
            drop(dividing);
            match recorded {
                Err(TensorError::Device(DeviceError::WorkingSet(_))) if part.len() > 1 => most = part.len() / 2,
                recorded => rest = &rest[recorded?..],
            }
        }
        Ok(())
    }

    /// Dispatches entries from the first on, up to the first that needs a program that is not compiled. Returns the number of
    /// dispatched entries, and the missing program.
    fn record_known(
        &self,
        entries: &[&[&Tensor; N]],
        variant: Variant,
        gpu: &Gpu,
    ) -> Result<(usize, Option<&'static Shader>), DeviceError> {
        let storages: Vec<&Storage> = entries.iter().flat_map(|entry| entry.map(Tensor::any_storage)).collect();
        let recorded = record(&storages, |commands, places| {
            let (mut done, mut lacking) = (0, None);
            while done < entries.len() && lacking.is_none() {
                let launch = Launch::of(&entries[done..], &places[done * N..], gpu);
                let shader = &self.shaders[launch.windows.len() - 1];
                let Some(program) = shader.known_program(gpu, variant) else {
                    lacking = Some(shader);
                    break;
                };
                launch.run(self, &program, commands)?;
                done += launch.entries;
            }
            Ok((done, lacking))
        })?;
        if recorded.is_none() && gpu.is_warming_up() {
            // The number of segments is not known before the tensors have memory.
            for shader in self.shaders.iter().take(storages.len()) {
                shader.program(gpu, variant)?;
            }
        }
        // A dry run dispatches nothing.
        Ok(recorded.unwrap_or((entries.len(), None)))
    }
}

impl Launch {
    /// Returns the longest prefix of the entries that fits one dispatch: at least one entry.
    fn of<const N: usize>(entries: &[&[&Tensor; N]], places: &[Location<GpuSegment>], gpu: &Gpu) -> Self {
        let mut launch = Self::default();
        for (entry, places) in entries.iter().zip(places.chunks(N)) {
            let is_first = launch.entries == 0;
            let fits = launch.add(entry, places, gpu, Windows::Wide)
                || (is_first && launch.add(entry, places, gpu, Windows::Narrow));
            assert!(fits || !is_first, "an entry alone has a window for each tensor");
            if !fits {
                break;
            }
            launch.entries += 1;
        }
        launch
    }

    /// Adds an entry, unless it does not fit, or uses bytes of an earlier entry of the dispatch.
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
        let most = most_bytes(gpu, entry[0].dtype());
        for place in places {
            if self.windows.iter().any(|window| contains(window, place)) {
                continue;
            }
            let window = window(place, most, windows);
            // Two windows with common bytes would be two writable bindings of these bytes.
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
        program: &Program,
        commands: &mut GpuCommands<'_>,
    ) -> Result<(), DeviceError> {
        let mut parameters = [0_u32; NUMBERS + WORDS];
        parameters[0] = u32::try_from(self.entries).expect("at most as many as there are words");
        for (word, number) in parameters[1..].iter_mut().zip(list.numbers) {
            *word = number.to_bits();
        }
        parameters[NUMBERS..][..self.words.len()].copy_from_slice(&self.words);
        let workgroups =
            u32::try_from(self.workgroups).expect("at most one for each element of what 32 bits can index");
        commands.dispatch(program, &self.windows, bytemuck::cast_slice(&parameters), grid(workgroups))
    }
}

/// Returns the range that a kernel binds of a block's segment.
fn window(place: &Location<GpuSegment>, most: u64, windows: Windows) -> Location<GpuSegment> {
    let most = most & !(LARGEST_ALIGNMENT - 1);
    let part = place.offset / most * most;
    let end = (part + most).min(place.segment.bytes());
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

/// Checks that the memory of each tensor can be bound, and that its offset fits the parameters.
fn check_bindings<const N: usize>(operation: &'static str, tensors: &[&Tensor; N]) -> Result<(), TensorError> {
    for tensor in tensors {
        let storage = tensor.in_one_block(operation, "tensor")?;
        let limit = most_bytes(storage.memory(), tensor.dtype());
        let bytes = storage.bytes();
        if bytes > limit {
            return Err(DeviceError::BindingTooLarge { bytes, limit }.into());
        }
    }
    Ok(())
}

/// Returns the largest size of a window.
fn most_bytes(gpu: &Gpu, dtype: DType) -> u64 {
    gpu.limits().largest_binding.min(dtype.bytes() << PLACE_BITS)
}

/// Checks the tensors of the entry with an index.
fn check<const N: usize>(
    name: &'static str,
    fields: [&'static str; N],
    index: usize,
    tensors: &[&Tensor; N],
) -> Result<(), TensorError> {
    let argument = |place: usize| Argument::OfParameter { name: fields[place], index };
    let first = tensors[0];
    for (place, tensor) in tensors.iter().enumerate() {
        check_floating_point(name, (argument(place), tensor))?;
        if !tensor.is_contiguous() {
            let (shape, strides) = (tensor.shape().to_vec(), tensor.strides().to_vec());
            return Err(TensorError::NotContiguous { operation: name, argument: argument(place), shape, strides });
        }
    }
    for (place, tensor) in tensors.iter().enumerate() {
        check_kinds(name, (argument(0), first), (argument(place), tensor))?;
        if tensor.shape() != first.shape() {
            let required = ShapeRequirement::Same { by: argument(0), of: first.shape().to_vec() };
            return Err(TensorError::shape(name, argument(place), tensor.shape(), required));
        }
        let meets = |other: &&Tensor| {
            let layouts = other.layouts_in_common(other.layout(), tensor, tensor.layout());
            layouts.is_some_and(|[one, other]| one.overlaps(&other))
        };
        if let Some(before) = tensors[..place].iter().position(meets) {
            return Err(TensorError::Overlap {
                operation: name,
                argument: argument(place),
                other: Some(argument(before)),
            });
        }
    }
    Ok(())
}
