//! Tensors as text: of the device's elements the same as of the host's.

use crate::common::{Outcome, adapter};
use wgpu_pool::{DType, HostTensor, Tensor};

#[test]
fn a_tensor_is_written_as_its_elements_on_the_host() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::randn(pool, [40, 7, 30], 1)?;
        let views = [
            x.clone(),
            x.transpose(0, 2)?,
            x.narrow(2, 3, 5)?,
            x.narrow(0, 0, 2)?,
            x.narrow(0, 0, 0)?,
            x.select(0, 1)?.select(0, 1)?.select(0, 1)?,
            x.select(0, 3)?.expand([50, 7, 30])?,
        ];
        for view in views {
            let host = HostTensor { shape: view.shape().to_vec(), elements: view.read_blocking::<f32>()? };
            assert_eq!(view.to_text_blocking()?, host.to_string(), "{view:?}");
            assert_eq!(pollster::block_on(view.to_text())?, host.to_string(), "{view:?}");
            let whole = view.mul(100)?.to(DType::I32)?;
            let host = HostTensor { shape: view.shape().to_vec(), elements: whole.read_blocking::<i32>()? };
            assert_eq!(whole.to_text_blocking()?, host.to_string(), "{view:?}");
        }
    }
    Ok(())
}
