//! Calls about libraries.

use std::sync::Arc;

use spacedrive_api::{
    LibraryBackedUp, LibraryBackup, LibraryCheck, LibraryChecked, LibraryClose, LibraryCreate, LibraryDelete, LibraryDeleted,
    LibraryGet, LibraryInfo, LibraryOpen, LibraryRestore, Result, Trashed,
};

use spacedrive_core::jobs::Task;

use crate::context::Context;

pub(crate) async fn create(context: &Arc<Context>, request: &LibraryCreate) -> Result<LibraryInfo> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.create(&request.name, request.path.as_ref().map(AsRef::as_ref))).await
}

pub(crate) async fn list(context: &Arc<Context>) -> Result<Vec<LibraryInfo>> {
    context.blocking(|c| Ok(c.libraries.list())).await
}

pub(crate) async fn open(context: &Arc<Context>, request: &LibraryOpen) -> Result<LibraryInfo> {
    let path = request.path.clone();
    context.blocking(move |c| c.libraries.open(path.as_ref())).await
}

pub(crate) async fn close(context: &Arc<Context>, request: &LibraryClose) -> Result<LibraryInfo> {
    let query = request.library.clone();
    context.blocking(move |c| c.libraries.close(&query)).await
}

pub(crate) async fn get(context: &Arc<Context>, request: &LibraryGet) -> Result<LibraryInfo> {
    let request = request.clone();
    context
        .blocking(move |c| {
            if request.open {
                c.libraries.get_open(&request.library)?;
            }
            c.libraries.get(&request.library)
        })
        .await
}

pub(crate) async fn delete(context: &Arc<Context>, request: &LibraryDelete) -> Result<LibraryDeleted> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.delete(&request.library, request.purge)).await
}

pub(crate) async fn deleted(context: &Arc<Context>) -> Result<Vec<Trashed>> {
    context.blocking(|c| c.libraries.deleted()).await
}

pub(crate) async fn restore(context: &Arc<Context>, request: &LibraryRestore) -> Result<LibraryInfo> {
    let name = request.name.clone();
    context.blocking(move |c| c.libraries.restore(&name)).await
}

pub(crate) async fn check(context: &Arc<Context>, request: &LibraryCheck) -> Result<LibraryChecked> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.check_with(&request, &Task::default())).await
}

pub(crate) async fn backup(context: &Arc<Context>, request: &LibraryBackup) -> Result<LibraryBackedUp> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let to = request.to.as_ref().map(AsRef::as_ref);
            let (path, bytes) = c.libraries.get_open(&request.library)?.backup(to)?;
            Ok(LibraryBackedUp { path: path.into(), bytes })
        })
        .await
}
