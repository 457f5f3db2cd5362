//! The ways in which an operand can lie in its storage, and a tensor that lies in each of them.

use crate::model::Array;
use std::sync::atomic::{AtomicUsize, Ordering};
use wgpu_pool::{DType, Pool, Tensor, TensorError, f16};

/// The layout of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Contiguous, from the start of a storage of its own.
    Fresh,
    /// Contiguous, from so many elements further on.
    Offset(usize),
    /// A part of a larger tensor along each axis: so many elements lie before its own, and one after them.
    Gaps(usize),
    /// The axes in reverse order.
    Transposed,
    /// One index of an axis repeated with a stride of zero: of the first axis, or of the last.
    Expanded(Axis),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    First,
    Last,
}

/// Offsets and gaps that are a multiple of four elements, in which kernels move them, and others.
pub(crate) const PLACES: [Place; 8] = [
    Place::Offset(5),
    Place::Offset(8),
    Place::Gaps(3),
    Place::Gaps(4),
    Place::Transposed,
    Place::Expanded(Axis::First),
    Place::Expanded(Axis::Last),
    Place::Fresh,
];

impl Place {
    pub(crate) fn is_contiguous(self) -> bool {
        matches!(self, Self::Fresh | Self::Offset(_))
    }

    pub(crate) fn is_expanded(self) -> bool {
        matches!(self, Self::Expanded(_))
    }
}

/// An operand: a tensor, its elements, and the whole storage around it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) tensor: Tensor,
    pub(crate) model: Array<f64>,
    /// The tensor that covers the storage from its start, and its elements before anything ran.
    whole: Tensor,
    /// The storage's number, which operands in one storage share.
    storage: usize,
    before: Vec<f64>,
    /// The places of the operand's elements in it; none of an operand whose elements share places.
    own: Vec<usize>,
}

/// A new tensor of these elements.
pub(crate) fn upload(pool: &Pool, elements: &Array<f64>, dtype: DType) -> Result<Tensor, TensorError> {
    let Array { shape, elements } = elements;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "operands are few and small")]
    match dtype {
        DType::F32 => Tensor::from_slice(pool, &elements.iter().map(|&x| x as f32).collect::<Vec<_>>(), shape),
        DType::F16 => Tensor::from_slice(pool, &elements.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>(), shape),
        DType::I32 => Tensor::from_slice(pool, &elements.iter().map(|&x| x as i32).collect::<Vec<_>>(), shape),
        DType::U32 => Tensor::from_slice(pool, &elements.iter().map(|&x| x as u32).collect::<Vec<_>>(), shape),
        other => unreachable!("the table has {other:?}"),
    }
}

/// A tensor's elements in float64.
pub(crate) fn download(tensor: &Tensor) -> Result<Array<f64>, TensorError> {
    let elements = match tensor.dtype() {
        DType::F32 => tensor.read_blocking::<f32>()?.into_iter().map(f64::from).collect(),
        DType::F16 => tensor.read_blocking::<f16>()?.into_iter().map(f64::from).collect(),
        DType::I32 => tensor.read_blocking::<i32>()?.into_iter().map(f64::from).collect(),
        DType::U32 => tensor.read_blocking::<u32>()?.into_iter().map(f64::from).collect(),
        other => unreachable!("the table has {other:?}"),
    };
    Ok(Array { shape: tensor.shape().to_vec(), elements })
}

/// What fills the storage around an operand. No operation gives it, and integers have it as well.
const AROUND: f64 = 77.0;

/// The elements of a whole storage, and where in it an operand lies, as the places of its elements in row-major order.
struct Storage {
    elements: Array<f64>,
    own: Vec<usize>,
}

impl Placed {
    /// An operand that lies in a storage of its own.
    pub(crate) fn new(pool: &Pool, model: &Array<f64>, dtype: DType, place: Place) -> Result<Self, TensorError> {
        let shape = &model.shape;
        let axes: Vec<usize> = (0..shape.len()).collect();
        let reversed: Vec<usize> = axes.iter().rev().copied().collect();
        match place {
            Place::Fresh => {
                let storage = Storage { elements: model.clone(), own: (0..model.elements.len()).collect() };
                Self::of(pool, storage, dtype, |whole| Ok(whole.clone()), model)
            }
            Place::Offset(offset) => {
                let mut placed = Self::together(pool, &[model], dtype, offset)?;
                Ok(placed.swap_remove(0))
            }
            Place::Gaps(gap) => {
                // In many dimensions one element on one side of each is plenty.
                let (gap, behind) = if shape.len() > 5 { (gap % 2, 1 - gap % 2) } else { (gap, 4 - gap % 4) };
                let wide: Vec<usize> = shape.iter().map(|size| gap + size + behind).collect();
                let numbers = numbered(&wide);
                let narrowed = axes.iter().fold(numbers, |numbers, &axis| numbers.narrow(axis, gap, shape[axis]));
                let mut elements = Array::new(&wide, || AROUND);
                for (&place, &element) in narrowed.elements.iter().zip(&model.elements) {
                    elements.elements[place] = element;
                }
                let view = |whole: &Tensor| {
                    axes.iter().try_fold(whole.clone(), |view, &axis| view.narrow(axis, gap, shape[axis]))
                };
                Self::of(pool, Storage { elements, own: narrowed.elements }, dtype, view, model)
            }
            Place::Transposed => {
                let elements = model.permute(&reversed);
                let own = numbered(&elements.shape).permute(&reversed).elements;
                Self::of(pool, Storage { elements, own }, dtype, |whole| whole.permute(&reversed), model)
            }
            Place::Expanded(axis) => {
                let axis = if axis == Axis::First { axes.first() } else { axes.last() };
                let Some(&axis) = axis else { return Self::new(pool, model, dtype, Place::Fresh) };
                let elements = model.narrow(axis, 0, shape[axis].min(1));
                let repeated = elements.expand(shape);
                let storage = Storage { elements, own: Vec::new() };
                Self::of(pool, storage, dtype, |whole| whole.expand(shape), &repeated)
            }
        }
    }

    /// Operands of one dtype in one storage, one after the other, the first from `offset` elements on.
    pub(crate) fn together(
        pool: &Pool,
        models: &[&Array<f64>],
        dtype: DType,
        offset: usize,
    ) -> Result<Vec<Self>, TensorError> {
        let mut elements = vec![AROUND; offset];
        let mut starts = Vec::new();
        for model in models {
            starts.push(elements.len());
            elements.extend(&model.elements);
            // What comes next begins as far from a multiple of four as the first one.
            elements.extend(vec![AROUND; (4 - elements.len() % 4) % 4 + offset % 4]);
        }
        let elements = Array { shape: vec![elements.len()], elements };
        let whole = upload(pool, &elements, dtype)?;
        let storage = new_number();
        let placed = models.iter().zip(starts).map(|(model, start)| {
            let count = model.elements.len();
            let tensor = whole.narrow(0, start, count)?.reshape(&model.shape)?;
            let (before, own) = (elements.elements.clone(), (start..start + count).collect());
            Ok(Self { tensor, model: (*model).clone(), whole: whole.clone(), storage, before, own })
        });
        placed.collect()
    }

    /// A view of a storage that is written here.
    fn of(
        pool: &Pool,
        Storage { elements, own }: Storage,
        dtype: DType,
        view: impl FnOnce(&Tensor) -> Result<Tensor, TensorError>,
        model: &Array<f64>,
    ) -> Result<Self, TensorError> {
        let whole = upload(pool, &elements, dtype)?;
        let tensor = view(&whole)?;
        Ok(Self { tensor, model: model.clone(), whole, storage: new_number(), before: elements.elements, own })
    }

    /// Asserts that nothing has changed in the storage but the elements of the operand and of others that were written.
    #[track_caller]
    pub(crate) fn assert_untouched_around(&self, written: &[&Self], what: &str) {
        let after = download(&self.whole).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut is_own = vec![false; self.before.len()];
        for other in written.iter().filter(|other| other.storage == self.storage) {
            other.own.iter().for_each(|&place| is_own[place] = true);
        }
        for (place, (before, after)) in self.before.iter().zip(&after.elements).enumerate() {
            let is_same = is_own[place] || before.to_bits() == after.to_bits();
            assert!(is_same, "{what}: element {place} of the storage, which is no operand's, became {after}");
        }
    }
}

/// A number for a new storage.
fn new_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The place of each element of a contiguous tensor.
fn numbered(shape: &[usize]) -> Array<usize> {
    let mut next = 0..;
    Array::new(shape, || next.next().unwrap_or_default())
}
