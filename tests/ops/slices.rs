//! Slices, splits and new axes, and their errors.

use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, IndexRange, Tensor, TensorError};

#[test]
fn every_slice_of_an_axis_holds_the_indices_of_the_range() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::arange(pool, 7, 0, 1)?;
    for (start, end) in (-7..8).flat_map(|start| (-7..8).map(move |end| (start, end))) {
        let from_start = |index: i32| if index < 0 { index + 7 } else { index };
        let (first, last) = (from_start(start), from_start(end));
        for step in [1, 2, 3, 100, usize::MAX] {
            let found = x.slice(0, start..end, step);
            if first > last {
                let wanted = TensorError::Slice {
                    operation: "slice",
                    axis: 0,
                    start: i64::from(start),
                    end: i64::from(end),
                    step,
                    size: 7,
                };
                assert_eq!(found.map(drop), Err(wanted), "{start}..{end}");
                continue;
            }
            let wanted: Vec<i32> = (first..last).step_by(step).collect();
            assert_eq!(found?.read_blocking::<i32>()?, wanted, "{start}..{end} by {step}");
        }
    }
    let slice = |range: Result<Tensor, TensorError>| range?.read_blocking::<i32>();
    assert_eq!(slice(x.slice(0, .., 3))?, [0, 3, 6]);
    assert_eq!(slice(x.slice(0, -3.., 1))?, [4, 5, 6]);
    assert_eq!(slice(x.slice(0, ..-4, 1))?, [0, 1, 2]);
    let last = -1;
    assert_eq!(slice(x.slice(0, 4..=last, 1))?, [4, 5, 6]);
    assert_eq!(slice(x.slice(0, ..=1_usize, 1))?, [0, 1]);
    // A slice of a slice steps over its own elements, and an empty one has no place to begin at.
    assert_eq!(slice(x.slice(0, 1.., 2)?.slice(0, 1.., 2))?, [3]);
    assert_eq!(x.slice(0, 7.., 1)?.slice(0, 0..0, 5)?.elements(), 0);
    Ok(())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, TensorError>, message: &str) {
    assert_eq!(result.map_err(|error| error.to_string()).expect_err("it is refused"), message);
}

#[test]
fn parts_that_are_not_there_are_refused_with_numbers() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::zeros(pool, [2, 3], DType::F32)?;
    refused(x.slice(1, 0..4, 1), "slice: 0..4 by 1 is no range of axis 1, which holds 3");
    let before = -5;
    refused(x.slice(-1, 1..=before, 1), "slice: 1..-4 by 1 is no range of axis 1, which holds 3");
    refused(x.slice(1, .., 0), "slice: 0..3 by 0 is no range of axis 1, which holds 3");
    refused(x.slice(2, .., 1), "slice: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    let far = i64::MAX;
    refused(x.slice(0, far..=far, 1), &format!("slice: {far}..{far} by 1 is no range of axis 0, which holds 2"));
    refused(x.slice(0, i64::MIN.., 1), &format!("slice: {}..2 by 1 is no range of axis 0, which holds 2", i64::MIN));
    refused(x.select(0, 2), "select: index 2 is outside of axis 0, which holds 2");
    refused(x.select(0, -3), "select: index -3 is outside of axis 0, which holds 2");
    refused(x.split(0, 1), "split: the size is 0; it has to be 1 or more");
    refused(x.chunk(0, 1), "chunk: the number of chunks is 0; it has to be 1 or more");
    refused(
        x.split_with_sizes(&[1, 1], 1),
        "split_with_sizes: the sizes [1, 1] must have the sum 3, the size of axis 1",
    );
    refused(
        x.split_with_sizes(&[usize::MAX, 4], 1),
        &format!("split_with_sizes: the sizes [{}, 4] must have the sum 3, the size of axis 1", usize::MAX),
    );
    refused(
        x.unsqueeze(3),
        "unsqueeze: axis 3 is outside of shape [2, 3], where the places of a new axis are 0 to 2, or -3 to -1",
    );
    refused(
        x.unsqueeze(-4),
        "unsqueeze: axis -4 is outside of shape [2, 3], where the places of a new axis are 0 to 2, or -3 to -1",
    );
    refused(x.squeeze(2), "squeeze: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.flatten(1..4), "flatten: 1..4 by 1 is no range of axis 0, which holds 2");
    refused(Tensor::stack(&[], 0), "stack: the number of tensors is 0; it has to be 1 or more");
    refused(
        Tensor::stack(&[&x, &x, &x.t()?], 0),
        "stack: the 3rd tensor [3, 2] must have the shape of the 1st tensor, [2, 3]",
    );
    refused(
        Tensor::cat(&[&x, &x.t()?], -1),
        "cat: the 2nd tensor [3, 2] must have the shape of the 1st tensor, [2, 3], except along axis 1",
    );
    refused(x.item_blocking::<f32>(), "item_blocking: shape [2, 3] has 6 elements, not one");
    refused(x.fill_(&x), "fill_: the value [2, 3] has 2 dimensions, and 0 are needed");
    refused(
        x.rand_like(1)?.to(DType::I32)?.randn_like(1),
        "randn_like: the input has dtype i32, for which randn_like is not defined: convert with `to`",
    );
    let most = (0..wgpu_pool::MAX_RANK - 2).try_fold(x.clone(), |x, _| x.unsqueeze(0))?;
    let limit = wgpu_pool::MAX_RANK;
    refused(most.unsqueeze(0), &format!("rank {} is above the largest, {limit}", limit + 1));
    Ok(())
}

/// Takes a range of any type that stands for one.
fn size(x: &Tensor, range: impl IndexRange) -> Result<usize, TensorError> {
    Ok(x.slice(0, range, 1)?.elements())
}

#[test]
fn new_axes_splits_and_flattened_axes_have_the_shapes_of_pytorch() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::zeros(pool, [4, 1, 3], DType::F32)?;
    assert_eq!(x.unsqueeze(0)?.shape(), [1, 4, 1, 3]);
    assert_eq!(x.unsqueeze(3)?.shape(), [4, 1, 3, 1]);
    assert_eq!(x.unsqueeze(-1)?.shape(), [4, 1, 3, 1]);
    assert_eq!(x.unsqueeze(-4)?.shape(), [1, 4, 1, 3]);
    assert_eq!(x.squeeze(..)?.shape(), [4, 3]);
    assert_eq!(x.squeeze(0)?.shape(), [4, 1, 3]);
    assert_eq!(x.squeeze([1, -1])?.shape(), [4, 3]);
    assert_eq!(x.flatten(..)?.shape(), [12]);
    assert_eq!(x.flatten(-2..)?.shape(), [4, 3]);
    assert_eq!(x.flatten(1..1)?.shape(), [4, 1, 3]);
    assert_eq!(x.transpose(0, 2)?.flatten(..)?.shape(), [12]);
    let scalar = x.sum(..)?;
    assert_eq!(scalar.flatten(..)?.shape(), [1]);
    assert_eq!(scalar.unsqueeze(-1)?.shape(), [1]);
    assert_eq!(scalar.squeeze(0)?.shape(), [0; 0]);
    assert_eq!(Tensor::stack(&[&scalar, &scalar], -1)?.shape(), [2]);
    let sizes = |parts: Vec<Tensor>| parts.iter().map(|part| part.shape()[0]).collect::<Vec<_>>();
    assert_eq!(sizes(x.chunk(3, 0)?), [2, 2]);
    assert_eq!(sizes(x.chunk(9, 0)?), [1; 4]);
    assert_eq!(sizes(x.split(9, 0)?), [4]);
    let empty = x.narrow(0, 0, 0)?;
    assert_eq!(sizes(empty.chunk(3, 0)?), [0]);
    assert_eq!(sizes(empty.split(3, 0)?), [0]);
    assert!(empty.split_with_sizes(&[], 0)?.is_empty());
    assert_eq!([size(&x, ..)?, size(&x, 1_usize..)?, size(&x, 1_i64..3)?, size(&x, ..=1_isize)?], [12, 9, 6, 6]);
    Ok(())
}

#[test]
fn the_offset_and_the_strides_are_where_an_element_is() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let whole = Tensor::arange(pool, 60, 0, 1)?;
    let view = whole.reshape([3, 4, 5])?.narrow(1, 1, 2)?.slice(2, 1.., 2)?.transpose(0, 2)?;
    let (offset, strides) = (view.offset(), view.strides());
    let found = view.read_blocking::<i32>()?;
    for (number, index) in crate::model::indices(view.shape()).into_iter().enumerate() {
        let place: usize = index.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        assert_eq!(found[number] as usize, offset + place);
    }
    Ok(())
}

#[test]
fn an_index_of_several_axes_is_a_chain_of_selections_and_slices() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::arange(pool, 120, 0, 1)?.reshape([2, 3, 4, 5])?;
    let same = |found: Result<Tensor, TensorError>, wanted: Result<Tensor, TensorError>| -> Outcome {
        let (found, wanted) = (found?, wanted?);
        assert_eq!(found.shape(), wanted.shape());
        assert_eq!(found.read_blocking::<i32>()?, wanted.read_blocking::<i32>()?);
        assert!(found.storage()?.is_same(x.storage()?), "a view");
        Ok(())
    };
    same(x.i(1), x.select(0, 1))?;
    same(x.i(-1_i64), x.select(0, -1))?;
    same(x.i((1,)), x.select(0, 1))?;
    same(x.i(..), Ok(x.clone()))?;
    same(x.i((.., 2_usize, 1.., ..=-2)), x.select(1, 2)?.slice(1, 1.., 1)?.slice(2, ..=-2, 1))?;
    same(x.i((0, 0, 0, 0)), x.reshape([120])?.select(0, 0))?;
    // An axis of one index is kept by a range and dropped by an integer.
    same(x.i((1..2, 1..2)), x.narrow(0, 1, 1)?.narrow(1, 1, 1))?;
    same(x.i((.., 1, ..))?.i((.., 1)), x.select(1, 1)?.select(1, 1))?;
    assert_eq!(x.i((.., 3..))?.shape(), [2, 0, 4, 5]);
    refused(x.i((0, 3)), "i: index 3 is outside of axis 1, which holds 3");
    refused(x.i((0, .., -5)), "i: index -5 is outside of axis 2, which holds 4");
    refused(x.i((.., 2..4)), "i: 2..4 by 1 is no range of axis 1, which holds 3");
    refused(x.i((0, 0, 0, 0, 0)), "i: axis 4 is outside of shape [2, 3, 4, 5], whose axes are 0 to 3, or -4 to -1");
    refused(Tensor::zeros(pool, [], DType::I32)?.i(0), "i: axis 0 is outside of shape [], which has no axes");
    Ok(())
}
