//! The pages of the errors of devices, options, allocations, loops and dry runs.

use super::{assert_printed, messages};
#[cfg(feature = "serde")]
use crate::error::SnapshotFileError;
use crate::error::{
    Advice, AllocateError, BudgetError, BufferFault, DeviceError, DryRunError, EventFault, Gains, GrowthError, Holder,
    HolderGrowth, LineFault, MaxBatchError, Number, OpenError, OptionsError, OutOfMemory, PlanError, RepeatError, Site,
    WorkingSet,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn site(line: u32, column: u32) -> Site {
    Site { file: "src/main.rs".into(), line, column }
}

/// A request of 8 MiB in a pool with a limit of 16 MiB, of which 12 MiB are allocated.
fn out_of_memory() -> OutOfMemory {
    OutOfMemory {
        requested: 8 * MIB,
        rounded: 8 * MIB,
        limit: Some(16 * MIB),
        refused: None,
        allocated: 12 * MIB,
        active: 12 * MIB,
        pinned: 0,
        pinned_segments: 0,
        reserved: 12 * MIB,
        largest_hole: 0,
        holes: 0,
        largest_request: 4 * MIB,
        moves: true,
        host: 0,
        host_limit: None,
        gains: Gains::default(),
        holders: vec![Holder {
            site: site(6, 19),
            label: Some("images".into()),
            scope: None,
            blocks: 1,
            bytes: 12 * MIB,
        }],
    }
}

#[test]
#[cfg(target_os = "linux")] // The messages name the packages of the system.
fn the_page_of_open_errors_prints_their_messages() {
    let vulkan = || "Vulkan".to_string();
    let adapter = || "Mali-400 (Gl, Other)".to_string();
    let found = vec!["NVIDIA H100 80GB HBM3 (Vulkan, DiscreteGpu)".into(), "llvmpipe (Vulkan, Cpu)".into()];
    assert_printed(
        include_str!("../../../docs/guide/errors/open.md"),
        &messages([
            OpenError::NoBackend,
            OpenError::Disabled { backends: vulkan(), features: "`vulkan`".into() },
            OpenError::OtherPlatform { backends: "Metal".into(), available: "vulkan, gl".into() },
            OpenError::NoLoader { backends: vulkan(), disabled: "`gles`".into() },
            OpenError::NoAdapter { backends: "Vulkan, Gl".into(), disabled: String::new() },
            OpenError::NoSuchName { name: "Radeon".into(), found },
            OpenError::NoCompute { adapter: adapter() },
            OpenError::TooLimited { adapter: adapter(), limit: "storage buffers per shader stage", has: 0, least: 4 },
            OpenError::NoDevice { adapter: "llvmpipe (Vulkan, Cpu)".into(), reason: "Not enough memory left.".into() },
        ]),
    );
}

#[test]
fn the_page_of_options_errors_prints_their_messages() {
    assert_printed(
        include_str!("../../../docs/guide/errors/options.md"),
        &messages([
            OptionsError::Granule { granule: 48, least: 32, most: 4096 },
            OptionsError::Segment { bytes: 8 * GIB, limit: 4 * GIB },
            OptionsError::Block { bytes: 32, least: 64 },
            OptionsError::Fraction { fraction: Number(80.0) },
            OptionsError::ReleaseAbove { fraction: Number(0.0) },
            OptionsError::TotalUnknown,
        ]),
    );
}

#[test]
fn the_page_of_allocate_errors_prints_their_messages() {
    let advice = [
        Advice::DeviceFull,
        Advice::FreeOnDevice { allocated: 12 * MIB },
        Advice::AboveLimit { least_limit: 20 * MIB },
        Advice::LimitBelowLive { least_limit: 20 * MIB },
        Advice::Unpin { pinned: 8 * MIB },
        Advice::AllowMoving { free: 8 * MIB },
        Advice::Smaller { largest: 2 * MIB },
        Advice::FreeHolder { lacking: 4 * MIB },
        Advice::FreeMore { lacking: 4 * MIB },
    ];
    let mut texts = advice.map(|advice| advice.to_string()).to_vec();
    texts.extend(messages([
        AllocateError::OutOfMemory(Box::new(out_of_memory())),
        AllocateError::TooLarge { requested: 1 << 40, limit: 64 * GIB },
        AllocateError::Unfinished { requested: 8 * MIB, pending: 12 * MIB },
    ]));
    assert_printed(include_str!("../../../docs/guide/errors/allocate.md"), &texts);
}

#[test]
fn the_page_of_device_errors_prints_their_messages() {
    let working_set = WorkingSet {
        bytes: 6 * MIB,
        missing: 3 * MIB,
        limit: Some(4 * MIB),
        refused: None,
        pinned_segments: 0,
        kept: 0,
        reserved: 4 * MIB,
        host: 3 * MIB,
        host_limit: 4 * MIB,
    };
    let destroyed = "the application has destroyed the buffer of a segment that recorded commands use";
    assert_printed(
        include_str!("../../../docs/guide/errors/device.md"),
        &messages([
            DeviceError::Refused { bytes: 64 * MIB },
            DeviceError::TooLarge { bytes: 8 * GIB, limit: 4 * GIB },
            DeviceError::BindingTooLarge { bytes: 256 * MIB, limit: 128 * MIB },
            DeviceError::TooManyBindings { tensors: 9, limit: 8 },
            DeviceError::TooManyWorkgroups { workgroups: [512, 1, 1], limit: 256 },
            DeviceError::Misaligned { offset: 2, length: 4, unit: 4 },
            DeviceError::OutOfRange { offset: 96, length: 8, size: 100 },
            DeviceError::WorkingSet(Box::new(working_set)),
            DeviceError::HostLimit { bytes: 3 * MIB, held: 3 * MIB, limit: 4 * MIB },
            DeviceError::HostRefused { bytes: 2 * GIB },
            DeviceError::Pinned { bytes: MIB, pins: 1 },
            DeviceError::InUse { bytes: MIB },
            DeviceError::SpillingOff,
            DeviceError::ZeroBytes,
            DeviceError::NoBytes,
            DeviceError::DryRun { bytes: MIB },
            DeviceError::DryStorage { bytes: MIB },
            DeviceError::Pools,
            DeviceError::Unsupported { feature: "TIMESTAMP_QUERY" },
            DeviceError::Backlog { batches: 512, limit: 512 },
            DeviceError::Lost { reason: "Device::destroy was called".into() },
            DeviceError::Validation { message: destroyed.into() },
        ]),
    );
}

#[test]
fn the_page_of_growth_errors_prints_their_message() {
    let holder = Holder { site: site(7, 15), label: None, scope: None, blocks: 2, bytes: 2000 };
    let holders = vec![HolderGrowth { holder, bytes: 1000, blocks: 1 }];
    let error = GrowthError { iteration: 2, allowed: 1000, requested: 2000, holders };
    assert_printed(include_str!("../../../docs/guide/errors/growth.md"), &[error.to_string()]);
}

#[test]
fn the_pages_of_dry_runs_and_batches_print_their_messages() {
    assert_printed(include_str!("../../../docs/guide/errors/dry_run.md"), &[DryRunError::Nested.to_string()]);
    let error = DeviceError::DryRun { bytes: 4 * KIB };
    assert_printed(
        include_str!("../../../docs/guide/errors/max_batch.md"),
        &messages([
            MaxBatchError::Empty { first: 8, last: 4 },
            MaxBatchError::Nested,
            MaxBatchError::Program { n: 64, error },
        ]),
    );
}

#[test]
fn the_page_of_budget_errors_prints_their_messages() {
    let path = || "tests/budgets/step.txt".into();
    let variable = "UPDATE_BUDGETS";
    let error = AllocateError::OutOfMemory(Box::new(OutOfMemory {
        requested: 20 * MIB,
        rounded: 20 * MIB,
        allocated: 0,
        active: 0,
        reserved: 0,
        largest_request: 16 * MIB,
        holders: Vec::new(),
        ..out_of_memory()
    }));
    let holders =
        ["- 16777216 bytes in 1 block, src/model.rs:31:22", "+ 20971520 bytes in 1 block, src/model.rs:31:22"];
    assert_printed(
        include_str!("../../../docs/guide/errors/budget.md"),
        &messages([
            BudgetError::Missing { path: path(), variable },
            BudgetError::File { path: path(), reason: "Permission denied (os error 13)".into() },
            BudgetError::Malformed { path: path(), line: 1, expected: "requested peak: " },
            BudgetError::DoesNotFit { site: Some(site(31, 22)), error },
            BudgetError::Changed {
                path: path(),
                requested: [16 * MIB, 20 * MIB],
                reserved: [16 * MIB, 20 * MIB],
                holders: holders.map(Into::into).to_vec(),
                variable,
            },
        ]),
    );
}

#[test]
fn the_page_of_plan_errors_prints_their_messages() {
    let line = |line, fault| PlanError::Line { line, fault };
    let never = BufferFault::NeverLive { id: 0, lower: 5, upper: 5 };
    assert_printed(
        include_str!("../../../docs/guide/errors/plan.md"),
        &messages([
            line(1, LineFault::Header { found: "id,start,end,size".into() }),
            line(2, LineFault::MissingField { field: "size" }),
            line(2, LineFault::ExtraField { found: "64".into(), columns: 4 }),
            line(2, LineFault::Number { field: "size", found: "-64".into() }),
            line(3, LineFault::DuplicateName { found: "conv1".into() }),
            line(2, LineFault::Buffer(never)),
            PlanError::Buffer(BufferFault::NeverLive { id: 7, lower: 5, upper: 5 }),
            PlanError::Buffer(BufferFault::ZeroBytes { id: 7 }),
            PlanError::Buffer(BufferFault::DuplicateId { id: 7 }),
            PlanError::Event { event: 2, fault: EventFault::AllocatedTwice { id: 7 } },
            PlanError::Event { event: 2, fault: EventFault::NotLive { id: 7 } },
            PlanError::TotalTooLarge { alignment: 256 },
            PlanError::TooManyBuffers { count: 1 << 33, limit: u64::from(u32::MAX) },
            PlanError::ZeroAlignment,
            PlanError::Overlap { first: 3, second: 7 },
            PlanError::OutOfPlan { id: 7, offset: 100, alignment: 64, height: 4096 },
        ]),
    );
}

#[test]
fn the_page_of_repeat_errors_prints_their_messages() {
    assert_printed(
        include_str!("../../../docs/guide/errors/repeat.md"),
        &messages([
            RepeatError::Nested,
            RepeatError::Running,
            RepeatError::ArenaAboveLimit { arena: 10 * MIB, limit: 16 * MIB, room: 6 * MIB },
            RepeatError::ArenaRefused { bytes: 10 * MIB },
        ]),
    );
}

#[test]
#[cfg(feature = "serde")]
fn the_page_of_snapshot_files_prints_their_messages() {
    let segment = 3;
    assert_printed(
        include_str!("../../../docs/guide/errors/snapshot_file.md"),
        &messages([
            SnapshotFileError::CutOff { line: 40, column: 12 },
            SnapshotFileError::Malformed { reason: "expected value at line 1 column 1".into() },
            SnapshotFileError::LaterVersion { found: 9, known: 1 },
            SnapshotFileError::SegmentTwice { segment },
            SnapshotFileError::Overlap { segment, offset: 256, end: 512 },
            SnapshotFileError::Gap { segment, start: 256, end: 512 },
            SnapshotFileError::BeyondEnd { segment, offset: 768, bytes: 1024 },
            SnapshotFileError::BlockSize { segment, offset: 256, size: 64, requested: 100 },
            SnapshotFileError::Unlisted { what: "site", number: 7, listed: 2 },
            SnapshotFileError::Pin { segment, offset: 256 },
            SnapshotFileError::Plan { plan: 0, request: 5 },
            SnapshotFileError::Granule { granule: 48 },
            SnapshotFileError::Active { segment, stated: 512, sum: 256 },
            SnapshotFileError::HostBlock { index: 0, size: 64, requested: 100 },
            SnapshotFileError::Counter { counter: "allocated", stated: 512, sum: 256 },
            SnapshotFileError::Event { event: 41 },
            SnapshotFileError::TooLarge { segment, bytes: 1 << 54 },
        ]),
    );
}
