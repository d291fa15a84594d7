//! Benchmarks of pleach; see the `[[bench]]` targets.
