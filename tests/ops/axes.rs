//! Axes counted from the last one, and those of scalars.

use crate::common::{Outcome, adapter};
use wgpu_pool::{Axes, Tensor, TensorError};

/// Elements of a tensor, and its shape.
fn read(tensor: &Tensor) -> Result<(Vec<usize>, Vec<f32>), TensorError> {
    Ok((tensor.shape().to_vec(), tensor.to(wgpu_pool::DType::F32)?.read_blocking()?))
}

#[test]
fn a_negative_axis_is_the_one_counted_from_the_last() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::randn(pool, [2, 3, 4], 1)?;
    type ByAxis = fn(&Tensor, i32) -> Result<Tensor, TensorError>;
    let operations: [ByAxis; 14] = [
        |x, axis| x.sum(axis),
        |x, axis| x.mean_keepdim([axis]),
        |x, axis| x.amax(&[axis][..]),
        |x, axis| x.amin_keepdim(vec![axis]),
        |x, axis| x.argmax(axis),
        |x, axis| x.argmin_keepdim(axis),
        |x, axis| x.softmax(axis),
        |x, axis| x.log_softmax(axis),
        |x, axis| x.narrow(axis, 1, 1),
        |x, axis| x.transpose(axis, 0),
        |x, axis| Tensor::cat(&[x, x], axis),
        |x, axis| x.index_select(axis, &Tensor::full(&x.pool(), [2], 1_u32)?),
        |x, axis| x.gather(axis, &Tensor::full(&x.pool(), [2, 3, 4], 1_u32)?),
        |x, axis| {
            let copy = x.copied()?;
            copy.scatter_add_(axis, &Tensor::full(&x.pool(), [2, 3, 4], 1_u32)?, x)?;
            Ok(copy)
        },
    ];
    for (number, operation) in operations.into_iter().enumerate() {
        for axis in 0..3 {
            let (first, last) = (read(&operation(&x, axis)?)?, read(&operation(&x, axis - 3)?)?);
            assert_eq!(first, last, "operation {number} along {axis}");
        }
    }
    assert_eq!(x.permute([-1, 0, -2])?.shape(), [4, 2, 3]);
    Ok(())
}

/// The sum along axes of any type that stands for some.
fn sum(x: &Tensor, axes: impl Axes) -> Result<Vec<usize>, TensorError> {
    Ok(x.sum(axes)?.shape().to_vec())
}

#[test]
fn axes_are_an_integer_a_list_or_all() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::randn(pool, [2, 3, 4], 1)?;
    assert_eq!(sum(&x, 1_usize)?, [2, 4]);
    assert_eq!(sum(&x, -1_isize)?, [2, 3]);
    assert_eq!(sum(&x, -1_i64)?, [2, 3]);
    assert_eq!(sum(&x, [0, -1])?, [3]);
    assert_eq!(sum(&x, vec![0_usize, 1])?, [4]);
    assert_eq!(sum(&x, &[2_usize][..])?, [2, 3]);
    assert!(sum(&x, ..)?.is_empty());
    assert!(sum(&x, Vec::<i32>::new())?.is_empty());
    Ok(())
}

#[test]
fn a_scalar_has_the_axes_that_it_has_in_pytorch() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::full(pool, [], 2.5_f32)?;
    for axis in [0, -1] {
        for same in [x.sum(axis)?, x.mean_keepdim([axis])?, x.amax(axis)?, x.amin_keepdim(axis)?, x.transpose(axis, 0)?]
        {
            assert_eq!(read(&same)?, (vec![], vec![2.5]));
        }
        assert_eq!(read(&x.argmax(axis)?)?, (vec![], vec![0.0]));
        assert_eq!(read(&x.argmin_keepdim(axis)?)?, (vec![], vec![0.0]));
        assert_eq!(read(&x.softmax(axis)?)?, (vec![], vec![1.0]));
        assert_eq!(read(&x.log_softmax(axis)?)?, (vec![], vec![0.0]));
        let index = Tensor::zeros(pool, [], wgpu_pool::DType::U32)?;
        assert_eq!(read(&x.gather(axis, &index)?)?, (vec![], vec![2.5]));
        let sum = x.copied()?;
        sum.scatter_add_(axis, &index, &x)?;
        assert_eq!(read(&sum)?, (vec![], vec![5.0]));
        for index in [index.clone(), index.reshape([1])?] {
            assert_eq!(read(&x.index_select(axis, &index)?)?, (vec![], vec![2.5]));
            sum.index_add_(axis, &index, &x)?;
        }
        assert_eq!(read(&sum)?, (vec![], vec![10.0]));
        let several = index.reshape([1])?.expand([2])?;
        assert!(matches!(x.index_select(axis, &several), Err(TensorError::Shape { .. })));
    }
    Ok(())
}

#[test]
fn an_index_without_dimensions_names_one_slice() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let x = Tensor::from_slice(pool, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    let index = Tensor::full(pool, [], 1_u32)?;
    assert_eq!(read(&x.index_select(-1, &index)?)?, (vec![2, 1], vec![2.0, 5.0]));
    x.index_add_(0, &index, &x.narrow(0, 0, 1)?)?;
    assert_eq!(read(&x)?, (vec![2, 3], vec![1.0, 2.0, 3.0, 5.0, 7.0, 9.0]));
    Ok(())
}
