//! The pictures.

use super::outline::Outline;
use crate::rng::Stream;

/// Rows and columns of a picture.
pub(super) const SIDE: usize = 32;

/// Cells of the grid of colours that a background is interpolated from.
const CELLS: usize = 4;

/// A shape is at most this far from upright, in radians.
const TILT: f32 = 0.5;

type Colour = [f32; 3];

/// Draws a picture of `outline`: bytes `[3, SIDE, SIDE]`.
pub(super) fn draw(outline: Outline, stream: &mut Stream) -> Box<[u8]> {
    let mut canvas = Canvas { pixels: vec![[0.0; 3]; SIDE * SIDE] };
    let background = colour(stream);
    canvas.background(background, stream);
    for _ in 0..stream.below(3) {
        canvas.scrap(stream);
    }
    let mut paint = Paint::random(stream);
    while difference(paint.base, background) < 0.33 {
        paint.base = colour(stream);
    }
    let figure = Figure::random(stream);
    canvas.paint(&paint, |x, y| {
        let (x, y) = figure.local(x, y);
        outline.distance(x, y) * figure.radius
    });
    if stream.below(4) == 0 {
        canvas.cover(&figure, stream);
    }
    canvas.bytes(stream)
}

/// Where and how large a shape is.
struct Figure {
    x: f32,
    y: f32,
    radius: f32,
    cos: f32,
    sin: f32,
}

impl Figure {
    fn random(stream: &mut Stream) -> Self {
        let radius = stream.uniform(7.0, 13.0);
        // All but a tenth of the radius stays inside.
        let middle = SIDE as f32 / 2.0;
        let reach = middle - 0.9 * radius;
        let x = middle + stream.uniform(-reach, reach);
        let y = middle + stream.uniform(-reach, reach);
        let (sin, cos) = libm::sincosf(stream.uniform(-TILT, TILT));
        Self { x, y, radius, cos, sin }
    }

    /// Picture coordinates in the shape's own.
    fn local(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = ((x - self.x) / self.radius, (y - self.y) / self.radius);
        (self.cos * x + self.sin * y, self.cos * y - self.sin * x)
    }
}

/// A colour with stripes.
struct Paint {
    base: Colour,
    stripe: Colour,
    /// Periods a pixel, along x and y.
    frequency: (f32, f32),
    phase: f32,
}

impl Paint {
    fn random(stream: &mut Stream) -> Self {
        let base = colour(stream);
        let depth = stream.uniform(0.0, 0.2);
        let stripe = std::array::from_fn(|_| depth * stream.uniform(-1.0, 1.0));
        let (sin, cos) = direction(stream);
        let frequency = stream.uniform(0.05, 0.3);
        let phase = stream.uniform(0.0, 1.0);
        Self { base, stripe, frequency: (frequency * cos, frequency * sin), phase }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let periods = self.frequency.0 * x + self.frequency.1 * y + self.phase;
        // A triangle wave between -1 and 1.
        let wave = 4.0 * (periods - (periods + 0.5).floor()).abs() - 1.0;
        std::array::from_fn(|c| self.base[c] + wave * self.stripe[c])
    }
}

struct Canvas {
    pixels: Vec<Colour>,
}

impl Canvas {
    /// Smooth patches of colour around `base`, with stripes.
    fn background(&mut self, base: Colour, stream: &mut Stream) {
        let depth = stream.uniform(0.05, 0.2);
        let patches: [[Colour; CELLS + 1]; CELLS + 1] = std::array::from_fn(|_| {
            std::array::from_fn(|_| std::array::from_fn(|_| depth * stream.uniform(-1.0, 1.0)))
        });
        let paint = Paint { base, ..Paint::random(stream) };
        let scale = CELLS as f32 / SIDE as f32;
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            let (x, y) = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
            let (u, v) = (x * scale, y * scale);
            let (column, row) = (u as usize, v as usize);
            let (u, v) = (u - column as f32, v - row as f32);
            let under = paint.at(x, y);
            *pixel = std::array::from_fn(|c| {
                let above = lerp(patches[row][column][c], patches[row][column + 1][c], u);
                let below = lerp(patches[row + 1][column][c], patches[row + 1][column + 1][c], u);
                under[c] + lerp(above, below, v)
            });
        }
    }

    /// A bar or a blob, anywhere.
    fn scrap(&mut self, stream: &mut Stream) {
        let paint = Paint::random(stream);
        let side = SIDE as f32;
        let (x, y) = (stream.uniform(0.0, side), stream.uniform(0.0, side));
        let half_length = stream.uniform(1.0, 7.0);
        let half_width = stream.uniform(0.6, 2.0);
        self.bar(&paint, (x, y), direction(stream), half_length, half_width);
    }

    /// A bar over a part of `figure`.
    fn cover(&mut self, figure: &Figure, stream: &mut Stream) {
        let paint = Paint::random(stream);
        let (sin, cos) = direction(stream);
        let off = stream.uniform(0.1, 0.8) * figure.radius;
        let centre = (figure.x - sin * off, figure.y + cos * off);
        let half_width = stream.uniform(0.1, 0.25) * figure.radius;
        self.bar(&paint, centre, (sin, cos), SIDE as f32, half_width);
    }

    /// A bar with round ends.
    fn bar(
        &mut self,
        paint: &Paint,
        centre: (f32, f32),
        (sin, cos): (f32, f32),
        half_length: f32,
        half_width: f32,
    ) {
        self.paint(paint, |x, y| {
            let (x, y) = (x - centre.0, y - centre.1);
            let along = ((cos * x + sin * y).abs() - half_length).max(0.0);
            let across = cos * y - sin * x;
            (along * along + across * across).sqrt() - half_width
        });
    }

    /// Paints where `distance`, in pixels, is negative, with soft edges.
    fn paint(&mut self, paint: &Paint, distance: impl Fn(f32, f32) -> f32) {
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            let (x, y) = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
            let cover = (0.5 - distance(x, y)).clamp(0.0, 1.0);
            if cover > 0.0 {
                let over = paint.at(x, y);
                *pixel = std::array::from_fn(|c| lerp(pixel[c], over[c], cover));
            }
        }
    }

    /// The picture under noise, as bytes a plane.
    fn bytes(&self, stream: &mut Stream) -> Box<[u8]> {
        // The sum of four random bytes has the standard deviation 256 * sqrt(4 / 12) = 147.8.
        let scale = stream.uniform(0.01, 0.05) / 147.8;
        let mut bytes = vec![0; 3 * SIDE * SIDE].into_boxed_slice();
        for (c, plane) in bytes.chunks_exact_mut(SIDE * SIDE).enumerate() {
            for (byte, pixel) in plane.iter_mut().zip(&self.pixels) {
                let sum: i32 = stream.bits().to_le_bytes().map(i32::from).iter().sum();
                let noise = scale * (sum - 510) as f32;
                *byte = (255.0 * (pixel[c] + noise) + 0.5) as u8;
            }
        }
        bytes
    }
}

fn colour(stream: &mut Stream) -> Colour {
    std::array::from_fn(|_| stream.uniform(0.1, 0.9))
}

/// The mean absolute difference of two colours.
fn difference(a: Colour, b: Colour) -> f32 {
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f32>() / 3.0
}

/// Sine and cosine of a random angle.
fn direction(stream: &mut Stream) -> (f32, f32) {
    libm::sincosf(stream.uniform(0.0, std::f32::consts::TAU))
}

fn lerp(from: f32, to: f32, t: f32) -> f32 {
    from + t * (to - from)
}
