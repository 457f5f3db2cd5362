// Four words of 32 bits as two numbers of 64, the lower half first: Mesa's software Vulkan goes through a vector's components one by
// one, in each lane, so that half as many take half the time. Needs SHADER_INT64.

fn words(pairs: vec2<u64>) -> vec4<u32> {
    let lower = vec2<u32>(pairs);
    let upper = vec2<u32>(pairs >> vec2(32u));
    return vec4(lower.x, upper.x, lower.y, upper.y);
}

fn pairs(words: vec4<u32>) -> vec2<u64> {
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2(32u));
}
