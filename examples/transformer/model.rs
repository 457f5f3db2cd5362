//! A character-level transformer (Vaswani et al. 2017, with layer norms before each part as in GPT-2).

use crate::nn::attention::{self, Attention, Cache};
use crate::nn::embedding::Embedding;
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::Linear;
use crate::nn::{Activation, Parameter, Seeds};
use wgpu_pool::{Pool, Tensor, TensorError};

/// GPT-2's standard deviation of weights; the weights before residual additions are divided by √(2 · layers).
const DEVIATION: f32 = 0.02;
const GELU: Activation = Activation::Gelu;

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) characters: usize,
    /// The longest sequence.
    pub(crate) context: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
}

/// Attention, then two linear layers, each with a residual connection.
#[derive(Debug)]
struct Layer {
    norms: [LayerNorm; 2],
    attention: Attention,
    wide: Linear,
    narrow: Linear,
}

/// The values that `backward` needs from a layer.
#[derive(Debug)]
struct Kept {
    x: Tensor,
    normed: Tensor,
    attention: attention::Kept,
    between: Tensor,
    normed_between: Tensor,
    wide: Tensor,
    bent: Tensor,
}

impl Layer {
    fn new(pool: &Pool, sizes: Sizes, seeds: &mut Seeds) -> Result<Self, TensorError> {
        let Sizes { width, heads, layers, .. } = sizes;
        let added = DEVIATION / ((2 * layers) as f32).sqrt();
        Ok(Self {
            norms: [LayerNorm::new(pool, width)?, LayerNorm::new(pool, width)?],
            attention: Attention::new(pool, width, heads, [DEVIATION, added], seeds)?,
            wide: Linear::new(pool, [width, 4 * width], DEVIATION, seeds)?,
            narrow: Linear::new(pool, [4 * width, width], added, seeds)?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<(Tensor, Kept), TensorError> {
        let normed = self.norms[0].forward(&x)?;
        let (between, attention) = self.attention.forward(&normed)?;
        between.add_(&x)?;
        let normed_between = self.norms[1].forward(&between)?;
        let wide = self.wide.forward(&normed_between)?;
        let bent = GELU.forward(&wide)?;
        let y = self.narrow.forward(&bent)?;
        y.add_(&between)?;
        Ok((y, Kept { x, normed, attention, between, normed_between, wide, bent }))
    }

    fn forward_cached(&self, x: &Tensor, cache: &mut Cache) -> Result<Tensor, TensorError> {
        let between = self.attention.forward_cached(&self.norms[0].forward(x)?, cache)?;
        between.add_(x)?;
        let y = self.narrow.forward(&GELU.forward(&self.wide.forward(&self.norms[1].forward(&between)?)?)?)?;
        y.add_(&between)?;
        Ok(y)
    }

    fn backward(&mut self, kept: &Kept, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let by_bent = self.narrow.backward(&kept.bent, gradient)?;
        let by_wide = GELU.backward(&kept.wide, &by_bent)?;
        let by_normed = self.wide.backward(&kept.normed_between, &by_wide)?;
        let by_between = self.norms[1].backward(&kept.between, &by_normed)?;
        by_between.add_(gradient)?;
        let by_normed = self.attention.backward(&kept.normed, &kept.attention, &by_between)?;
        let by_x = self.norms[0].backward(&kept.x, &by_normed)?;
        by_x.add_(&by_between)?;
        Ok(by_x)
    }

    fn parameters(&mut self) -> Vec<&mut Parameter> {
        let Self { norms, attention, wide, narrow } = self;
        let norms = norms.iter_mut().flat_map(LayerNorm::parameters);
        norms.chain(attention.parameters()).chain(wide.parameters()).chain(narrow.parameters()).collect()
    }
}

/// Tokens, (batch, length), give scores of the next character, (batch · length, characters).
#[derive(Debug)]
pub(crate) struct Transformer {
    pub(crate) sizes: Sizes,
    characters: Embedding,
    places: Embedding,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

/// The values that `backward` needs from `forward`.
#[derive(Debug)]
pub(crate) struct Course {
    numbers: Tensor,
    places: Tensor,
    layers: Vec<Kept>,
    last: Tensor,
    normed: Tensor,
}

impl Transformer {
    pub(crate) fn new(pool: &Pool, sizes: Sizes, seed: u64) -> Result<Self, TensorError> {
        let seeds = &mut Seeds(seed);
        let Sizes { characters, context, width, layers, .. } = sizes;
        Ok(Self {
            sizes,
            characters: Embedding::new(pool, [characters, width], DEVIATION, seeds)?,
            places: Embedding::new(pool, [context, width], DEVIATION, seeds)?,
            layers: (0..layers).map(|_| Layer::new(pool, sizes, seeds)).collect::<Result<_, _>>()?,
            norm: LayerNorm::new(pool, width)?,
            head: Linear::new(pool, [width, characters], DEVIATION, seeds)?,
        })
    }

    /// The input of the first layer, and the position numbers of the tokens.
    fn embed(&self, numbers: &Tensor, first: usize) -> Result<[Tensor; 2], TensorError> {
        let &[batch, length] = numbers.shape() else { unreachable!("a batch of texts has two axes") };
        let width = self.sizes.width;
        let x = self.characters.forward(&numbers.reshape([batch * length])?)?.reshape([batch, length, width])?;
        let places = Tensor::arange(&numbers.pool(), length, u32::try_from(first).unwrap_or(u32::MAX), 1)?;
        x.add_(&self.places.forward(&places)?)?;
        Ok([x, places])
    }

    fn scores(&self, normed: &Tensor) -> Result<Tensor, TensorError> {
        self.head.forward(normed)?.reshape([normed.elements() / self.sizes.width, self.sizes.characters])
    }

    /// Returns the scores, with all values that the gradients need.
    pub(crate) fn forward(&self, numbers: &Tensor) -> Result<(Tensor, Course), TensorError> {
        let [mut x, places] = self.embed(numbers, 0)?;
        let mut layers = Vec::new();
        for layer in &self.layers {
            let (y, kept) = layer.forward(x)?;
            x = y;
            layers.push(kept);
        }
        let normed = self.norm.forward(&x)?;
        let scores = self.scores(&normed)?;
        Ok((scores, Course { numbers: numbers.clone(), places, layers, last: x, normed }))
    }

    /// Returns the scores of tokens that follow those of a cache (one for each layer), which is extended.
    pub(crate) fn forward_cached(
        &self,
        numbers: &Tensor,
        first: usize,
        caches: &mut [Cache],
    ) -> Result<Tensor, TensorError> {
        let [mut x, _] = self.embed(numbers, first)?;
        for (layer, cache) in self.layers.iter().zip(caches) {
            x = layer.forward_cached(&x, cache)?;
        }
        self.scores(&self.norm.forward(&x)?)
    }

    /// Adds to every parameter's gradient.
    pub(crate) fn backward(&mut self, course: Course, gradient: &Tensor) -> Result<(), TensorError> {
        let Course { numbers, places, mut layers, last, normed } = course;
        let by_normed = self.head.backward(&normed, gradient)?;
        let mut gradient = self.norm.backward(&last, &by_normed)?;
        drop((normed, last));
        for layer in self.layers.iter_mut().rev() {
            let Some(kept) = layers.pop() else { break };
            gradient = layer.backward(&kept, &gradient)?;
        }
        let rows = numbers.elements();
        self.places.backward(&places, &gradient.sum([0])?)?;
        let numbers = numbers.reshape([rows])?;
        self.characters.backward(&numbers, &gradient.reshape([rows, self.sizes.width])?)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        let Self { sizes: _, characters, places, layers, norm, head } = self;
        let ends = norm.parameters().into_iter().chain(head.parameters());
        let layers = layers.iter_mut().flat_map(Layer::parameters);
        characters.parameters().into_iter().chain(places.parameters()).chain(layers).chain(ends).collect()
    }
}
