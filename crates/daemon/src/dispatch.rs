//! From a call to its handler: one exhaustive match.

use std::sync::Arc;

use hyper::body::Bytes;
use spacedrive_api::{ApiError, Call, Frame, Request, Result};

use crate::answer::{self, Answer};
use crate::context::Context;
use crate::{config, device, instance, library, network, pairing, status};

/// Runs the handler of `call` and gives the last line of its answer.
pub(crate) async fn dispatch(context: &Arc<Context>, call: Call, events: &mut Answer) -> Bytes {
    match call {
        Call::Status(r) => reply(&r, status::status(context, &r).await),
        Call::LibraryCreate(r) => reply(&r, library::create(context, &r).await),
        Call::LibraryList(r) => reply(&r, library::list(context).await),
        Call::LibraryOpen(r) => reply(&r, library::open(context, &r).await),
        Call::LibraryClose(r) => reply(&r, library::close(context, &r).await),
        Call::LibraryGet(r) => reply(&r, library::get(context, &r).await),
        Call::LibraryDelete(r) => reply(&r, library::delete(context, &r).await),
        Call::NetworkStatus(r) => reply(&r, network::status(context).await),
        Call::NetworkInit(r) => reply(&r, network::init(context, &r).await),
        Call::NetworkStart(r) => reply(&r, network::start(context).await),
        Call::NetworkStop(r) => reply(&r, network::stop(context).await),
        Call::NetworkPasswd(r) => reply(&r, network::passwd(context, &r).await),
        Call::NetworkReset(r) => reply(&r, network::reset(context).await),
        Call::DeviceList(r) => reply(&r, Ok(device::list(context))),
        Call::DeviceRevoke(r) => reply(&r, device::revoke(context, &r).await),
        Call::PairGenerate(r) => reply(&r, pairing::generate(context, &r).await),
        Call::PairJoin(r) => reply(&r, pairing::join(context, &r, events).await),
        Call::PairList(r) => reply(&r, Ok(pairing::list(context, &r))),
        Call::PairDecide(r) => reply(&r, pairing::decide(context, &r)),
        Call::PairWatch(r) => reply(&r, pairing::watch(context, &r, events).await),
        Call::LibraryTrash(r) => reply(&r, library::deleted(context).await),
        Call::LibraryRestore(r) => reply(&r, library::restore(context, &r).await),
        Call::ConfigSet(r) => reply(&r, config::set(context, &r).await),
        Call::InstanceCopy(r) => reply(&r, instance::copy(context, &r).await),
    }
}

/// The last line, of the type that belongs to the request.
fn reply<R: Request>(_request: &R, result: Result<R::Reply>) -> Bytes {
    match result {
        Ok(reply) => answer::line(&Frame::Reply(reply)),
        Err(error) => failure(error),
    }
}

/// The last line of a call that failed.
pub(crate) fn failure(error: ApiError) -> Bytes {
    tracing::debug!(kind = ?error.kind, message = error.message, "call failed");
    answer::line(&Frame::<()>::Error(error))
}
