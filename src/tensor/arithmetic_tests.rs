//! Sizes near the limits of every integer type, against the same arithmetic in 128 bits.

use super::*;
use crate::tensor::{Layout, MAX_RANK, collapse};
use proptest::prelude::*;

/// The largest extent of a layout.
const LIMIT: u128 = i64::MAX as u128 / 4;

/// Numbers around the limits of the integer types, and small ones.
fn size() -> impl Strategy<Value = usize> {
    let bits = prop::sample::select(vec![0_u32, 1, 2, 7, 8, 15, 16, 17, 20, 30, 31, 32, 33, 40, 61, 62, 63]);
    let near = (bits, -2_i128..=2).prop_map(|(bits, more)| {
        usize::try_from((1_i128 << bits) + more).unwrap_or(if more < 0 { 0 } else { usize::MAX })
    });
    prop_oneof![4 => near, 2 => 0_usize..10, 1 => Just(usize::MAX), 1 => any::<usize>()]
}

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(size(), 0..=MAX_RANK)
}

/// The product of the sizes, each counted as 1 at least; the largest number if it overflows 128 bits.
fn extent(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |product: u128, &size| product.saturating_mul(size.max(1) as u128))
}

/// Checks what every layout promises, in 128 bits.
fn assert_valid(layout: &Layout, storage: u128) {
    let shape: &[usize] = &layout.shape;
    let elements: u128 = shape.iter().map(|&size| size as u128).fold(1, u128::saturating_mul);
    assert!(extent(shape) <= LIMIT, "{layout:?}");
    assert_eq!(layout.elements() as u128, elements, "{layout:?}");
    let span = layout.span();
    if elements > 0 {
        let steps = shape.iter().zip(layout.strides.iter()).map(|(&size, &stride)| (size as u128 - 1) * stride as u128);
        let last = layout.offset as u128 + steps.sum::<u128>();
        assert!(last < storage, "{layout:?} of {storage}");
        assert_eq!(span.end as u128, last + 1, "{layout:?}");
    }
    assert!(span.start <= span.end && span.end as u128 <= storage, "{layout:?} of {storage}");
    let collapsed = layout.collapsed();
    assert_eq!(collapsed.elements(), layout.elements());
    let [both, _] = collapse([layout, layout]);
    assert_eq!(both, collapsed);
    // None of these calls may panic, with any result.
    let _ = (layout.is_contiguous(), layout.overlaps_itself(), layout.overlaps(layout));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_shape_is_accepted_exactly_if_its_extent_has_room(shape in shape(), element_bytes in prop::sample::select(vec![2_u64, 4])) {
        match Layout::contiguous(&shape, element_bytes) {
            Ok(layout) => {
                prop_assert!(extent(&shape) <= LIMIT);
                assert_valid(&layout, extent(&shape));
            }
            Err(error) => {
                prop_assert!(extent(&shape) > LIMIT, "{shape:?}");
                prop_assert_eq!(error, TensorError::Overflow { shape, element_bytes });
            }
        }
    }

    #[test]
    fn chains_of_views_stay_within_their_storage(
        shape in shape(),
        steps in prop::collection::vec((0_u8..6, size(), size(), shape()), 0..12),
    ) {
        let Ok(mut layout) = Layout::contiguous(&shape, 4) else { return Ok(()) };
        let storage = extent(&shape);
        for (kind, first, second, other) in steps {
            let rank = layout.rank().max(1);
            let seen = match kind {
                0 => layout.reshape(&other),
                1 => layout.expand("expand", "tensor", &other),
                2 => layout.narrow(first % rank, second, first),
                // A range within the axis, which has no elements in half of the cases.
                3 => {
                    let axis = first % rank;
                    let size = layout.shape.get(axis).copied().unwrap_or(0);
                    let start = if second % 3 == 0 { size } else { second % size.max(1) };
                    layout.narrow(axis, start, size.saturating_sub(start))
                }
                4 => layout.transpose(first % rank, second % rank),
                // Without elements and with other large sizes, the offset must not grow.
                _ => layout.reshape(&[0, first]),
            };
            if let Ok(view) = seen {
                layout = view;
                assert_valid(&layout, storage);
            }
            if let Ok(with) = Layout::contiguous(&other, 4) {
                let _ = layout.broadcast("add", "tensor", &with);
                let _ = layout.overlaps(&with);
            }
        }
    }

    #[test]
    fn window_positions_are_those_of_the_formula_or_none(
        (size, kernel, dilation) in (size(), size(), prop_oneof![1..4_usize, size()]),
        stride in size(),
        padding in [size(), size()],
        ceil_mode in any::<bool>(),
    ) {
        let wide = size as u128 + padding[0] as u128 + padding[1] as u128;
        let covered = (kernel as u128).saturating_sub(1) * dilation as u128 + 1;
        let is_usize = |number: u128| u128::from(usize::MAX as u64) >= number;
        let is_window = kernel > 0 && dilation > 0 && is_usize(covered);
        prop_assert_eq!(window_extent(kernel, dilation).map(|extent| extent as u128), is_window.then_some(covered));
        let fits = is_window && size > 0 && stride > 0 && is_usize(wide) && wide >= covered;
        let wanted = fits.then(|| {
            // The windows that fit, and with ceil_mode one more if it starts in the image or in the padding before it.
            let room = wide - covered;
            let whole = room / stride as u128 + 1;
            let is_more = ceil_mode && !room.is_multiple_of(stride as u128) && whole * (stride as u128) < size as u128 + padding[0] as u128;
            whole + u128::from(is_more)
        });
        let found = window_extent(kernel, dilation).and_then(|extent| window_positions(size, extent, stride, padding, ceil_mode));
        prop_assert_eq!(found.map(|positions| positions as u128), wanted);
    }

    #[test]
    fn products_and_sums_are_exact_or_refused(factors in shape(), more in size()) {
        let exact = factors.iter().try_fold(1_u128, |product, &factor| product.checked_mul(factor as u128));
        let fits = exact.and_then(|exact| usize::try_from(exact).ok());
        let fits = if factors.contains(&0) { Some(0) } else { fits };
        prop_assert_eq!(product(&factors), fits);
        match size_of(&factors, 4) {
            Ok(size) => prop_assert_eq!(Some(size), fits),
            Err(_) => prop_assert!(extent(&factors) > LIMIT),
        }
        let mut shape = [more, 7];
        let wanted = factors.first().copied().unwrap_or(0);
        match extend(&mut shape, 0, wanted, 4) {
            Ok(()) => prop_assert_eq!(shape[0] as u128, more as u128 + wanted as u128),
            Err(error) => {
                prop_assert!(more as u128 + wanted as u128 > usize::MAX as u128);
                prop_assert_eq!(error, TensorError::Overflow { shape: vec![more, wanted], element_bytes: 4 });
            }
        }
    }
}

/// Near the limit exactly, on both sides of it.
#[test]
fn the_largest_shapes_are_accepted_and_the_next_ones_refused() {
    for (shape, is_accepted) in [
        (&[1_usize << 32, 1 << 28][..], true),
        (&[1 << 32, 1 << 29], false),
        (&[(1 << 61) - 1], true),
        (&[1 << 61], false),
        (&[1 << 32, 1 << 32], false),
        (&[0, 1 << 40, 1 << 40], false),
        (&[1 << 40, 1 << 40, 0], false),
        (&[usize::MAX, 0], false),
        (&[0, (1 << 61) - 1], true),
    ] {
        assert_eq!(Layout::contiguous(shape, 4).is_ok(), is_accepted, "{shape:?}");
        let one = Layout::contiguous(&[1], 4).expect("one element");
        let expanded = one.expand("expand", "tensor", shape);
        assert_eq!(expanded.is_ok(), is_accepted, "{shape:?}");
        if shape.contains(&0) {
            let none = Layout::contiguous(&[0], 4).expect("no element");
            assert_eq!(none.reshape(shape).is_ok(), is_accepted, "{shape:?}");
        }
    }
}
