//! The outlines, as signed distances.

/// A class of shapes. Each is its own mirror image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Square,
    Triangle,
    Star,
    Plus,
    Crescent,
    Heart,
    Hexagon,
    BowTie,
}

impl Outline {
    /// Every class, in label order.
    pub(super) const ALL: [Self; 10] = [
        Self::Disc,
        Self::Ring,
        Self::Square,
        Self::Triangle,
        Self::Star,
        Self::Plus,
        Self::Crescent,
        Self::Heart,
        Self::Hexagon,
        Self::BowTie,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Ring => "ring",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Plus => "plus",
            Self::Crescent => "crescent",
            Self::Heart => "heart",
            Self::Hexagon => "hexagon",
            Self::BowTie => "bow_tie",
        }
    }

    /// How far `(x, y)` is outside the outline, which has a radius of about 1: negative inside,
    /// exact or a little less than the distance near the edge.
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        // Cosines and a sine of 30 and 36 degrees.
        const COS_30: f32 = 0.866_025_4;
        const COS_36: f32 = 0.809_017;
        const SIN_36: f32 = 0.587_785_25;
        let radius = (x * x + y * y).sqrt();
        // The mirror that every outline has.
        let x = x.abs();
        match self {
            Self::Disc => radius - 0.85,
            Self::Ring => (radius - 0.66).abs() - 0.24,
            Self::Square => x.max(y.abs()) - 0.76,
            Self::Triangle => (COS_30 * x + 0.5 * y).max(-y) - 0.52,
            Self::Star => {
                // Onto a tenth of the plane by its mirrors, then one edge from tip to notch.
                let fold = |(x, y): (f32, f32), nx: f32, ny: f32| {
                    let beyond = (x * nx + y * ny).max(0.0);
                    (x - 2.0 * beyond * nx, y - 2.0 * beyond * ny)
                };
                let (x, y) = fold(fold((x, y), COS_36, -SIN_36), -COS_36, -SIN_36);
                let x = x.abs();
                // From the tip (0, 1.05) to the notch at 36 degrees and radius 0.45.
                let (tip_y, notch) = (1.05, (0.45 * SIN_36, 0.45 * COS_36));
                let (edge_x, edge_y) = (notch.0, notch.1 - tip_y);
                let length = (edge_x * edge_x + edge_y * edge_y).sqrt();
                ((y - tip_y) * edge_x - x * edge_y) / length
            }
            Self::Plus => {
                let (long, short) = (x.max(y.abs()), x.min(y.abs()));
                (long - 0.95).max(short - 0.3)
            }
            Self::Crescent => {
                let bite = (x * x + (y - 0.5) * (y - 0.5)).sqrt();
                (radius - 0.95).max(0.72 - bite)
            }
            Self::Heart => {
                let lobe = ((x - 0.42) * (x - 0.42) + (y - 0.3) * (y - 0.3)).sqrt() - 0.52;
                let point = ((x + 0.05) * 0.75 - (y + 0.92) * 0.66).max(y - 0.3).max(x - 0.94);
                lobe.min(point)
            }
            Self::Hexagon => (COS_30 * y.abs() + 0.5 * x).max(x) - 0.8,
            Self::BowTie => (x - 0.88).max(0.77 * y.abs() - 0.64 * x - 0.06),
        }
    }
}
