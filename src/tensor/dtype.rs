//! Element types.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit floating point, PyTorch's `float32`.
    F32,
    /// 32-bit signed integer, PyTorch's `int32`. Arithmetic wraps.
    I32,
    /// 32-bit unsigned integer, PyTorch's `uint32`. Arithmetic wraps.
    U32,
    /// 16-bit floating point, PyTorch's `float16`. Kernels compute in f32, and round once when they store a result. Requires
    /// [`wgpu::Features::SHADER_F16`].
    F16,
}

impl DType {
    /// Every dtype.
    pub const ALL: [Self; 4] = [Self::F32, Self::I32, Self::U32, Self::F16];

    /// Returns the size of an element in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }

    /// Returns the type's name in WGSL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name_ref()
    }

    /// Returns a reference to the type's name, which takes the size of one pointer in a record.
    pub(crate) const fn name_ref(self) -> &'static &'static str {
        match self {
            Self::F32 => &"f32",
            Self::I32 => &"i32",
            Self::U32 => &"u32",
            Self::F16 => &"f16",
        }
    }

    /// Returns whether the dtype is a floating-point type. Equals `torch.dtype.is_floating_point`.
    #[must_use]
    pub const fn is_floating_point(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// Returns the dtype in which kernels compute.
    pub(crate) const fn number(self) -> Self {
        match self {
            Self::F16 => Self::F32,
            Self::F32 | Self::I32 | Self::U32 => self,
        }
    }

    /// Returns the dtype as which kernels copy elements without changing bits.
    pub(crate) const fn moved(self) -> Self {
        match self {
            Self::F32 | Self::I32 | Self::U32 => Self::U32,
            Self::F16 => Self::F16,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for half::f16 {}
}

/// A Rust type as which a tensor's elements can be read and written.
pub trait Element: bytemuck::Pod + fmt::Debug + Default + PartialEq + Send + Sync + sealed::Sealed {
    /// The dtype of the type.
    const DTYPE: DType;

    /// Returns the bits of the number with which kernels compute: for f16, the bits of the value as f32.
    fn bits(self) -> u32;

    /// Returns the value, which f64 represents exactly for every dtype.
    fn value(self) -> f64;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;

    fn bits(self) -> u32 {
        self.to_bits()
    }

    fn value(self) -> f64 {
        self.into()
    }
}

impl Element for i32 {
    const DTYPE: DType = DType::I32;

    fn bits(self) -> u32 {
        self.cast_unsigned()
    }

    fn value(self) -> f64 {
        self.into()
    }
}

impl Element for u32 {
    const DTYPE: DType = DType::U32;

    fn bits(self) -> u32 {
        self
    }

    fn value(self) -> f64 {
        self.into()
    }
}

impl Element for half::f16 {
    const DTYPE: DType = DType::F16;

    fn bits(self) -> u32 {
        self.to_f32().to_bits()
    }

    fn value(self) -> f64 {
        self.into()
    }
}
