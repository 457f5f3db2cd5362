//! A kernel window as the tests of all operations have it, and the options that it stands for.

use wgpu_pool::{AvgPool2d, Conv2d, MaxPool2d, Padding, Unfold};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Before and behind the image on each axis.
    pub(crate) padding: [[usize; 2]; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) ceil_mode: bool,
    pub(crate) count_include_pad: bool,
    pub(crate) groups: usize,
}

impl Window {
    pub(crate) const fn new(kernel: [usize; 2], stride: [usize; 2], [rows, columns]: [usize; 2]) -> Self {
        let padding = [[rows; 2], [columns; 2]];
        Self { kernel, stride, padding, dilation: [1; 2], ceil_mode: false, count_include_pad: true, groups: 1 }
    }

    /// A square that moves by its own size.
    pub(crate) const fn square(size: usize) -> Self {
        Self::new([size; 2], [size; 2], [0; 2])
    }

    fn pad(self) -> Padding {
        self.padding.into()
    }

    pub(crate) fn conv(self) -> Conv2d {
        Conv2d { stride: self.stride, padding: self.pad(), dilation: self.dilation, groups: self.groups }
    }

    pub(crate) fn unfold(self) -> Unfold {
        Unfold { kernel_size: self.kernel, stride: self.stride, padding: self.pad(), dilation: self.dilation }
    }

    pub(crate) fn max(self) -> MaxPool2d {
        let Self { kernel, stride, padding, dilation, ceil_mode, .. } = self;
        MaxPool2d { kernel_size: kernel, stride, padding: padding.into(), dilation, ceil_mode }
    }

    pub(crate) fn avg(self) -> AvgPool2d {
        let Self { kernel, stride, padding, ceil_mode, count_include_pad, .. } = self;
        AvgPool2d { kernel_size: kernel, stride, padding: padding.into(), ceil_mode, count_include_pad }
    }

    /// The padded image's places along an axis, and the window's.
    fn extents(&self, axis: usize, size: usize) -> (usize, usize) {
        let [before, behind] = self.padding[axis];
        (size + before + behind, (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }

    /// The positions along each axis of an image of this height and width, one by one.
    pub(crate) fn positions(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| {
            let (padded, extent) = self.extents(axis, size[axis]);
            let fits = |start: &usize| {
                start + extent <= padded
                    || (self.ceil_mode
                        && start + extent < padded + self.stride[axis]
                        && *start < size[axis] + self.padding[axis][0])
            };
            (0..).step_by(self.stride[axis]).take_while(fits).count()
        })
    }

    /// The place of an image under a tap of a window, if it is inside.
    pub(crate) fn under(&self, size: [usize; 2], at: [usize; 2], tap: [usize; 2]) -> Option<[usize; 2]> {
        let place = [0, 1].map(|axis| {
            let place =
                (at[axis] * self.stride[axis] + tap[axis] * self.dilation[axis]).checked_sub(self.padding[axis][0]);
            place.filter(|&place| place < size[axis])
        });
        match place {
            [Some(row), Some(column)] => Some([row, column]),
            _ => None,
        }
    }

    /// What an average divides by.
    pub(crate) fn counted(&self, size: [usize; 2], at: [usize; 2]) -> usize {
        let along = |axis: usize| {
            let (padded, _) = self.extents(axis, size[axis]);
            let before = self.padding[axis][0];
            let counts = |place: &usize| {
                *place < padded && (self.count_include_pad || (*place >= before && *place < before + size[axis]))
            };
            (0..self.kernel[axis]).map(|tap| at[axis] * self.stride[axis] + tap).filter(counts).count()
        };
        along(0) * along(1)
    }
}
