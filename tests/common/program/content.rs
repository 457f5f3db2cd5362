//! The expected contents of blocks.

use crate::common::Outcome;
use crate::common::random::Random;
use wgpu_pool::{DeviceError, Memory, Storage};

/// Blocks up to this size are written, copied and compared completely; of larger blocks, only parts at the start, in
/// the middle and at the end.
const WHOLE: u64 = 4 * Text::PIECE as u64;

/// The bytes of stamps: slices of one random text, so that stamping costs no more than a copy.
#[derive(Clone)]
pub(crate) struct Text(std::sync::Arc<[u8]>);

impl Text {
    const PIECE: usize = 16 << 10;

    pub(crate) fn new() -> Self {
        let mut random = Random::new(0);
        Self((0..5 * Self::PIECE / 8).flat_map(|_| random.next().to_le_bytes()).collect())
    }

    fn piece(&self, number: u64, length: usize) -> &[u8] {
        let start = Random::new(number).below(Self::PIECE / 4) * 4;
        &self.0[start..start + length]
    }
}

/// What is known about a block's bytes.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// All bytes.
    Whole(Vec<u8>),
    /// The parts of a large block, as derived from a number.
    Pieces(u64),
    Zeros,
    /// Unknown: the block is new, or the memory stores no bytes.
    Stale,
}

/// The ranges of a large block that are written and compared, as offsets and lengths.
fn pieces(bytes: u64) -> [(u64, usize); 3] {
    let piece = Text::PIECE as u64;
    let starts = [0, bytes / 2 / 4 * 4, (bytes - piece).next_multiple_of(4)];
    starts.map(|start| (start, usize::try_from(piece.min(bytes - start)).expect("a piece fits the host")))
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a small block fits the host")
}

impl Content {
    /// Writes the stamp of a number, and returns the new content.
    pub(super) fn write<M: Memory>(storage: &Storage<M>, text: &Text, number: u64) -> Result<Self, DeviceError> {
        let bytes = storage.bytes();
        if bytes <= WHOLE {
            let content = text.piece(number, length(bytes)).to_vec();
            storage.write(0, &content)?;
            return Ok(Self::Whole(content));
        }
        for (start, length) in pieces(bytes) {
            storage.write(start, text.piece(number.wrapping_add(start), length))?;
        }
        Ok(Self::Pieces(number))
    }

    /// Returns the content of `target` after `self`, of `bytes` bytes, is copied to its start. `None` if that is not
    /// known.
    pub(super) fn copied_to(&self, bytes: u64, target: &Self, room: u64) -> Option<Self> {
        if room > WHOLE || bytes > room {
            return None;
        }
        let whole = |content: &Self, bytes| match content {
            Self::Whole(content) => Some(content.clone()),
            Self::Zeros => Some(vec![0; length(bytes)]),
            Self::Pieces(_) | Self::Stale => None,
        };
        let (source, mut target) = (whole(self, bytes)?, whole(target, room)?);
        target[..source.len()].copy_from_slice(&source);
        Some(Self::Whole(target))
    }

    /// Compares the block's bytes with the expected ones.
    pub(super) fn verify<M: Memory>(&self, storage: &Storage<M>, text: &Text) -> Outcome {
        let bytes = storage.bytes();
        let ranges = if bytes <= WHOLE { vec![(0, length(bytes))] } else { pieces(bytes).to_vec() };
        if matches!(self, Self::Stale) || bytes == 0 {
            return Ok(());
        }
        let units = |length: usize| length.next_multiple_of(4);
        let mut download = storage.pool().download(ranges.iter().map(|&(_, length)| units(length) as u64).sum())?;
        for &(start, length) in &ranges {
            download.add(storage, start, units(length) as u64)?;
        }
        let found = download.finish_blocking()?;
        let mut rest = found.as_slice();
        for (start, length) in ranges {
            let (found, after) = rest.split_at(units(length));
            rest = after;
            let is_right = match self {
                Self::Whole(wanted) => found[..length] == **wanted,
                Self::Pieces(number) => found[..length] == *text.piece(number.wrapping_add(start), length),
                Self::Zeros => found.iter().all(|&byte| byte == 0),
                Self::Stale => true,
            };
            if !is_right {
                return Err(format!("a block of {bytes} bytes lost its bytes from {start} on").into());
            }
        }
        Ok(())
    }
}
