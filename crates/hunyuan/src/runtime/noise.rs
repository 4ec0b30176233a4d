//! The noise that a video starts from.
//!
//! The rule: a seed gives what torch's CPU generator gives for it, bit for bit, on every device. libtorch offers that generator
//! only as one that the whole process shares, and another thread may draw between our seeding and our drawing. So the beginning
//! of each draw is compared with what the seed must give, computed here, and a draw that began elsewhere is repeated.

use std::f32::consts::TAU;
use std::sync::{Mutex, PoisonError};

use rand_mt::Mt;
use tch::{Device, Kind, Tensor};

use crate::runtime::error::{Error, InOp, Result};

/// Failed draws after which the process's generator counts as unusable.
const MAX_DRAWS: usize = 64;

/// libtorch fills normal noise in groups of this many numbers; a smaller tensor takes another way through the generator.
const GROUP: usize = 16;

/// libtorch's vector code and ours round differently, by a few units in the last place; a draw from elsewhere in the sequence
/// differs by about one in every number.
const ROUNDING_MAX: f32 = 1e-4;

/// Serialises the draws of this crate.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Normal noise of this shape, fp32 on the host.
///
/// # Errors
/// Fewer than 16 numbers, memory, or other code that keeps drawing from libtorch's shared generator.
pub fn normal(seed: u64, shape: &[i64]) -> Result<Tensor> {
    let refused = |reason: &str| Error::Libtorch { op: "noise".to_owned(), reason: reason.to_owned() };
    if shape.iter().product::<i64>() < GROUP as i64 {
        return Err(refused("a video's noise has at least 16 numbers"));
    }
    let _own = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let expected = beginning(seed);
    for _ in 0..MAX_DRAWS {
        tch::manual_seed(i64::from_ne_bytes(seed.to_ne_bytes()));
        let drawn = Tensor::f_randn(shape, (Kind::Float, Device::Cpu)).in_op("noise")?;
        if begins_with(&drawn, &expected)? {
            return Ok(drawn);
        }
    }
    Err(refused("another thread keeps drawing random numbers"))
}

/// The first numbers after this seed: a Mersenne Twister seeded with the low 32 bits, 24 random bits a uniform number, then
/// Box and Muller, eight pairs at a time (pytorch: aten/src/ATen/native/cpu/DistributionTemplates.h, `normal_fill`).
fn beginning(seed: u64) -> [f32; GROUP] {
    let mut twister = Mt::new((seed & u64::from(u32::MAX)) as u32);
    let mut numbers: [f32; GROUP] = std::array::from_fn(|_| (twister.next_u32() & 0xFF_FFFF) as f32 / 16_777_216.0);
    let (first, second) = numbers.split_at_mut(GROUP / 2);
    for (one, other) in first.iter_mut().zip(second) {
        let (radius, angle) = ((-2.0 * (1.0 - *one).ln()).sqrt(), TAU * *other);
        (*one, *other) = (radius * angle.cos(), radius * angle.sin());
    }
    numbers
}

/// The tail of a draw is filled in a group of its own, counted from the end; where it reaches into the first group, only
/// what stands before it can be compared.
fn begins_with(drawn: &Tensor, expected: &[f32; GROUP]) -> Result<bool> {
    let flat = drawn.f_view([-1]).in_op("noise")?;
    let count = flat.numel();
    let compared = if count % GROUP == 0 { GROUP } else { GROUP.min(count - GROUP) };
    let mut first = vec![0.0_f32; compared];
    flat.f_narrow(0, 0, compared as i64).in_op("noise")?.f_copy_data(&mut first, compared).in_op("noise")?;
    Ok(first.iter().zip(expected).all(|(one, other)| (one - other).abs() <= ROUNDING_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn first_values_of_seed_42_are_torchs() {
        // torch.randn(32, generator=torch.Generator().manual_seed(42))
        let many = normal(42, &[32]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&many.narrow(0, 0, 4)).unwrap(), SEED_42);
    }

    const SEED_42: [f32; 4] = [1.9269153, 1.4872841, 0.9007172, -2.105521];

    #[test]
    fn every_seed_and_length_begins_as_computed() {
        for seed in [0, 1, 42, 7_000_000_000, u64::MAX] {
            for count in [16, 17, 31, 32, 33, 1_000] {
                assert_eq!(normal(seed, &[count]).unwrap().size(), [count], "seed {seed}, {count} numbers");
            }
        }
        assert!(normal(1, &[15]).is_err());
    }

    #[test]
    fn other_users_of_the_generator_change_nothing() {
        let shape = [1, 16, 5, 30, 40];
        let quiet = normal(7, &shape).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let noisy = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // The race may make this draw fail too; only the others are checked.
                    let _ = Tensor::f_randn([8], (Kind::Float, Device::Cpu));
                    std::thread::yield_now();
                }
            })
        };
        // A draw may fail under this load; a wrong one may not be returned.
        for _ in 0..20 {
            match normal(7, &shape) {
                Ok(drawn) => assert!(drawn.equal(&quiet)),
                Err(error) => assert!(matches!(error, Error::Libtorch { .. }), "{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        noisy.join().unwrap();
        assert!(!normal(8, &shape).unwrap().equal(&quiet));
    }
}
