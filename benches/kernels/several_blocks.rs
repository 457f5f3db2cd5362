//! Operations on tensors in several blocks, compared with tensors in one block: the share is the ratio of the two rates, alternating
//! between them.

use super::{Bench, Row, Work, Worth, median, work};
use std::error::Error;
use wgpu_pool::Tensor;

/// The length of a row: the K dimension of the products.
const COLUMNS: usize = 4096;
/// Columns of the right operand of products.
const RIGHT: usize = 1024;

impl Bench<'_> {
    /// Tensors of `mebi` MiB in several blocks, and of an eighth in one.
    pub(crate) fn several_blocks(&self, mebi: usize) -> Result<(), Box<dyn Error>> {
        if !self.wanted("several blocks") {
            return Ok(());
        }
        let sizes = [mebi / 8, mebi].map(|mebi| (mebi << 18) / COLUMNS);
        let operands = |rows: usize| -> Result<[Tensor; 3], Box<dyn Error>> {
            let [x, y] = [self.random(&[rows, COLUMNS], 1)?, self.random(&[rows, COLUMNS], 2)?];
            Ok([x, y, self.random(&[COLUMNS, RIGHT], 3)?])
        };
        let [small, large] = [operands(sizes[0])?, operands(sizes[1])?];
        let parts = large[0].parts().len();
        if small[0].parts().len() > 1 || parts == 1 {
            println!("several blocks: {mebi} MiB are in {parts} on this device; nothing to compare");
            return Ok(());
        }
        let works = |[x, y, right]: &[Tensor; 3]| -> [Work<'_>; 4] {
            let (x, y, right) = (x.clone(), y.clone(), right.clone());
            let (a, b, c) = (x.clone(), x.clone(), x.clone());
            let bytes = x.elements() as f64 * 4.0;
            let products = 2.0 * (x.elements() * RIGHT) as f64;
            [
                work("add", 3.0 * bytes, move || x.add(&y).map(drop)),
                work("sum of all", bytes, move || a.sum(..).map(drop)),
                work("softmax of each row", 2.0 * bytes, move || b.softmax(1).map(drop)),
                Work { worth: Worth::Operations(products), ..work("matmul", 0.0, move || c.matmul(&right).map(drop)) },
            ]
        };
        for (one, several) in works(&small).iter().zip(&works(&large)) {
            let name = format!("{}, {mebi} MiB in several blocks ({parts})", several.name);
            let runs = [self.batch(one)?, self.batch(several)?];
            let (mut times, mut shares) = (Vec::new(), Vec::new());
            for _ in 0..self.options.samples {
                let [alone, time] = [self.time(one, runs[0])?, self.time(several, runs[1])?];
                shares.push((several.worth.amount() / time) / (one.worth.amount() / alone));
                times.push(time);
            }
            let time = median(times);
            let (rate, share) = (Some(several.worth.rate(time)), Some(median(shares)));
            self.print(&Row { name: &name, seconds: time, rate, share, peer: None });
        }
        Ok(())
    }
}
