//! Reads from the pixels alone what a clip shows.
//!
//! The columns at the left and right edge give the background row by row; what differs from it is the object; its colour, and
//! how far each pixel has gone from background to that colour, give coverage; sums over coverage give area and centre;
//! the outline's distance from the centre gives the shape.

use super::{
    BACKGROUNDS, COLORS, FRAME_SIDE, Rgb, SIZES, background_rows,
    outline::{Mask, Outline, shape},
};

const EDGE_COLUMNS: usize = 3;
/// RGB distance from the background above which a pixel belongs to the object.
const DIFFERS: f64 = 45.0;
/// Pixels that differ, in the mean of a frame, below which there is no object.
const LEAST_PIXELS: usize = 20;
/// Area at the end over area at the start.
const GROWTH: f64 = 1.6;
/// Of the shorter side: less is no movement.
const TRAVEL: f64 = 0.09;
/// Frames whose object is smaller than this part of the largest one are left out.
const VISIBLE: f64 = 0.2;

/// Frames of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Clip<'a> {
    /// Rows of RGB bytes, frame after frame.
    pub rgb: &'a [u8],
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// What was read; none for all but the background when there is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Of [`BACKGROUNDS`].
    pub background: &'static str,
    /// Of [`COLORS`].
    pub color: Option<&'static str>,
    /// Of [`SIZES`].
    pub size: Option<&'static str>,
    /// Of [`super::SHAPES`].
    pub shape: Option<&'static str>,
    /// Of [`super::MOTIONS`].
    pub motion: Option<&'static str>,
}

impl Clip<'_> {
    fn frames(&self) -> usize {
        self.rgb.len() / (self.width * self.height * 3)
    }

    fn pixel(&self, frame: usize, row: usize, column: usize) -> Rgb {
        let start = ((frame * self.height + row) * self.width + column) * 3;
        std::array::from_fn(|c| f64::from(self.rgb[start + c]))
    }
}

/// One frame with its object.
struct Seen {
    mask: Mask,
    area: f64,
    x: f64,
    y: f64,
    outline: Outline,
}

/// Reads a clip.
///
/// # Panics
/// If there is no whole frame.
#[must_use]
pub fn read(clip: Clip<'_>) -> Reading {
    assert!(clip.frames() > 0, "no frame of {}x{} in {} bytes", clip.width, clip.height, clip.rgb.len());
    let rows = edge_rows(clip);
    let background = nearest_background(&rows);
    let nothing = Reading { background, color: None, size: None, shape: None, motion: None };
    let Some((color, masks)) = coverage(clip, &rows) else { return nothing };

    let side = clip.width.min(clip.height) as f64;
    let largest = masks.iter().map(Mask::area).fold(0.0, f64::max);
    let seen: Vec<Seen> = masks
        .into_iter()
        .filter(|mask| mask.area() > VISIBLE * largest)
        .map(|mask| {
            let (x, y) = mask.centre();
            Seen { area: mask.area(), x, y, outline: mask.outline((x, y), 0.6 * side), mask }
        })
        .collect();

    Reading {
        background,
        color: nearest(&COLORS, |known| distance(known, color)),
        size: nearest(&SIZES, |radius| (radius - seen_radius(&seen, side)).abs()),
        shape: Some(shape(&best_outlines(&seen))),
        motion: Some(motion(&seen, side)),
    }
}

/// The colour of each row, by its pixels at both edges in all frames.
fn edge_rows(clip: Clip<'_>) -> Vec<Rgb> {
    let columns = || (0..EDGE_COLUMNS).chain(clip.width - EDGE_COLUMNS..clip.width);
    let row_pixels =
        |row| (0..clip.frames()).flat_map(move |frame| columns().map(move |column| clip.pixel(frame, row, column)));
    (0..clip.height).map(|row| median_color(&row_pixels(row).collect::<Vec<_>>())).collect()
}

fn nearest_background(rows: &[Rgb]) -> &'static str {
    let difference = |known| -> f64 {
        let known = background_rows(known, rows.len());
        known.iter().zip(rows).map(|(a, b)| (0..3).map(|c| (a[c] - b[c]).abs()).sum::<f64>()).sum()
    };
    BACKGROUNDS.into_iter().min_by(|a, b| difference(*a).total_cmp(&difference(*b))).map_or("", |(name, ..)| name)
}

/// The object's colour and its coverage of each frame, or none when nothing differs from the background.
fn coverage(clip: Clip<'_>, rows: &[Rgb]) -> Option<(Rgb, Vec<Mask>)> {
    let frame_pixels = clip.width * clip.height;
    let pixels: Vec<(Rgb, Rgb)> = (0..clip.frames() * frame_pixels)
        .map(|index| {
            let (frame, row, column) = (index / frame_pixels, index % frame_pixels / clip.width, index % clip.width);
            (clip.pixel(frame, row, column), rows[row])
        })
        .collect();
    let mut differing: Vec<f64> = pixels.iter().map(|(pixel, back)| distance(*pixel, *back)).collect();
    differing.retain(|distance| *distance > DIFFERS);
    if differing.len() < LEAST_PIXELS * clip.frames() {
        return None;
    }
    let core = DIFFERS.max(median(&mut differing) * 0.8);
    let inner: Vec<Rgb> =
        pixels.iter().filter(|(pixel, back)| distance(*pixel, *back) > core).map(|(pixel, _)| *pixel).collect();
    let color = median_color(&inner);

    let cover = |(pixel, back): &(Rgb, Rgb)| {
        if distance(*pixel, *back) <= DIFFERS / 3.0 {
            return 0.0;
        }
        let along: f64 = (0..3).map(|c| (pixel[c] - back[c]) * (color[c] - back[c])).sum();
        (along / distance(color, *back).powi(2)).clamp(0.0, 1.0)
    };
    let masks = pixels.chunks_exact(frame_pixels).map(|frame| Mask {
        cover: frame.iter().map(cover).collect(),
        width: clip.width,
        height: clip.height,
    });
    Some((color, masks.collect()))
}

/// Radius of the circle of the same area, in the frames where it is largest, at the scale of [`SIZES`].
fn seen_radius(seen: &[Seen], side: f64) -> f64 {
    let mut areas: Vec<f64> = seen.iter().map(|frame| frame.area).collect();
    areas.sort_by(f64::total_cmp);
    let largest = &areas[areas.len().saturating_sub(3)..];
    (mean(largest.iter().copied()) / std::f64::consts::PI).sqrt() * FRAME_SIDE / side
}

/// The outlines of the larger half of the frames in which all of the object is in sight.
fn best_outlines(seen: &[Seen]) -> Vec<&Outline> {
    let mut whole: Vec<&Seen> = seen.iter().filter(|frame| !frame.mask.touches_edge()).collect();
    if whole.is_empty() {
        whole = seen.iter().collect();
    }
    whole.sort_by(|a, b| b.area.total_cmp(&a.area));
    whole.truncate((whole.len() / 2).max(1));
    whole.into_iter().map(|frame| &frame.outline).collect()
}

fn motion(seen: &[Seen], side: f64) -> &'static str {
    if seen.len() < 2 {
        return "stay";
    }
    let few = seen.len().min(3);
    let (start, end) = (&seen[..few], &seen[seen.len() - few..]);
    let change = |of: fn(&Seen) -> f64| (mean(start.iter().map(of)), mean(end.iter().map(of)));
    let (before, after) = change(|frame| frame.area);
    if after / before > GROWTH {
        return "grow";
    }
    if after / before < 1.0 / GROWTH {
        return "shrink";
    }
    let ((x0, x1), (y0, y1)) = (change(|frame| frame.x), change(|frame| frame.y));
    let (dx, dy) = (x1 - x0, y1 - y0);
    if dx.abs().max(dy.abs()) > TRAVEL * side {
        return match dx.abs() > dy.abs() {
            true if dx > 0.0 => "right",
            true => "left",
            false if dy > 0.0 => "down",
            false => "up",
        };
    }
    let highest = seen.iter().map(|frame| frame.y).fold(f64::INFINITY, f64::min);
    let lowest = seen.iter().map(|frame| frame.y).fold(f64::NEG_INFINITY, f64::max);
    if lowest - highest > TRAVEL * side {
        return "bounce";
    }
    if seen.iter().any(|frame| frame.outline.has_turned_from(&seen[0].outline)) { "spin" } else { "stay" }
}

fn nearest<T: Copy>(table: &[(&'static str, T)], difference: impl Fn(T) -> f64) -> Option<&'static str> {
    let best = table.iter().min_by(|a, b| difference(a.1).total_cmp(&difference(b.1)));
    best.map(|(name, _)| *name)
}

fn distance(a: Rgb, b: Rgb) -> f64 {
    (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>().sqrt()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Between the two middle values when their number is even.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn median_color(pixels: &[Rgb]) -> Rgb {
    std::array::from_fn(|c| median(&mut pixels.iter().map(|pixel| pixel[c]).collect::<Vec<_>>()))
}
