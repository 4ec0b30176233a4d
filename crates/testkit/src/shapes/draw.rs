//! Draws a scene as the training did: anti-aliased, with areas (not radii) that define the sizes.

use std::f64::consts::PI;

use super::{BACKGROUNDS, COLORS, FRAME_SIDE, SIZES, Scene, background_rows};

const SPIN_RADIANS: f64 = 160.0 / 180.0 * PI;
/// A growing shape starts at this fraction of its size.
const SMALLEST_SCALE: f64 = 0.5;
/// Width of the soft edge, pixels.
const EDGE: f64 = 1.4;

/// Where the object is at one moment.
struct Pose {
    x: f64,
    y: f64,
    scale: f64,
    angle: f64,
}

/// A clip of square frames as rows of RGB bytes, frame after frame. `jitter` chooses, from -1 to 1 each, what the scene leaves
/// open: start in x and in y, and how far it travels.
#[must_use]
pub fn draw(scene: &Scene, jitter: [f64; 3], frames: usize, side: usize) -> Vec<u8> {
    let pixels = side as f64;
    let radius = value(&SIZES, scene.size) * pixels / FRAME_SIDE;
    let color = value(&COLORS, scene.color);
    let corners = corners(scene.shape);
    let behind = BACKGROUNDS.into_iter().find(|(name, ..)| *name == scene.background).map(|b| background_rows(b, side));
    let behind = behind.unwrap_or_else(|| panic!("no background {}", scene.background));
    let mut rgb = Vec::with_capacity(frames * side * side * 3);
    for frame in 0..frames {
        let pose = pose(scene, radius, jitter, frame as f64 / (frames - 1) as f64, pixels);
        let size = radius * pose.scale;
        let (sin, cos) = pose.angle.sin_cos();
        for (row, back) in behind.iter().enumerate() {
            for column in 0..side {
                let dx = (column as f64 + 0.5 - pose.x) / size;
                let dy = (row as f64 + 0.5 - pose.y) / size;
                let distance = signed_distance(corners.as_deref(), dx * cos + dy * sin, dy * cos - dx * sin) * size;
                let cover = (0.5 - distance / EDGE).clamp(0.0, 1.0);
                rgb.extend((0..3).map(|c| (back[c] * (1.0 - cover) + color[c] * cover).round() as u8));
            }
        }
    }
    rgb
}

fn value<T: Copy>(table: &[(&str, T)], name: &str) -> T {
    table.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// Corners around the origin (y grows downwards), scaled to the area of the unit circle; none for a ball.
fn corners(shape: &str) -> Option<Vec<(f64, f64)>> {
    let around = |count: usize, radius: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        (0..count)
            .map(|i| (i, i as f64 * 2.0 * PI / count as f64))
            .map(|(i, angle)| (radius(i) * angle.sin(), -radius(i) * angle.cos()))
            .collect()
    };
    let corners = match shape {
        "ball" => return None,
        "star" => around(10, &|i| if i % 2 == 0 { 1.0 } else { 0.48 }),
        "triangle" => around(3, &|_| 1.0),
        "square" => vec![(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
        other => panic!("no shape {other}"),
    };
    let doubled: f64 = edges(&corners).map(|((ax, ay), (bx, by))| ax * by - ay * bx).sum();
    let scale = (PI / (doubled.abs() / 2.0)).sqrt();
    Some(corners.iter().map(|(x, y)| (x * scale, y * scale)).collect())
}

fn edges(corners: &[(f64, f64)]) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
    corners.iter().copied().zip(corners.iter().copied().cycle().skip(1))
}

/// Distance to the outline of a shape of unit area, negative inside.
fn signed_distance(corners: Option<&[(f64, f64)]>, x: f64, y: f64) -> f64 {
    let Some(corners) = corners else { return x.hypot(y) - 1.0 };
    let (mut nearest, mut inside) = (f64::INFINITY, false);
    for ((ax, ay), (bx, by)) in edges(corners) {
        let (ex, ey) = (bx - ax, by - ay);
        let along = (((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
        nearest = nearest.min((x - ax - along * ex).hypot(y - ay - along * ey));
        if (ay > y) != (by > y) && x < ex * (y - ay) / ey + ax {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

fn pose(scene: &Scene, radius: f64, jitter: [f64; 3], time: f64, pixels: f64) -> Pose {
    let reach = corners(scene.shape)
        .map_or(1.0, |corners| corners.iter().map(|(x, y)| x.abs().max(y.abs())).fold(0.0, f64::max))
        * radius;
    let (middle, free) = (pixels / 2.0, (pixels / 2.0 - reach - 1.0).max(3.0));
    let start = |jitter: f64| middle + jitter * free.min(9.0);
    let far = free.max(8.0);
    let travel = 1.0 - 0.15 * (jitter[2] + 1.0) / 2.0;
    let sweep = (2.0 * time - 1.0) * travel * far;
    let mut pose = Pose { x: start(jitter[0]), y: start(jitter[1]), scale: 1.0, angle: 0.0 };
    match scene.motion {
        "right" => pose.x = middle + sweep,
        "left" => pose.x = middle - sweep,
        "down" => pose.y = middle + sweep,
        "up" => pose.y = middle - sweep,
        "bounce" => pose.y = middle + far * (1.0 - 2.0 * travel * (2.0 * PI * time).sin().abs()),
        "spin" => pose.angle = time * SPIN_RADIANS,
        "grow" => pose.scale = SMALLEST_SCALE + (1.0 - SMALLEST_SCALE) * time,
        "shrink" => pose.scale = 1.0 - (1.0 - SMALLEST_SCALE) * time,
        _ => {}
    }
    pose
}
