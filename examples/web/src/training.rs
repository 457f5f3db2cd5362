//! The training of `examples/unet`, a few steps at a time.

use crate::model::UNet;
use crate::nn::Trainer;
use crate::shapes::{CLASSES, Overlap, Picture};
use fastrand::Rng;
use wasm_bindgen::prelude::*;
use wgpu_pool::{AdamW, CrossEntropy, Pool, Result, Tensor, wgpu};

/// The side of an image.
const SIZE: usize = 48;
/// Images per step, and validation images.
const IMAGES: [usize; 2] = [8, 16];
/// The same for a renderer in software, which computes a few hundred times as slowly.
const IMAGES_IN_SOFTWARE: [usize; 2] = [1, 4];
/// The validation images that the page shows.
const SHOWN: usize = 4;
/// The standard deviation of the noise.
const NOISE: f32 = 0.1;

/// The model, the optimizer, and the validation images.
pub(crate) struct Training {
    model: UNet,
    trainer: Trainer,
    random: Rng,
    /// Images per step.
    batch: usize,
    unseen: Vec<Picture>,
    images: Tensor,
    step: u32,
}

/// The progress of the training.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub struct Progress {
    /// The number of steps so far.
    pub step: u32,
    /// The loss of the last step.
    pub loss: f32,
}

/// Images side by side: `count` squares of `size` pixels, row by row.
#[wasm_bindgen(getter_with_clone)]
pub struct Pictures {
    pub size: usize,
    pub count: usize,
    /// The number of classes; class 0 is the background.
    pub classes: usize,
    /// The brightness of each pixel, from 0 to 255.
    pub light: Vec<u8>,
    /// The true class of each pixel.
    pub truth: Vec<u8>,
    /// The class that the model finds.
    pub found: Vec<u8>,
}

impl Training {
    pub(crate) fn new(pool: &Pool, seed: u64) -> Result<Self> {
        let mut random = Rng::with_seed(seed);
        let is_software = pool.memory().adapter_info().device_type == wgpu::DeviceType::Cpu;
        let [batch, unseen] = if is_software { IMAGES_IN_SOFTWARE } else { IMAGES };
        let model = UNet::new(pool, seed << 32)?;
        let unseen = pictures(unseen, &mut random);
        let images = images(pool, &unseen, u64::MAX)?;
        images.set_label("validation images");
        let trainer = Trainer::new(AdamW { learning_rate: 3e-3, ..AdamW::default() });
        Ok(Self { model, trainer, random, batch, unseen, images, step: 0 })
    }

    /// Trains for a number of steps, and waits for the device after each.
    pub(crate) async fn advance(&mut self, pool: &Pool, steps: u32) -> Result<Progress> {
        let mut loss = None;
        for _ in 0..steps.max(1) {
            loss = Some(self.train(pool)?);
            // A page must not run far ahead of the device: nothing can wait there.
            pool.synchronize().await?;
        }
        let loss = match loss {
            Some(loss) => loss.item::<f32>().await?,
            None => f32::NAN,
        };
        Ok(Progress { step: self.step, loss })
    }

    /// Intersection over union on the validation images: the mean over the three shapes.
    pub(crate) async fn validate(&self) -> Result<f32> {
        let mut overlap = Overlap::default();
        overlap.count(&self.found(self.unseen.len()).await?, &classes(&self.unseen));
        Ok(overlap.of_shapes())
    }

    /// Trains for one step, and returns the loss, which the device may not have computed yet.
    fn train(&mut self, pool: &Pool) -> Result<Tensor> {
        let _scope = pool.scope("training step");
        let pictures = pictures(self.batch, &mut self.random);
        let images = images(pool, &pictures, self.step.into())?;
        let classes = Tensor::from_slice(pool, &classes(&pictures), [self.batch, SIZE, SIZE])?;
        let (scores, kept) = self.model.forward(&images)?;
        let loss = scores.cross_entropy(&classes, CrossEntropy::default())?;
        let gradient = scores.cross_entropy_backward(&classes, CrossEntropy::default())?;
        drop(scores);
        self.model.backward(kept, &gradient)?;
        self.trainer.step(self.model.parameters())?;
        self.step += 1;
        Ok(loss)
    }

    /// The classes that the model finds in the first validation images.
    async fn found(&self, count: usize) -> Result<Vec<u32>> {
        let found = self.model.infer(&self.images.narrow(0, 0, count)?)?.argmax(1)?;
        Ok(found.read::<u32>().await?)
    }

    pub(crate) async fn pictures(&self) -> Result<Pictures> {
        let light = self.images.narrow(0, 0, SHOWN)?.read::<f32>().await?;
        let found = self.found(SHOWN).await?;
        Ok(Pictures {
            size: SIZE,
            count: SHOWN,
            classes: CLASSES,
            light: light.into_iter().map(|light| (light.clamp(0.0, 1.0) * 255.0) as u8).collect(),
            truth: classes(&self.unseen[..SHOWN]).into_iter().map(|class| class as u8).collect(),
            found: found.into_iter().map(|class| class as u8).collect(),
        })
    }
}

fn pictures(count: usize, random: &mut Rng) -> Vec<Picture> {
    (0..count).map(|_| Picture::random(SIZE, random)).collect()
}

fn classes(pictures: &[Picture]) -> Vec<u32> {
    pictures.iter().flat_map(|picture| &picture.classes).copied().collect()
}

/// Copies images to the device, with noise: (count, 1, size, size).
fn images(pool: &Pool, pictures: &[Picture], seed: u64) -> Result<Tensor> {
    let light: Vec<f32> = pictures.iter().flat_map(|picture| &picture.light).copied().collect();
    let images = Tensor::from_slice(pool, &light, [pictures.len(), 1, SIZE, SIZE])?;
    images.add_scaled_(&Tensor::randn(pool, images.shape(), seed)?, NOISE)?;
    Ok(images)
}
