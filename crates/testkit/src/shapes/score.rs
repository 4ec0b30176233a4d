//! How many clips show what they should, for each property.

use super::{Reading, Scene};

/// Counts of right readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Clips read.
    pub clips: u32,
    /// Right background.
    pub background: u32,
    /// Right colour.
    pub color: u32,
    /// Right motion.
    pub motion: u32,
    /// Right shape.
    pub shape: u32,
    /// Right size.
    pub size: u32,
    /// Everything right.
    pub all: u32,
}

impl Score {
    /// The columns of [`Score::shares`].
    pub const COLUMNS: [&'static str; 6] = ["background", "colour", "motion", "shape", "size", "all five"];

    /// Counts one clip.
    pub fn add(&mut self, scene: &Scene, reading: &Reading) {
        let hits = [
            reading.background == scene.background,
            reading.color == Some(scene.color),
            reading.motion == Some(scene.motion),
            reading.shape == Some(scene.shape),
            reading.size == Some(scene.size),
        ];
        self.clips += 1;
        let counts = [&mut self.background, &mut self.color, &mut self.motion, &mut self.shape, &mut self.size];
        for (count, hit) in counts.into_iter().zip(hits) {
            *count += u32::from(hit);
        }
        self.all += u32::from(hits == [true; 5]);
    }

    /// Shares of right readings with three decimals, cut off and never rounded up.
    #[must_use]
    pub fn shares(&self) -> [String; 6] {
        [self.background, self.color, self.motion, self.shape, self.size, self.all].map(|count| {
            let thousandths = u64::from(count) * 1000 / u64::from(self.clips.max(1));
            format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Clip, Scene, draw, read},
        *,
    };

    /// Evenly spread numbers from -1 to 1, three for each clip.
    fn jitter(clip: usize) -> [f64; 3] {
        [0.754_877_666, 0.569_840_296, 0.381_966_011].map(|step| 2.0 * (clip as f64 * step).fract() - 1.0)
    }

    fn score(side: usize) -> Score {
        let mut score = Score::default();
        for (number, scene) in Scene::all().iter().step_by(11).enumerate() {
            let rgb = draw(scene, jitter(number), 17, side);
            score.add(scene, &read(Clip { rgb: &rgb, width: side, height: side }));
        }
        score
    }

    #[test]
    fn drawn_clips_are_read_right() {
        let score = score(64);
        assert!(score.clips > 500);
        for (name, right) in
            Score::COLUMNS.iter().zip([score.background, score.color, score.motion, score.shape, score.size, score.all])
        {
            assert!(right * 100 >= score.clips * 99, "{name}: {right} of {}", score.clips);
        }
    }

    #[test]
    fn an_empty_clip_has_only_a_background() {
        let grey = vec![110; 17 * 64 * 64 * 3];
        let reading = read(Clip { rgb: &grey, width: 64, height: 64 });
        assert_eq!(reading, Reading { background: "road", color: None, size: None, shape: None, motion: None });
    }

    #[test]
    fn a_wrong_clip_counts_for_what_is_right_in_it() {
        let scene = Scene { color: "red", size: "large", shape: "star", motion: "left", background: "snow" };
        let other = Scene { color: "blue", motion: "right", ..scene };
        let rgb = draw(&other, [0.0; 3], 17, 64);
        let mut score = Score::default();
        score.add(&scene, &read(Clip { rgb: &rgb, width: 64, height: 64 }));
        assert_eq!(score.shares(), ["1.000", "0.000", "0.000", "1.000", "1.000", "0.000"]);
    }

    #[test]
    fn shares_are_never_rounded_up() {
        let score = Score { clips: 3, background: 2, ..Score::default() };
        assert_eq!(score.shares()[0], "0.666");
    }
}
