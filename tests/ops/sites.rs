//! Call sites: the result and the temporary memory of an operation are attributed to the line that called the operation.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::{
    Activation, Corners, CrossEntropy, DType, EventKind, Pool, PoolOptions, Reduction, Tensor, TensorError, fuse,
};

type Call = fn(&Pool, &Tensor, &Tensor) -> Result<Tensor, TensorError>;

const SLIDING: Window = Window::new([2, 2], [1, 1], [0, 0]);

const FIRST_LINE: u32 = line!();
/// Every operation that allocates, on a square f32 matrix and a view of it that is not contiguous.
const CALLS: [Call; 67] = [
    |pool, _, _| Tensor::empty(pool, [3], DType::U32),
    |pool, _, _| Tensor::zeros(pool, [3], DType::U32),
    |pool, _, _| Tensor::full(pool, [3], 1.0_f32),
    |pool, _, _| Tensor::from_slice(pool, &[1_u32], [1]),
    |pool, _, _| Tensor::rand(pool, [3], 1),
    |pool, _, _| Tensor::randn(pool, [3], 1),
    |_, x, y| x.add(y),
    |_, x, y| y.sub(x),
    |_, x, _| x.mul(2.0_f32),
    |_, x, y| x.div(y),
    |_, x, y| x.maximum(y),
    |_, x, _| x.minimum(1.0_f32),
    |_, x, _| x.neg(),
    |_, _, y| y.gelu(),
    |_, x, _| x.to(DType::I32),
    |_, _, y| y.contiguous(),
    |_, x, _| x.copied(),
    |_, x, _| x.sum(..),
    |_, x, _| x.sum_keepdim([0]),
    |_, _, y| y.mean([1]),
    |_, x, _| x.narrow(0, 0, 0)?.sum([0]),
    |_, x, _| x.narrow(0, 0, 0)?.mean([0]),
    |_, x, _| x.amax([0]),
    |_, x, _| x.amin(..),
    |_, _, y| y.softmax(1),
    |_, x, _| x.softmax(0),
    |_, x, _| x.log_softmax(1),
    |_, _, y| y.layer_norm(None, None, 1e-5),
    |_, x, _| x.layer_norm(Some(&x.narrow(0, 0, 1)?.reshape([64])?), Some(&x.narrow(0, 1, 1)?.reshape([64])?), 1e-5),
    |_, x, _| x.rms_norm(None, 1e-5),
    |_, x, y| x.matmul(y),
    |_, x, _| x.narrow(1, 0, 0)?.matmul(&x.narrow(0, 0, 0)?),
    |_, x, _| x.reshape([4, 16, 64])?.permute([1, 0, 2])?.matmul(&x.reshape([64, 64])?),
    |_, x, _| x.reshape([16, 4, 64])?.bmm(&x.reshape([16, 64, 4])?),
    |_, x, _| x.reshape([2, 2, 16, 64])?.permute([1, 0, 2, 3])?.matmul(&x.reshape([2, 2, 64, 16])?),
    |_, x, y| x.matmul_then(y, Some(&y.narrow(0, 3, 1)?.reshape([64])?), Some(Activation::Relu)),
    |_, x, _| x.narrow(1, 0, 0)?.matmul_then(&x.narrow(0, 0, 0)?, Some(&x.narrow(0, 3, 1)?.reshape([64])?), None),
    |_, x, _| x.linear(x, Some(&x.narrow(0, 3, 1)?.reshape([64])?)),
    |_, x, y| x.pow(y),
    |_, x, y| x.lt(y),
    |_, x, _| x.ge(0.5_f32),
    |_, x, y| x.where_cond(x, y),
    |_, x, y| fuse(|[x, y]| x + y).run([x, y]),
    |pool, _, _| Tensor::arange(pool, 3, 1_u32, 1),
    |_, x, y| Tensor::cat(&[x, y], 1),
    |_, x, _| x.argmax(1),
    |pool, x, _| x.index_select(0, &Tensor::zeros(pool, [3], DType::U32)?),
    |pool, x, _| {
        x.scatter_add_(0, &Tensor::zeros(pool, [2, 64], DType::U32)?, &x.narrow(0, 0, 2)?)?;
        Ok(x.clone())
    },
    |pool, x, _| {
        x.add_scaled_(&Tensor::zeros(pool, [64], DType::I32)?, 2)?;
        Ok(x.clone())
    },
    |_, x, y| {
        x.clamp_(0.0, &y.copied()?)?;
        Ok(x.clone())
    },
    |_, x, y| x.mse_loss(y, Reduction::Mean),
    |pool, x, _| x.cross_entropy_backward(&Tensor::zeros(pool, [64], DType::U32)?, CrossEntropy::default()),
    |_, x, _| {
        x.reshape([1, 4, 32, 32])?.conv2d(
            &x.reshape([64, 64])?.narrow(0, 0, 4)?.reshape([16, 4, 2, 2])?,
            None,
            Window::square(2).conv(),
        )
    },
    |_, x, _| {
        x.reshape([1, 4, 32, 32])?.conv2d_backward_input(
            [1, 1, 33, 33],
            &x.narrow(1, 0, 1)?.narrow(0, 0, 16)?.reshape([4, 1, 2, 2])?,
            SLIDING.conv(),
        )
    },
    |_, x, _| {
        x.reshape([1, 4, 32, 32])?.conv2d_backward_weight(
            &x.narrow(0, 0, 18)?.reshape([1, 1152])?.narrow(1, 0, 1089)?.reshape([1, 1, 33, 33])?,
            [4, 1, 2, 2],
            SLIDING.conv(),
        )
    },
    |_, x, _| x.reshape([1, 4, 32, 32])?.avg_pool2d(Window::square(2).avg()),
    |_, x, _| x.reshape([1, 4, 32, 32])?.max_pool2d(Window::square(2).max()),
    |_, x, _| x.reshape([1, 4, 32, 32])?.upsample_bilinear([64, 32], Corners::Outer),
    // Planes that exceed a block.
    |_, x, _| x.reshape([1, 64, 64])?.upsample_bilinear([70, 64], Corners::Outer),
    |_, x, _| x.reshape([1, 64, 64])?.upsample_nearest_backward([30, 33]),
    |_, x, _| x.reshape([1, 64, 64])?.unfold(Window::square(2).unfold()),
    |_, x, _| x.reshape([1, 4, 1024])?.fold([64, 64], Window::square(2).unfold()),
    |_, x, _| {
        let (largest, places) = x.reshape([1, 64, 64])?.max_pool2d_with_indices(Window::square(2).max())?;
        largest.max_pool2d_backward(&places, [1, 64, 64], Window::square(2).max())
    },
    |_, x, _| {
        let averages = x.reshape([1, 64, 64])?.avg_pool2d(Window::square(2).avg())?;
        averages.avg_pool2d_backward([1, 64, 64], Window::square(2).avg())
    },
    // A weight that exceeds a block.
    |pool, x, _| {
        let images = Tensor::zeros(pool, [1, 16, 4, 4], DType::F32)?;
        images.conv2d(&x.reshape([64, 16, 2, 2])?, None, Window::square(2).conv())
    },
    |pool, x, _| {
        let gradient = Tensor::zeros(pool, [1, 16, 2, 2], DType::F32)?;
        gradient.conv2d_backward_input([1, 64, 4, 4], &x.reshape([16, 64, 2, 2])?, Window::square(2).conv())
    },
    |pool, _, _| {
        let images = Tensor::zeros(pool, [1, 16, 4, 4], DType::F32)?;
        let gradient = Tensor::zeros(pool, [1, 64, 2, 2], DType::F32)?;
        gradient.conv2d_backward_weight(&images, [64, 16, 2, 2], Window::square(2).conv())
    },
];
const LAST_LINE: u32 = line!();

#[test]
fn whatever_an_operation_allocates_names_the_line_that_called_it() -> Outcome {
    // The operands, of 16 KiB, in one block, and in several.
    [None, Some(8 << 10)].into_iter().try_for_each(names_the_line)
}

fn names_the_line(largest_block: Option<u64>) -> Outcome {
    let (device, queue) = adapter::noop();
    let options = PoolOptions { largest_block, ..crate::common::options() };
    let pool = Pool::from_device(device, queue, options)?;
    let x = Tensor::zeros(&pool, [64, 64], DType::F32)?;
    let y = x.transpose(0, 1)?;
    for (number, call) in CALLS.iter().enumerate() {
        pool.start_history(100);
        call(&pool, &x, &y)?;
        let allocations = pool.history().into_iter().filter(|event| event.kind == EventKind::Allocate);
        let sites: Vec<_> = allocations.filter_map(|event| event.site).collect();
        assert!(!sites.is_empty(), "operation {number} makes something");
        for site in sites {
            let is_here = site.file() == file!() && (FIRST_LINE..LAST_LINE).contains(&site.line());
            assert!(is_here, "operation {number} allocates, and names {site}");
        }
    }
    Ok(())
}
