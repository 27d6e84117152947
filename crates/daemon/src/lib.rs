//! One process that owns an instance: lock, serve, dispatch, shut down.
