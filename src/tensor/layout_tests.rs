//! Layouts against what a plain array would say.

use super::*;

fn contiguous(shape: &[usize]) -> Layout {
    Layout::contiguous(shape, 4).expect("a small shape")
}

fn elements(layout: &Layout) -> Vec<usize> {
    layout.indices().collect()
}

#[test]
fn a_contiguous_layout_walks_its_storage_in_order() {
    assert_eq!(elements(&contiguous(&[2, 3])), [0, 1, 2, 3, 4, 5]);
    assert_eq!(contiguous(&[2, 3, 4]).strides.to_vec(), [12, 4, 1]);
    assert_eq!(elements(&contiguous(&[])), [0]);
    assert_eq!(elements(&contiguous(&[3, 0])), [0_usize; 0]);
}

#[test]
fn views_name_the_elements_that_an_array_would() {
    let matrix = contiguous(&[3, 4]);
    let transposed = matrix.transpose(0, 1).expect("two axes");
    assert_eq!(elements(&transposed), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    assert!(!transposed.is_contiguous());
    let columns = matrix.narrow(1, 1, 2).expect("two of four columns");
    assert_eq!(elements(&columns), [1, 2, 5, 6, 9, 10]);
    assert_eq!(columns.span(), 1..11);
    let row = contiguous(&[4]).expand("expand", "tensor", &[2, 4]).expect("a row repeated");
    assert_eq!(elements(&row), [0, 1, 2, 3, 0, 1, 2, 3]);
    let permuted = contiguous(&[2, 3, 4]).permute(&[2, 0, 1]).expect("three axes");
    assert_eq!(permuted.shape.to_vec(), [4, 2, 3]);
    assert_eq!(permuted.strides.to_vec(), [1, 12, 4]);
}

#[test]
fn reshape_walks_the_same_elements_or_refuses() {
    let matrix = contiguous(&[4, 6]);
    for shape in [&[24][..], &[2, 12], &[2, 2, 6], &[4, 2, 3], &[1, 4, 1, 6, 1], &[8, 3]] {
        assert_eq!(elements(&matrix.reshape(shape).expect("contiguous")), elements(&matrix));
    }
    let columns = matrix.narrow(1, 0, 4).expect("four columns");
    for shape in [&[4, 2, 2][..], &[2, 2, 4], &[1, 4, 4]] {
        assert_eq!(elements(&columns.reshape(shape).expect("splits only")), elements(&columns));
    }
    assert!(matches!(columns.reshape(&[16]), Err(TensorError::NotViewable { .. })));
    assert!(matches!(columns.reshape(&[8, 2]), Err(TensorError::NotViewable { .. })));
    assert!(matches!(matrix.reshape(&[5, 5]), Err(TensorError::Shape { .. })));
    assert!(matches!(matrix.reshape(&[usize::MAX, 2]), Err(TensorError::Shape { .. })));
    let empty = contiguous(&[0, 3]);
    assert_eq!(empty.reshape(&[3, 0, 2]).expect("still empty").elements(), 0);
}

#[test]
fn collapsing_keeps_the_walk_and_loses_dimensions() {
    let whole = contiguous(&[2, 3, 4]).collapsed();
    assert_eq!((whole.shape.to_vec(), whole.strides.to_vec()), (vec![24], vec![1]));
    let narrowed = contiguous(&[2, 3, 4]).narrow(1, 0, 2).expect("inner rows");
    let collapsed = narrowed.collapsed();
    assert_eq!((collapsed.shape.to_vec(), collapsed.strides.to_vec()), (vec![2, 8], vec![12, 1]));
    assert_eq!(elements(&collapsed), elements(&narrowed));
    let scalar = contiguous(&[1, 1]).collapsed();
    assert_eq!((scalar.rank(), scalar.elements()), (0, 1));
}

#[test]
fn layouts_collapse_together_only_where_all_of_them_can() {
    let left = contiguous(&[2, 3]);
    let right = contiguous(&[3]).expand("add", "tensor", &[2, 3]).expect("broadcast");
    let [left, right] = collapse([&left, &right]);
    assert_eq!((left.shape.to_vec(), left.strides.to_vec()), (vec![2, 3], vec![3, 1]));
    assert_eq!((right.shape.to_vec(), right.strides.to_vec()), (vec![2, 3], vec![0, 1]));
}

#[test]
fn overlap_is_told_as_it_is() {
    // Every pair of rectangular views of a small matrix, plain and transposed, against the sets of their elements.
    let matrix = contiguous(&[4, 5]);
    let parts = |size: usize| (0..size).flat_map(move |start| (0..=size - start).map(move |length| (start, length)));
    let mut views = Vec::new();
    for (row, rows) in parts(4) {
        for (column, columns) in parts(5) {
            let view = matrix.narrow(0, row, rows).and_then(|view| view.narrow(1, column, columns)).expect("within");
            views.push(view.transpose(0, 1).expect("two axes"));
            views.push(view);
        }
    }
    for left in &views {
        for right in &views {
            let meet = left.indices().any(|index| right.indices().any(|other| other == index));
            assert_eq!(left.overlaps(right), meet, "{left:?} {right:?}");
        }
    }
    assert!(contiguous(&[3]).expand("x", "tensor", &[2, 3]).expect("repeated").overlaps_itself());
    assert!(!matrix.transpose(0, 1).expect("two axes").overlaps_itself());
}

#[test]
fn overlap_of_views_with_unlike_strides_is_never_missed() {
    // One storage viewed with several shapes, as by reshape.
    let shapes: [&[usize]; 5] = [&[60], &[6, 10], &[10, 6], &[3, 4, 5], &[2, 2, 3, 5]];
    let mut views = Vec::new();
    for shape in shapes {
        for axis in 0..shape.len() {
            for start in 0..shape[axis] {
                let narrow =
                    contiguous(shape).narrow(axis, start, 1 + (start + axis) % (shape[axis] - start)).expect("within");
                views.push(narrow.transpose(0, shape.len() - 1).expect("two axes"));
                views.push(narrow);
            }
        }
    }
    let mut needless = 0;
    for left in &views {
        for right in &views {
            let meet = left.indices().any(|index| right.indices().any(|other| other == index));
            assert!(left.overlaps(right) || !meet, "{left:?} {right:?}");
            needless += usize::from(left.overlaps(right) && !meet);
        }
    }
    assert_eq!(needless, 0);
}

#[test]
fn shapes_that_overflow_are_refused_with_their_numbers() {
    let error = Layout::contiguous(&[usize::MAX, 2], 4).expect_err("too many elements");
    assert_eq!(error, TensorError::Overflow { shape: vec![usize::MAX, 2], element_bytes: 4 });
    assert!(Layout::contiguous(&[usize::MAX, 2, 0], 4).is_err(), "a zero doesn't hide the overflow");
    assert!(Layout::contiguous(&[usize::MAX / 2], 4).is_err());
    assert!(matches!(Layout::contiguous(&[1; 9], 4), Err(TensorError::Rank { rank: 9, limit: 8 })));
}

#[test]
fn shapes_broadcast_as_in_pytorch() {
    let shape = |left: &[usize], right: &[usize]| {
        contiguous(left).broadcast_shape(&contiguous(right)).map(|shape| shape.to_vec())
    };
    assert_eq!(shape(&[2, 1], &[3]), Some(vec![2, 3]));
    assert_eq!(shape(&[], &[4, 5]), Some(vec![4, 5]));
    assert_eq!(shape(&[1], &[0]), Some(vec![0]));
    assert!(shape(&[2], &[3]).is_none());
    assert!(shape(&[0], &[3]).is_none());
}
