//! Holds back the answers to wrong proofs, so that guessing is slow and those who have the code are not held up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two answers to wrong proofs: ten a second.
const STEP: Duration = Duration::from_millis(100);

/// The longest wait; who would wait longer is not answered at all.
const LONGEST: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// The moment at which the next wrong proof may be answered, or `None` when too many wait already.
    fn slot(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = next.filter(|&at| at > now).unwrap_or(now);
        if slot > now + LONGEST {
            return None;
        }
        *next = Some(slot + STEP);
        Some(slot)
    }

    /// Waits for a turn. Answers whether there was one.
    pub(crate) async fn turn(&self) -> bool {
        let Some(slot) = self.slot() else { return false };
        tokio::time::sleep_until(slot).await;
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_and_no_long_queue() {
        let throttle = Throttle::default();
        let start = Instant::now();
        let slots: Vec<Instant> = std::iter::from_fn(|| throttle.slot()).take(1000).collect();
        assert!((20..=22).contains(&slots.len()), "{}", slots.len());
        assert!(*slots.last().unwrap() - start >= Duration::from_millis(1900));
    }
}
