//! Failpoints: named places where a test can kill the process or make an operation fail.
//!
//! They exist in debug builds, and in release builds with the feature `failpoints`; elsewhere [`hit`] is
//! empty. A test arms one with `SPACEDRIVE_FAIL=name:N[:kill|error]`, read by the daemon at start: the
//! N-th passage kills the process (SIGKILL, as a power cut would) or fails with EIO.

/// The places, so that a test can walk through all of them.
pub const ALL: &[&str] = &[
    "library.create.folder",
    "library.create.database",
    "library.create.rename",
    "library.create.done",
    "library.delete.rename",
    "library.backup.rename",
    "config.write",
    "device.pending.before",
    "device.pending.after",
    "device.paired.before",
    "device.paired.after",
    "device.confirm.before",
    "device.confirm.after",
    "device.revoke.before",
    "device.revoke.after",
    "identity.write.before",
    "identity.write.after",
    "pair.m1.sent",
    "pair.m2.sent",
    "pair.m3.sent",
    "pair.m4.sent",
    "pair.m5.sent",
    "pair.m6.sent",
    "pair.fail.sent",
    "instance.clone.library",
    "instance.remove.piece",
    "index.write.before",
    "index.write.after",
    "job.add.done",
    "transfer.receive.piece",
    "transfer.receive.publish",
    "transfer.receive.published",
    "copy.file.filled",
    "copy.folder.made",
    "copy.batch.synced",
    "copy.batch.recorded",
    "copy.batch.renamed",
    "copy.batch.durable",
    "copy.replace.swapped",
    "delete.trash.recorded",
    "undo.step",
];

#[cfg(any(debug_assertions, feature = "failpoints"))]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Armed {
        name: String,
        left: AtomicI64,
        error: bool,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms `name:N[:kill|error]`. Answers whether the text is well-formed.
    pub fn arm(spec: &str) -> bool {
        let mut parts = spec.split(':');
        let (Some(name), Some(Ok(count))) = (parts.next(), parts.next().map(str::parse)) else { return false };
        let error = match parts.next() {
            None | Some("kill") => false,
            Some("error") => true,
            Some(_) => return false,
        };
        ARMED.set(Armed { name: name.to_owned(), left: AtomicI64::new(count), error }).is_ok()
    }

    /// Passes the place `name`.
    pub fn hit(name: &str) -> io::Result<()> {
        let Some(armed) = ARMED.get().filter(|armed| armed.name == name) else { return Ok(()) };
        if armed.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        if armed.error {
            return Err(io::Error::from(rustix::io::Errno::IO));
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(any(debug_assertions, feature = "failpoints")))]
mod armed {
    /// Failpoints are not compiled in.
    pub fn arm(_spec: &str) -> bool {
        false
    }

    /// Does nothing.
    #[inline(always)]
    pub fn hit(_name: &str) -> std::io::Result<()> {
        Ok(())
    }
}

pub use armed::{arm, hit};
