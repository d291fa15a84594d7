//! ONNX models: out and in again, in from others, and in from those who mean harm.

mod hostile;
mod import;
mod model;
mod oracle;
mod other_files;
#[path = "../random/mod.rs"]
mod random;
mod refusals;
mod round_trip;
