#!/usr/bin/env bash
# Makes the Debian package: the program, completions, manual pages, the unit for systemd's user manager, docs.
# Needs cargo-deb (`cargo install cargo-deb`). The one argument is the cargo profile; `dev` makes a package to try out.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
folder=$profile
[ "$profile" = dev ] && folder=debug
cargo build --locked --package spacedrive --profile "$profile"

# What the program itself writes; cargo-deb takes it from here (crates/cli/Cargo.toml).
program=target/$folder/spacedrive
made=target/package
rm -rf "$made"
mkdir -p "$made"
for shell in bash zsh fish; do "$program" completions "$shell" >"$made/spacedrive.$shell"; done
"$program" man --dir "$made/man" >/dev/null
sed 's|@PROGRAM@|/usr/bin/spacedrive|' crates/cli/src/spacedrive@.service >"$made/spacedrive@.service"

cargo deb --locked --package spacedrive --no-build --profile "$profile"
