//! The submission rate of each key: a token bucket, reported to the client in the `RateLimit` headers.
//!
//! Buckets are kept in the memory of one API replica: with n replicas behind a balancer a key can reach n times its rate.
//! Sharing them would add a dependency to every submission, for a limit whose purpose is to stop runaway clients. The backlog
//! limit, which is counted in the database, protects the fleet itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// `RateLimit-Policy`: quota and window in seconds.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`: remaining submissions and seconds until the bucket is full again.
pub(crate) const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Number of buckets above which full ones are dropped. Dropping a full bucket changes nothing, because a new one starts full.
const BUCKETS_MAX: usize = 10_000;

/// Token buckets by key.
#[derive(Debug)]
pub struct RateLimiter {
    per_minute: u32,
    burst: u32,
    buckets: Mutex<HashMap<Uuid, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// May be negative: a batch larger than the bucket is admitted when the bucket is full, and pays off the rest afterwards.
    tokens: f64,
    at: Instant,
}

/// State of a bucket, as the headers report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    per_minute: u32,
    burst: u32,
    /// Number of submissions that would be admitted now.
    pub remaining: u32,
    /// After a rejection: seconds until the same cost would be admitted. Otherwise: seconds until the bucket is full.
    pub wait_s: u64,
}

impl RateLimiter {
    /// Allows `per_minute` submissions on average and `burst` at once. A rate of 0 means no limit.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst: burst.max(1), buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes `cost` submissions from the bucket of `who`. Returns `None` if there is no limit.
    ///
    /// # Errors
    /// The bucket holds too few; nothing is taken.
    pub fn take(&self, who: Uuid, cost: u32, now: Instant) -> Result<Option<RateState>, RateState> {
        if self.per_minute == 0 {
            return Ok(None);
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < f64::from(self.burst));
        }
        let bucket = buckets.entry(who).or_insert(Bucket { tokens: f64::from(self.burst), at: now });
        let tokens = self.filled(*bucket, now);
        // A bucket never holds more than the burst, so a larger batch needs a full bucket and leaves it negative.
        let needed = f64::from(cost.min(self.burst));
        *bucket = Bucket { tokens, at: now };
        if tokens < needed {
            return Err(self.state(tokens, needed - tokens));
        }
        bucket.tokens = tokens - f64::from(cost);
        Ok(Some(self.state(bucket.tokens, f64::from(self.burst) - bucket.tokens)))
    }

    /// Gives back the tokens that a repeated or refused submission took. Call it only after [`take`](Self::take) has taken them.
    pub(crate) fn give_back(&self, who: Uuid, cost: u32) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&who) {
            bucket.tokens = (bucket.tokens + f64::from(cost)).min(f64::from(self.burst));
        }
    }

    fn per_second(&self) -> f64 {
        f64::from(self.per_minute) / 60.0
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.checked_duration_since(bucket.at).unwrap_or(Duration::ZERO).as_secs_f64();
        (bucket.tokens + passed * self.per_second()).min(f64::from(self.burst))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to small whole numbers")]
    fn state(&self, tokens: f64, missing: f64) -> RateState {
        RateState {
            per_minute: self.per_minute,
            burst: self.burst,
            remaining: tokens.max(0.0) as u32,
            wait_s: (missing / self.per_second()).ceil().max(0.0) as u64,
        }
    }
}

impl RateState {
    /// Writes the state into the headers of a response.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let window_s = u64::from(self.burst) * 60 / u64::from(self.per_minute.max(1));
        let policy = format!("\"submissions\";q={};w={}", self.burst, window_s.max(1));
        let state = format!("\"submissions\";r={};t={}", self.remaining, self.wait_s);
        let value =
            |text: String| HeaderValue::try_from(text).expect("digits and quotes are a header value; this is a bug");
        [(POLICY, value(policy)), (STATE, value(state))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_burst_passes_then_the_rate_applies() {
        let limiter = RateLimiter::new(60, 3);
        let (who, start) = (Uuid::nil(), Instant::now());
        for left in [2, 1, 0] {
            assert_eq!(limiter.take(who, 1, start).unwrap().unwrap().remaining, left);
        }
        assert_eq!(limiter.take(who, 1, start).unwrap_err().wait_s, 1);
        assert!(limiter.take(who, 1, start + Duration::from_millis(900)).is_err());
        assert!(limiter.take(who, 1, start + Duration::from_millis(1100)).is_ok());
        assert!(limiter.take(Uuid::max(), 1, start).is_ok(), "another key has its own bucket");
    }

    #[test]
    fn a_batch_above_the_burst_passes_a_full_bucket_and_leaves_a_debt() {
        let limiter = RateLimiter::new(60, 10);
        let (who, start) = (Uuid::nil(), Instant::now());
        assert!(limiter.take(who, 30, start).is_ok());
        let refused = limiter.take(who, 1, start + Duration::from_secs(20)).unwrap_err();
        assert_eq!(refused.wait_s, 1);
        assert!(limiter.take(who, 1, start + Duration::from_secs(21)).is_ok());
    }

    #[test]
    fn a_replay_costs_nothing() {
        let limiter = RateLimiter::new(60, 1);
        let (who, now) = (Uuid::nil(), Instant::now());
        assert!(limiter.take(who, 1, now).is_ok());
        limiter.give_back(who, 1);
        assert!(limiter.take(who, 1, now).is_ok());
    }

    #[test]
    fn a_rate_of_zero_means_no_limit() {
        assert_eq!(RateLimiter::new(0, 1).take(Uuid::nil(), 1000, Instant::now()), Ok(None));
    }

    proptest! {
        /// Over any sequence of requests, no more pass than the burst plus what the rate allows in the elapsed time.
        #[test]
        fn never_more_than_burst_plus_rate(gaps_ms in prop::collection::vec(0_u64..400, 1..200)) {
            let limiter = RateLimiter::new(120, 5);
            let start = Instant::now();
            let (mut now, mut passed) = (start, 0_u32);
            for gap in gaps_ms {
                now += Duration::from_millis(gap);
                passed += u32::from(limiter.take(Uuid::nil(), 1, now).is_ok());
            }
            let allowed = 5.0 + now.duration_since(start).as_secs_f64() * 2.0;
            prop_assert!(f64::from(passed) <= allowed + 1e-6);
        }
    }
}
