# The recipes of this project; `just --list` shows them. None is needed to build or to test.

# Everything that CI runs.
ci:
    bash .ci/run

# The tests, as the README gives them.
test:
    cargo test --workspace

# Look for counter-examples to the properties: each run has other random inputs.
properties RUNS="20":
    for run in $(seq {{RUNS}}); do cargo test --workspace || exit 1; done

# Formatting, lints and docs; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Licences, sources and advisories of all dependencies (`cargo install cargo-deny`).
deny:
    cargo deny check

# Show what this does.
demo:
    cargo run --release -- demo

# Write the command line reference anew after a change of the arguments.
reference:
    UPDATE_REFERENCE=1 cargo test -p spacedrive --test reference

# Measure the figures of an idle daemon and of short commands (release build; needs python3).
bench-feel:
    cargo build --release
    benches/feel.py target/release/spacedrive

# Measure the index beside find, updatedb, plocate, b3sum and fclones, as far as they are installed (needs python3).
bench-index *ARGS:
    cargo build --release -p spacedrive-core --bench index
    benches/index.py "$(ls -t target/release/deps/index-* | grep -v '\.d$' | head -1)" {{ARGS}}

# Make the Debian package (`cargo install cargo-deb`).
deb:
    packaging/deb.sh

# Measure transfers against an rsync daemon and a bare stream (needs python3 and rsync; root for --netns).
bench-transfer *args:
    cargo build -p spacedrive-net --example transfer --release
    benches/transfer.py target/release/examples/transfer {{args}}
