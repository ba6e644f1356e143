//! Keeping the object alive and its state stored: the heartbeat alarm, the timer that stores what was applied, and the
//! folding of baselines when there is time.

use super::Object;
use crate::log::log;
use crate::signal::delay;
use headwater_core::store::StoreError;
use std::rc::Rc;

/// Between two alarms. Without one, the provider evicts an object about 70 s after its last request, open stream or not.
const HEARTBEAT_MS: i64 = 30_000;

/// How long lines wait for others before they are stored together.
const FLUSH_AFTER_MS: u64 = 250;

/// How long to leave a database alone that refused.
const FLUSH_AGAIN_MS: u64 = 1_000;

/// Rows moved at once when folding: a few ms, between which requests are answered.
const FOLD_ROWS: u64 = 500;

/// Rest between two steps of folding.
const FOLD_REST_MS: u64 = 5;

impl Object {
    /// Makes sure, on every request, that the parent is followed and that an alarm will come. Costs two comparisons when
    /// all is well.
    pub(super) fn ensure_awake(self: &Rc<Self>) {
        if self.follower.get() == 0 {
            self.start_following();
            let object = Rc::clone(self);
            self.state.wait_until(async move { object.set_alarm().await });
            self.keep();
        }
    }

    /// The alarm: the object was perhaps just started by it, and nothing else watches the task that follows.
    pub(super) async fn heartbeat(self: &Rc<Self>) {
        self.set_alarm().await;
        let now = self.clock.now().mono_ms;
        if self.follower.get() == 0 || now > self.follower_due_mono_ms.get() {
            if self.follower.get() > 0 {
                log("error", "follower_lost", &[("node", &self.settings.node)]);
            }
            self.start_following();
        }
        self.keep();
    }

    async fn set_alarm(&self) {
        // Overwriting moves the alarm: an object that is called often is awake anyway.
        if let Err(error) = self.state.storage().set_alarm(HEARTBEAT_MS).await {
            log("error", "alarm_not_set", &[("why", &error)]);
        }
    }

    /// Sees to it that what was applied is stored soon and folded in when there is time.
    pub(super) fn keep(self: &Rc<Self>) {
        if self.keeper_runs.get() || !(self.store.needs_flush() || self.store.needs_fold()) {
            return;
        }
        self.keeper_runs.set(true);
        let object = Rc::clone(self);
        self.state.wait_until(async move {
            object.keep_until_done().await;
            object.keeper_runs.set(false);
            // Something may have come in between the last look and here: no await lies between the two.
            object.keep();
        });
    }

    async fn keep_until_done(&self) {
        loop {
            if self.store.needs_flush() {
                delay(FLUSH_AFTER_MS).await;
                if self.flush().is_err() {
                    delay(FLUSH_AGAIN_MS).await;
                }
            } else if self.store.needs_fold() {
                delay(FOLD_REST_MS).await;
                if let Err(error) = self.store.fold_step(FOLD_ROWS) {
                    log("error", "fold_failed", &[("why", &error)]);
                    delay(FLUSH_AGAIN_MS).await;
                }
            } else {
                return;
            }
        }
    }

    /// Stores what was applied.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.store.flush().inspect_err(|error| {
            self.flush_failures.one();
            log("error", "flush_failed", &[("why", error)]);
        })
    }
}
