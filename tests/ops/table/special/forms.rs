//! The rows of fused expressions and of epilogues.

use super::Form;
use crate::model::Array;
use crate::special_values::table::{BINARY, COMPARISONS, UNARY, larger, smaller};
use crate::table::elementwise::{dtypes_of, on_dtype, operand_of, unary_on_dtype};
use crate::table::products::{TOLERANCE, product};
use crate::table::{ALL, FLOATS, Row, any, wrapped};
use wgpu_pool::{Conv2d, DType, Tensor, fuse};

/// Operations on expressions for which tensors have no method.
pub(super) const OF_EXPRESSIONS_ALONE: [&str; 3] = ["Expression::not", "Expression::bitand", "Expression::bitor"];

fn truth(is_true: bool) -> f64 {
    f64::from(u8::from(is_true))
}

/// Steps of expressions. Of floating point, a product by 1 comes first, so that the kernel has several steps.
fn fused() -> Vec<Row> {
    let shape = &[5, 7][..];
    let mut rows = Vec::new();
    for row in UNARY {
        let run = move |x: &[&Tensor]| {
            let is_real = x[0].dtype().is_floating_point();
            let one = if is_real { fuse(|[x]| (row.fused)(x * 1.0_f32)) } else { fuse(|[x]| (row.fused)(x)) };
            Ok(vec![one.run([x[0]])?])
        };
        let model = move |x: &[&Array<f64>], dtype: DType| vec![x[0].map(unary_on_dtype(row.name, row.model, dtype))];
        rows.push(Row::new(row.name, dtypes_of(row.name), vec![any(shape)], run, model));
    }
    for row in BINARY {
        let run = move |x: &[&Tensor]| {
            let is_real = x[0].dtype().is_floating_point();
            let real = || fuse(|[x, y]| (row.fused)(x * 1.0_f32, y));
            let fused = if is_real { real() } else { fuse(|[x, y]| (row.fused)(x, y)) };
            Ok(vec![fused.run([x[0], x[1]])?])
        };
        let model = move |x: &[&Array<f64>], dtype: DType| vec![x[0].zip(x[1], on_dtype(row.name, row.model, dtype))];
        let of = operand_of(row.name);
        rows.push(Row::new(row.name, dtypes_of(row.name), vec![of(shape), of(shape)], run, model));
    }
    for row in COMPARISONS {
        let run = move |x: &[&Tensor]| Ok(vec![fuse(|[x, y]| (row.fused)(x, y)).run([x[0], x[1]])?]);
        #[expect(clippy::cast_possible_truncation, reason = "operands are values of f32, or small integers")]
        let model = move |x: &[&Array<f64>], dtype: DType| {
            let exact = |x: f64, y: f64| match row.name {
                "eq" => x == y,
                "ne" => x != y,
                "lt" => x < y,
                "le" => x <= y,
                "gt" => x > y,
                _ => x >= y,
            };
            let of = |x: f64, y: f64| if dtype == DType::F32 { (row.model)(x as f32, y as f32) } else { exact(x, y) };
            vec![x[0].zip(x[1], |x, y| truth(of(x, y)))]
        };
        rows.push(Row::new(row.name, ALL, vec![any(shape), any(shape)], run, model));
    }
    let clamp = |x: &[&Tensor]| Ok(vec![fuse(|[x, low, high]| x.maximum(low).minimum(high)).run([x[0], x[1], x[2]])?]);
    let model = |x: &[&Array<f64>], _: DType| vec![x[0].zip(x[1], larger).zip(x[2], smaller)];
    rows.push(Row::new("clamp", ALL, vec![any(shape); 3], clamp, model));
    let select = |x: &[&Tensor]| Ok(vec![fuse(|[x, this, other]| x.select(this, other)).run([x[0], x[1], x[2]])?]);
    let model = |x: &[&Array<f64>], _: DType| {
        let each = x[0].elements.iter().zip(&x[1].elements).zip(&x[2].elements);
        let elements = each.map(|((&condition, &this), &other)| if condition == 0.0 { other } else { this }).collect();
        vec![Array { shape: x[0].shape.clone(), elements }]
    };
    rows.push(Row::new("where_cond", ALL, vec![any(shape); 3], select, model));
    let not = |x: &[&Tensor]| Ok(vec![fuse(|[x]| !x).run([x[0]])?]);
    let model = |x: &[&Array<f64>], _: DType| vec![x[0].map(|x| truth(x == 0.0))];
    rows.push(Row::new("", ALL, vec![any(shape)], not, model).of_type("Expression::not"));
    let both = |x: &[&Tensor]| Ok(vec![fuse(|[x, y]| x & y).run([x[0], x[1]])?]);
    let model = |x: &[&Array<f64>], _: DType| vec![x[0].zip(x[1], |x, y| truth(x != 0.0 && y != 0.0))];
    rows.push(Row::new("", ALL, vec![any(shape); 2], both, model).of_type("Expression::bitand"));
    let either = |x: &[&Tensor]| Ok(vec![fuse(|[x, y]| x | y).run([x[0], x[1]])?]);
    let model = |x: &[&Array<f64>], _: DType| vec![x[0].zip(x[1], |x, y| truth(x != 0.0 || y != 0.0))];
    rows.push(Row::new("", ALL, vec![any(shape); 2], either, model).of_type("Expression::bitor"));
    rows
}

/// Activations at the end of products in both kinds of kernel, and of convolutions. The numbers of a row of the result are those
/// of the operand if one factor is a one and the others are zeros; here they are any, so that special ones meet in sums.
fn epilogues() -> Vec<Row> {
    let mut rows = Vec::new();
    for row in UNARY {
        let Some(activation) = row.activation else { continue };
        let dtypes = if row.name == "relu" { ALL } else { FLOATS };
        // Tiled kernels, which take a software driver long to compile, have the same code at their end.
        for [left, right] in [[&[40, 1][..], &[1, 2][..]], [&[5, 7], &[7, 3]]] {
            let columns = [right[1]];
            let run = move |x: &[&Tensor]| Ok(vec![x[0].matmul_then(x[1], Some(x[2]), Some(activation))?]);
            let model = move |x: &[&Array<f64>], dtype: DType| {
                let sums = product(x[0], x[1]).zip(x[2], |x, bias| x + bias);
                vec![sums.map(|x| (row.model)(wrapped(x, dtype)))]
            };
            let operands = vec![any(left), any(right), any(&columns)];
            rows.push(Row::new(row.name, dtypes, operands, run, model).within(TOLERANCE));
        }
        let run = move |x: &[&Tensor]| Ok(vec![x[0].conv2d_then(x[1], None, Conv2d::default(), Some(activation))?]);
        let model = move |x: &[&Array<f64>], dtype: DType| {
            let (images, weight) = (x[0].reshape(&[9, 8]), x[1].reshape(&[1, 1]));
            let sums = images.zip(&weight, |x, weight| x * weight).reshape(&[9, 1, 2, 4]);
            vec![sums.map(|x| (row.model)(wrapped(x, dtype)))]
        };
        let operands = vec![any(&[9, 1, 2, 4]), any(&[1; 4])];
        rows.push(Row::new(row.name, dtypes, operands, run, model).within(TOLERANCE));
    }
    rows
}

pub(super) fn rows() -> Vec<(Form, Row)> {
    let fused = fused().into_iter().map(|row| (Form::Fused, row));
    fused.chain(epilogues().into_iter().map(|row| (Form::Epilogue, row))).collect()
}
