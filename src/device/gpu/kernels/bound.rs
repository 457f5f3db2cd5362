//! The bindings of the open pass, so that a dispatch sets only those that differ.

use super::program::{Compiled, Program};

/// The program, the bind group of tensors and the immediates that were set last in the open pass. A number is 0 if nothing
/// is bound.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    program: u64,
    group: u64,
    /// Empty if the bound program's immediates were not set.
    immediates: Vec<u8>,
}

impl Bound {
    /// Marks everything as unbound.
    pub(crate) fn forget(&mut self) {
        (self.program, self.group) = (0, 0);
        self.immediates.clear();
    }

    /// Binds a program, unless it is bound.
    pub(crate) fn program(&mut self, pass: &mut wgpu::ComputePass<'_>, program: &Program, compiled: &Compiled) {
        if self.program != program.number {
            pass.set_pipeline(&compiled.pipeline);
            // Group 0 stays bound after a change of pipeline only if the layouts agree; binding it again is cheap.
            (self.program, self.group) = (program.number, 0);
            self.immediates.clear();
        }
    }

    /// Binds the bind group with this number, unless it is bound.
    pub(crate) fn group(&mut self, pass: &mut wgpu::ComputePass<'_>, group: &wgpu::BindGroup, number: u64) {
        if self.group != number {
            pass.set_bind_group(0, group, &[]);
            self.group = number;
        }
    }

    /// Sets the immediates of the bound program, unless they are set: consecutive dispatches of a kernel often have the same
    /// shapes.
    pub(crate) fn immediates(&mut self, pass: &mut wgpu::ComputePass<'_>, bytes: &[u8]) {
        if self.immediates != bytes {
            pass.set_immediates(0, bytes);
            self.immediates.clear();
            self.immediates.extend_from_slice(bytes);
        }
    }
}
