//! From a call to its handler: one exhaustive match.

use std::sync::Arc;

use hyper::body::Bytes;
use spacedrive_api::{ApiError, Call, Frame, Request, Result};

use crate::answer::{self, Answer};
use crate::context::Context;
use crate::{
    config, device, drop, duplicates, file, index, instance, job, library, location, monitor, network, pairing, search, status,
};

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
        Call::Monitor(r) => reply(&r, monitor::monitor(context, events).await),
        Call::InstanceCopy(r) => reply(&r, instance::copy(context, &r).await),
        Call::LibraryCheck(r) => reply(&r, library::check(context, &r).await),
        Call::LibraryBackup(r) => reply(&r, library::backup(context, &r).await),
        Call::LocationAdd(r) => reply(&r, location::add(context, &r).await),
        Call::LocationList(r) => reply(&r, location::list(context, &r).await),
        Call::LocationGet(r) => reply(&r, location::get(context, &r).await),
        Call::LocationRemove(r) => reply(&r, location::remove(context, &r).await),
        Call::IndexLocation(r) => reply(&r, index::location(context, &r).await),
        Call::Scan(r) => reply(&r, index::scan(context, &r).await),
        Call::Browse(r) => reply(&r, index::browse(context, &r).await),
        Call::JobList(r) => reply(&r, job::list(context, &r).await),
        Call::JobGet(r) => reply(&r, job::get(context, &r).await),
        Call::JobWatch(r) => reply(&r, job::watch(context, &r, events).await),
        Call::JobControl(r) => reply(&r, job::control(context, &r).await),
        Call::FileStart(r) => reply(&r, file::start(context, &r).await),
        Call::FileGet(r) => reply(&r, file::get(context, &r).await),
        Call::FileUndo(r) => reply(&r, file::undo(context).await),
        Call::Search(r) => reply(&r, search::search(context, &r, events).await),
        Call::Duplicates(r) => reply(&r, duplicates::duplicates(context, &r).await),
        Call::DropSend(r) => reply(&r, drop::send(context, &r).await),
        Call::DropList(r) => reply(&r, drop::list(context).await),
        Call::DropDecide(r) => reply(&r, drop::decide(context, &r).await),
        Call::DropWatch(r) => reply(&r, drop::watch(context, &r, events).await),
        Call::DeviceTrust(r) => reply(&r, drop::trust(context, &r).await),
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
