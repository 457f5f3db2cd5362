//! Matrix products: squares in each transposition, and the shapes that networks use.

use super::{Bench, Work, Worth};
use std::error::Error;
use wgpu_pool::{DType, Tensor, TensorError};

/// Products of a batch of matrices: rows × inner by inner × columns.
#[derive(Clone, Copy, Debug)]
struct Product {
    name: &'static str,
    batch: usize,
    rows: usize,
    inner: usize,
    columns: usize,
}

const fn product(name: &'static str, batch: usize, [rows, inner, columns]: [usize; 3]) -> Product {
    Product { name, batch, rows, inner, columns }
}

const PRODUCTS: [Product; 13] = [
    product("matmul, K = 64", 1, [4096, 64, 4096]),
    product("matmul, K = 128", 1, [4096, 128, 4096]),
    product("matmul, K = 256", 1, [4096, 256, 4096]),
    product("matmul, K = 512", 1, [4096, 512, 4096]),
    product("matmul, K = 1024", 1, [4096, 1024, 4096]),
    product("matmul, tall", 1, [65_536, 256, 256]),
    product("matmul, tall and narrow", 1, [262_144, 64, 64]),
    product("matmul, flat", 1, [256, 65_536, 256]),
    product("matmul, a layer of GPT-2", 1, [8192, 768, 3072]),
    product("matmul, a layer of Llama 7B", 1, [2048, 4096, 11_008]),
    product("matmul, few rows", 1, [32, 4096, 4096]),
    product("bmm, attention scores", 96, [1024, 64, 1024]),
    product("bmm, attention values", 96, [1024, 1024, 64]),
];

type Multiply<'a> = Box<dyn Fn() -> Result<(), TensorError> + 'a>;

impl Bench<'_> {
    /// Products of square matrices, in f32 and f16.
    pub(crate) fn products(&self, sizes: &[u32]) -> Result<(), Box<dyn Error>> {
        for &size in self.options.matmul.as_deref().unwrap_or(sizes) {
            let side = size as usize;
            let shape = [side; 2];
            let (left, right, copy) = (self.random(&shape, 8)?, self.random(&shape, 9)?, self.random(&shape, 10)?);
            let label = format!("{size}³");
            let (left_transposed, right_transposed) = (left.t()?, right.t()?);
            let sizes = [1, side, side, side];
            let works = [
                work(sizes, "matmul", [&left, &right], [false; 2], "f32"),
                work(sizes, "matmul by a transposed", [&left, &right_transposed], [false, true], "f32"),
                work(sizes, "matmul of a transposed", [&left_transposed, &right], [true, false], "f32"),
                work(sizes, "matmul of two transposed", [&left_transposed, &right_transposed], [true; 2], "f32"),
            ];
            self.compare(&works, &label, &left, &copy)?;
            if !self.pool.memory().device().features().contains(wgpu::Features::SHADER_F16) {
                continue;
            }
            let (left_half, right_half) = (left.to(DType::F16)?, right.to(DType::F16)?);
            let transposed_half = right_half.t()?;
            let works = [
                work(sizes, "matmul of f16", [&left_half, &right_half], [false; 2], "f16"),
                work(sizes, "matmul of f16 by a transposed", [&left_half, &transposed_half], [false, true], "f16"),
            ];
            self.compare(&works, &label, &left, &copy)?;
        }
        Ok(())
    }

    /// The products of networks, with each size that is at least 256 divided by `divisor`.
    pub(crate) fn network_products(&self, divisor: usize) -> Result<(), Box<dyn Error>> {
        for case in PRODUCTS {
            let [rows, inner, columns] =
                [case.rows, case.inner, case.columns].map(|size| if size < 256 { size } else { size / divisor });
            let batch = case.batch.div_ceil(divisor);
            let count = if batch == 1 { String::new() } else { format!("{batch}×") };
            let label = format!("{count}{rows}×{inner} by {inner}×{columns}");
            if !self.wanted(&format!("{} {label}", case.name)) {
                continue;
            }
            let left = self.random(&[batch, rows, inner], 8)?;
            let right = self.random(&[batch, inner, columns], 9)?;
            let copy = self.random(&[batch, rows, inner], 10)?;
            let (first, second) = (left.narrow(0, 0, 1)?.squeeze(0)?, right.narrow(0, 0, 1)?.squeeze(0)?);
            let run: Multiply<'_> = match batch {
                1 => multiplied(&first, &second),
                _ => Box::new(|| left.bmm(&right).map(drop)),
            };
            let worth =
                Worth::Operations(2.0 * [batch, rows, inner, columns].iter().map(|&n| n as f64).product::<f64>());
            let peer = Some(peer([batch, rows, inner, columns], [false; 2], "f32"));
            self.compare(&[Work { name: case.name.into(), worth, run, peer }], &label, &left, &copy)?;
        }
        Ok(())
    }
}

fn work<'a>(
    sizes: [usize; 4],
    name: &str,
    [left, right]: [&'a Tensor; 2],
    transposed: [bool; 2],
    dtype: &str,
) -> Work<'a> {
    let worth = Worth::Operations(2.0 * sizes.iter().map(|&size| size as f64).product::<f64>());
    Work { name: name.into(), worth, run: multiplied(left, right), peer: Some(peer(sizes, transposed, dtype)) }
}

/// A product as `pytorch.py` reads it; `transposed` says which operands are transposed views.
fn peer(sizes: [usize; 4], transposed: [bool; 2], dtype: &str) -> serde_json::Value {
    serde_json::json!({"operation": "matmul", "sizes": sizes, "transposed": transposed, "dtype": dtype})
}

fn multiplied<'a>(left: &'a Tensor, right: &'a Tensor) -> Multiply<'a> {
    Box::new(move || left.matmul(right).map(drop))
}
