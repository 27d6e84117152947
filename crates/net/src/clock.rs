//! A clock that nobody can set back and that counts while the machine sleeps.

use std::time::Duration;

/// A moment of `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self(self.0 + wait)
    }

    /// How long it is until this moment; zero when it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    pub(crate) fn passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// Waits for `moment`. The runtime's timers stop while the machine sleeps, so they are only a hint of when to look.
pub(crate) async fn wait_until(moment: Moment) {
    while !moment.passed() {
        tokio::time::sleep(moment.remaining().min(Duration::from_secs(30))).await;
    }
}
