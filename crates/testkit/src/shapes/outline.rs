//! The outline of an object: how far it reaches from its centre in each direction.

use std::f64::consts::PI;

/// Directions.
const ANGLES: usize = 72;
const CORNERS: [(&str, f64); 3] = [("triangle", 3.0), ("square", 4.0), ("star", 5.0)];
/// Strongest outline wave, relative to the mean radius, below which it is a ball: half way between drawn balls (0.001) and squares
/// (0.068).
const ROUND: f64 = 0.035;
/// Overlap of first and later outline below which the object has turned.
const SAME: f64 = 0.86;

/// How much of each pixel of one frame the object covers, 0 to 1.
#[derive(Debug)]
pub(super) struct Mask {
    pub(super) cover: Vec<f64>,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outline([f64; ANGLES]);

impl Mask {
    pub(super) fn area(&self) -> f64 {
        self.cover.iter().sum()
    }

    /// Centre of the covered area, pixels.
    pub(super) fn centre(&self) -> (f64, f64) {
        let (mut x, mut y) = (0.0, 0.0);
        for (index, cover) in self.cover.iter().enumerate() {
            x += cover * ((index % self.width) as f64 + 0.5);
            y += cover * ((index / self.width) as f64 + 0.5);
        }
        let area = self.area();
        (x / area, y / area)
    }

    /// Whether the object reaches the edge of the frame.
    pub(super) fn touches_edge(&self) -> bool {
        let on_edge = |index: usize| {
            let (row, column) = (index / self.width, index % self.width);
            row == 0 || column == 0 || row + 1 == self.height || column + 1 == self.width
        };
        self.cover.iter().enumerate().any(|(index, cover)| *cover > 0.5 && on_edge(index))
    }

    /// Coverage summed along rays from the centre, `reach` pixels far.
    pub(super) fn outline(&self, (x, y): (f64, f64), reach: f64) -> Outline {
        Outline(std::array::from_fn(|direction| {
            let (sin, cos) = (direction as f64 * 2.0 * PI / ANGLES as f64).sin_cos();
            let distances = (0..).map(|step| 0.25 + 0.5 * f64::from(step)).take_while(|distance| *distance < reach);
            distances.map(|distance| self.at(x + cos * distance - 0.5, y + sin * distance - 0.5)).sum::<f64>() * 0.5
        }))
    }

    /// Coverage between the pixels; 0 outside the frame.
    fn at(&self, column: f64, row: f64) -> f64 {
        let (left, top) = (column.floor(), row.floor());
        let (right_part, low_part) = (column - left, row - top);
        let pixel = |row: f64, column: f64| {
            let inside = row >= 0.0 && column >= 0.0 && row < self.height as f64 && column < self.width as f64;
            if inside { self.cover[row as usize * self.width + column as usize] } else { 0.0 }
        };
        (1.0 - low_part) * ((1.0 - right_part) * pixel(top, left) + right_part * pixel(top, left + 1.0))
            + low_part * ((1.0 - right_part) * pixel(top + 1.0, left) + right_part * pixel(top + 1.0, left + 1.0))
    }
}

impl Outline {
    fn mean(&self) -> f64 {
        (self.0.iter().sum::<f64>() / ANGLES as f64).max(1e-6)
    }

    /// How strongly the outline waves `corners` times around, relative to its mean.
    fn wave(&self, corners: f64) -> f64 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (direction, distance) in self.0.iter().enumerate() {
            let (sin, cos) = (corners * direction as f64 * 2.0 * PI / ANGLES as f64).sin_cos();
            real += distance * cos;
            imaginary += distance * sin;
        }
        real.hypot(imaginary) / ANGLES as f64 / self.mean()
    }

    /// Whether it is another outline than `first`, both scaled to mean radius one around a common centre.
    pub(super) fn has_turned_from(&self, first: &Self) -> bool {
        let (own, other) = (self.mean(), first.mean());
        let pairs = self.0.iter().zip(&first.0).map(|(a, b)| (a / own, b / other));
        let (mut common, mut either) = (0.0, 0.0);
        for (a, b) in pairs {
            common += a.min(b).powi(2);
            either += a.max(b).powi(2);
        }
        common / either < SAME
    }
}

/// The shape whose number of corners is the strongest wave of the outlines.
pub(super) fn shape(outlines: &[&Outline]) -> &'static str {
    let strength = |corners| outlines.iter().map(|outline| outline.wave(corners)).sum::<f64>() / outlines.len() as f64;
    let strengths = CORNERS.map(|(name, corners)| (name, strength(corners)));
    let strongest = strengths.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    strongest.filter(|(_, strength)| *strength > ROUND).map_or("ball", |(name, _)| name)
}
