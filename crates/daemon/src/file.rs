//! Calls about files.

use std::sync::Arc;

use spacedrive_api::{ApiError, ErrorKind, FileGet, FileReport, FileStart, FileUndone, Result};
use spacedrive_core::operation::{Fault, OperationState};

use crate::context::Context;

pub(crate) async fn start(context: &Arc<Context>, request: &FileStart) -> Result<FileReport> {
    let FileStart { work, dry_run } = request.clone();
    context
        .blocking(move |c| match dry_run {
            true => c.files.dry_run(&work),
            false => Ok(FileReport { job: Some(c.files.start(&work)?), ..FileReport::default() }),
        })
        .await
}

pub(crate) async fn get(context: &Arc<Context>, request: &FileGet) -> Result<FileReport> {
    let job = request.job;
    let (operation, report) = context.blocking(move |c| c.files.get(job)).await?;
    if operation.state != OperationState::Failed {
        return Ok(report);
    }
    let kind = match operation.fault {
        Some(Fault::Storage) => ErrorKind::Storage,
        Some(Fault::Refused) => ErrorKind::Refused,
        _ => ErrorKind::Failed,
    };
    Err(ApiError::new(kind, operation.message).hint(format!("spacedrive job info {job}")))
}

pub(crate) async fn undo(context: &Arc<Context>) -> Result<FileUndone> {
    let undone = context.blocking(|c| c.files.undo()).await?;
    Ok(FileUndone { action: undone.action, files: undone.report.files, errors: undone.report.errors })
}
