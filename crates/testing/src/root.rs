//! Tests that need root: another user, a mount, a namespace.

/// The uid of nobody in particular, for what another user does or owns.
pub const OTHER_USER: u32 = 12345;

/// Whether this test may go on. Without root it prints that the test is skipped; under `SD_REQUIRE_ROOT=1`, which
/// the CI script sets, it fails instead.
#[track_caller]
pub fn root_or_skip(why: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("SD_REQUIRE_ROOT").is_none_or(|v| v != "1"), "this test needs root: {why}");
    eprintln!("skipped: it needs root ({why})");
    false
}
