//! Reading tensors to the host.

use crate::error::{DeviceError, TensorError};
use crate::pool::{RangeRead, Storage};
use crate::tensor::{DType, Element, HostTensor, IntoHostError, Tensor, arithmetic, shown_sizes, text};
use std::borrow::Cow;
use std::ops::Range;

impl Tensor {
    /// Copies the elements to the host, in row-major order. The tensor remains on the device.
    ///
    /// Reads the elements at the point of the program order at which the future is first polled, and submits recorded commands.
    /// Only the tensor's own elements are transferred: a view with gaps is first copied to contiguous memory on the device, if
    /// memory is available, and each element of an expanded view is transferred once. Waits asynchronously until the device has
    /// executed the commands recorded so far; a thread that is submitting is waited for during the first poll.
    ///
    /// # Errors
    /// [`TensorError::DType`] if `T` is not the tensor's dtype; [`TensorError::TooManyElements`] for more than 2^32
    /// elements, or for more than 2^28 if an expanded view repeats its elements more than 16 times;
    /// [`TensorError::HostMemory`] if the host has too little memory; [`TensorError::Device`].
    pub async fn read<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        let source = self.without_gaps::<T>()?;
        let mut bytes = Vec::new();
        for read in source.begin_read()? {
            bytes.push(read.finish().await.map_err(of_read)?);
        }
        source.collected(&bytes)
    }

    /// Copies the elements to the host, in row-major order, and blocks the calling thread until the device has executed the
    /// commands recorded so far. Transfers what [`Tensor::read`] does.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    #[track_caller]
    pub fn read_blocking<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        self.read_on_this_thread().map_err(|error| error.of_operation("read_blocking"))
    }

    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    #[track_caller]
    fn read_on_this_thread<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        let source = self.without_gaps::<T>()?;
        let bytes = source.begin_read()?.into_iter().map(|read| read.finish_blocking().map_err(of_read));
        source.collected(&bytes.collect::<Result<Vec<_>, _>>()?)
    }

    /// Reads the only element of a tensor with one element, of any shape. Waits as [`Tensor::read`]. Equals
    /// `torch.Tensor.item`.
    ///
    /// # Errors
    /// [`TensorError::Item`] unless there is one element; as [`Tensor::read`].
    pub async fn item<T: Element>(&self) -> Result<T, TensorError> {
        let name = "item";
        self.check_item(name)?;
        let elements = self.read().await.map_err(|error| error.of_operation(name))?;
        elements.first().copied().ok_or_else(|| self.not_an_item(name))
    }

    /// Reads the only element of a tensor with one element, of any shape. Blocks the calling thread as
    /// [`Tensor::read_blocking`]. Equals `torch.Tensor.item`.
    ///
    /// # Errors
    /// As [`Tensor::item`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    #[track_caller]
    pub fn item_blocking<T: Element>(&self) -> Result<T, TensorError> {
        let name = "item_blocking";
        self.check_item(name)?;
        let elements = self.read_blocking().map_err(|error| error.of_operation(name))?;
        elements.first().copied().ok_or_else(|| self.not_an_item(name))
    }

    fn check_item(&self, name: &'static str) -> Result<(), TensorError> {
        if self.elements() == 1 { Ok(()) } else { Err(self.not_an_item(name)) }
    }

    fn not_an_item(&self, operation: &'static str) -> TensorError {
        TensorError::Item { operation, shape: self.shape().to_vec(), elements: self.elements() }
    }

    /// Returns the elements as text, as PyTorch prints a tensor; see the `Display` of [`HostTensor`]. Of more than 1000
    /// elements only those in the text are transferred. Waits as [`Tensor::read`]. [`Tensor`] does not implement `Display`, which would wait for
    /// the device whenever a tensor is formatted.
    ///
    /// # Errors
    /// As [`Tensor::read`]; as [`Tensor::empty`].
    pub async fn to_text(&self) -> Result<String, TensorError> {
        let named = |error: TensorError| error.of_operation("to_text");
        let shown = self.shown().map_err(named)?;
        Ok(match self.dtype() {
            DType::F32 => self.text_of(&shown, &shown.read::<f32>().await.map_err(named)?),
            DType::I32 => self.text_of(&shown, &shown.read::<i32>().await.map_err(named)?),
            DType::U32 => self.text_of(&shown, &shown.read::<u32>().await.map_err(named)?),
            DType::F16 => self.text_of(&shown, &shown.read::<half::f16>().await.map_err(named)?),
        })
    }

    /// Returns the elements as text, as [`Tensor::to_text`]. Blocks the calling thread as [`Tensor::read_blocking`].
    ///
    /// # Errors
    /// As [`Tensor::to_text`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    #[track_caller]
    pub fn to_text_blocking(&self) -> Result<String, TensorError> {
        let named = |error: TensorError| error.of_operation("to_text_blocking");
        let shown = self.shown().map_err(named)?;
        Ok(match self.dtype() {
            DType::F32 => self.text_of(&shown, &shown.read_blocking::<f32>().map_err(named)?),
            DType::I32 => self.text_of(&shown, &shown.read_blocking::<i32>().map_err(named)?),
            DType::U32 => self.text_of(&shown, &shown.read_blocking::<u32>().map_err(named)?),
            DType::F16 => self.text_of(&shown, &shown.read_blocking::<half::f16>().map_err(named)?),
        })
    }

    fn text_of<T: Element>(&self, shown: &Self, elements: &[T]) -> String {
        text(self.shape(), elements, shown.shape())
    }

    /// Returns the elements in the text.
    #[track_caller]
    fn shown(&self) -> Result<Self, TensorError> {
        let sizes = shown_sizes(self.shape());
        let mut axes: Vec<usize> = (0..self.rank()).filter(|&axis| sizes[axis] < self.shape()[axis]).collect();
        // The longest axis first, so that little is copied.
        axes.sort_unstable_by_key(|&axis| std::cmp::Reverse(self.shape()[axis]));
        axes.into_iter().try_fold(self.clone(), |shown, axis| {
            let (size, edge) = (shown.shape()[axis], sizes[axis] / 2);
            Self::cat(&[&shown.narrow(axis, 0, edge)?, &shown.narrow(axis, size - edge, edge)?], axis)
        })
    }

    /// Moves the tensor to the host. Its device memory has returned to the pool when the call returns, because the
    /// tensor is consumed and no other handle may share its memory. Waits as [`Tensor::read`].
    ///
    /// # Errors
    /// [`IntoHostError`], which contains the tensor: [`TensorError::Shared`] if a clone or a view shares the memory; as
    /// [`Tensor::read`].
    pub async fn into_host<T: Element>(self) -> Result<HostTensor<T>, IntoHostError> {
        let name = "into_host";
        let read = match self.check_sole(name) {
            Ok(()) => self.read().await,
            Err(error) => Err(error),
        };
        self.into_host_with(name, read)
    }

    /// Moves the tensor to the host, and returns its device memory to the pool: see [`Tensor::into_host`]. Blocks the calling
    /// thread as [`Tensor::read_blocking`].
    ///
    /// # Errors
    /// As [`Tensor::into_host`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn into_host_blocking<T: Element>(self) -> Result<HostTensor<T>, IntoHostError> {
        let name = "into_host_blocking";
        let read = self.check_sole(name).and_then(|()| self.read_blocking());
        self.into_host_with(name, read)
    }

    /// The elements that were read, or the tensor and the error.
    fn into_host_with<T>(
        self,
        name: &'static str,
        read: Result<Vec<T>, TensorError>,
    ) -> Result<HostTensor<T>, IntoHostError> {
        match read {
            Ok(elements) => Ok(HostTensor { shape: self.shape().to_vec(), elements }),
            Err(error) => Err(IntoHostError { tensor: Box::new(self), error: error.of_operation(name) }),
        }
    }

    fn check_sole(&self, operation: &'static str) -> Result<(), TensorError> {
        match self.other_handles() {
            0 => Ok(()),
            others => Err(TensorError::Shared { operation, others }),
        }
    }

    /// A view of the same elements whose span has no others in it: itself, or of a copy.
    fn without_gaps<T: Element>(&self) -> Result<Cow<'_, Self>, TensorError> {
        if T::DTYPE != self.dtype() {
            let (of_element, own) = (T::DTYPE.name(), self.dtype().name());
            return Err(TensorError::dtypes("read", ("element type", of_element), ("tensor", own)));
        }
        let repeated = (0..self.rank()).filter(|&axis| self.strides()[axis] == 0 && self.shape()[axis] > 1);
        let once = repeated
            .into_iter()
            .try_fold(Cow::Borrowed(self), |once, axis| Ok::<_, TensorError>(Cow::Owned(once.narrow(axis, 0, 1)?)))?;
        let elements = self.elements() as u64;
        let limit = (once.elements() as u64).saturating_mul(MOST_REPEATS).clamp(MOST_REPEATED, MOST_READ);
        if elements > limit {
            return Err(TensorError::TooManyElements { operation: "read", elements, limit });
        }
        if once.layout().span().len() <= once.elements() {
            return Ok(Cow::Borrowed(self));
        }
        match once.copied() {
            Ok(copy) => Ok(Cow::Owned(copy.expand(self.shape())?)),
            // Without memory for a copy, or an index for it, the gaps are transferred as well.
            Err(TensorError::Allocate(_) | TensorError::TooManyElements { .. }) => Ok(Cow::Borrowed(self)),
            Err(error) => Err(error),
        }
    }

    /// Records the reads of all bytes from the first element to the last, one for each block.
    fn begin_read(&self) -> Result<Vec<RangeRead>, TensorError> {
        let begin = |(storage, part): (&Storage, Range<usize>)| {
            let [start, length] =
                [part.start, part.len()].map(|element| arithmetic::bytes(element, self.dtype().bytes()));
            storage.begin_read(start, length)
        };
        Ok(self.spans().into_iter().map(begin).collect::<Result<_, _>>()?)
    }

    /// The tensor's elements out of the bytes of its blocks.
    fn collected<T: Element>(&self, blocks: &[Vec<u8>]) -> Result<Vec<T>, TensorError> {
        let Range { start, end } = self.layout().span();
        let mut span = reserved::<T>(end - start)?;
        for ((_, part), bytes) in self.spans().into_iter().zip(blocks) {
            let first = span.len();
            span.resize(first + part.len(), T::default());
            let own: &mut [u8] = bytemuck::cast_slice_mut(&mut span[first..]);
            own.copy_from_slice(bytes);
        }
        if self.is_contiguous() {
            return Ok(span);
        }
        let mut elements = reserved(self.elements())?;
        elements.extend(self.layout().indices().map(|index| span[index - start]));
        Ok(elements)
    }
}

/// The most elements that are read at once, and the most of a view that repeats its elements more than a few times: their number is
/// not bounded by the device's memory, and systems that commit memory at the first access end a process that asks for too much.
const MOST_READ: u64 = 1 << 32;
const MOST_REPEATED: u64 = 1 << 28;
const MOST_REPEATS: u64 = 16;

/// The error of a read.
fn of_read(error: DeviceError) -> TensorError {
    match error {
        DeviceError::HostRefused { bytes } => TensorError::HostMemory { operation: "read", bytes },
        error => TensorError::Device(error),
    }
}

/// Memory of the host for some elements.
///
/// # Errors
/// [`TensorError::HostMemory`].
fn reserved<T>(elements: usize) -> Result<Vec<T>, TensorError> {
    let mut reserved = Vec::new();
    let bytes = arithmetic::bytes(elements, size_of::<T>() as u64);
    reserved.try_reserve_exact(elements).map_err(|_| TensorError::HostMemory { operation: "read", bytes })?;
    Ok(reserved)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::device::most_received;
    use crate::pool::{Pool, PoolOptions};

    #[test]
    fn a_host_without_memory_for_the_elements_is_an_error() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        let x = Tensor::arange(&pool, 1000, 0, 1)?;
        let read = most_received::with(3999, || x.read_blocking::<i32>());
        assert_eq!(read, Err(TensorError::HostMemory { operation: "read_blocking", bytes: 4000 }));
        let storage = x.storage()?;
        let mut download = pool.download(4000)?;
        download.add(storage, 0, 4000)?;
        let read = most_received::with(3999, || download.finish_blocking());
        assert_eq!(read, Err(DeviceError::HostRefused { bytes: 4000 }));
        assert_eq!(most_received::with(4000, || x.read_blocking::<i32>())?.len(), 1000);
        Ok(())
    }

    #[test]
    fn a_view_is_read_without_the_elements_in_its_gaps() -> Result<(), TensorError> {
        let Ok(pool) = Pool::request_blocking(PoolOptions::default()) else { return Ok(()) };
        let x = Tensor::arange(&pool, 60, 0, 1)?.reshape([3, 4, 5])?;
        let views = [
            x.clone(),
            x.transpose(0, 2)?,
            x.narrow(0, 1, 2)?,
            x.narrow(2, 1, 3)?,
            x.slice(1, .., 2)?.transpose(1, 2)?,
            x.select(2, 4)?,
            x.slice(2, .., 4)?.unsqueeze(0)?.expand([7, 3, 4, 2])?,
            x.narrow(1, 0, 0)?,
        ];
        for view in views {
            let source = view.without_gaps::<i32>()?;
            let own = (0..view.rank()).filter(|&axis| view.strides()[axis] > 0).map(|axis| view.shape()[axis]);
            let bytes = arithmetic::bytes(arithmetic::elements(&own.collect::<Vec<_>>()), 4);
            let mut read = 0;
            for range in source.begin_read()? {
                read += range.finish_blocking()?.len() as u64;
            }
            assert_eq!(read, bytes, "{view:?}");
            assert_eq!(source.shape(), view.shape());
        }
        Ok(())
    }
}
