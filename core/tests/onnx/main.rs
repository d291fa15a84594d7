//! ONNX models: out and in again, in from others, and in from those who mean harm.

mod hostile;
mod import;
mod model;
mod oracle;
#[path = "../random/mod.rs"]
mod random;
mod round_trip;
