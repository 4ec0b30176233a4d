//! The noise that a video starts from.
//!
//! The rule: a seed gives what torch's CPU generator gives for it, bit for bit, on every device. libtorch offers that generator
//! only as one that the whole process shares, so the draw is checked: it is repeated until two draws agree, and no
//! other use of the generator can slip into a video unseen.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::error::{Error, InOp, Result};

/// Draws after which the process's generator counts as unusable.
const MAX_DRAWS: usize = 64;

/// Keeps this crate's own draws apart.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Normal noise of this shape, fp32 on the host.
///
/// # Errors
/// Memory, or other code that keeps drawing from libtorch's shared generator.
pub fn normal(seed: u64, shape: &[i64]) -> Result<Tensor> {
    let _own = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let draw = || -> Result<Tensor> {
        tch::manual_seed(i64::from_ne_bytes(seed.to_ne_bytes()));
        Tensor::f_randn(shape, (Kind::Float, Device::Cpu)).in_op("noise")
    };
    let mut last = draw()?;
    for _ in 0..MAX_DRAWS {
        let next = draw()?;
        if next.f_equal(&last).in_op("noise")? {
            return Ok(next);
        }
        last = next;
    }
    Err(Error::Libtorch { op: "noise".to_owned(), reason: "another thread keeps drawing random numbers".to_owned() })
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
        // torch.randn(4, generator=torch.Generator().manual_seed(42)) and the start of a draw of 16 or more, which
        // takes another path through the generator.
        let few = Vec::<f32>::try_from(&normal(42, &[4]).unwrap()).unwrap();
        assert_eq!(few, SEED_42_FEW);
        let many = normal(42, &[32]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&many.narrow(0, 0, 4)).unwrap(), SEED_42_MANY);
    }

    const SEED_42_FEW: [f32; 4] = [0.33669037, 0.1288094, 0.23446237, 0.23033303];
    const SEED_42_MANY: [f32; 4] = [1.9269153, 1.4872841, 0.9007172, -2.105521];

    #[test]
    fn other_users_of_the_generator_change_nothing() {
        let shape = [1, 16, 5, 30, 40];
        let quiet = normal(7, &shape).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let noisy = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // The race may make this draw fail as well; only the others are judged.
                    let _ = Tensor::f_randn([8], (Kind::Float, Device::Cpu));
                    std::thread::yield_now();
                }
            })
        };
        // A draw may fail under such fire, which is allowed; a wrong one is not.
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
