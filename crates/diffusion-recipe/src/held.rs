//! Holding a run's folder: no other process writes into it, and it is noticed where it is no longer at its place.

use crate::error::RecipeError;
use diffusion::weights::check_regular;
use std::fs::{File, TryLockError};
use std::path::Path;

/// The file whose lock says that a process is writing into the folder.
pub(crate) const LOCK: &str = ".lock";

/// A folder that this process alone writes into. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: File,
    /// Open, so that no other folder gets its number.
    #[cfg(unix)]
    folder: File,
}

impl Held {
    /// Locks the folder `path`.
    pub(crate) fn new(path: &Path) -> Result<Self, RecipeError> {
        let place = path.join(LOCK);
        if place.exists() {
            // To open a pipe is to wait for its other end.
            check_regular(&place).map_err(RecipeError::io("lock", &place))?;
        }
        let lock = File::create(&place).map_err(RecipeError::io("create", &place))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecipeError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(RecipeError::io("lock", &place)(error)),
        }
        Ok(Self {
            _lock: lock,
            #[cfg(unix)]
            folder: File::open(path).map_err(RecipeError::io("open", path))?,
        })
    }

    /// Whether the folder is still at `path`. Where that cannot be found out, it is.
    #[cfg(unix)]
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        use std::os::unix::fs::MetadataExt;
        match (self.folder.metadata(), path.metadata()) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            (_, Err(error)) => !matches!(error.kind(), NotFound | NotADirectory),
            (Err(_), _) => true,
        }
    }

    /// Whether the folder is still at `path`: elsewhere no other program can remove a file that is open here.
    #[cfg(not(unix))]
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        path.join(LOCK).exists()
    }
}
