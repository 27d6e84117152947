//! Talking to other devices: identity, pairing, transfer.
