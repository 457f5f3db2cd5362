//! A process that repeats the same work must not grow: host memory, open files, wgpu objects, driver bytes.

use crate::budget::Budget;
use crate::common::Outcome;
use crate::program::{Extent, Step, Text, World, steps};
use crate::subjects::{Adapter, Subject, assert_consistent};
use crate::training::{decode, train};
use wgpu_pool::{DeviceResources, MemoryPressure, Pool};

/// The permitted growth of the resident memory in bytes: host allocators keep freed memory.
const RESIDENT_SLACK: u64 = 16 << 20;

/// The resources of the process at one time, by name.
type Figures = Vec<(&'static str, u64)>;

fn figures(instance: &wgpu::Instance, pool: &Pool) -> Figures {
    let mut figures = Vec::new();
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let kibibytes: Option<u64> = resident.and_then(|text| text.parse().ok());
        figures.extend(kibibytes.map(|kibibytes| ("resident bytes", kibibytes << 10)));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        figures.push(("open files", files.count() as u64));
    }
    if let Some(report) = instance.generate_report() {
        let hub = report.hub_report();
        let objects = [
            ("buffers", hub.buffers.num_allocated),
            ("textures", hub.textures.num_allocated),
            ("bind groups", hub.bind_groups.num_allocated),
            ("bind group layouts", hub.bind_group_layouts.num_allocated),
            ("pipeline layouts", hub.pipeline_layouts.num_allocated),
            ("shader modules", hub.shader_modules.num_allocated),
            ("compute pipelines", hub.compute_pipelines.num_allocated),
            ("command encoders", hub.command_encoders.num_allocated),
            ("command buffers", hub.command_buffers.num_allocated),
        ];
        figures.extend(objects.map(|(name, number)| (name, number as u64)));
    }
    figures.extend(pool.memory().driver_holdings().map(|held| held.reserved).map(|bytes| ("driver bytes", bytes)));
    figures
}

/// The instance and a device, opened as the crate opens it.
fn opened() -> Option<(wgpu::Instance, Pool)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all()),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let device = pollster::block_on(async {
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await.ok()?;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::Manual { suballocated_device_memory_block_size: 4 << 20..4 << 20 },
            ..wgpu::DeviceDescriptor::default()
        };
        adapter.request_device(&descriptor).await.ok()
    });
    // Other tests fail if an adapter is required.
    let (device, queue) = device?;
    let pool = Pool::from_device(device, queue, crate::common::options()).expect("the options suit every device");
    Some((instance, pool))
}

#[test]
fn repeating_the_same_work_does_not_increase_memory_use() -> Outcome {
    let budget = Budget::new("flat", 6);
    let Some((instance, pool)) = opened() else { return Ok(()) };
    let text = Text::new();
    let extent = Extent { steps: 150, largest: 1 << 20, most_live: 16 << 20, limits: false, faults: false };
    let mut rounds: Vec<Figures> = Vec::new();
    for round in budget.seeds() {
        // Two kinds of rounds, so that all kernels are compiled in the first two rounds.
        let seed = round % 2;
        let mut world = World::over(pool.clone(), extent, Adapter::abilities(), &text, |_, _| {}, assert_consistent);
        for step in steps(seed, extent).take(extent.steps).chain([Step::Synchronize]) {
            world.take(step).map_err(|error| format!("seed {seed}: {error}"))?;
        }
        world.end()?;
        drop(world);
        train(&pool, seed, 5)?;
        decode(&pool, seed, 20)?;
        pool.synchronize_blocking()?;
        pool.pressure(MemoryPressure::Critical)?;
        pool.synchronize_blocking()?;
        pool.trim();
        rounds.push(figures(&instance, &pool));
    }
    let half = rounds.len() / 2;
    let most = |rounds: &[Figures], index: usize| rounds.iter().map(|figures| figures[index].1).max().unwrap_or(0);
    for (index, &(name, _)) in rounds[0].iter().enumerate() {
        // The first round differs: it opens resources that stay open.
        let (before, after) = (most(&rounds[1..half], index), most(&rounds[half..], index));
        let slack = if name == "resident bytes" { RESIDENT_SLACK } else { 0 };
        assert!(after <= before + slack, "{name} grew from {before} to {after}: {rounds:#?}");
    }
    budget.report(&format!("{} rounds, at last {:?}", rounds.len(), rounds[rounds.len() - 1]));
    Ok(())
}
