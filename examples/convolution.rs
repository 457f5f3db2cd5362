//! Convolutions: the edges of a picture by Sobel's filters, and a blurred copy at half the size.
//!
//! Run with `cargo run --example convolution`.

use wgpu_pool::{AvgPool2d, Conv2d, Padding, Pool, PoolOptions, Tensor};

const SIZE: usize = 16;

fn print(title: &str, image: &[f32], width: usize) {
    println!("{title}");
    for row in image.chunks(width) {
        let shade = |&value: &f32| {
            if value > 2.0 {
                "##"
            } else if value > 0.5 {
                "++"
            } else {
                ". "
            }
        };
        println!("  {}", row.iter().map(shade).collect::<String>());
    }
}

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::request_blocking(PoolOptions::default())?;

    // A square of 8 by 8 pixels. Images have the shape (images, channels, height, width).
    let inside = 4..12;
    let square = |index: usize| inside.contains(&(index / SIZE)) && inside.contains(&(index % SIZE));
    let pixels: Vec<f32> = (0..SIZE * SIZE).map(|index| if square(index) { 1.0 } else { 0.0 }).collect();
    print("picture", &pixels, SIZE);
    let picture = Tensor::from_vec(&pool, pixels, [1, 1, SIZE, SIZE])?;

    // Two filters of 3 by 3: (outputs, inputs, height, width). The padding keeps the size.
    let sobel = [-1.0_f32, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0, -1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0];
    let filters = Tensor::from_slice(&pool, &sobel, [2, 1, 3, 3])?;
    let options = Conv2d { padding: Padding::same([3, 3], [1, 1]), ..Conv2d::default() };
    let gradients = picture.conv2d(&filters, None, options)?;
    assert_eq!(gradients.shape(), [1, 2, SIZE, SIZE]);

    let edges = gradients.square()?.sum(1)?.sqrt()?; // the length of the gradient
    let values = edges.read_blocking::<f32>()?;
    print("edges", &values, SIZE);
    assert_eq!(values[8 * SIZE + 8], 0.0, "the inside is even");
    assert!((values[8 * SIZE + 4] - 4.0).abs() < 1e-5, "the left edge has Sobel's weights 1 + 2 + 1");

    let half = picture.avg_pool2d(AvgPool2d::new(2))?;
    print("half the size", &half.read_blocking::<f32>()?, SIZE / 2);
    assert_eq!(half.sum(..)?.item_blocking::<f32>()?, 16.0);
    Ok(())
}
