// What every elementwise kernel has, whatever the form of its operands.

override WORKGROUP: u32 = 256u;

// Where the values of one invocation are, in their bindings. A lane below 4 names the component that stands for all of them.
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
