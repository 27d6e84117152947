//! Calls that index, and that look at folders without indexing them.

use std::sync::Arc;

use spacedrive_api::{Browse, Browsed, IndexLocation, IndexStarted, Result, Scan};
use spacedrive_core::jobs::Task;

use crate::context::Context;

pub(crate) async fn location(context: &Arc<Context>, request: &IndexLocation) -> Result<IndexStarted> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.index_location(&request)).await
}

pub(crate) async fn scan(context: &Arc<Context>, request: &Scan) -> Result<IndexStarted> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.scan(&request)).await
}

pub(crate) async fn browse(context: &Arc<Context>, request: &Browse) -> Result<Browsed> {
    let request = request.clone();
    context.blocking(move |_| spacedrive_core::index::browse(&request, &Task::default())).await
}
