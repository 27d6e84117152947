//! The call that finds files with equal content.

use std::sync::Arc;

use spacedrive_api::{Duplicates, DuplicatesFound, Result};
use spacedrive_core::jobs::Task;

use crate::context::Context;

pub(crate) async fn duplicates(context: &Arc<Context>, request: &Duplicates) -> Result<DuplicatesFound> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.index().duplicates(&request, &Task::default())).await
}
