//! Texts, each as torch 2.9 prints the same tensor but for the names of dtypes.

use super::text;
use crate::tensor::Element;

fn whole<T: Element>(shape: &[usize], elements: &[T]) -> String {
    text(shape, elements, shape)
}

#[test]
fn numbers_of_one_tensor_are_written_alike() {
    assert_eq!(whole(&[], &[1.5_f32]), "tensor(1.5000)");
    assert_eq!(whole(&[], &[2.0_f32]), "tensor(2.)");
    assert_eq!(whole(&[3], &[1.0_f32, -2.0, 0.0]), "tensor([ 1., -2.,  0.])");
    assert_eq!(whole(&[3], &[0.1_f32, 20.0, -0.0]), "tensor([ 0.1000, 20.0000, -0.0000])");
    assert_eq!(whole(&[2], &[1e-5_f32, 1.0]), "tensor([1.0000e-05, 1.0000e+00])");
    assert_eq!(whole(&[2], &[1e9_f32, 0.0]), "tensor([1.0000e+09, 0.0000e+00])");
    assert_eq!(whole(&[3], &[f32::NAN, f32::INFINITY, -1.0]), "tensor([nan, inf, -1.])");
    assert_eq!(whole(&[2], &[f32::NEG_INFINITY, 0.25]), "tensor([  -inf, 0.2500])");
    assert_eq!(whole(&[2], &[0.0_f32, 0.0]), "tensor([0., 0.])");
    assert_eq!(whole(&[3], &[-7, 10, 0]), "tensor([-7, 10,  0], dtype=i32)");
    assert_eq!(whole(&[1], &[u32::MAX]), "tensor([4294967295], dtype=u32)");
    assert_eq!(whole(&[1], &[half::f16::from_f32(0.1)]), "tensor([0.1000], dtype=f16)");
}

#[test]
fn rows_and_planes_are_on_lines_of_their_own() {
    assert_eq!(
        whole(&[2, 2], &[1.0_f32, -0.5, 2.25, 10.0]),
        "tensor([[ 1.0000, -0.5000],\n        [ 2.2500, 10.0000]])"
    );
    assert_eq!(whole(&[2, 1, 2], &[1.0_f32, 2.0, 3.0, 4.0]), "tensor([[[1., 2.]],\n\n        [[3., 4.]]])");
    assert_eq!(whole::<f32>(&[0], &[]), "tensor([])");
    assert_eq!(whole::<f32>(&[2, 0], &[]), "tensor([], size=[2, 0])");
    let line: Vec<i32> = (0..30).collect();
    let wanted = "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        18, 19, 20, 21, \
                  22, 23, 24, 25, 26, 27, 28, 29], dtype=i32)";
    assert_eq!(whole(&[30], &line), wanted);
}

#[test]
fn of_many_elements_the_first_and_last_three_of_each_axis_are_written() {
    let line: Vec<f32> = (0_u16..1001).map(f32::from).collect();
    assert_eq!(whole(&[1001], &line), "tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])");
    let matrix: Vec<i32> = (0..1100).collect();
    let wanted = "tensor([[   0,    1,    2,  ...,    8,    9,   10],
        [  11,   12,   13,  ...,   19,   20,   21],
        [  22,   23,   24,  ...,   30,   31,   32],
        ...,
        [1067, 1068, 1069,  ..., 1075, 1076, 1077],
        [1078, 1079, 1080,  ..., 1086, 1087, 1088],
        [1089, 1090, 1091,  ..., 1097, 1098, 1099]], dtype=i32)";
    assert_eq!(whole(&[100, 11], &matrix), wanted);
    // The text depends only on the elements that are shown.
    let shown: Vec<i32> =
        [0, 1, 2, 97, 98, 99].iter().flat_map(|row| [0, 1, 2, 8, 9, 10].map(|at| row * 11 + at)).collect();
    assert_eq!(text(&[100, 11], &shown, &[6, 6]), wanted);
    // An axis that is not shortened is shown whole in both.
    let pairs: Vec<i32> = (0..2000).collect();
    let wanted = "tensor([[   0,    1],
        [   2,    3],
        [   4,    5],
        ...,
        [1994, 1995],
        [1996, 1997],
        [1998, 1999]], dtype=i32)";
    assert_eq!(whole(&[1000, 2], &pairs), wanted);
}

#[test]
fn a_shape_that_the_elements_do_not_have_is_no_panic() {
    assert_eq!(text(&[2, 2], &[1.0_f32; 3], &[2, 2]), "tensor(3 elements for shape [2, 2])");
    assert!(text(&[usize::MAX, 2], &[1.0_f32; 3], &[usize::MAX, 2]).starts_with("tensor(3 elements for shape ["));
}
