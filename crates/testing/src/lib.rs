//! The test bench: a hermetic environment, a lab of real daemons, and the oracle.
