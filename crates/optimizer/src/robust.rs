//! Robust statistics on small samples: medians, quantiles and a linear fit that outliers cannot drag away.
//!
//! Workers share machines, networks fail briefly, runs resume from checkpoints: single runs can be far from typical.
//! Everything that is learned from runs goes through these functions. None of them panics on empty or non-finite input.

/// The `q`-quantile (0 to 1) by linear interpolation; `None` without finite values.
#[must_use]
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "samples are far below 2^52")]
    let position = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and len - 1")]
    let low = position.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    Some(sorted[low] + (sorted[high] - sorted[low]) * position.fract())
}

/// The median; `None` without finite values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// One observation of a linear fit: features and the value they should add up to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<const N: usize> {
    pub(crate) x: [f64; N],
    pub(crate) y: f64,
}

impl<const N: usize> Row<N> {
    pub(crate) fn predicted(&self, coefficients: &[f64; N]) -> f64 {
        self.x.iter().zip(coefficients).map(|(x, c)| x * c).sum()
    }

    /// The row in units of `size`, so that long runs do not outweigh short ones.
    fn over(&self, size: f64) -> Self {
        Self { x: self.x.map(|x| x / size), y: self.y / size }
    }
}

/// What a fit assumes before it sees rows: a mean for each coefficient, and how far it may reasonably be off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belief<const N: usize> {
    pub(crate) mean: [f64; N],
    pub(crate) spread: [f64; N],
}

/// Relative noise that a belief is weighted against: how much two equal runs differ on an idle machine.
const NOISE: f64 = 0.05;
/// Residuals beyond this many scales have bounded influence (Huber); 95 % efficient on normal noise.
const HUBER: f64 = 1.345;
/// Residuals beyond this many scales are dropped (Tukey's biweight); 95 % efficient on normal noise.
const TUKEY: f64 = 4.685;
/// Smallest relative scale of residuals, so that a perfect fit does not reject ordinary rows.
const SCALE_MIN: f64 = 0.01;
/// Smallest prediction that errors are measured by, relative to the observation.
const PREDICTED_MIN: f64 = 0.01;
/// Rounds of reweighting with bounded influence. They come first, since dropping rows is only safe near the solution.
const HUBER_ROUNDS: usize = 12;
/// Rounds of reweighting that drop outliers.
const TUKEY_ROUNDS: usize = 8;

/// Fits non-negative coefficients to relative residuals, starting from a belief that also regularises the fit. The belief
/// decides what the rows leave open (two features that always change together); the rows decide everything else.
///
/// Residuals are relative to the prediction, not to the observation: a run that is far too quick counts at most once that way,
/// where division by its own seconds would let it outweigh all others.
pub(crate) fn fit<const N: usize>(rows: &[Row<N>], belief: &Belief<N>) -> [f64; N] {
    let rows: Vec<_> =
        rows.iter().filter(|r| r.y > 0.0 && r.y.is_finite() && r.x.iter().all(|x| x.is_finite())).collect();
    let mut coefficients = belief.mean;
    if rows.is_empty() {
        return coefficients;
    }
    for round in 0..HUBER_ROUNDS + TUKEY_ROUNDS {
        // A prediction of next to nothing says nothing about the size of an error.
        let sizes: Vec<f64> = rows.iter().map(|row| row.predicted(&coefficients).max(row.y * PREDICTED_MIN)).collect();
        let relative: Vec<Row<N>> = rows.iter().zip(&sizes).map(|(row, size)| row.over(*size)).collect();
        let residuals: Vec<f64> = relative.iter().map(|row| row.y - row.predicted(&coefficients)).collect();
        let distances: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
        let scale = median(&distances).map_or(SCALE_MIN, |mad| (1.4826 * mad).max(SCALE_MIN));
        let weight = |residual: f64| {
            let u = residual.abs() / scale;
            if round < HUBER_ROUNDS {
                if u <= HUBER { 1.0 } else { HUBER / u }
            } else if u < TUKEY {
                (1.0 - (u / TUKEY).powi(2)).powi(2)
            } else {
                0.0
            }
        };
        let weighted: Vec<_> = relative.iter().zip(&residuals).map(|(row, r)| (*row, weight(*r))).collect();
        coefficients = solve_non_negative(&weighted, belief);
    }
    coefficients
}

/// Weighted ridge solution of relative rows with negative coefficients pinned to zero, one at a time.
fn solve_non_negative<const N: usize>(rows: &[(Row<N>, f64)], belief: &Belief<N>) -> [f64; N] {
    let mut pinned = [false; N];
    loop {
        let solution = solve_ridge(rows, belief, &pinned);
        let worst = (0..N).filter(|&i| solution[i] < 0.0).min_by(|&a, &b| solution[a].total_cmp(&solution[b]));
        match worst {
            Some(i) => pinned[i] = true,
            None => return solution,
        }
    }
}

fn solve_ridge<const N: usize>(rows: &[(Row<N>, f64)], belief: &Belief<N>, pinned: &[bool; N]) -> [f64; N] {
    let mut matrix = [[0.0; N]; N];
    let mut right = [0.0; N];
    for (row, weight) in rows {
        for i in 0..N {
            right[i] += weight * row.x[i] * row.y;
            for (cell, other) in matrix[i].iter_mut().zip(&row.x) {
                *cell += weight * row.x[i] * other;
            }
        }
    }
    for i in 0..N {
        let stiffness = (NOISE / belief.spread[i].max(f64::MIN_POSITIVE)).powi(2).min(1e12);
        matrix[i][i] += stiffness;
        right[i] += stiffness * belief.mean[i];
    }
    for i in (0..N).filter(|&i| pinned[i]) {
        matrix[i] = [0.0; N];
        for row in &mut matrix {
            row[i] = 0.0;
        }
        matrix[i][i] = 1.0;
        right[i] = 0.0;
    }
    eliminate(matrix, right).unwrap_or(belief.mean)
}

/// Gaussian elimination with pivoting; `None` when the system is singular.
fn eliminate<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = (column..N).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let head = matrix[column][column];
        if !head.is_finite() || head.abs() < 1e-300 {
            return None;
        }
        for row in column + 1..N {
            let factor = matrix[row][column] / head;
            let upper = matrix[column];
            for (value, above) in matrix[row].iter_mut().zip(upper).skip(column) {
                *value -= factor * above;
            }
            right[row] -= factor * right[column];
        }
    }
    let mut solution = [0.0; N];
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|j| matrix[row][j] * solution[j]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution.iter().all(|v| v.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_ignore_what_is_not_finite() {
        assert_eq!(median(&[3.0, 1.0, f64::NAN, 2.0]), Some(2.0));
        assert_eq!(quantile(&[0.0, 10.0], 0.9), Some(9.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_fit_finds_the_line_through_gross_outliers() {
        let rows: Vec<_> = (1..40)
            .map(|i| {
                let steps = f64::from(10 + i);
                let clean = 3.0 * steps + 7.0;
                Row { x: [steps, 1.0], y: if i % 8 == 0 { clean * 6.0 } else { clean } }
            })
            .collect();
        let found = fit(&rows, &Belief { mean: [5.0, 0.0], spread: [5.0, 20.0] });
        assert!((found[0] - 3.0).abs() < 0.02, "{found:?}");
        assert!((found[1] - 7.0).abs() < 0.8, "{found:?}");
    }

    /// A few rows of another machine, however quick it is, do not move the line of the many.
    #[test]
    fn a_fit_is_not_dragged_away_by_rows_that_are_far_too_small() {
        for factor in [0.3, 0.1, 0.01] {
            let rows: Vec<_> = (0..24)
                .map(|i| {
                    let steps = f64::from(10 + i);
                    let clean = 3.0 * steps + 7.0;
                    Row { x: [steps, 1.0], y: if i % 4 == 0 { clean * factor } else { clean } }
                })
                .collect();
            let found = fit(&rows, &Belief { mean: [3.5, 0.0], spread: [3.5, 20.0] });
            assert!((found[0] - 3.0).abs() < 0.05 && (found[1] - 7.0).abs() < 1.5, "{factor}: {found:?}");
        }
    }

    #[test]
    fn coefficients_never_become_negative() {
        let rows: Vec<_> = (5..30).map(|i| Row { x: [f64::from(i), 1.0], y: 2.0 * f64::from(i) - 4.0 }).collect();
        let found = fit(&rows, &Belief { mean: [1.0, 0.0], spread: [1.0, 1.0] });
        assert!(found[1] == 0.0 && found[0] > 1.5, "{found:?}");
    }
}
