//! Calls about locations.

use std::sync::Arc;

use spacedrive_api::{LocationAdd, LocationAdded, LocationGet, LocationInfo, LocationList, LocationRemove, Result};

use crate::context::Context;

pub(crate) async fn add(context: &Arc<Context>, request: &LocationAdd) -> Result<LocationAdded> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.add_location(&request)).await
}

pub(crate) async fn list(context: &Arc<Context>, request: &LocationList) -> Result<Vec<LocationInfo>> {
    let request = request.clone();
    context.blocking(move |c| Ok(c.libraries.get_open(&request.library)?.index().locations())).await
}

pub(crate) async fn get(context: &Arc<Context>, request: &LocationGet) -> Result<LocationInfo> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.index().location(&request.location)).await
}

pub(crate) async fn remove(context: &Arc<Context>, request: &LocationRemove) -> Result<LocationInfo> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.remove_location(&request.location)).await
}
