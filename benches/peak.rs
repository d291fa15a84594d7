//! What part of the peak of this CPU the kernels reach, one thread: a table.
//!
//! `cargo bench --bench peak [-- FILTER]...` keeps the rows that contain every filter, as in
//! `avx2 forward 64`. GFLOP/s count two operations for each multiply-add, those with padding
//! included, so layers whose padding is skipped can exceed the peak. The peak is measured in turn
//! with the row, round by round; the first percentage compares the medians of the rounds, the second
//! the fastest rounds, which other work on the machine disturbs least.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod shapes;

use pleach_kernels::conv2d::{
    self, Activation, Algorithm, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, FORWARD,
    PreparedConv2d,
};
use pleach_kernels::gemm::{Gemm, gemm, gemm_matrixmultiply};
use pleach_kernels::{AlignedBuffer, Context, Isa, peak};
use shapes::numbers;
use std::time::Instant;

const BATCH: usize = 16;

/// Rounds of a row, and the seconds that its half of a round lasts at least.
struct Effort {
    rounds: usize,
    seconds: f64,
}

struct Table {
    effort: Effort,
    filters: Vec<String>,
}

impl Table {
    /// The title of a row, if all filters let it through.
    fn title(&self, cx: &Context, row: [&str; 3]) -> Option<String> {
        let title = format!("{:<8} {:<17} {:<16} {:<22}", cx.isa().name, row[0], row[1], row[2]);
        self.filters.iter().all(|filter| title.contains(filter)).then_some(title)
    }

    /// Measures `work`, of `flops` operations, against the peak, and prints a row.
    fn row(&self, cx: &Context, row: [&str; 3], flops: f64, mut work: impl FnMut()) {
        let Some(title) = self.title(cx, row) else { return };
        work();
        let (mut found, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..self.effort.rounds {
            peaks.push(rate(self.effort.seconds, || peak::multiply_adds(cx, 5_000)));
            found.push(rate(self.effort.seconds, || {
                work();
                flops
            }));
        }
        found.sort_by(f64::total_cmp);
        peaks.sort_by(f64::total_cmp);
        let percent = |i: usize| 100.0 * found[i] / peaks[i];
        let (middle, last) = (found.len() / 2, found.len() - 1);
        let rate = found[last] / 1e9;
        println!("{title} {rate:>8.1} {:>7.1} {:>7.1}", percent(middle), percent(last));
    }
}

/// Operations a second of `work`, which returns those it did, repeated for `seconds`.
fn rate(seconds: f64, mut work: impl FnMut() -> f64) -> f64 {
    let (start, mut flops) = (Instant::now(), 0.0);
    loop {
        flops += work();
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return flops / elapsed;
        }
    }
}

fn conv_rows(table: &Table, cx: &Context, g: &Conv2dGeometry) {
    let (name, flops) = (shapes::name(g), 2.0 * g.macs() as f64);
    let (src, weights) = (numbers(g.src_len()), numbers(g.weights_len()));
    let diff_dst = numbers(g.dst_len());
    let mut scratch = AlignedBuffer::default();
    let applies = |by: &&Algorithm| (by.applies)(g) && by.name != "reference";
    let wanted = |by: &&Algorithm| table.title(cx, ["forward", &name, by.name]).is_some();
    for by in FORWARD.iter().filter(applies).filter(wanted) {
        let mut dst = AlignedBuffer::zeros(g.dst_len());
        let (bias, relu) = (&weights[..g.oc], Activation::Relu);
        let conv = PreparedConv2d::new(cx, g, &weights, Some(bias), relu, Some(by));
        let scratch = scratch.take(conv.scratch_len(g.n));
        let work = || conv.forward(cx, g.n, &src, None, &mut dst, scratch);
        table.row(cx, ["forward", &name, by.name], flops, work);
    }
    let mut diff_src = AlignedBuffer::zeros(g.src_len());
    for by in BACKWARD_DATA.iter().filter(applies) {
        table.row(cx, ["backward_data", &name, by.name], flops, || {
            conv2d::backward_data_with(by, cx, g, &diff_dst, &weights, &mut diff_src, &mut scratch);
        });
    }
    let mut diff = AlignedBuffer::zeros(g.weights_len());
    for by in BACKWARD_WEIGHTS.iter().filter(applies) {
        table.row(cx, ["backward_weights", &name, by.name], flops, || {
            conv2d::backward_weights_with(by, cx, g, &src, &diff_dst, &mut diff, &mut scratch);
        });
    }
}

fn gemm_rows(table: &Table, cx: &Context, [m, n, k]: [usize; 3]) {
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), AlignedBuffer::zeros(m * n));
    let all: [(&str, Gemm); 2] = [("gemm", gemm), ("gemm_matrixmultiply", gemm_matrixmultiply)];
    for (name, gemm) in all {
        let flops = 2.0 * (m * n * k) as f64;
        table.row(cx, ["gemm", &format!("{m}x{n}x{k}"), name], flops, || {
            gemm(cx, m, n, k, &a, k, &b, n, &mut c, n, true);
        });
    }
}

fn main() {
    let (flags, filters): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let test = flags.iter().any(|flag| flag == "--test");
    let effort = match test {
        true => Effort { rounds: 1, seconds: 0.0 },
        false => Effort { rounds: 31, seconds: 0.001 },
    };
    let table = Table { effort, filters };
    let batch = if test { 1 } else { BATCH };
    println!("one thread, batch {batch}; GFLOP/s of the best round; percentages of the peak");
    let head = ["isa", "pass", "shape", "algorithm"];
    println!(
        "{:<8} {:<17} {:<16} {:<22}  GFLOP/s  median    best",
        head[0], head[1], head[2], head[3]
    );
    for isa in Isa::available() {
        let cx = Context::new(isa, 1);
        shapes::PRODUCTS.into_iter().for_each(|size| gemm_rows(&table, &cx, size));
        shapes::all(batch).iter().for_each(|g| conv_rows(&table, &cx, g));
    }
}
