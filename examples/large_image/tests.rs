//! PNG files, and an image in one piece on a pool that holds a small part of it.

use crate::model::UNet;
use crate::nn::Failure;
use crate::picture::Gray;
use crate::{generated, tiles};
use wgpu_pool::{Pool, PoolOptions, Tensor};

#[test]
fn a_png_file_is_read_as_it_was_written() -> Result<(), Failure> {
    let image = Gray { width: 7, height: 5, light: (0..35).map(|light| light as f32 / 255.0).collect() };
    let path = std::env::temp_dir().join(format!("wgpu-pool-large-image-{}.png", std::process::id()));
    image.write(&path)?;
    let found = Gray::read(&path);
    std::fs::remove_file(&path)?;
    assert_eq!(found?, image);
    let cut = image.cut(4)?;
    assert_eq!(
        (cut.width, cut.height, &cut.light[4..8]),
        (4, 4, &[7.0, 8.0, 9.0, 10.0].map(|light| light / 255.0)[..])
    );
    assert!(Gray::read(&path).is_err() && cut.clone().cut(8).is_err());
    Ok(())
}

#[test]
fn an_image_in_one_piece_with_blocks_in_host_memory_gives_what_tiles_give() -> Result<(), Failure> {
    // A layer of the image has 2 MiB, a plane 256 KiB, and the pool 2 MiB.
    let options = PoolOptions {
        limit: Some(2 << 20),
        largest_block: Some(128 << 10),
        spill: Some(64 << 20),
        ..PoolOptions::default()
    };
    let Ok(pool) = Pool::request_blocking(options).inspect_err(|error| eprintln!("skipped: {error}")) else {
        return Ok(());
    };
    let model = UNet::new(&pool, 3)?;
    let (image, _) = generated(256, 4);
    let x = Tensor::from_slice(&pool, &image.light, [1, 1, 256, 256])?;
    let whole = model.infer_with(x, || ())?.argmax(1)?.read_blocking::<u32>()?;
    assert!(pool.spill_stats().moved_out > 0, "blocks were in host memory");
    let tiled = tiles::classes_exactly(&model, &pool, &image.light, [256; 2], 64, || ())?;
    assert_eq!(whole, tiled);
    let gaps = |one: &[u32]| tiles::gaps(&model, &pool, &image.light, [256; 2], 64, [one, &tiled]);
    assert!(gaps(&whole)?.is_empty());
    // The other class of two pixels, in the first and the last tile.
    let mut wrong = whole;
    for pixel in [3, 256 * 256 - 5] {
        wrong[pixel] = (wrong[pixel] + 1) % 2;
    }
    let gaps = gaps(&wrong)?;
    assert!(gaps.len() == 2 && gaps.iter().all(|gap| *gap > crate::TIE), "{gaps:?}");
    Ok(())
}
