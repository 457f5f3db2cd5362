//! Pools on devices without a driver.

use wgpu_pool::{Pool, PoolOptions};

/// A small pool on a device with these features.
pub(crate) fn pool(required_features: wgpu::Features) -> Pool {
    let descriptor = wgpu::DeviceDescriptor { required_features, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = wgpu::Device::noop(&descriptor);
    let options = PoolOptions {
        limit: Some(4 << 20),
        smallest_segment: Some(65536),
        small_limit: 4096,
        ..PoolOptions::default()
    };
    Pool::from_device(device, queue, options).expect("valid options")
}
