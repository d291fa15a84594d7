//! Where the time goes, as tables.

use crate::cli::output;
use pleach_core::layers::Pass;
use pleach_prune::latency::LayerRow;

/// Passes in the order of their columns.
const PASSES: [(Pass, &str); 3] = [
    (Pass::Forward, "forward"),
    (Pass::BackwardData, "backward_data"),
    (Pass::BackwardWeights, "backward_weights"),
];

/// A table, or in training three, for each network, batch size and number of threads.
pub(super) fn text(rows: &[LayerRow]) -> String {
    let mut text = String::new();
    for rows in rows.chunk_by(|a, b| (a.batch, a.threads) == (b.batch, b.threads)) {
        let mut base: &[LayerRow] = &[];
        for rows in rows.chunk_by(|a, b| a.net == b.net) {
            let LayerRow { net, batch, threads, .. } = &rows[0];
            let tables = match rows.iter().any(|row| row.pass.is_some()) {
                true => training(rows, base),
                false => inference(rows),
            };
            text.push_str(&format!("\n{net}, batch {batch}, threads {threads}:\n{tables}"));
            if base.is_empty() {
                base = rows;
            }
        }
    }
    text
}

fn inference(rows: &[LayerRow]) -> String {
    let header = [
        "layer",
        "kernel",
        "M MACs",
        "% of MACs",
        "% of time",
        "ms",
        "GFLOP/s",
        "% of peak",
        "GB/s",
        "speed-up",
    ];
    let cells = rows.iter().map(|row| {
        let of_convolution = |text: String| if row.macs > 0 { text } else { String::new() };
        let [rate, peak] = rates(row);
        vec![
            row.layer.clone(),
            row.kernel.clone(),
            macs(row),
            of_convolution(percent(row.macs_share)),
            percent(row.time_share),
            format!("{:.3}", row.ms_p50),
            rate,
            peak,
            row.gb_per_s.map(|rate| format!("{rate:.1}")).unwrap_or_default(),
            row.speedup.map(times).unwrap_or_default(),
        ]
    });
    output::table(&header, cells.collect())
}

/// The passes layer by layer and by kind, and what computes those with multiply-adds; speed-ups are against `base`,
/// which is empty for the first network.
fn training(rows: &[LayerRow], base: &[LayerRow]) -> String {
    let kind = |row: &LayerRow| row.kind.clone().unwrap_or_else(|| row.layer.clone());
    let layers = groups(rows, |row| row.layer.clone()).into_iter().map(|(layer, rows)| {
        let same = |row: &&LayerRow| (&row.layer, &row.kind) == (&layer, &rows[0].kind);
        let base_ms = base.iter().filter(same).map(|row| row.ms_p50).sum();
        let kind = rows[0].kind.clone().unwrap_or_default();
        [vec![layer.clone(), kind, macs(rows[0])], passes(&rows, base_ms)].concat()
    });
    let everything: Vec<&LayerRow> = rows.iter().collect();
    let all = passes(&everything, base.iter().map(|row| row.ms_p50).sum());
    let all = [vec!["all".to_owned(), String::new(), String::new()], all].concat();
    let columns = ["forward", "backward_data", "backward_weights", "ms", "% of time", "speed-up"];
    let header = [&["layer", "kind", "M MACs"], &columns[..]].concat();
    let layers = output::table(&header, layers.chain([all]).collect());
    let kinds = groups(rows, kind).into_iter().map(|(name, rows)| {
        let base_ms = base.iter().filter(|row| kind(row) == name).map(|row| row.ms_p50).sum();
        [vec![name], passes(&rows, base_ms)].concat()
    });
    let kinds = output::table(&[&["kind"], &columns[..]].concat(), kinds.collect());
    format!("{layers}\n{kinds}\n{}", algorithms(rows))
}

/// Cells of `rows` together: the milliseconds of each pass and of all, their share, and the speed-up against
/// `base_ms`, what all that the base has of the same takes; 0 if it has nothing.
fn passes(rows: &[&LayerRow], base_ms: f64) -> Vec<String> {
    let sum = |rows: &mut dyn Iterator<Item = f64>| rows.reduce(|a, b| a + b);
    let of =
        |pass| sum(&mut rows.iter().filter(|row| row.pass == Some(pass)).map(|row| row.ms_p50));
    let ms = |ms: f64| format!("{ms:.3}");
    let mut cells: Vec<_> =
        PASSES.map(|(pass, _)| of(pass).map(ms).unwrap_or_default()).into_iter().collect();
    let total: f64 = rows.iter().map(|row| row.ms_p50).sum();
    cells.push(ms(total));
    cells.push(percent(rows.iter().map(|row| row.time_share).sum()));
    cells.push(if base_ms > 0.0 { times(base_ms / total) } else { String::new() });
    cells
}

/// What computes each pass of convolutions and linear layers, and how fast.
fn algorithms(rows: &[LayerRow]) -> String {
    let header = PASSES.iter().flat_map(|(_, pass)| [*pass, "GFLOP/s", "% of peak"]);
    let header: Vec<&str> = ["layer"].into_iter().chain(header).collect();
    let layers = groups(rows, |row| row.layer.clone()).into_iter();
    let layers = layers.filter(|(_, rows)| rows[0].macs > 0).map(|(layer, rows)| {
        let cells = PASSES.iter().flat_map(|(pass, _)| {
            match rows.iter().find(|row| row.pass == Some(*pass)) {
                Some(row) => [vec![row.kernel.clone()], rates(row).to_vec()].concat(),
                None => vec![String::new(); 3],
            }
        });
        [layer].into_iter().chain(cells).collect()
    });
    output::table(&header, layers.collect())
}

/// Rows of the same key, in the order of the first of each.
fn groups(rows: &[LayerRow], key: impl Fn(&LayerRow) -> String) -> Vec<(String, Vec<&LayerRow>)> {
    let mut groups: Vec<(String, Vec<&LayerRow>)> = Vec::new();
    for row in rows {
        let key = key(row);
        match groups.iter_mut().find(|(name, _)| *name == key) {
            Some((_, group)) => group.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    groups
}

/// Operations a second, and their share of the peak, where there are multiply-adds.
fn rates(row: &LayerRow) -> [String; 2] {
    match row.macs {
        0 => Default::default(),
        _ => [format!("{:.0}", row.effective_gflops), format!("{:.0}", 100.0 * row.peak_share)],
    }
}

fn macs(row: &LayerRow) -> String {
    if row.macs > 0 { format!("{:.1}", row.macs as f64 / 1e6) } else { String::new() }
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn times(speedup: f64) -> String {
    format!("{speedup:.2}x")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(net: &str, layer: &str, kind: Option<&str>, ms_p50: f64) -> LayerRow {
        LayerRow {
            net: net.into(),
            batch: 1,
            threads: 2,
            layer: layer.into(),
            kind: kind.map(Into::into),
            pass: kind.map(|_| Pass::Forward),
            kernel: String::new(),
            macs: 0,
            weight_bytes: None,
            ms_p50,
            time_share: 0.25,
            macs_share: 0.0,
            effective_gflops: 0.0,
            peak_share: 0.0,
            gb_per_s: None,
            speedup: None,
        }
    }

    #[test]
    fn speed_ups_of_several_parts_are_against_all_that_the_first_network_does() {
        let (conv, norm, relu) = (Some("conv2d"), Some("batch_norm2d"), Some("relu"));
        let rows = [
            row("a", "1", conv, 4.0),
            row("a", "2", norm, 3.0),
            row("a", "3", conv, 4.0),
            row("a", "loss", None, 1.0),
            row("b", "1", conv, 2.0),
            row("b", "2", relu, 1.0),
            row("b", "loss", None, 1.0),
        ];
        let text = text(&rows);
        let (a, b) = text.split_once("\nb, batch 1, threads 2:\n").expect("both have tables");
        assert!(a.starts_with("\na, batch 1, threads 2:\n") && !a.contains("x\n"), "{a}");
        let lines: Vec<Vec<&str>> =
            b.lines().map(|line| line.split_whitespace().collect()).collect();
        for expected in [
            // The layer, its kind, its forward pass, all passes, the share of the time, the speed-up.
            &["1", "conv2d", "2.000", "2.000", "25.0", "2.00x"][..],
            &["2", "relu", "1.000", "1.000", "25.0"],
            &["loss", "1.000", "25.0", "1.00x"],
            &["all", "3.000", "4.000", "75.0", "3.00x"],
            &["conv2d", "2.000", "2.000", "25.0", "4.00x"],
            &["relu", "1.000", "1.000", "25.0"],
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected:?} in {b}");
        }
    }
}
