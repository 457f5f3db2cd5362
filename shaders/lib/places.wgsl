// Common part of all elementwise kernels, for every form.

override WORKGROUP: u32 = 256u;

// The positions of one invocation's values in their bindings. A lane below 4 selects the component that is broadcast to all four.
struct Places {
    output: u32,
    left: u32,
    right: u32,
    left_lane: u32,
    right_lane: u32,
}

fn value_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + local;
}
