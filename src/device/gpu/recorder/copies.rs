//! Copies within the device: by the driver, through the bounce buffer, or by a kernel.

use super::super::GpuSegment;
use super::super::copier::{Copier, Piece, UNIT};
use super::super::verdict::Verdict;
use super::{BOUNCE_BUFFER_BYTES, GpuCommands, Recorder};
use crate::device::{Location, check_transfer};
use crate::error::DeviceError;
use std::sync::Arc;

impl GpuCommands<'_> {
    /// Creates a bounce buffer of at least `bytes` bytes or of the largest size, unless there is one.
    pub(super) fn make_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let piece = bytes.min(BOUNCE_BUFFER_BYTES);
        if self.recorder.bounce_buffer.as_ref().is_some_and(|buffer| buffer.verdict().refusal().is_some()) {
            self.recorder.bounce_buffer = None;
        }
        if self.recorder.bounce_buffer_bytes() < piece {
            let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            let buffer = self.gpu.buffer("wgpu-pool bounce buffer", piece, usage, false)?;
            self.recorder.bounce_buffer = Some(Arc::new(buffer));
        }
        Ok(())
    }

    pub(super) fn record_copy(
        &mut self,
        from: &Location<GpuSegment>,
        to: &Location<GpuSegment>,
    ) -> Result<(), DeviceError> {
        check_transfer(from, from.size)?;
        check_transfer(to, from.size)?;
        let done = self.copy_by_kernel(from, to);
        let rest = from.size - done;
        if rest == 0 && done > 0 {
            return Ok(());
        }
        let (from, to) = (from.part(done, rest)?, to.part(done, rest)?);
        if from.id == to.id {
            return self.bounce(&from, &to);
        }
        self.recorder.depend_on(self.gpu, [from.segment.verdict(), to.segment.verdict()].into_iter())?;
        self.recorder.uses(&from.segment);
        self.recorder.uses(&to.segment);
        let encoder = self.recorder.encoder(self.gpu)?;
        let (source, target) = (from.segment.own_buffer(), to.segment.own_buffer());
        encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.size);
        Ok(())
    }

    /// Copies by the kernel, if that is faster, and returns the number of bytes from the start that it copies. If the device
    /// refuses the kernel or a bind group, the driver copies the rest.
    fn copy_by_kernel(&mut self, from: &Location<GpuSegment>, to: &Location<GpuSegment>) -> u64 {
        let Some(piece) = self.gpu.kernel_copies.piece(from, to, &self.gpu.limits) else { return 0 };
        // Segments in host memory cannot be bound.
        if ![from, to].iter().all(|place| place.segment.own_buffer().usage().contains(wgpu::BufferUsages::STORAGE)) {
            return 0;
        }
        let (whole, mut start) = (from.size / UNIT * UNIT, 0);
        while start < whole {
            let bytes = piece.min(whole - start);
            if let Err(error) = self.copy_piece(&Piece { from, to, start, bytes }) {
                let rest = from.size - start;
                self.recorder.note(|| format!("the driver copies {rest} B, not the kernel: {error}"));
                break;
            }
            start += bytes;
        }
        start
    }

    fn copy_piece(&mut self, piece: &Piece<'_>) -> Result<(), DeviceError> {
        let Self { gpu, recorder } = self;
        let copier = match recorder.copier.take() {
            Some(copier) => copier,
            None => Copier::new(gpu)?,
        };
        let copier = recorder.copier.insert(copier);
        // Of a refused kernel not even a group can be made.
        if let Some(refusal) = copier.verdicts.iter().find_map(Verdict::refusal) {
            return Err(refusal.clone());
        }
        let (group, verdicts) = (copier.group(gpu, piece)?, copier.verdicts.clone());
        recorder
            .depend_on(gpu, [piece.from.segment.verdict(), piece.to.segment.verdict()].into_iter().chain(&verdicts))?;
        recorder.uses(&piece.from.segment);
        recorder.uses(&piece.to.segment);
        recorder.open(gpu)?;
        let Recorder { open: Some(open), copier: Some(copier), .. } = &mut **recorder else {
            unreachable!("both were just created");
        };
        copier.record(open.pass(), &group, piece.bytes);
        open.commands += 1;
        Ok(())
    }

    fn bounce(&mut self, from: &Location<GpuSegment>, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        self.make_bounce_buffer(from.size)?;
        let bounce_buffer = self.recorder.bounce_buffer.clone().expect("the bounce buffer was just created");
        self.recorder.depend_on(self.gpu, [from.segment.verdict(), bounce_buffer.verdict()].into_iter())?;
        self.recorder.uses(&from.segment);
        self.recorder.keep(&bounce_buffer);
        let encoder = self.recorder.encoder(self.gpu)?;
        // In ascending order, so that a chunk never overwrites bytes that are copied later.
        let mut done = 0;
        while done < from.size {
            let bytes = (from.size - done).min(bounce_buffer.size());
            encoder.copy_buffer_to_buffer(from.segment.own_buffer(), from.offset + done, &bounce_buffer, 0, bytes);
            encoder.copy_buffer_to_buffer(&bounce_buffer, 0, to.segment.own_buffer(), to.offset + done, bytes);
            done += bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::Gpu;
    use crate::device::{Commands, DeviceResources, Memory};
    use crate::heap::{Heap, HeapOptions, SubPool};

    type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

    /// A device and two segments.
    fn places() -> Outcome<(Gpu, [Location<GpuSegment>; 2])> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let mut place = || -> Outcome<_> {
            let id = heap.add_segment(SubPool::Small, 1 << 20)?;
            Ok(Location { id, segment: gpu.create_segment(1 << 20)?, offset: 0, size: 64 << 10 })
        };
        let places = [place()?, place()?];
        Ok((gpu, places))
    }

    /// Whether the last command is a dispatch, and the number of commands of the open batch. Closes the batch.
    fn recorded(gpu: &Gpu) -> Option<(bool, u32)> {
        let mut recorder = gpu.submission.recorder();
        let found = recorder.open.as_ref().map(|open| (open.pass.is_some(), open.commands));
        recorder.close(&gpu.submission);
        found
    }

    #[test]
    fn the_size_decides_between_the_kernel_and_the_driver() -> Outcome<()> {
        let (gpu, [one, other]) = places()?;
        let copy = |from: &Location<_>, to: &Location<_>| -> Result<_, DeviceError> {
            gpu.commands().copy(from, to)?;
            Ok(recorded(&gpu))
        };
        assert_eq!(gpu.kernel_copies(), None, "the driver is not known to be slow");
        assert_eq!(copy(&one, &other)?, Some((false, 1)));
        gpu.set_kernel_copies(Some(64 << 10));
        assert_eq!(copy(&one, &other)?, Some((true, 1)));
        assert_eq!(copy(&one.part(0, 32 << 10)?, &other)?, Some((false, 1)), "too small");
        assert_eq!(copy(&one.part(4, 60 << 10)?, &other)?, Some((false, 1)), "not aligned");
        // The kernel copies units of 16 bytes, and the driver the rest.
        gpu.set_kernel_copies(Some(0));
        assert_eq!(copy(&one.part(0, 1004)?, &other)?, Some((false, 2)));
        // Within a segment: at once, or in pieces of the distance.
        let at = |offset, size| Location { offset, size, ..one.clone() };
        assert_eq!(copy(&at(512 << 10, 64 << 10), &at(0, 64 << 10))?, Some((true, 1)));
        assert_eq!(copy(&at(1024, 10_240), &at(0, 10_240))?, Some((true, 10)));
        gpu.set_kernel_copies(None);
        assert_eq!(copy(&one, &other)?, Some((false, 1)));
        Ok(())
    }

    /// Copies by spilling, which would otherwise try to bind the segment each time.
    #[test]
    fn the_driver_copies_to_and_from_host_memory() -> Outcome<()> {
        let required_features = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_features, ..Default::default() });
        let gpu = Gpu::from_device(device, queue);
        gpu.set_kernel_copies(Some(0));
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let [one, other] = [heap.add_segment(SubPool::Small, 4096)?, heap.add_segment(SubPool::Small, 4096)?];
        let host = gpu.create_host_segment(4096)?;
        let place = Location { id: one, segment: gpu.create_segment(4096)?, offset: 0, size: 4096 };
        let host = Location { id: other, segment: host, ..place.clone() };
        for (from, to) in [(&place, &host), (&host, &place)] {
            gpu.commands().copy(from, to)?;
            assert_eq!(recorded(&gpu), Some((false, 1)));
            assert!(gpu.submission.recorder().copier.is_none(), "the kernel was not considered");
        }
        Ok(())
    }

    #[test]
    fn the_driver_copies_if_the_device_refuses_the_kernel() -> Outcome<()> {
        let (gpu, [one, other]) = places()?;
        gpu.set_kernel_copies(Some(0));
        let (verdict, ruling) = gpu.submission.health().verdicts().open();
        ruling.give(Err(DeviceError::Refused { bytes: 1 }), drop);
        let mut refused = Copier::new(&gpu)?;
        refused.verdicts = [verdict.clone(), verdict];
        gpu.submission.recorder().copier = Some(refused);
        gpu.commands().copy(&one, &other)?;
        assert_eq!(recorded(&gpu), Some((false, 1)));
        Ok(())
    }
}
