//! A lab: a home in which several daemons run.

use std::ops::Deref;

use crate::Home;

/// Running instances in one home; all are stopped when it is dropped. Inside tests of other programs,
/// `spacedrive instance run --ephemeral` does the same from the command line.
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

    /// Starts these instances and pairs each with every other one. Their identities are not sealed.
    #[track_caller]
    pub fn paired(program: &str, instances: &[&str]) -> Self {
        let home = Home::new(program);
        for name in instances {
            home.run_args(["start", "--no-mdns", "--instance", name]).ok();
            home.run_args(["--instance", name, "network", "init", "--no-password"]).ok();
        }
        for (index, initiator) in instances.iter().enumerate() {
            for joiner in &instances[index + 1..] {
                let generate = ["--instance", initiator, "network", "pair", "generate", "--auto-accept", "--json"];
                let generated = home.run_args(generate).ok().json();
                let code = generated["code"].as_str().unwrap_or_default();
                home.run_args(["--instance", joiner, "network", "pair", "join", code]).ok();
            }
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
