//! Forms of kernels: how the operands of an operation lie decides how its shader walks over them.

use super::launch::index;
use crate::error::TensorError;
use crate::tensor::Layout;

/// How the operands of an elementwise kernel are walked over. The WGSL of a form is put in front of the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Any strides: an invocation has one element.
    Strided,
    /// Rows of a multiple of four elements, each contiguous or one element repeated: four elements an invocation.
    Rows,
    /// All contiguous: four elements an invocation, with no index arithmetic.
    Flat,
}

impl Form {
    #[cfg(test)]
    pub(super) const ALL: [Self; 3] = [Self::Strided, Self::Rows, Self::Flat];

    /// Its name in the cache of programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Strided => "strided",
            Self::Rows => "rows",
            Self::Flat => "flat",
        }
    }

    /// The WGSL that a kernel needs.
    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::Strided => concat!(
                include_str!("../../shaders/lib/places.wgsl"),
                include_str!("../../shaders/lib/walk.wgsl"),
                include_str!("../../shaders/lib/strided.wgsl")
            ),
            Self::Rows => concat!(
                include_str!("../../shaders/lib/places.wgsl"),
                include_str!("../../shaders/lib/walk.wgsl"),
                include_str!("../../shaders/lib/as_vec4.wgsl"),
                include_str!("../../shaders/lib/rows.wgsl")
            ),
            Self::Flat => concat!(
                include_str!("../../shaders/lib/places.wgsl"),
                include_str!("../../shaders/lib/as_vec4.wgsl"),
                include_str!("../../shaders/lib/flat.wgsl")
            ),
        }
    }

    /// Bytes of the parameters.
    pub(super) const fn parameter_bytes(self) -> u32 {
        match self {
            Self::Strided | Self::Rows => 128,
            Self::Flat => 24,
        }
    }
}

/// Operands of one shape, collapsed together, and the form that fits them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) form: Form,
    /// The output, the left and the right operand.
    pub(super) layouts: [Layout; 3],
}

/// Elements that an invocation has in the forms other than [`Form::Strided`].
pub(super) const LANES: usize = 4;

impl Operands {
    /// Collapsed layouts of one shape with at least one element.
    pub(super) fn new(layouts: &[Layout; 3]) -> Self {
        Self { form: form(layouts), layouts: *layouts }
    }

    /// How many values the walk has.
    pub(super) fn count(&self, operation: &'static str) -> Result<u32, TensorError> {
        let elements = self.layouts[0].elements();
        index(operation, if self.form == Form::Strided { elements } else { elements.div_ceil(LANES) })
    }
}

/// The form that fits some operands of one shape, the output first.
pub(super) fn form(layouts: &[Layout]) -> Form {
    let is_contiguous = |layout: &Layout| layout.is_contiguous() && layout.offset.is_multiple_of(LANES);
    if layouts.iter().all(is_contiguous) {
        return Form::Flat;
    }
    let Some(output) = layouts.first() else { return Form::Strided };
    let Some((&inner, outer)) = output.shape.split_last() else { return Form::Strided };
    let in_vec4s = |layout: &Layout| {
        layout.strides[outer.len()] == 1
            && layout.offset.is_multiple_of(LANES)
            && layout.strides[..outer.len()].iter().all(|stride| stride.is_multiple_of(LANES))
    };
    let fits = |layout: &Layout| layout.strides[outer.len()] == 0 || in_vec4s(layout);
    if inner.is_multiple_of(LANES) && in_vec4s(output) && layouts.iter().all(fits) { Form::Rows } else { Form::Strided }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::collapse;

    fn layout(shape: &[usize]) -> Layout {
        Layout::contiguous(shape, 4).expect("the shape is small")
    }

    fn form_of(left: &Layout, right: &Layout) -> Form {
        let shape = left.broadcast_shape("add", right).expect("the shapes match");
        let expand = |layout: &Layout| layout.expand("add", &shape).expect("the shapes match");
        Operands::new(&collapse([&layout(&shape), &expand(left), &expand(right)])).form
    }

    #[test]
    fn contiguous_operands_are_flat_whatever_their_shape() {
        assert_eq!(form_of(&layout(&[3, 5]), &layout(&[3, 5])), Form::Flat);
        assert_eq!(form_of(&layout(&[]), &layout(&[])), Form::Flat);
        let part = layout(&[10, 6]).narrow(0, 2, 3).expect("in range");
        assert_eq!(form_of(&part, &part), Form::Flat);
    }

    #[test]
    fn an_operand_that_begins_between_vec4s_is_strided() {
        let part = layout(&[10, 6]).narrow(0, 1, 3).expect("in range");
        assert_eq!(form_of(&part, &part), Form::Strided);
        assert_eq!(form_of(&layout(&[3, 5]), &layout(&[5])), Form::Strided);
        assert_eq!(form_of(&layout(&[8, 8]).transpose(0, 1).expect("two axes"), &layout(&[8, 8])), Form::Strided);
    }

    #[test]
    fn rows_and_columns_that_repeat_are_rows() {
        let whole = layout(&[3, 8]);
        assert_eq!(form_of(&whole, &layout(&[8])), Form::Rows);
        assert_eq!(form_of(&whole, &layout(&[3, 1])), Form::Rows);
        assert_eq!(form_of(&layout(&[1]), &whole), Form::Rows);
        let columns = layout(&[3, 12]).narrow(1, 4, 8).expect("in range");
        assert_eq!(form_of(&columns, &columns), Form::Rows);
    }
}
