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
    let same =
        |a: &LayerRow, b: &LayerRow| (&a.net, a.batch, a.threads) == (&b.net, b.batch, b.threads);
    let tables = rows.chunk_by(same).map(|rows| {
        let LayerRow { net, batch, threads, .. } = &rows[0];
        let tables = match rows.iter().any(|row| row.pass.is_some()) {
            true => training(rows),
            false => inference(rows),
        };
        format!("\n{net}, batch {batch}, threads {threads}:\n{tables}")
    });
    tables.collect()
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

/// The passes layer by layer and by kind, and what computes those with multiply-adds.
fn training(rows: &[LayerRow]) -> String {
    let kind = |row: &LayerRow| row.kind.clone().unwrap_or_else(|| row.layer.clone());
    let mut layers = groups(rows, |row| row.layer.clone());
    layers.push(("all".to_owned(), rows.iter().collect()));
    let layers = layers.iter().map(|(layer, rows)| {
        let what =
            if layer == "all" { String::new() } else { rows[0].kind.clone().unwrap_or_default() };
        let macs = if layer == "all" { String::new() } else { macs(rows[0]) };
        [vec![layer.clone(), what, macs], passes(rows)].concat()
    });
    let columns = ["forward", "backward_data", "backward_weights", "ms", "% of time", "speed-up"];
    let layers =
        output::table(&[&["layer", "kind", "M MACs"], &columns[..]].concat(), layers.collect());
    let kinds = groups(rows, kind);
    let kinds = kinds.iter().map(|(kind, rows)| [vec![kind.clone()], passes(rows)].concat());
    let kinds = output::table(&[&["kind"], &columns[..]].concat(), kinds.collect());
    format!("{layers}\n{kinds}\n{}", algorithms(rows))
}

/// Cells of `rows` together: the milliseconds of each pass and of all, their share, the speed-up.
fn passes(rows: &[&LayerRow]) -> Vec<String> {
    let sum = |rows: &mut dyn Iterator<Item = f64>| rows.reduce(|a, b| a + b);
    let of =
        |pass| sum(&mut rows.iter().filter(|row| row.pass == Some(pass)).map(|row| row.ms_p50));
    let ms = |ms: f64| format!("{ms:.3}");
    let mut cells: Vec<_> =
        PASSES.map(|(pass, _)| of(pass).map(ms).unwrap_or_default()).into_iter().collect();
    let total: f64 = rows.iter().map(|row| row.ms_p50).sum();
    let base = rows.iter().map(|row| Some(row.ms_p50 * row.speedup?)).sum::<Option<f64>>();
    cells.push(ms(total));
    cells.push(percent(rows.iter().map(|row| row.time_share).sum()));
    cells.push(base.map(|base| times(base / total)).unwrap_or_default());
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
