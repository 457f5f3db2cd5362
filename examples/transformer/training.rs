//! The training steps.

use crate::model::{Sizes, Transformer};
use crate::nn::Trainer;
use crate::text::Text;
use crate::{Options, upload};
use fastrand::Rng;
use wgpu_pool::{AdamW, CrossEntropy, Pool, Tensor, TensorError};

/// A model, its optimizer, and the random choice of batches. The same options give the same steps.
#[derive(Debug)]
pub(crate) struct Training<'a> {
    pub(crate) model: Transformer,
    pool: Pool,
    text: &'a Text,
    trainer: Trainer,
    random: Rng,
    batch: usize,
}

impl<'a> Training<'a> {
    pub(crate) fn new(pool: &Pool, text: &'a Text, sizes: Sizes, options: &Options) -> Result<Self, TensorError> {
        Ok(Self {
            model: Transformer::new(pool, sizes, options.seed << 32)?,
            pool: pool.clone(),
            text,
            trainer: Trainer::new(AdamW { learning_rate: 2e-3, weight_decay: 0.05, ..AdamW::default() }),
            random: Rng::with_seed(options.seed),
            batch: options.batch,
        })
    }

    /// Trains on a batch of random length. Returns the length and the mean loss, a scalar.
    pub(crate) fn step(&mut self) -> Result<(usize, Tensor), TensorError> {
        let Self { model, pool, text, trainer, random, batch } = self;
        let context = model.sizes.context;
        let length = random.usize(context / 8..=context);
        let [numbers, next] = text.batch(*batch, length, random);
        let numbers = upload(pool, &numbers, *batch)?;
        let targets = Tensor::from_slice(pool, &next, [next.len()])?;
        let (scores, kept) = model.forward(&numbers)?;
        let loss = scores.cross_entropy(&targets, CrossEntropy::default())?;
        let gradient = scores.cross_entropy_backward(&targets, CrossEntropy::default())?;
        drop(scores);
        let gradient = gradient.reshape([*batch, length, text.characters()])?;
        model.backward(kept, &gradient)?;
        trainer.step(model.parameters())?;
        Ok((length, loss))
    }
}
