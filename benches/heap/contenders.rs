//! The compared allocators. Sizes are in granules: 256 bytes of a buffer, or 16 bytes of host memory.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use wgpu_pool::heap::{BlockId, Heap, HeapOptions, SubPool};

/// The bytes of a granule.
pub(crate) const GRANULE: u64 = 256;

/// An allocator of ranges in one arena.
pub(crate) trait Contender {
    type Block: Copy;
    const NAME: &'static str;

    /// Creates an allocator with an arena of `granules` granules, for at most `blocks` live blocks.
    fn new(granules: u32, live: u32) -> Self;
    fn allocate(&mut self, granules: u32) -> Option<Self::Block>;
    fn free(&mut self, block: Self::Block);
}

/// The heap of this crate with one segment, without locks and handles.
pub(crate) struct OurHeap(pub(crate) Heap);

impl Contender for OurHeap {
    type Block = BlockId;
    const NAME: &'static str = "wgpu-pool";

    fn new(granules: u32, _live: u32) -> Self {
        let mut heap =
            Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("the granule is a power of two");
        heap.add_segment(SubPool::Large, u64::from(granules) * GRANULE).expect("a segment holds 2^32 granules");
        Self(heap)
    }

    fn allocate(&mut self, granules: u32) -> Option<BlockId> {
        let bytes = NonZeroU64::new(u64::from(granules) * GRANULE).expect("no size is 0");
        self.0.allocate(bytes).ok()
    }

    fn free(&mut self, block: BlockId) {
        self.0.free(block).expect("every block is freed once");
    }
}

pub(crate) struct Offsets(offset_allocator::Allocator<u32>);

impl Contender for Offsets {
    type Block = offset_allocator::Allocation<u32>;
    const NAME: &'static str = "offset-allocator";

    fn new(granules: u32, live: u32) -> Self {
        // Every live block may have an adjacent hole.
        Self(offset_allocator::Allocator::with_max_allocs(granules, live * 2 + 2))
    }

    fn allocate(&mut self, granules: u32) -> Option<Self::Block> {
        self.0.allocate(granules)
    }

    fn free(&mut self, block: Self::Block) {
        self.0.free(block);
    }
}

/// Uses 16 bytes of host memory per granule: the smallest block is twice that, including its header.
pub(crate) struct Rlsf(rlsf::Tlsf<'static, u32, u32, 32, 32>);

/// The overhead per block in bytes.
const HEADER: usize = 16;
const UNIT: usize = 16;

impl Contender for Rlsf {
    type Block = NonNull<u8>;
    const NAME: &'static str = "rlsf";

    fn new(granules: u32, live: u32) -> Self {
        // The usable size equals the size of the other arenas, in addition to the overhead.
        let bytes = granules as usize * UNIT + live as usize * 2 * HEADER;
        let mut tlsf = rlsf::Tlsf::new();
        // Never freed: untouched pages cost nothing.
        let arena: &'static mut [MaybeUninit<u8>] = Box::leak(Box::new_uninit_slice(bytes));
        let _ = tlsf.insert_free_block(arena);
        Self(tlsf)
    }

    fn allocate(&mut self, granules: u32) -> Option<Self::Block> {
        let layout = Layout::from_size_align(granules as usize * UNIT, UNIT).expect("the size is far from the largest");
        self.0.allocate(layout)
    }

    #[expect(unsafe_code, reason = "the crate has no safe way to free, and a comparison needs one")]
    fn free(&mut self, block: Self::Block) {
        // SAFETY: the pointer came from `allocate` of the same arena with this alignment, and is freed once.
        unsafe { self.0.deallocate(block, UNIT) }
    }
}
