//! A lab: a home in which several daemons run.

use std::ops::Deref;

use crate::Home;

/// Running instances in one home; all are stopped when it is dropped.
#[derive(Debug)]
pub struct Lab {
    home: Home,
}

impl Lab {
    /// Starts these instances: `Lab::start(env!("CARGO_BIN_EXE_spacedrive"), &["alice", "bob"])`.
    #[track_caller]
    pub fn start(program: &str, instances: &[&str]) -> Self {
        let home = Home::new(program);
        for name in instances {
            home.run_args(["start", "--instance", name]).ok();
        }
        Self { home }
    }
}

impl Deref for Lab {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}
