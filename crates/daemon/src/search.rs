//! The call that finds entries.

use std::sync::Arc;

use spacedrive_api::{Event, Result, Search, SearchFound};
use spacedrive_core::Error;

use crate::answer::Answer;
use crate::context::Context;

/// How many hits are sent at once.
const PAGE: usize = 1000;

pub(crate) async fn search(context: &Arc<Context>, request: &Search, events: &mut Answer) -> Result<SearchFound> {
    let request = request.clone();
    let (send, mut receive) = tokio::sync::mpsc::channel(2);
    let found = context.blocking(move |c| {
        c.libraries.get_open(&request.library)?.index().search_in_pages(&request, PAGE, |entries| {
            // Nobody takes them any more: the client has gone away.
            send.blocking_send(entries).map_err(|_| Error::Interrupted)
        })
    });
    let forward = async {
        while let Some(entries) = receive.recv().await {
            if !events.event(Event::Entries { entries }).await {
                receive.close();
            }
        }
    };
    tokio::join!(found, forward).0
}
