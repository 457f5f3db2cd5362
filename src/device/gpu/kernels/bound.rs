//! What the open pass has bound, so that a dispatch binds only what differs.

use super::Program;

/// The program, the group of tensors and the immediates that were set last in the open pass. Numbers are 0 where nothing is bound.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    program: u64,
    group: u64,
    /// Empty if the bound program's immediates were not set.
    immediates: Vec<u8>,
}

impl Bound {
    /// Takes note that whatever was bound may not be any more.
    pub(crate) fn forget(&mut self) {
        (self.program, self.group) = (0, 0);
        self.immediates.clear();
    }

    /// Has the pass run this program until another is bound.
    pub(crate) fn program(&mut self, pass: &mut wgpu::ComputePass<'_>, program: &Program) {
        if self.program != program.number {
            pass.set_pipeline(&program.pipeline);
            // Group 0 survives a change of pipeline only where the layouts agree; binding it again costs little.
            (self.program, self.group) = (program.number, 0);
            self.immediates.clear();
        }
    }

    /// Binds the tensors of a group, which has this number.
    pub(crate) fn group(&mut self, pass: &mut wgpu::ComputePass<'_>, group: &wgpu::BindGroup, number: u64) {
        if self.group != number {
            pass.set_bind_group(0, group, &[]);
            self.group = number;
        }
    }

    /// Gives the bound program its immediates, unless it has them: kernels are often run again on others of the same shape.
    pub(crate) fn immediates(&mut self, pass: &mut wgpu::ComputePass<'_>, bytes: &[u8]) {
        if self.immediates != bytes {
            pass.set_immediates(0, bytes);
            self.immediates.clear();
            self.immediates.extend_from_slice(bytes);
        }
    }
}
