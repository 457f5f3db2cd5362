//! Elements looked up and added by an index, even steps, joins, and where extremes are.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_equal, indices};
use wgpu_pool::{DType, Tensor, TensorError};

/// The model of torch.gather.
fn gather<T: Copy>(table: &Array<T>, axis: usize, index: &Array<u32>, beyond: T) -> Array<T> {
    let places = indices(&index.shape);
    let elements = places.iter().map(|place| {
        let mut place = place.clone();
        let chosen = index.at(&place) as usize;
        place[axis] = chosen;
        if chosen < table.shape[axis] { table.at(&place) } else { beyond }
    });
    Array { shape: index.shape.clone(), elements: elements.collect() }
}

fn below(shape: &[usize], end: u32, random: &mut Random) -> Array<u32> {
    Array::new(shape, || u32::try_from(random.below(end as usize)).expect("small"))
}

#[test]
fn gather_equals_the_model_along_every_axis_of_views() -> Outcome {
    let mut random = Random::new(51);
    for pool in adapter::all_shared() {
        let table = Array::<i32>::any(&[5, 6, 7], &mut random);
        let tensor = table.to_device(pool)?;
        for (axis, shape) in [(0, [9, 6, 7]), (1, [5, 2, 7]), (2, [3, 4, 11])] {
            // One beyond each axis now and then.
            let index = below(&shape, u32::try_from(table.shape[axis])? + 1, &mut random);
            assert_equal(&tensor.gather(axis, &index.to_device(pool)?)?, &gather(&table, axis, &index, 0), axis);
        }
        let transposed = tensor.permute([2, 0, 1])?.narrow(1, 1, 3)?;
        let model = table.permute(&[2, 0, 1]).narrow(1, 1, 3);
        let index = below(&[4, 3, 6], 7, &mut random);
        let view = index.permute(&[2, 1, 0]).to_device(pool)?.permute([2, 1, 0])?;
        assert_equal(&transposed.gather(0, &view)?, &gather(&model, 0, &index, 0), "views");
        // A table that is its own index.
        let own = below(&[6], 6, &mut random);
        let both = own.to_device(pool)?;
        assert_equal(&both.gather(0, &both)?, &gather(&own, 0, &own, 0), "its own index");
    }
    Ok(())
}

#[test]
fn slices_are_selected_and_added_by_an_index() -> Outcome {
    let mut random = Random::new(52);
    for pool in adapter::all_shared() {
        let table = Array::whole(&[10, 33], &mut random);
        let index = below(&[25], 10, &mut random);
        let chosen = table.to_device(pool)?.index_select(0, &index.to_device(pool)?)?;
        let rows: Vec<f32> = index.elements.iter().flat_map(|&row| table.narrow(0, row as usize, 1).elements).collect();
        assert_equal(&chosen, &Array { shape: vec![25, 33], elements: rows.clone() }, "rows");
        let columns = table.to_device(pool)?.index_select(1, &Tensor::from_slice(pool, &[32_u32, 0, 32], [3])?)?;
        assert_eq!(columns.shape(), [10, 3]);
        assert_equal(&columns.narrow(1, 0, 1)?, &table.narrow(1, 32, 1), "a column");

        // Added back, each row comes as often as it was chosen. Whole numbers: the order doesn't matter.
        let sums = Tensor::zeros(pool, [10, 33], DType::F32)?;
        sums.index_add_(0, &index.to_device(pool)?, &chosen)?;
        let wanted = Array::new(&[10, 33], {
            let mut place = 0;
            let (table, index) = (&table, &index);
            move || {
                let row = place / 33;
                place += 1;
                let times = index.elements.iter().filter(|&&chosen| chosen as usize == row).count();
                table.elements[place - 1] * f32::from(u8::try_from(times).expect("at most 25"))
            }
        });
        assert_equal(&sums, &wanted, "added back");
    }
    Ok(())
}

#[test]
fn many_additions_in_one_place_lose_none_for_every_dtype() -> Outcome {
    for pool in adapter::all_shared() {
        let index = Tensor::full(pool, [3000], 1_u32)?;
        let (floats, signed, unsigned) =
            (Tensor::full(pool, [3], 1.0_f32)?, Tensor::full(pool, [3], -1_i32)?, Tensor::full(pool, [3], u32::MAX)?);
        floats.scatter_add_(0, &index, &Tensor::full(pool, [3000], 2.0_f32)?)?;
        signed.scatter_add_(0, &index, &Tensor::full(pool, [3000], -3_i32)?)?;
        unsigned.scatter_add_(0, &index, &Tensor::full(pool, [3000], 1_u32)?)?;
        assert_eq!(floats.read_blocking::<f32>()?, [1.0, 6001.0, 1.0]);
        assert_eq!(signed.read_blocking::<i32>()?, [-1, -9001, -1]);
        assert_eq!(unsigned.read_blocking::<u32>()?, [u32::MAX, 2999, u32::MAX]);
        floats.scatter_add_(0, &Tensor::full(pool, [2], 3_u32)?, &Tensor::full(pool, [2], 5.0_f32)?)?;
        assert_eq!(floats.read_blocking::<f32>()?, [1.0, 6001.0, 1.0], "nothing is added beyond the axis");
    }
    Ok(())
}

#[test]
fn what_does_not_fit_an_index_is_refused() -> Outcome {
    for pool in adapter::all_shared() {
        let table = Tensor::zeros(pool, [3, 4], DType::F32)?;
        let index = |shape: &[usize]| Tensor::zeros(pool, shape, DType::U32);
        assert!(matches!(table.gather(2, &index(&[3, 4])?), Err(TensorError::Axis { .. })));
        assert!(matches!(table.gather(0, &index(&[3, 5])?), Err(TensorError::Shape { .. })));
        assert!(matches!(table.gather(0, &index(&[3])?), Err(TensorError::Shape { .. })));
        // Errors name the operation that the program called, also where another one does the work.
        let refused = |found: Result<(), TensorError>, text: &str| {
            assert_eq!(found.map_err(|error| error.to_string()), Err(text.into()));
        };
        let of_dtype = ": the index has dtype f32, and u32 is needed: convert with `to`";
        let floats = table.select(1, 0)?;
        refused(table.gather(0, &table).map(drop), &format!("gather{of_dtype}"));
        refused(table.scatter_add_(0, &table, &table), &format!("scatter_add_{of_dtype}"));
        refused(table.index_select(0, &floats).map(drop), &format!("index_select{of_dtype}"));
        refused(table.index_add_(0, &floats, &table), &format!("index_add_{of_dtype}"));
        let of_rank = ": the index [1, 1] has 2 dimensions, and 0 or 1 are needed";
        refused(table.index_select(0, &index(&[1, 1])?).map(drop), &format!("index_select{of_rank}"));
        refused(table.index_add_(0, &index(&[1, 1])?, &table), &format!("index_add_{of_rank}"));
        let of_source = ": the source [3, 4] must have the shape of the index, [2, 4]";
        refused(table.scatter_add_(0, &index(&[2, 4])?, &table), &format!("scatter_add_{of_source}"));
        refused(table.index_add_(0, &index(&[2])?, &table), &format!("index_add_{of_source}"));
        refused(
            table.gather(0, &index(&[3, 5])?).map(drop),
            "gather: the index [3, 5] must have the rank of the tensor [3, 4] and no larger sizes, except along axis 0",
        );
        refused(
            table.select(0, 0)?.select(0, 0)?.index_select(0, &index(&[2])?).map(drop),
            "index_select: the index [2] has 2 elements, but shape [] has 1",
        );
        let (scalar, integer) = (table.select(0, 0)?.select(0, 0)?, Tensor::zeros(pool, [], DType::I32)?);
        let of_dtype = ": the index has dtype i32, and u32 is needed: convert with `to`";
        refused(scalar.gather(0, &integer).map(drop), &format!("gather{of_dtype}"));
        refused(scalar.index_select(0, &integer).map(drop), &format!("index_select{of_dtype}"));
        refused(scalar.scatter_add_(0, &integer, &scalar), &format!("scatter_add_{of_dtype}"));
        refused(scalar.index_add_(0, &integer, &scalar), &format!("index_add_{of_dtype}"));
        assert_eq!(table.gather(0, &index(&[0, 4])?)?.shape(), [0, 4]);
        let none = table.narrow(0, 0, 0)?.copied()?;
        assert_eq!(none.gather(0, &index(&[2, 4])?)?.read_blocking::<f32>()?, [0.0; 8]);
        none.scatter_add_(0, &index(&[2, 4])?, &table.narrow(0, 0, 2)?)?;
    }
    Ok(())
}

#[test]
fn even_steps_and_joins_equal_the_model() -> Outcome {
    let mut random = Random::new(53);
    for pool in adapter::all_shared() {
        assert_eq!(Tensor::arange(pool, 5, 3_i32, -2)?.read_blocking::<i32>()?, [3, 1, -1, -3, -5]);
        assert_eq!(Tensor::arange(pool, 3, u32::MAX, 1)?.read_blocking::<u32>()?, [u32::MAX, 0, 1]);
        assert_eq!(Tensor::arange(pool, 4, 0.5_f32, 0.25)?.read_blocking::<f32>()?, [0.5, 0.75, 1.0, 1.25]);
        let long: Vec<u32> = (0..70_000).collect();
        assert_eq!(Tensor::arange(pool, 70_000, 0_u32, 1)?.read_blocking::<u32>()?, long);
        assert_eq!(Tensor::arange(pool, 0, 0_u32, 1)?.shape(), [0]);

        let parts = [2, 0, 5, 1].map(|size| Array::<i32>::any(&[3, size, 4], &mut random));
        let tensors: Vec<Tensor> = parts.iter().map(|part| part.to_device(pool)).collect::<Result<_, _>>()?;
        let joined = Tensor::cat(&tensors.iter().collect::<Vec<_>>(), 1)?;
        assert_eq!(joined.shape(), [3, 8, 4]);
        for (part, start) in parts.iter().zip([0, 2, 2, 7]) {
            assert_equal(&joined.narrow(1, start, part.shape[1])?, part, start);
        }
        let transposed = tensors[0].transpose(0, 2)?;
        let twice = Tensor::cat(&[&transposed, &transposed], 0)?;
        assert_equal(&twice.narrow(0, 4, 4)?, &parts[0].permute(&[2, 1, 0]), "a view twice");
        assert!(matches!(Tensor::cat(&[], 0), Err(TensorError::Zero { .. })));
        assert!(matches!(Tensor::cat(&[&tensors[0], &twice], 0), Err(TensorError::Shape { .. })));
        assert!(matches!(Tensor::cat(&[&tensors[0]], 3), Err(TensorError::Axis { .. })));

        // A slice is assigned by a copy to a view.
        joined.narrow(1, 3, 2)?.copy_(&tensors[0])?;
        // Parts that interleave in memory and don't meet.
        joined.narrow(1, 6, 2)?.copy_(&joined.narrow(1, 3, 2)?)?;
        assert_equal(&joined.narrow(1, 6, 2)?, &parts[0], "from another part");
        assert_equal(&joined.narrow(1, 3, 2)?, &parts[0], "assigned");
        assert_equal(&joined.narrow(1, 5, 1)?, &parts[2].narrow(1, 3, 1), "next to it");
    }
    Ok(())
}

#[test]
fn the_first_extreme_is_found_and_no_number_counts_as_one() -> Outcome {
    let mut random = Random::new(54);
    for pool in adapter::all_shared() {
        let whole = Array::whole(&[4, 50, 6], &mut random);
        let tensor = whole.to_device(pool)?;
        for axis in 0..3 {
            let lines = |sign: f32| {
                let mut axes: Vec<usize> = (0..3).filter(|&other| other != axis).collect();
                axes.push(axis);
                let transposed = whole.permute(&axes);
                let length = whole.shape[axis];
                let firsts = transposed.elements.chunks(length).map(|line| {
                    let most = line.iter().map(|x| x * sign).fold(f32::MIN, f32::max);
                    u32::try_from(line.iter().position(|x| x * sign == most).expect("it is there")).expect("small")
                });
                firsts.collect::<Vec<u32>>()
            };
            assert_eq!(tensor.argmax(axis)?.read_blocking::<u32>()?, lines(1.0));
            assert_eq!(tensor.argmin(axis)?.read_blocking::<u32>()?, lines(-1.0));
        }
        assert_eq!(tensor.argmax_keepdim(1)?.shape(), [4, 1, 6]);
        let odd = Tensor::from_slice(pool, &[1.0_f32, f32::NAN, 9.0, f32::NAN, f32::NEG_INFINITY, -0.0], [2, 3])?;
        assert_eq!(odd.argmax(1)?.read_blocking::<u32>()?, [1, 0]);
        assert_eq!(odd.argmin(1)?.read_blocking::<u32>()?, [1, 0]);
        let long = Tensor::rand(pool, [100_003], 3)?;
        let values = long.read_blocking::<f32>()?;
        let found = long.argmax(0)?.read_blocking::<u32>()?[0] as usize;
        assert!(values.iter().all(|&value| value <= values[found]));
        assert!(matches!(tensor.narrow(1, 0, 0)?.argmax(1), Err(TensorError::Empty { .. })));
    }
    Ok(())
}
