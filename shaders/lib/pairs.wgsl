// Four 32-bit words as two 64-bit integers, lower half first. Mesa's software Vulkan driver accesses the components of a vector
// one at a time, in each lane, so half as many components take half the time. Needs SHADER_INT64.

fn words(pairs: vec2<u64>) -> vec4<u32> {
    let lower = vec2<u32>(pairs);
    let upper = vec2<u32>(pairs >> vec2(32u));
    return vec4(lower.x, upper.x, lower.y, upper.y);
}

fn pairs(words: vec4<u32>) -> vec2<u64> {
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2(32u));
}
