//! The world of the default model: what its clips may show, a program that draws them, and a reader that derives from the
//! pixels alone what a clip shows.
//!
//! The same words, numbers and rules as in `models/default/training` (`shapes.py`, `words.toml`, `reader.py`), so that a test
//! can ask whether a rendered video shows what its prompt says. Nothing here is learned and nothing knows the prompt.

mod draw;
mod outline;
mod reader;
mod score;

pub use self::{
    draw::draw,
    reader::{Clip, Reading, read},
    score::Score,
};

/// A colour as the reader sees it: red, green, blue, 0 to 255.
pub type Rgb = [f64; 3];

/// Colours of the object.
pub(crate) const COLORS: [(&str, Rgb); 8] = [
    ("red", [225.0, 30.0, 35.0]),
    ("orange", [255.0, 140.0, 15.0]),
    ("yellow", [250.0, 235.0, 40.0]),
    ("green", [60.0, 225.0, 60.0]),
    ("blue", [40.0, 60.0, 235.0]),
    ("purple", [145.0, 40.0, 190.0]),
    ("pink", [255.0, 120.0, 205.0]),
    ("cyan", [30.0, 230.0, 235.0]),
];
/// Sizes: radius in pixels of the circle of the same area, in a frame whose shorter side is [`FRAME_SIDE`].
pub(crate) const SIZES: [(&str, f64); 3] = [("small", 8.5), ("medium", 12.0), ("large", 16.5)];
/// The side that [`SIZES`] refer to.
pub(crate) const FRAME_SIDE: f64 = 64.0;
/// Shapes.
pub(crate) const SHAPES: [&str; 4] = ["ball", "square", "triangle", "star"];
/// Motions, each with its plainest wording.
pub(crate) const MOTIONS: [(&str, &str); 9] = [
    ("right", "moves to the right"),
    ("left", "moves to the left"),
    ("up", "moves up"),
    ("down", "moves down"),
    ("bounce", "bounces"),
    ("spin", "spins"),
    ("grow", "grows"),
    ("shrink", "shrinks"),
    ("stay", "stays still"),
];
/// Backgrounds, each with its plainest wording and its colours at the top and at the bottom.
pub(crate) const BACKGROUNDS: [(&str, &str, Rgb, Rgb); 7] = [
    ("grass", "on the grass", [66.0, 112.0, 46.0], [38.0, 78.0, 26.0]),
    ("sky", "in the sky", [140.0, 190.0, 235.0], [205.0, 230.0, 250.0]),
    ("sand", "on the sand", [232.0, 208.0, 160.0], [196.0, 164.0, 112.0]),
    ("night", "at night", [8.0, 10.0, 30.0], [32.0, 34.0, 76.0]),
    ("snow", "on the snow", [240.0, 244.0, 250.0], [212.0, 220.0, 234.0]),
    ("sea", "in the sea", [26.0, 96.0, 132.0], [8.0, 54.0, 92.0]),
    ("road", "on the road", [128.0, 128.0, 132.0], [84.0, 84.0, 90.0]),
];

/// What a clip shows, in the words of the tables above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// Of [`COLORS`].
    pub color: &'static str,
    /// Of [`SIZES`].
    pub size: &'static str,
    /// Of [`SHAPES`].
    pub shape: &'static str,
    /// Of [`MOTIONS`].
    pub motion: &'static str,
    /// Of [`BACKGROUNDS`].
    pub background: &'static str,
}

impl Scene {
    /// Every scene that can be drawn; a spinning ball would look like a resting one, so there is none.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut scenes = Vec::new();
        for (color, _) in COLORS {
            for (size, _) in SIZES {
                for shape in SHAPES {
                    for (motion, _) in MOTIONS {
                        for (background, ..) in BACKGROUNDS {
                            if (shape, motion) != ("ball", "spin") {
                                scenes.push(Self { color, size, shape, motion, background });
                            }
                        }
                    }
                }
            }
        }
        scenes
    }

    /// Whether the training never saw this scene: about 6 % of them, spread evenly.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        let key = [self.color, self.size, self.shape, self.motion, self.background].join("/");
        let hash = key.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        hash % 1009 % 17 == 0
    }

    /// The one plain wording of the scene.
    #[must_use]
    pub fn prompt(&self) -> String {
        let motion = MOTIONS.iter().find(|(name, _)| *name == self.motion).map_or("", |(_, words)| words);
        let place = BACKGROUNDS.iter().find(|(name, ..)| *name == self.background).map_or("", |(_, words, ..)| words);
        format!("a {} {} {} {motion} {place}", self.size, self.color, self.shape)
    }
}

/// The colour of each row of an empty background.
fn background_rows((_, _, top, bottom): (&str, &str, Rgb, Rgb), height: usize) -> Vec<Rgb> {
    let last = (height.max(2) - 1) as f64;
    (0..height).map(|row| std::array::from_fn(|c| top[c] + (bottom[c] - top[c]) * row as f64 / last)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_has_one_plain_wording() {
        let scene = Scene { color: "red", size: "large", shape: "ball", motion: "right", background: "snow" };
        assert_eq!(scene.prompt(), "a large red ball moves to the right on the snow");
    }

    #[test]
    fn some_scenes_of_every_kind_are_held_out() {
        let scenes = Scene::all();
        assert_eq!(scenes.len(), 5880);
        let held_out: Vec<_> = scenes.iter().filter(|scene| scene.is_held_out()).collect();
        assert!((250..450).contains(&held_out.len()), "{}", held_out.len());
        for (motion, _) in MOTIONS {
            assert!(held_out.iter().any(|scene| scene.motion == motion), "{motion}");
        }
    }
}
