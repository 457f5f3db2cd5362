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
    /// 16-bit floating point, PyTorch's `float16`: stored so, and computed with in f32, with one rounding where a result is
    /// stored. For devices with [`wgpu::Features::SHADER_F16`].
    F16,
}

impl DType {
    /// Every dtype there is.
    pub const ALL: [Self; 4] = [Self::F32, Self::I32, Self::U32, Self::F16];

    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }

    /// The type's name in WGSL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name_ref()
    }

    /// A reference to the type's name: of the size of one pointer, for records.
    pub(crate) const fn name_ref(self) -> &'static &'static str {
        match self {
            Self::F32 => &"f32",
            Self::I32 => &"i32",
            Self::U32 => &"u32",
            Self::F16 => &"f16",
        }
    }

    /// Whether it is one of floating point. Equals `torch.dtype.is_floating_point`.
    #[must_use]
    pub const fn is_floating_point(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// What kernels compute its elements with.
    pub(crate) const fn number(self) -> Self {
        match self {
            Self::F16 => Self::F32,
            Self::F32 | Self::I32 | Self::U32 => self,
        }
    }

    /// What elements are moved as, so that none of their bits change.
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

/// A Rust type that a tensor's elements can be read as and written from.
pub trait Element: bytemuck::Pod + fmt::Debug + Default + PartialEq + Send + Sync + sealed::Sealed {
    /// The dtype that it stands for.
    const DTYPE: DType;

    /// The bits of the number that kernels compute with: of an f16, those of the f32 of its value.
    fn bits(self) -> u32;

    /// The value, which f64 has of every dtype.
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
