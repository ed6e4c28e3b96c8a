//! What one boot leaves to the next: opens the store of it, and counts the boots. What is kept there later is not
//! known here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mainstay_actors::ports::{StateStore, StoreError};

use crate::storage::{MemoryState, RedbState};

/// Opens the store and counts this life of the process: its number is higher than the one before, as far as the
/// store remembers; without a directory, as far as the machine's clock goes forward.
pub(super) async fn open_state(
    data_dir: Option<PathBuf>,
    unix_time: Duration,
) -> Result<(Box<dyn StateStore>, u64), StoreError> {
    let opening = tokio::task::spawn_blocking(move || {
        let state: Box<dyn StateStore> = match data_dir {
            Some(dir) => Box::new(open(&dir, unix_time)?),
            None => Box::new(MemoryState::default()),
        };
        let boot = count_boot(&*state, unix_time)?;
        Ok((state, boot))
    });
    opening.await.unwrap_or_else(|_| {
        let problem = "opening it panicked: report this as a bug".into();
        Err(StoreError { place: "data_dir".into(), problem, in_use: false })
    })
}

fn open(dir: &Path, unix_time: Duration) -> Result<RedbState, StoreError> {
    let opened = RedbState::open(dir, unix_time)?;
    if let Some(aside) = opened.set_aside {
        tracing::warn!(aside = %aside.display(), "the state store could not be read: set aside, and begun anew");
    }
    Ok(opened.state)
}

fn count_boot(store: &dyn StateStore, unix_time: Duration) -> Result<u64, StoreError> {
    const KEY: &str = "boot";
    let last = store.load(KEY)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    let boot = (last + 1).max(unix_time.as_millis() as u64);
    store.save(KEY, &boot.to_be_bytes())?;
    Ok(boot)
}
