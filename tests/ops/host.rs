//! Reading tensors to the host, and creating tensors from host memory.

use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, HostTensor, Tensor, TensorError};

#[test]
fn what_was_uploaded_is_read_back_in_every_dtype() -> Outcome {
    for pool in adapter::all_shared() {
        let floats = Tensor::from_slice(pool, &[1.5_f32, -2.0, 1e30], [3])?;
        assert_eq!((floats.dtype(), floats.read_blocking::<f32>()?), (DType::F32, vec![1.5, -2.0, 1e30]));
        let signed = Tensor::from_slice(pool, &[i32::MIN, 0, 7], [3, 1])?;
        assert_eq!((signed.dtype(), signed.read_blocking::<i32>()?), (DType::I32, vec![i32::MIN, 0, 7]));
        let unsigned = Tensor::from_slice(pool, &[u32::MAX], [])?;
        assert_eq!((unsigned.dtype(), unsigned.read_blocking::<u32>()?), (DType::U32, vec![u32::MAX]));
        assert_eq!(unsigned.rank(), 0);
        let halves = adapter::has_f16(pool);
        for dtype in DType::ALL.into_iter().filter(|&dtype| halves || dtype != DType::F16) {
            let zeros = Tensor::zeros(pool, [2, 2], dtype)?;
            assert_eq!((zeros.dtype(), zeros.elements()), (dtype, 4));
        }
        assert_eq!(Tensor::zeros(pool, [5], DType::I32)?.read_blocking::<i32>()?, [0; 5]);
    }
    Ok(())
}

#[test]
fn empty_tensors_are_valid_everywhere() -> Outcome {
    for pool in adapter::all_shared() {
        let empty = Tensor::from_slice::<f32>(pool, &[], [3, 0, 2])?;
        assert_eq!((empty.elements(), empty.shape(), empty.is_contiguous()), (0, &[3, 0, 2][..], true));
        assert_eq!(empty.read_blocking::<f32>()?, Vec::<f32>::new());
        assert_eq!(empty.neg()?.shape(), [3, 0, 2]);
        assert_eq!(empty.add(1.0_f32)?.read_blocking::<f32>()?, Vec::<f32>::new());
        assert_eq!(empty.permute([2, 0, 1])?.contiguous()?.shape(), [2, 3, 0]);
        assert_eq!(empty.reshape([0, 7])?.shape(), [0, 7]);
        empty.fill_(1.0_f32)?;
        empty.add_scaled_(&empty, 1.0_f32)?;
        empty.copy_(&empty.copied()?)?;
        assert_eq!(Tensor::rand(pool, [0], 1)?.elements(), 0);
        assert_eq!(empty.into_host_blocking::<f32>()?, HostTensor { shape: vec![3, 0, 2], elements: vec![] });
    }
    Ok(())
}

#[test]
fn a_read_takes_the_elements_as_they_are_at_that_point() -> Outcome {
    for pool in adapter::all_shared() {
        let tensor = Tensor::full(pool, [300], 1.0_f32)?;
        let read = tensor.read::<f32>();
        tensor.fill_(2.0_f32)?;
        // A future does nothing before it is first polled: that is its point of the order.
        assert_eq!(pollster::block_on(read)?, [2.0; 300]);
        let twice = tensor.add(&tensor)?;
        tensor.fill_(3.0_f32)?;
        assert_eq!(twice.read_blocking::<f32>()?, [4.0; 300]);
    }
    Ok(())
}

#[test]
fn moving_to_the_host_gives_the_memory_back() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let tensor = Tensor::from_slice(&pool, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
    let copy = tensor.read_blocking::<f32>()?;
    assert_eq!(pool.stats().requested.current, 24, "reading a copy frees nothing");
    let host = tensor.into_host_blocking::<f32>()?;
    assert_eq!(host, HostTensor { shape: vec![2, 3], elements: copy });
    assert_eq!((pool.stats().requested.current, pool.stats().blocks.current), (0, 0));
    assert_eq!(pool.trim().segments, 1);
    let again = host.to_device(&pool)?;
    assert_eq!(pollster::block_on(again.into_host::<f32>())?, host);
    assert_eq!(pool.stats().requested.current, 0);
    Ok(())
}

#[test]
fn a_shared_tensor_stays_and_is_given_back() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let tensor = Tensor::full(&pool, [10], 2.0_f32)?;
    let (clone, view) = (tensor.clone(), tensor.narrow(0, 2, 3)?);
    let refused = tensor.into_host_blocking::<f32>().expect_err("a clone and a view live");
    assert_eq!(refused.error, TensorError::Shared { operation: "into_host_blocking", others: 2 });
    assert_eq!(refused.to_string(), "into_host_blocking: 2 other handles of the tensor's memory must be dropped first");
    drop(clone);
    let refused = pollster::block_on(refused.tensor.into_host::<f32>()).expect_err("a view lives");
    assert_eq!(refused.error, TensorError::Shared { operation: "into_host", others: 1 });
    drop(view);
    let refused = refused.tensor.into_host_blocking::<u32>().expect_err("the dtype is another");
    let text = "into_host_blocking: the element type has dtype u32, and the tensor f32: convert one with `to`";
    assert_eq!(refused.error.to_string(), text);
    assert_eq!(pool.stats().blocks.current, 1);
    assert_eq!(refused.tensor.into_host_blocking::<f32>()?.elements, [2.0; 10]);
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}

#[test]
fn the_last_view_moves_to_the_host_as_it_is() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let tensor = Tensor::from_slice(&pool, &[1, 2, 3, 4, 5, 6], [2, 3])?;
    let view = tensor.t()?;
    drop(tensor);
    assert_eq!(view.into_host_blocking::<i32>()?, HostTensor { shape: vec![3, 2], elements: vec![1, 4, 2, 5, 3, 6] });
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}
