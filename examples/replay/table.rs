//! The table of `--table`: this pool with and without compaction, next to PyTorch's figures.

use crate::replay::Figures;
use std::fmt;
use wgpu_pool::Bytes;

/// Peak reserved over peak requested in PyTorch 2.11 on an NVIDIA H100, for the traces in `tests/data`: the caching allocator
/// with its defaults, and with expandable segments.
const PYTORCH: [(&str, f64, f64); 4] = [
    ("resnet50_train", 1.178, 1.004),
    ("gpt2_varlen_train", 1.322, 1.056),
    ("llama_decode", 1.379, 1.079),
    ("bert_serving", 3.182, 1.101),
];

/// A row: a trace, with its figures with compaction and without.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) trace: String,
    pub(crate) compacting: Figures,
    pub(crate) rigid: Figures,
}

/// All rows, and the divisor of the sizes of the traces.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) scale: u64,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Returns the ratios of a row, in the order of the columns. PyTorch's are known for undivided sizes and the traces
    /// in `tests/data`.
    fn ratios(&self, row: &Row) -> [Option<f64>; 4] {
        let known = PYTORCH.iter().find(|(trace, ..)| self.scale == 1 && *trace == row.trace);
        [Some(row.compacting.ratio), Some(row.rigid.ratio), known.map(|known| known.1), known.map(|known| known.2)]
    }
}

/// Returns the geometric mean, or `None` unless every row has a ratio.
fn mean(ratios: &[[Option<f64>; 4]], column: usize) -> Option<f64> {
    let logarithms: Option<Vec<f64>> = ratios.iter().map(|ratios| ratios[column].map(f64::ln)).collect();
    let logarithms = logarithms.filter(|logarithms| !logarithms.is_empty())?;
    #[expect(clippy::cast_precision_loss, reason = "there are a few traces")]
    Some((logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, requested: &str, cells: [String; 4], rest: [&str; 2]) -> fmt::Result {
    let [pool, rigid, pytorch, expandable] = cells;
    let [moved, time] = rest;
    let text = format!(
        "{name:<20} {requested:>10} {pool:>10} {rigid:>10} {pytorch:>10} {expandable:>11} {moved:>8} {time:>9}"
    );
    writeln!(f, "{}", text.trim_end())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |cells: [&str; 4]| cells.map(String::from);
        let cell = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_string(), |ratio| format!("{ratio:.3}"));
        writeln!(f, "Peak reserved bytes divided by peak requested bytes; 1 is the optimum.\n")?;
        line(f, "", "peak", texts(["this pool,", "this pool,", "PyTorch", "PyTorch,"]), ["", ""])?;
        let names = texts(["compacting", "without", "", "expandable"]);
        line(f, "trace", "requested", names, ["moved", "ns/event"])?;
        let ratios: Vec<_> = self.rows.iter().map(|row| self.ratios(row)).collect();
        for (row, ratios) in self.rows.iter().zip(&ratios) {
            let figures = &row.compacting;
            let moved = format!("{:.1} %", figures.moved_ratio * 100.0);
            let time = format!("{:.0}", figures.ns_per_event_warm);
            line(f, &row.trace, &Bytes(figures.peak_requested).to_string(), ratios.map(cell), [&moved, &time])?;
        }
        if self.rows.len() > 1 {
            let means = [0, 1, 2, 3].map(|column| cell(mean(&ratios, column)));
            line(f, "geometric mean", "", means, ["", ""])?;
        }
        writeln!(
            f,
            "\nmoved: bytes that compaction moved, of all bytes allocated. ns/event: one allocation or one free, in a warm pool."
        )?;
        if ratios.iter().any(|ratios| ratios[2].is_some()) {
            writeln!(f, "PyTorch: version 2.11 on an NVIDIA H100, measured there and not on this machine.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(trace: &str, ratio: f64) -> Row {
        let figures = |ratio| Figures {
            events: 2,
            peak_requested: 3 << 20,
            peak_reserved: 4 << 20,
            ratio,
            driver_peak: None,
            segments_created: 1,
            segments_released: 0,
            compactions: 0,
            bytes_moved: 0,
            bytes_allocated: 3 << 20,
            moved_ratio: 0.0125,
            trim_residue: 1.0,
            ns_per_event_cold: 80.0,
            ns_per_event_warm: 60.4,
            planned: None,
        };
        Row { trace: trace.into(), compacting: figures(ratio), rigid: figures(2.0 * ratio) }
    }

    #[test]
    fn a_known_trace_is_next_to_pytorch_and_the_mean_is_geometric() {
        let table = Table { scale: 1, rows: vec![row("bert_serving", 1.0), row("resnet50_train", 4.0)] };
        let text = table.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec![
            "bert_serving",
            "3.0",
            "MiB",
            "1.000",
            "2.000",
            "3.182",
            "1.101",
            "1.2",
            "%",
            "60"
        ]));
        assert!(lines.contains(&vec!["geometric", "mean", "2.000", "4.000", "1.936", "1.051"]), "{text}");
        assert!(text.contains("PyTorch: version 2.11"));
    }

    #[test]
    fn figures_of_pytorch_are_left_out_for_other_traces_and_sizes() {
        for (scale, trace) in [(1, "mine"), (8, "bert_serving")] {
            let text = Table { scale, rows: vec![row(trace, 1.5), row("mine", 1.5)] }.to_string();
            assert!(!text.contains("3.182") && !text.contains("version 2.11"), "{text}");
            assert!(text.contains("geometric mean"), "{text}");
        }
    }
}
