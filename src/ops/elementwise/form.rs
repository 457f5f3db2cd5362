//! Forms of kernels: the iteration over the operands, selected by their layouts.

use crate::tensor::Layout;

/// The iteration of an elementwise kernel over its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Form {
    /// Any strides: one element for each invocation.
    Strided,
    /// Rows of a multiple of four elements, each contiguous or one repeated element: four elements for each invocation.
    Rows,
    /// All operands contiguous: four elements for each invocation, without index arithmetic.
    Flat,
}

/// The elements of an invocation in the forms other than [`Form::Strided`].
pub(in crate::ops) const LANES: usize = 4;

/// Returns the form for operands of one shape, the output first.
pub(in crate::ops) fn form(layouts: &[Layout]) -> Form {
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
        let shape = left.broadcast_shape(right).expect("the shapes match");
        let expand = |layout: &Layout| layout.expand("add", "tensor", &shape).expect("the shapes match");
        form(&collapse([&layout(&shape), &expand(left), &expand(right)]))
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
