//! The pool on a device that the application created, with commands of both in one queue.
//!
//! Run with `cargo run --example existing_device`.

use wgpu_pool::{Pool, PoolOptions, Tensor, wgpu};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The application's device. Small driver blocks let trimmed memory return to the system.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::Manual { suballocated_device_memory_block_size: 4 << 20..4 << 20 },
        ..Default::default()
    }))?;
    let pool = Pool::from_device(device.clone(), queue.clone(), PoolOptions::default())?;
    println!("device: {}", adapter.get_info().name);

    // Recorded by the pool.
    let numbers = Tensor::arange(&pool, 8, 0_u32, 1)?;
    numbers.mul_(10_u32)?;

    // The application's own command: copies the tensor. Asking for the binding submits what the pool has recorded, and
    // pins the memory until the guard is dropped.
    let copy = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("copy"),
        size: 32,
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let pinned = numbers.binding()?;
    let range = pinned.binding();
    println!("the tensor is at byte {} of a buffer of {} bytes", range.offset, range.buffer.size());
    encoder.copy_buffer_to_buffer(range.buffer, range.offset, &copy, 0, 32);
    queue.submit([encoder.finish()]);
    drop(pinned);

    // Recorded by the pool after the copy, and executed after it.
    numbers.add_(1_u32)?;

    copy.map_async(wgpu::MapMode::Read, .., |result| result.expect("the copy can be mapped"));
    pool.synchronize_blocking()?; // runs the application's callbacks, too
    let bytes = copy.get_mapped_range(..)?;
    let copied: Vec<u32> =
        bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
    println!("copied before the addition: {copied:?}");
    println!("the tensor after it:        {:?}", numbers.read_blocking::<u32>()?);
    assert_eq!(copied, [0, 10, 20, 30, 40, 50, 60, 70]);
    assert_eq!(numbers.read_blocking::<u32>()?, [1, 11, 21, 31, 41, 51, 61, 71]);
    Ok(())
}
