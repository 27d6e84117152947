//! Whoever supervises the daemon (systemd) is told when it is ready, that it lives, and when it stops. Without
//! `NOTIFY_SOCKET` in the environment, as in the background, nobody is told anything.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::context::Context;

/// Tells that calls are answered; from then on, when the supervisor wants it, tells every so often that they still
/// are.
pub(crate) fn ready(context: &Arc<Context>) {
    let status = format!("instance {} serves {} libraries", context.name, context.libraries.count());
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let context = context.clone();
    tokio::spawn(async move {
        let mut ticks = interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = context.stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // What a client would have to wait for in vain counts as dead.
            let alive = context.blocking(|c| Ok(c.info()));
            if timeout(limit / 2, alive).await.is_ok_and(|info| info.is_ok()) {
                tell(&[NotifyState::Watchdog]);
            }
        }
    });
}

/// Tells that the shutdown has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
