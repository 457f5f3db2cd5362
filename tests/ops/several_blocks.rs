//! Tensors in several blocks: their parts, their views, and results that do not depend on the blocks. `table/divided.rs` runs every
//! operation on such tensors.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::error::Argument;
use wgpu_pool::{
    AllocateError, Corners, DType, IntoHostError, KernelError, Pool, PoolOptions, Tensor, TensorError, fuse,
};

/// Runs a test on a pool with blocks of at most so many bytes.
fn divided(bytes: u64, act: impl FnOnce(&Pool) -> Outcome) -> Outcome {
    adapter::fresh_divided(bytes).map_or(Ok(()), |pool| act(&pool))
}

/// Asserts that every element of two tensors of different pools has the same bits.
#[track_caller]
fn assert_same(found: &Tensor, wanted: &Tensor, what: &str) {
    assert_eq!((found.shape(), found.dtype()), (wanted.shape(), wanted.dtype()), "{what}");
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let elements = tensor.read_blocking::<f32>().unwrap_or_else(|error| panic!("{what}: {error}"));
        elements.into_iter().map(f32::to_bits).collect()
    };
    let (found, wanted) = (bits(found), bits(wanted));
    let differs = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
    let [found, wanted] = [&found, &wanted].map(|bits| differs.map(|at| f32::from_bits(bits[at])));
    assert_eq!((differs, found), (None, wanted), "{what}");
}

#[test]
fn parts_are_ordinary_tensors_that_cover_the_tensor() -> Outcome {
    divided(256, |pool| {
        // 64 f32 a block: rows of 7 in blocks of 8, and the last 5.
        let x = Tensor::arange(pool, 21 * 7, 0_i32, 1)?.reshape([21, 7])?.copied()?;
        let parts = x.parts();
        let sizes: Vec<_> = parts.iter().map(|part| (part.start.clone(), part.tensor.shape().to_vec())).collect();
        assert_eq!(sizes, [(vec![0, 0], vec![8, 7]), (vec![8, 0], vec![8, 7]), (vec![16, 0], vec![5, 7])]);
        for part in &parts {
            assert!(part.tensor.storage()?.bytes() <= 256 && part.tensor.parts().len() == 1);
            part.tensor.mul_(2)?;
        }
        let wanted: Vec<i32> = (0..21 * 7).map(|index| 2 * index).collect();
        assert_eq!(x.read_blocking::<i32>()?, wanted, "kernels on parts write to the tensor");
        // A view of rows in one block is an ordinary tensor, whether its own block or another one has the first row.
        let view = x.narrow(0, 9, 3)?;
        assert!(view.storage()?.is_same(parts[1].tensor.storage()?) && view.parts().len() == 1);
        assert_eq!(view.read_blocking::<i32>()?, &wanted[63..84]);
        let across = x.narrow(0, 7, 2)?;
        assert_eq!(across.parts().iter().map(|part| part.start[0]).collect::<Vec<_>>(), [0, 1]);
        Ok(())
    })
}

#[test]
fn what_needs_one_block_is_refused_by_name_each_time() -> Outcome {
    divided(256, |pool| {
        let x = Tensor::zeros(pool, [100, 2], DType::F32)?;
        let refused_as = |operation, argument| Some(TensorError::SeveralBlocks { operation, argument, blocks: 4 });
        let refused = |operation| refused_as(operation, "tensor".into());
        for _ in 0..2 {
            assert_eq!(x.storage().err(), refused("storage"));
            assert_eq!(x.binding().err(), refused("binding"));
        }
        let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
            @compute @workgroup_size(64) fn add_one(@builtin(global_invocation_id) id: vec3<u32>) {
                if id.x < arrayLength(&x) { x[id.x] += 1.0; }
            }";
        let kernel = pool.kernel(wgsl, "add_one")?;
        for _ in 0..2 {
            let error = kernel.dispatch(&[&x], &[], [4, 1, 1]).expect_err("it is in four blocks");
            assert!(error.to_string().contains("parts()"), "{error}");
            assert_eq!(
                Some(error),
                refused_as("dispatch", Argument::Nth { name: "tensor", index: 0 }).map(KernelError::Tensor)
            );
        }
        for part in x.parts() {
            kernel.dispatch(&[&part.tensor], &[], [1, 1, 1])?;
        }
        assert_eq!(x.read_blocking::<f32>()?, [1.0; 200]);
        Ok(())
    })
}

#[test]
fn numbers_do_not_depend_on_the_blocks() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    // Rows of 5, of which 3 fit a block, so that blocks begin between groups of four random numbers; and divided rows.
    divided(64, |pool| {
        for shape in [&[40, 5][..], &[3, 50], &[200], &[2, 3, 31]] {
            assert_same(&Tensor::rand(pool, shape, 7)?, &Tensor::rand(whole, shape, 7)?, "rand");
            assert_same(&Tensor::randn(pool, shape, 8)?, &Tensor::randn(whole, shape, 8)?, "randn");
        }
        assert_same(&Tensor::arange(pool, 77, 0.5_f32, 0.25)?, &Tensor::arange(whole, 77, 0.5_f32, 0.25)?, "arange");
        Ok(())
    })
}

/// Random numbers of two pools, which are the same.
fn both(pools: [&Pool; 2], shape: &[usize], seed: u64) -> Result<[Tensor; 2], TensorError> {
    let [one, other] = pools.map(|pool| Tensor::randn(pool, shape, seed));
    Ok([one?, other?])
}

#[test]
fn results_do_not_depend_on_the_blocks() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    divided(16 << 10, |pool| {
        let pools = [pool, whole];
        let x = both(pools, &[60, 301], 1)?;
        let y = both(pools, &[301, 60], 2)?;
        let row = both(pools, &[301], 3)?;
        assert!(x[0].parts().len() > 3 && x[1].parts().len() == 1);
        let same = |what: &str, act: &dyn Fn(usize) -> Result<Tensor, TensorError>| -> Outcome {
            assert_same(&act(0)?, &act(1)?, what);
            Ok(())
        };
        same("a sum with a transposed matrix", &|of| x[of].add(&y[of].t()?)?.t()?.contiguous())?;
        same("a fused expression with a row", &|of| fuse(|[x, row]| x * row + 1.0).run([&x[of], &row[of]]))?;
        same("operations on rows", &|of| x[of].softmax(1)?.layer_norm(Some(&row[of]), None, 1e-5))?;
        same("sums of rows", &|of| x[of].sum([1]))?;
        same("the largest of columns", &|of| x[of].amax([0]))?;
        let index = pools.map(|pool| Tensor::arange(pool, 50, 59_u32, u32::MAX));
        let index = index.into_iter().collect::<Result<Vec<_>, _>>()?;
        same("rows by index", &|of| x[of].index_select(0, &index[of]))
    })
}

/// Convolutions of images that exceed a block, in bands of rows: windows with strides, dilation and padding on one side.
#[test]
fn convolutions_of_large_images_give_what_undivided_ones_give() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    divided(12 << 10, |pool| {
        let windows = [
            Window::new([3, 3], [1, 1], [1, 1]),
            Window { padding: [[0, 3], [2, 0]], ..Window::new([4, 3], [3, 2], [0, 0]) },
            Window { dilation: [3, 1], ..Window::new([3, 2], [2, 1], [2, 1]) },
            Window::new([1, 1], [4, 1], [0, 0]),
        ];
        for (number, window) in windows.into_iter().enumerate() {
            let pools = [pool, whole];
            let [height, width] = window.kernel;
            let shape = [2, 3, 67, 40];
            let images = both(pools, &shape, 1)?;
            let weight = both(pools, &[5, 3, height, width], 2)?;
            let bias = both(pools, &[5], 3)?;
            let near = |found: &Tensor, wanted: &Tensor, what: &str| -> Outcome {
                let (found, wanted) = (found.read_blocking::<f32>()?, wanted.read_blocking::<f32>()?);
                for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                    let is_near = (found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0);
                    assert!(is_near, "{what} of window {number}: element {at} is {found}, not {wanted}");
                }
                assert_eq!(found.len(), wanted.len());
                Ok(())
            };
            let results = [0, 1].map(|of| images[of].conv2d(&weight[of], Some(&bias[of]), window.conv()));
            let [result, undivided] = results;
            let (result, undivided) = (result?, undivided?);
            near(&result, &undivided, "the convolution")?;
            let by_images = result.conv2d_backward_input(shape, &weight[0], window.conv())?;
            near(
                &by_images,
                &undivided.conv2d_backward_input(shape, &weight[1], window.conv())?,
                "the input gradient",
            )?;
            let by_weight = result.conv2d_backward_weight(&images[0], weight[0].shape(), window.conv())?;
            let wanted = undivided.conv2d_backward_weight(&images[1], weight[1].shape(), window.conv())?;
            // Sums of thousands of products.
            let size = wanted.abs()?.amax(..)?.item_blocking::<f32>()?;
            near(&by_weight.div(size)?, &wanted.div(size)?, "the weight gradient")?;
        }
        Ok(())
    })
}

/// Planes that exceed a block, in bands of rows: pooling and resizing, and their gradients.
#[test]
fn planes_that_exceed_a_block_are_pooled_and_resized_in_bands() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    divided(2 << 10, |pool| {
        let pools = [pool, whole];
        let shape = [2, 3, 67, 40];
        let x = both(pools, &shape, 1)?;
        let same = |what: &str, act: &dyn Fn(usize) -> Result<Tensor, TensorError>| -> Outcome {
            assert_same(&act(0)?, &act(1)?, what);
            Ok(())
        };
        let windows = [
            Window::square(2),
            Window { ceil_mode: true, ..Window::new([5, 3], [3, 2], [2, 1]) },
            Window { padding: [[0, 2], [1, 0]], count_include_pad: false, ..Window::new([4, 3], [3, 2], [0, 0]) },
            Window { ceil_mode: true, count_include_pad: false, ..Window::new([4, 2], [5, 1], [2, 0]) },
            // Windows further apart than their extent: rows that none covers.
            Window::new([2, 3], [9, 1], [1, 1]),
        ];
        for (number, window) in windows.into_iter().enumerate() {
            same(&format!("averages {number}"), &|of| x[of].avg_pool2d(window.avg()))?;
            same(&format!("largest {number}"), &|of| x[of].max_pool2d(window.max()))?;
            same(&format!("places {number}"), &|of| x[of].max_pool2d_with_indices(window.max())?.1.to(DType::F32))?;
            let gradient = both(pools, x[1].avg_pool2d(window.avg())?.shape(), 2)?;
            same(&format!("gradients of averages {number}"), &|of| {
                gradient[of].avg_pool2d_backward(shape, window.avg())
            })?;
            same(&format!("gradients of the largest {number}"), &|of| {
                let (_, places) = x[of].max_pool2d_with_indices(window.max())?;
                gradient[of].max_pool2d_backward(&places, shape, window.max())
            })?;
        }
        let dilated = Window { dilation: [3, 1], ..Window::new([3, 2], [2, 2], [1, 0]) };
        same("places of dilated windows", &|of| x[of].max_pool2d_with_indices(dilated.max())?.1.to(DType::F32))?;
        for size in [[201, 50], [100, 40], [134, 80], [33, 20], [1, 30], [67, 40]] {
            same(&format!("nearest neighbours {size:?}"), &|of| x[of].upsample_nearest(size))?;
            if size[0] > 1 {
                let back = |of: usize| x[of].upsample_nearest_backward(size);
                same(&format!("gradients of nearest neighbours {size:?}"), &back)?;
            }
            for corners in [Corners::Outer, Corners::Centers] {
                let what = format!("{size:?} {corners:?}");
                same(&format!("interpolation {what}"), &|of| x[of].upsample_bilinear(size, corners))?;
                if size[0] > 1 {
                    let back = |of: usize| x[of].upsample_bilinear_backward(size, corners);
                    same(&format!("gradients of an interpolation {what}"), &back)?;
                }
            }
        }
        same("one image", &|of| x[of].select(0, 1)?.avg_pool2d(Window::square(3).avg()))?;
        same("a transposed image", &|of| x[of].transpose(2, 3)?.upsample_bilinear([77, 31], Corners::Outer))?;
        // One row of the gradient takes every row of the plane.
        let error = x[0].upsample_bilinear_backward([1, 30], Corners::Outer).expect_err("a plane has 10 KiB");
        let (operation, argument) = ("upsample_bilinear_backward", Argument::from("gradient"));
        let refused = TensorError::SeveralBlocks { operation, argument, blocks: 36 };
        assert_eq!(error, refused);
        Ok(())
    })
}

/// Kernels compute with f32, of which a row takes two blocks.
#[test]
fn a_row_of_halves_that_exceeds_a_block_in_f32_is_not_said_to_be_in_one() -> Outcome {
    divided(256, |pool| {
        if !adapter::has_f16(pool) {
            return Ok(());
        }
        let x = Tensor::zeros(pool, [1, 1, 1, 100], DType::F16)?;
        assert_eq!(x.parts().len(), 1);
        let error = x.upsample_bilinear_backward([1, 50], Corners::Outer).expect_err("a row has 400 bytes");
        assert_eq!(
            error,
            TensorError::SeveralBlocks {
                operation: "upsample_bilinear_backward",
                argument: "gradient".into(),
                blocks: 2,
            }
        );
        Ok(())
    })
}

/// Patches of planes that exceed a block, and images of patches.
#[test]
fn planes_that_exceed_a_block_are_unfolded_and_folded_in_bands() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    divided(8 << 10, |pool| {
        let pools = [pool, whole];
        let x = both(pools, &[2, 3, 67, 40], 1)?;
        let same = |what: &str, act: &dyn Fn(usize) -> Result<Tensor, TensorError>| -> Outcome {
            assert_same(&act(0)?, &act(1)?, what);
            Ok(())
        };
        let unfolded = [
            Window { dilation: [3, 1], ..Window::new([3, 2], [2, 2], [1, 0]) },
            Window::new([3, 3], [1, 1], [1, 1]),
            Window::new([2, 1], [5, 3], [0, 0]),
            // Windows that are in the padding.
            Window { padding: [[9, 14], [2, 0]], ..Window::new([3, 2], [2, 1], [0, 0]) },
        ];
        for (number, window) in unfolded.into_iter().enumerate() {
            same(&format!("patches {number}"), &|of| x[of].unfold(window.unfold()))?;
            let columns = both(pools, x[1].unfold(window.unfold())?.shape(), 3)?;
            same(&format!("images of patches {number}"), &|of| columns[of].fold([67, 40], window.unfold()))?;
        }
        same("patches of one image", &|of| x[of].select(0, 1)?.unfold(unfolded[1].unfold()))?;
        same("patches of integers", &|of| {
            x[of].mul(100)?.to(DType::I32)?.unfold(unfolded[3].unfold())?.to(DType::F32)
        })?;
        Ok(())
    })
}

/// Convolutions and gradients whose weight exceeds a block, or whose reordered weight does: outputs or channels by themselves, and
/// groups.
#[test]
fn convolutions_of_large_weights_give_what_undivided_ones_give() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    let bytes = if whole.memory().device().adapter_info().device_type == wgpu_pool::wgpu::DeviceType::Cpu {
        8 << 10
    } else {
        // Kernels of GPUs reorder more outputs together.
        64 << 10
    };
    let more = usize::try_from(bytes)? >> 13;
    divided(bytes, |pool| {
        let pools = [pool, whole];
        for (groups, channels, outputs) in [(1, 10, 37 * more), (1, 41 * more, 5), (4, 8, 60 * more), (2, 32 * more, 6)]
        {
            for dtype in if groups == 4 { vec![DType::F32, DType::I32] } else { vec![DType::F32] } {
                let window = Window { groups, ..Window::new([3, 2], [2, 1], [1, 1]) };
                let shape = [2, channels, 5, 4];
                let whole_numbers = |shape: &[usize], seed| -> Result<[Tensor; 2], TensorError> {
                    let [x, y] = both(pools, shape, seed)?;
                    Ok([x.mul(3)?.round()?.to(dtype)?, y.mul(3)?.round()?.to(dtype)?])
                };
                let images = whole_numbers(&shape, 1)?;
                let weight = whole_numbers(&[outputs, channels / groups, 3, 2], 2)?;
                let bias = whole_numbers(&[outputs], 3)?;
                // Sums of small whole numbers are exact in any order.
                let same = |what: &str, act: &dyn Fn(usize) -> Result<Tensor, TensorError>| -> Outcome {
                    let what = format!("{what} of {dtype}, {groups} groups, {channels} channels, {outputs} outputs");
                    assert_same(&act(0)?.to(DType::F32)?, &act(1)?.to(DType::F32)?, &what);
                    Ok(())
                };
                same("the convolution", &|of| images[of].conv2d(&weight[of], Some(&bias[of]), window.conv()))?;
                same("the convolution of one image", &|of| {
                    images[of].select(0, 1)?.conv2d(&weight[of], None, window.conv())
                })?;
                let gradient = whole_numbers(&[2, outputs, 3, 5], 4)?;
                same("the input gradient", &|of| {
                    gradient[of].conv2d_backward_input(shape, &weight[of], window.conv())
                })?;
                same("the weight gradient", &|of| {
                    gradient[of].conv2d_backward_weight(&images[of], weight[of].shape(), window.conv())
                })?;
            }
        }
        Ok(())
    })
}

/// Convolutions with bands that are in the padding alone, whose zeros are multiplied.
#[test]
fn bands_of_convolutions_in_the_padding_alone_multiply_its_zeros() -> Outcome {
    let Some(whole) = adapter::shared() else { return Ok(()) };
    divided(2 << 10, |pool| {
        let pools = [pool, whole];
        let window = Window { padding: [[20, 31], [1, 1]], ..Window::new([2, 3], [3, 1], [0, 0]) };
        let images = both(pools, &[1, 2, 30, 40], 1)?;
        let weight = both(pools, &[3, 2, 2, 3], 2)?;
        let bias = both(pools, &[3], 3)?;
        let results = [0, 1].map(|of| images[of].conv2d(&weight[of], Some(&bias[of]), window.conv()));
        let [result, undivided] = results;
        let (result, undivided) = (result?, undivided?);
        let near = |found: &Tensor, wanted: &Tensor| -> Outcome {
            let (found, wanted) = (found.read_blocking::<f32>()?, wanted.read_blocking::<f32>()?);
            let is_near = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-4 * y.abs().max(1.0);
            assert!(found.len() == wanted.len() && found.iter().zip(&wanted).all(is_near), "{found:?} {wanted:?}");
            Ok(())
        };
        near(&result, &undivided)?;
        let gradients = [(&result, 0), (&undivided, 1)]
            .map(|(result, of)| result.conv2d_backward_weight(&images[of], weight[of].shape(), window.conv()));
        let [found, wanted] = gradients;
        near(&found?, &wanted?)?;
        // Infinity times zero.
        let infinite = Tensor::full(pool, [3, 2, 2, 3], f32::INFINITY)?;
        let result = images[0].conv2d(&infinite, None, window.conv())?;
        assert!(result.narrow(2, 0, 3)?.read_blocking::<f32>()?.iter().all(|x| x.is_nan()));
        Ok(())
    })
}

#[test]
fn the_memory_of_all_blocks_is_freed_counted_and_named() -> Outcome {
    divided(256, |pool| {
        let x = Tensor::zeros(pool, [100, 2], DType::F32)?.labelled("table");
        assert_eq!(pool.stats().requested.current, 800);
        let holders = pool.snapshot().holders();
        assert!(holders.iter().all(|holder| holder.label.as_deref() == Some("table")), "{holders:?}");
        let weak = x.downgrade();
        assert_eq!(weak.upgrade().map(|tensor| tensor.shape().to_vec()), Some(vec![100, 2]));
        let part = x.parts().remove(2).tensor;
        let Err(IntoHostError { tensor, error }) = x.into_host_blocking::<f32>() else { panic!("a part shares it") };
        assert_eq!(error, TensorError::Shared { operation: "into_host_blocking", others: 1 });
        let view = tensor.narrow(0, 0, 60)?;
        let error = tensor.into_host_blocking::<f32>().expect_err("a part and a view share it").error;
        assert_eq!(error, TensorError::Shared { operation: "into_host_blocking", others: 2 });
        drop(view);
        assert!(weak.upgrade().is_none(), "no handle to the tensor is left");
        assert_eq!(pool.stats().requested.current, part.storage()?.bytes(), "the part keeps its block");
        drop(part);
        assert_eq!(pool.stats().requested.current, 0);
        let host = Tensor::ones(pool, [100, 2], DType::F32)?.into_host_blocking::<f32>()?;
        assert_eq!((host.elements, pool.stats().requested.current), (vec![1.0; 200], 0));
        Ok(())
    })
}

#[test]
fn a_refused_block_leaves_none_of_the_others() -> Outcome {
    let options = PoolOptions { largest_block: Some(1 << 20), limit: Some(4 << 20), ..crate::common::options() };
    let Some(pool) = adapter::open(options) else { return Ok(()) };
    for _ in 0..2 {
        let error = Tensor::zeros(&pool, [6 << 10, 256], DType::F32).expect_err("6 MiB exceed the limit");
        assert!(matches!(error, TensorError::Allocate(AllocateError::OutOfMemory(_))), "{error}");
        assert_eq!(pool.stats().requested.current, 0);
    }
    // What fits still does.
    let rows = Tensor::zeros(&pool, [3 << 10, 256], DType::F32)?;
    assert_eq!((rows.parts().len(), pool.stats().requested.current), (3, 3 << 20));
    Ok(())
}

#[test]
fn elements_that_overlap_at_other_indices_are_refused_in_parts_too() -> Outcome {
    divided(256, |pool| {
        let x = Tensor::arange(pool, 200, 0_i32, 1)?.reshape([100, 2])?;
        let part = x.parts().remove(1);
        let rows = part.tensor.shape()[0];
        let own = x.narrow(0, part.start[0], rows)?;
        let doubled: Vec<i32> = own.read_blocking::<i32>()?.into_iter().map(|element| 2 * element).collect();
        part.tensor.add_(&own)?;
        assert_eq!(own.read_blocking::<i32>()?, doubled, "the same elements at the same indices");
        let before = x.narrow(0, part.start[0] - 1, rows)?;
        let (argument, other) = ("output".into(), Some(Argument::Nth { name: "operand", index: 1 }));
        let overlap = Some(TensorError::Overlap { operation: "add_", argument, other });
        assert_eq!(part.tensor.add_(&before).err(), overlap);
        assert_eq!(before.add_(&part.tensor).err(), overlap);
        // Of the last block and of two earlier ones, at offsets that are equal in their blocks and not in the tensor.
        let [last, earlier] = [x.parts().remove(3).tensor, x.narrow(0, 13, 22)?];
        assert_eq!((last.shape(), earlier.parts().len()), (&[22, 2][..], 2));
        let pairs = last.read_blocking::<i32>()?.into_iter().zip(earlier.read_blocking::<i32>()?);
        let sums: Vec<i32> = pairs.map(|(last, earlier)| last + earlier).collect();
        last.add_(&earlier)?;
        assert_eq!(last.read_blocking::<i32>()?, sums);
        let [upper, lower] = [x.narrow(0, 0, 50)?, x.narrow(0, 50, 50)?];
        lower.copy_(&upper)?;
        assert_eq!(lower.read_blocking::<i32>()?, upper.read_blocking::<i32>()?);
        Ok(())
    })
}

#[test]
fn a_device_that_binds_64_kib_holds_larger_tensors() -> Outcome {
    let limits =
        wgpu_pool::wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu_pool::wgpu::Limits::default() };
    let Some((device, queue)) = adapter::foreign_with(limits) else { return Ok(()) };
    let pool = &Pool::from_device(device, queue, crate::common::options())?;
    let Some(whole) = adapter::shared() else { return Ok(()) };
    let x = both([pool, whole], &[300, 200], 5)?;
    assert_eq!(x[0].parts().len(), 4);
    let [found, wanted] = [0, 1].map(|of| x[of].t()?.contiguous()?.softmax(1)?.mul(&x[of].t()?));
    assert_same(&found?, &wanted?, "a softmax of a transposed matrix");
    let [found, wanted] = [0, 1].map(|of| x[of].matmul(&x[of].t()?)?.sum([1]));
    let (found, wanted) = (found?.read_blocking::<f32>()?, wanted?.read_blocking::<f32>()?);
    assert!(found.iter().zip(&wanted).all(|(x, y)| (x - y).abs() <= 1e-3 * y.abs().max(1.0)), "{found:?} {wanted:?}");
    Ok(())
}

/// Where no hole is large enough for a tensor, several holes are, before anything moves.
#[test]
fn a_tensor_above_every_hole_is_placed_in_several() -> Outcome {
    const BLOCK: usize = 64 << 10;
    divided(BLOCK as u64, |pool| {
        let tensors: Vec<_> =
            (0..16).map(|_| Tensor::zeros(pool, [BLOCK / 4], DType::F32)).collect::<Result<_, _>>()?;
        pool.set_limit(Some(pool.stats().reserved.current));
        // Every second block is freed: holes of one block each.
        let kept: Vec<_> = tensors.into_iter().step_by(2).collect();
        let (before, reserved) = (pool.remedies(), pool.stats().reserved.current);
        let x = Tensor::full(pool, [8, BLOCK / 4], 3.0_f32)?;
        assert_eq!(x.parts().len(), 8);
        let after = pool.remedies();
        assert_eq!((after.bytes_moved, after.segments_created), (before.bytes_moved, before.segments_created));
        assert_eq!(pool.stats().reserved.current, reserved);
        pool.set_limit(None);
        assert_eq!(x.sum(..)?.item_blocking::<f32>()?, 3.0 * (2 * BLOCK) as f32);
        assert!(kept.iter().all(|tensor| tensor.read_blocking::<f32>().is_ok_and(|all| all.iter().all(|&x| x == 0.0))));
        Ok(())
    })
}
