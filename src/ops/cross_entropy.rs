//! Cross entropy, and its gradient.

use super::fuse::fuse;
use super::launch::{check_floating_point, check_pools};
use super::loss::Reduction;
use crate::error::{Number, ShapeRequirement, TensorError};
use crate::tensor::{DType, Tensor};

/// The options of [`Tensor::cross_entropy`], with PyTorch's defaults.
///
/// ```
/// use wgpu_pool::{CrossEntropy, Reduction};
///
/// let options = CrossEntropy { ignore_index: 255, ..CrossEntropy::default() };
/// assert_eq!((options.reduction, options.label_smoothing), (Reduction::Mean, 0.0));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// The weight of each class: one dimension, f32 or f16, an element for each class. `None` gives every class weight 1.
    pub weight: Option<&'a Tensor>,
    /// Targets of this class have loss 0 and do not count in the mean. −100 by default, which is 4294967196 in u32 targets.
    pub ignore_index: i32,
    /// The reduction of the losses of all targets.
    pub reduction: Reduction,
    /// The part of each target, from 0 to 1, that is spread over all classes evenly.
    pub label_smoothing: f32,
}

impl Default for CrossEntropy<'_> {
    fn default() -> Self {
        Self { weight: None, ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

impl Tensor {
    /// Returns the negative log-likelihood of classes: for logits of shape (n, classes, …), dtype f32 or f16, and
    /// a target of shape (n, …), dtype u32 or i32, the loss of element i of the target is −w\[t\] · log softmax(logits)\[i, t\] for its
    /// class t, with the softmax along axis 1 and the weights w of the options. Logits of shape (classes,) take a
    /// scalar target.
    ///
    /// With label smoothing ε, the loss is (1 − ε) times that, plus ε / classes times the sum over all classes c of
    /// −w\[c\] · log softmax(logits)\[i, c\]. The mean divides the sum of the losses by the sum of w\[t\] over the
    /// targets that are not ignored; it is NaN if all are ignored. Equals `torch.nn.functional.cross_entropy` of class
    /// indices.
    ///
    /// A target beyond the classes has the likelihood 1 and, with weights, the weight 0; PyTorch returns an error,
    /// after waiting for the device. f16 is computed in f32, in a copy of the logits, and rounded once.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::IndexDType`] unless the target is u32 or i32, [`TensorError::NotDefined`] of integers for
    /// logits or weights, [`TensorError::Argument`] unless the label smoothing is from 0 to 1, [`TensorError::Pools`]; as
    /// [`Tensor::empty`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{CrossEntropy, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let logits = Tensor::from_slice(&pool, &[0.0_f32, 0.0, 9.0, 1.0], [2, 2])?;
    /// let targets = Tensor::from_slice(&pool, &[1_i32, -100], [2])?;
    /// // The second target is ignored.
    /// let loss = logits.cross_entropy(&targets, CrossEntropy::default())?;
    /// assert!((loss.item_blocking::<f32>()? - 2.0_f32.ln()).abs() < 1e-6);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, target: &Self, options: CrossEntropy<'_>) -> Result<Self, TensorError> {
        let classification = Classification::new("cross_entropy", self, target, options)?;
        let losses = classification.losses()?;
        let result = match options.reduction {
            Reduction::None => losses.reshape(target.shape())?,
            Reduction::Sum => losses.sum(..)?,
            Reduction::Mean => losses.sum(..)?.div(&classification.count()?)?,
        };
        result.to(self.dtype())
    }

    /// Returns the gradient of [`Tensor::cross_entropy`] with respect to its logits, of their shape and dtype: without
    /// options, (softmax(logits) − one-hot(targets)) / n. Equals `logits.grad` after
    /// `torch.nn.functional.cross_entropy(logits, targets, …).backward()`; for [`Reduction::None`] it is the gradient
    /// of the sum, which the caller multiplies by the gradient of each loss.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy`].
    #[track_caller]
    pub fn cross_entropy_backward(&self, target: &Self, options: CrossEntropy<'_>) -> Result<Self, TensorError> {
        let classification = Classification::new("cross_entropy_backward", self, target, options)?;
        classification.gradient(options.reduction)?.reshape(self.shape())?.to(self.dtype())
    }
}

/// The checked operands of the loss, in f32.
struct Classification {
    name: &'static str,
    /// (n, classes, …).
    logits: Tensor,
    /// (n, 1, …), of dtype u32.
    targets: Tensor,
    /// (1, classes, 1, …).
    weights: Option<Tensor>,
    ignored: u32,
    smoothing: f32,
}

impl Classification {
    #[track_caller]
    fn new(
        name: &'static str,
        logits: &Tensor,
        targets: &Tensor,
        options: CrossEntropy<'_>,
    ) -> Result<Self, TensorError> {
        let CrossEntropy { weight: weights, ignore_index, reduction: _, label_smoothing: smoothing } = options;
        check_pools(name, ("input", logits), ("target", targets))?;
        for (argument, tensor) in [("input", Some(logits)), ("weight", weights)] {
            let Some(tensor) = tensor else { continue };
            check_pools(name, ("input", logits), (argument, tensor))?;
            check_floating_point(name, (argument, tensor))?;
        }
        if targets.dtype().is_floating_point() {
            let dtype = targets.dtype().name();
            return Err(TensorError::IndexDType {
                operation: name,
                argument: "target".into(),
                dtype,
                wanted: "u32 or i32",
            });
        }
        if !(0.0..=1.0).contains(&smoothing) {
            let (argument, value) = ("label_smoothing", Number(smoothing.into()));
            return Err(TensorError::Argument { operation: name, argument, value, range: "from 0 to 1" });
        }
        let mismatch = |argument: &'static str, given: &Tensor, shape: Vec<usize>| {
            let required = ShapeRequirement::Exactly { shape, by: "logits".into(), of: logits.shape().to_vec() };
            Err(TensorError::shape(name, argument, given.shape(), required))
        };
        let rows = if logits.rank() == 1 { logits.unsqueeze(0)? } else { logits.clone() };
        let one_each = match (logits.shape(), targets.shape()) {
            ([_], []) => vec![1, 1],
            ([n, _, inner @ ..], [of, of_inner @ ..]) if n == of && inner == of_inner => [&[*n, 1], inner].concat(),
            ([], _) => return Err(TensorError::dimensions(name, "logits", &[], "1 or more")),
            ([_], _) => return mismatch("target", targets, Vec::new()),
            ([n, _, inner @ ..], _) => return mismatch("target", targets, [&[*n], inner].concat()),
        };
        let classes = rows.shape()[1];
        let along_classes = along_classes(&rows);
        let weights = match weights {
            Some(weights) if weights.shape() == [classes] => {
                Some(weights.contiguous()?.reshape(along_classes)?.to(DType::F32)?)
            }
            Some(weights) => return mismatch("weight", weights, vec![classes]),
            None => None,
        };
        let targets = targets.contiguous()?.reshape(one_each)?.to(DType::U32)?;
        let logits = rows.to(DType::F32)?;
        Ok(Self { name, logits, targets, weights, ignored: ignore_index.cast_unsigned(), smoothing })
    }

    fn classes(&self) -> usize {
        self.logits.shape()[1]
    }

    /// The part of a target that each class has by the smoothing.
    fn smoothing_of_class(&self) -> f32 {
        self.smoothing / self.classes() as f32
    }

    /// The weight of each target's class, if there are weights.
    #[track_caller]
    fn weights_of_targets(&self) -> Result<Option<Tensor>, TensorError> {
        let Some(weights) = &self.weights else { return Ok(None) };
        weights.expand(self.logits.shape())?.gather(1, &self.targets).map(Some)
    }

    /// The loss of each target, 0 of those that are ignored: (n, 1, …).
    #[track_caller]
    fn losses(&self) -> Result<Tensor, TensorError> {
        let logarithms = self.logits.log_softmax(1)?;
        let mut likelihood = logarithms.gather(1, &self.targets)?;
        if let Some(weights) = self.weights_of_targets()? {
            likelihood = likelihood.mul(&weights)?;
        }
        if self.smoothing != 0.0 {
            let all = match &self.weights {
                Some(weights) => logarithms.mul(weights)?.sum_keepdim(1)?,
                None => logarithms.sum_keepdim(1)?,
            };
            let (own, other) = (1.0 - self.smoothing, self.smoothing_of_class());
            likelihood = fuse(|[target, all]| target * own + all * other).run_as(self.name, [&likelihood, &all])?;
        }
        let losses = fuse(|[likelihood, target]| target.eq(self.ignored).select(0.0_f32, -likelihood));
        losses.run_as(self.name, [&likelihood, &self.targets])
    }

    /// Returns the divisor of a mean, a scalar: the sum of the weights of the targets that are not ignored.
    #[track_caller]
    fn count(&self) -> Result<Tensor, TensorError> {
        let counted = match self.weights_of_targets()? {
            Some(weights) => {
                let counted = fuse(|[target, weight]| target.eq(self.ignored).select(0.0_f32, weight));
                counted.run_as(self.name, [&self.targets, &weights])?
            }
            None => {
                fuse(|[target]| target.eq(self.ignored).select(0.0_f32, 1.0_f32)).run_as(self.name, [&self.targets])?
            }
        };
        counted.sum(..)
    }

    /// The gradient by the logits: (n, classes, …). For a target t of weight w, the derivative by class c is
    /// p\[c\] · ((1 − ε) w\[t\] + ε / classes · Σw) − w\[c\] · ((1 − ε) · (c = t) + ε / classes), over the count of a mean.
    #[track_caller]
    fn gradient(&self, reduction: Reduction) -> Result<Tensor, TensorError> {
        let pool = self.logits.pool();
        let likely = self.logits.softmax(1)?;
        let classes = Tensor::arange(&pool, self.classes(), 0_u32, 1_u32)?.reshape(along_classes(&self.logits))?;
        let count = match reduction {
            Reduction::None | Reduction::Sum => Tensor::ones(&pool, [], DType::F32)?,
            Reduction::Mean => self.count()?,
        };
        let (own, other, ignored) = (1.0 - self.smoothing, self.smoothing_of_class(), self.ignored);
        let Some((weights, of_targets)) = self.weights.as_ref().zip(self.weights_of_targets()?) else {
            let gradient = fuse(|[likely, target, class, count]| {
                let wanted = target.eq(class).select(own, 0.0_f32) + other;
                target.eq(ignored).select(0.0_f32, (likely - wanted) / count)
            });
            return gradient.run_as(self.name, [&likely, &self.targets, &classes, &count]);
        };
        if self.smoothing == 0.0 {
            // Weights of other classes than the target's have no part, not even times 0.
            let gradient = fuse(|[likely, of_target, target, class, count]| {
                let wanted = target.eq(class).select(of_target, 0.0_f32);
                target.eq(ignored).select(0.0_f32, (likely * of_target - wanted) / count)
            });
            return gradient.run_as(self.name, [&likely, &of_targets, &self.targets, &classes, &count]);
        }
        let scale = fuse(|[of_target, sum]| of_target * own + sum * other);
        let scale = scale.run_as(self.name, [&of_targets, &weights.sum(..)?])?;
        let gradient = fuse(|[likely, scale, weight, target, class, count]| {
            let wanted = target.eq(class).select(own, 0.0_f32) + other;
            target.eq(ignored).select(0.0_f32, (likely * scale - weight * wanted) / count)
        });
        gradient.run_as(self.name, [&likely, &scale, weights, &self.targets, &classes, &count])
    }
}

/// A shape with the classes of logits along axis 1 and 1 along the others.
fn along_classes(logits: &Tensor) -> Vec<usize> {
    let mut shape = vec![1; logits.rank()];
    shape[1] = logits.shape()[1];
    shape
}
