//! Alternating rounds of the compared allocators.

/// The times of one allocator's rounds, in nanoseconds per operation.
pub(crate) type Times = Vec<f64>;

/// One line: the median of each allocator, and the median of its ratios to the first.
pub(crate) fn print(work: &str, times: &[Times]) {
    let mut line = format!("{work:<34}");
    for one in times {
        let median_time = median(one.iter().copied());
        let ratios = one.iter().zip(&times[0]).map(|(time, first)| time / first);
        line += &format!(" {:>9.1} ({:.2})", median_time, median(ratios));
    }
    println!("{line}");
}

/// The header of a table of such lines.
pub(crate) fn print_head(title: &str, names: &[&str]) {
    println!("\n{title:<34} {}", names.iter().map(|name| format!("{name:>16}")).collect::<Vec<_>>().join(" "));
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
