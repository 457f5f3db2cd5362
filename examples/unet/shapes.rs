//! Images of circles, boxes and lines, with the class of each pixel.

use fastrand::Rng;

/// The classes of a pixel: background, circle, box or line.
pub(crate) const CLASSES: usize = 4;
pub(crate) const NAMES: [&str; CLASSES] = ["background", "circle", "box", "line"];

/// A square image of one channel, without noise, and the class of each pixel; row by row.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) size: usize,
    pub(crate) light: Vec<f32>,
    pub(crate) classes: Vec<u32>,
}

/// A shape around a center, in pixels.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Circle { radius: f32 },
    Box { half: [f32; 2] },
    Line { half: f32, thickness: f32, turn: f32 },
}

impl Shape {
    fn random(random: &mut Rng) -> Self {
        let mut between = |least: f32, most: f32| least + random.f32() * (most - least);
        let drawn = between(0.0, 3.0);
        if drawn < 1.0 {
            Self::Circle { radius: between(5.0, 11.0) }
        } else if drawn < 2.0 {
            Self::Box { half: [between(4.0, 10.0), between(4.0, 10.0)] }
        } else {
            Self::Line {
                half: between(9.0, 16.0),
                thickness: between(3.0, 5.0),
                turn: between(0.0, std::f32::consts::PI),
            }
        }
    }

    fn class(self) -> u32 {
        match self {
            Self::Circle { .. } => 1,
            Self::Box { .. } => 2,
            Self::Line { .. } => 3,
        }
    }

    /// The largest distance of the shape from its center.
    fn reach(self) -> f32 {
        match self {
            Self::Circle { radius } => radius,
            Self::Box { half: [x, y] } => x.hypot(y),
            Self::Line { half, thickness, .. } => half + thickness,
        }
    }

    fn contains(self, x: f32, y: f32) -> bool {
        match self {
            Self::Circle { radius } => x.hypot(y) <= radius,
            Self::Box { half } => x.abs() <= half[0] && y.abs() <= half[1],
            Self::Line { half, thickness, turn } => {
                let (sin, cos) = turn.sin_cos();
                (x * cos + y * sin).abs() <= half && (y * cos - x * sin).abs() <= thickness / 2.0
            }
        }
    }
}

impl Picture {
    /// Creates an image with shapes that do not overlap, about one per 1,000 pixels, some clipped at the border.
    pub(crate) fn random(size: usize, random: &mut Rng) -> Self {
        let mut picture = Self { size, light: vec![0.0; size * size], classes: vec![0; size * size] };
        let background = random.f32() * 0.3;
        picture.light.fill(background);
        for _ in 0..(size * size).div_ceil(1000) {
            // An occupied position is skipped after a few attempts.
            for _ in 0..4 {
                let shape = Shape::random(random);
                let middle = [random.f32() * size as f32, random.f32() * size as f32];
                let light = background + 0.4 + random.f32() * 0.3;
                if picture.draw(shape, middle, light) {
                    break;
                }
            }
        }
        picture
    }

    /// Draws a shape, unless another shape is too close.
    fn draw(&mut self, shape: Shape, middle: [f32; 2], light: f32) -> bool {
        let size = self.size;
        let reach = shape.reach() + 2.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the picture")]
        let bound = |value: f32| value.clamp(0.0, size as f32) as usize;
        let rows = bound(middle[1] - reach)..bound(middle[1] + reach + 1.0);
        let columns = bound(middle[0] - reach)..bound(middle[0] + reach + 1.0);
        if rows.clone().any(|row| self.classes[row * size..][columns.clone()].iter().any(|&class| class != 0)) {
            return false;
        }
        for row in rows {
            for column in columns.clone() {
                if shape.contains(column as f32 + 0.5 - middle[0], row as f32 + 0.5 - middle[1]) {
                    self.light[row * size + column] = light;
                    self.classes[row * size + column] = shape.class();
                }
            }
        }
        true
    }
}

/// The accuracy of predicted classes over all pixels counted so far: the intersection and the union of each class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overlap {
    both: [u64; CLASSES],
    either: [u64; CLASSES],
}

impl Overlap {
    pub(crate) fn count(&mut self, found: &[u32], true_ones: &[u32]) {
        for (&found, &class) in found.iter().zip(true_ones) {
            self.either[class as usize] += 1;
            if found == class {
                self.both[class as usize] += 1;
            } else if let Some(either) = self.either.get_mut(found as usize) {
                *either += 1;
            }
        }
    }

    /// Intersection over union of a class.
    pub(crate) fn of_class(&self, class: usize) -> f32 {
        if self.either[class] == 0 { 1.0 } else { self.both[class] as f32 / self.either[class] as f32 }
    }

    /// The mean over the three shapes; the background would increase it.
    pub(crate) fn of_shapes(&self) -> f32 {
        (1..CLASSES).map(|class| self.of_class(class)).sum::<f32>() / (CLASSES - 1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_contain_every_class_and_shapes_differ_from_the_background() {
        let picture = Picture::random(256, &mut Rng::with_seed(3));
        let background = picture.light[picture.classes.iter().position(|&class| class == 0).expect("some is bare")];
        for class in 0..CLASSES {
            let class = u32::try_from(class).expect("few");
            assert!(picture.classes.contains(&class), "{class}");
        }
        for (&light, &class) in picture.light.iter().zip(&picture.classes) {
            assert_eq!(class != 0, light >= background + 0.4);
        }
    }

    #[test]
    fn intersection_over_union_is_computed_per_class() {
        let mut overlap = Overlap::default();
        overlap.count(&[1, 1, 2, 3, 0], &[1, 2, 2, 3, 0]);
        assert_eq!([1, 2, 3, 0].map(|class| overlap.of_class(class)), [0.5, 0.5, 1.0, 1.0]);
        assert!((overlap.of_shapes() - 2.0 / 3.0).abs() < 1e-6);
    }
}
