//! Causal self-attention with several heads, and its key-value cache.

use super::linear::Linear;
use super::parameter::{Parameter, Seeds};
use std::sync::LazyLock;
use wgpu_pool::{DType, Fused, Pool, Tensor, TensorError, fuse};

/// The score of masked positions.
static HIDE_LATER: LazyLock<Fused<3>> =
    LazyLock::new(|| fuse(|[score, place, other]| other.gt(place).select(f32::NEG_INFINITY, score)));
/// The derivative of softmax: p · (g − Σ p · g).
static SOFTMAX_BACKWARD: LazyLock<Fused<3>> =
    LazyLock::new(|| fuse(|[share, gradient, along]| share * (gradient - along)));

/// softmax(q · kᵀ / √(head width)) · v, where each position attends to itself and earlier positions: (batch, length,
/// width) gives the same shape.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The projection from the width to queries, keys and values.
    into_three: Linear,
    out: Linear,
    heads: usize,
}

/// The values that `backward` needs from `forward`.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Queries, keys and values, each (batch, heads, length, head width).
    three: [Tensor; 3],
    /// (batch, heads, length, length).
    shares: Tensor,
    /// (batch, length, width), before the output projection.
    joined: Tensor,
}

/// The keys and values of all positions so far, (batch, heads, length, head width). Grows by one position at a time.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    both: Option<[Tensor; 2]>,
}

impl Cache {
    /// Appends keys and values of new positions, and returns all.
    fn grow(&mut self, new: [Tensor; 2]) -> Result<[Tensor; 2], TensorError> {
        let grown = match self.both.take() {
            None => new,
            Some([keys, values]) => [Tensor::cat(&[&keys, &new[0]], 2)?, Tensor::cat(&[&values, &new[1]], 2)?],
        };
        for tensor in &grown {
            tensor.set_label("key-value cache");
        }
        self.both = Some(grown.clone());
        Ok(grown)
    }
}

impl Attention {
    /// The standard deviation of the output projection is a parameter: it decreases with the number of residual layers.
    pub(crate) fn new(
        pool: &Pool,
        width: usize,
        heads: usize,
        deviations: [f32; 2],
        seeds: &mut Seeds,
    ) -> Result<Self, TensorError> {
        let into_three = Linear::new(pool, [width, 3 * width], deviations[0], seeds)?;
        Ok(Self { into_three, out: Linear::new(pool, [width; 2], deviations[1], seeds)?, heads })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<(Tensor, Kept), TensorError> {
        let three = self.split(&self.into_three.forward(x)?)?;
        let shares = self.shares(&three[0], &three[1])?;
        let joined = join(&shares.matmul(&three[2])?)?;
        Ok((self.out.forward(&joined)?, Kept { three, shares, joined }))
    }

    /// As `forward`, for positions that follow those of a cache, which is extended.
    pub(crate) fn forward_cached(&self, x: &Tensor, cache: &mut Cache) -> Result<Tensor, TensorError> {
        let [queries, keys, values] = self.split(&self.into_three.forward(x)?)?;
        let [keys, values] = cache.grow([keys, values])?;
        let joined = join(&self.shares(&queries, &keys)?.matmul(&values)?)?;
        self.out.forward(&joined)
    }

    pub(crate) fn backward(&mut self, x: &Tensor, kept: &Kept, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let Kept { three: [queries, keys, values], shares, joined } = kept;
        let by_joined = self.out.backward(joined, gradient)?;
        let by_mixed = self.heads_of(&by_joined)?;
        let by_values = shares.transpose(2, 3)?.matmul(&by_mixed)?;
        let by_shares = by_mixed.matmul(&values.transpose(2, 3)?)?;
        let along = shares.mul(&by_shares)?.sum_keepdim([3])?;
        let by_scores = SOFTMAX_BACKWARD.run([shares, &by_shares, &along])?;
        drop((by_shares, by_mixed));
        by_scores.mul_(self.scale(queries))?;
        let by_queries = by_scores.matmul(keys)?;
        let by_keys = by_scores.transpose(2, 3)?.matmul(queries)?;
        let &[batch, heads, length, head] = queries.shape() else { unreachable!("split gives four axes") };
        let by_three = Tensor::empty(&x.pool(), [batch, length, 3 * heads * head], DType::F32)?;
        for (place, part) in [by_queries, by_keys, by_values].iter().enumerate() {
            let its_place = by_three.reshape([batch, length, 3, heads, head])?.narrow(2, place, 1)?;
            its_place.copy_(&part.permute([0, 2, 1, 3])?.reshape([batch, length, 1, heads, head])?)?;
        }
        self.into_three.backward(x, &by_three)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        let Self { into_three, out, heads: _ } = self;
        into_three.parameters().into_iter().chain(out.parameters()).collect()
    }

    fn scale(&self, queries: &Tensor) -> f32 {
        1.0 / (queries.shape()[3] as f32).sqrt()
    }

    /// Splits (batch, length, 3 · width) into queries, keys and values by heads.
    fn split(&self, three: &Tensor) -> Result<[Tensor; 3], TensorError> {
        let width = three.shape()[2] / 3;
        let part = |place: usize| self.heads_of(&three.narrow(2, place * width, width)?);
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// Converts (batch, length, width) to (batch, heads, length, head width).
    fn heads_of(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let &[batch, length, width] = x.shape() else { unreachable!("activations have three axes") };
        x.contiguous()?.reshape([batch, length, self.heads, width / self.heads])?.permute([0, 2, 1, 3])?.contiguous()
    }

    /// The attention weights: (batch, heads, queries, keys). The queries are those of the last positions.
    fn shares(&self, queries: &Tensor, keys: &Tensor) -> Result<Tensor, TensorError> {
        let scores = queries.matmul(&keys.transpose(2, 3)?)?;
        scores.mul_(self.scale(queries))?;
        let [asking, all] = [2, 3].map(|axis| scores.shape()[axis]);
        if asking > 1 {
            let numbers = |count: usize, start: usize| {
                Tensor::arange(&scores.pool(), count, u32::try_from(start).unwrap_or(u32::MAX), 1)
            };
            let (place, other) = (numbers(asking, all - asking)?.reshape([asking, 1])?, numbers(all, 0)?);
            HIDE_LATER.run_into([&scores, &place, &other], &scores)?;
        }
        scores.softmax(3)
    }
}

/// Converts (batch, heads, length, head width) to (batch, length, width).
fn join(x: &Tensor) -> Result<Tensor, TensorError> {
    let &[batch, heads, length, head] = x.shape() else { unreachable!("heads have four axes") };
    x.permute([0, 2, 1, 3])?.contiguous()?.reshape([batch, length, heads * head])
}
