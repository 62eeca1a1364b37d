//! Image files that are decoded when they are asked for, and pictures that are kept as long as there is room.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{error::DataError, image_config::ImageFolderConfig, image_file};

/// The images of a folder that do not fit into memory together.
pub(crate) struct ImageFiles {
    /// Their paths below the folder.
    paths: Vec<PathBuf>,
    folder: PathBuf,
    config: ImageFolderConfig,
    kept: Mutex<Kept>,
}

/// What a picture takes besides its pixels: its entries in two maps.
const OVERHEAD: usize = 160;

impl ImageFiles {
    /// The images `paths` in `folder`, made into what `config` says; those that were used last are kept in up to
    /// `memory` bytes.
    pub(crate) fn new(folder: PathBuf, paths: Vec<PathBuf>, config: ImageFolderConfig, memory: u64) -> Self {
        let size = config.shape().iter().product::<usize>() + OVERHEAD;
        let room = usize::try_from(memory / size as u64).unwrap_or(usize::MAX);
        Self { paths, folder, config, kept: Mutex::new(Kept { room, ..Kept::default() }) }
    }

    /// The pixels of image `index`: channel after channel, row after row.
    pub(crate) fn read(&self, index: usize) -> Result<Arc<[u8]>, DataError> {
        if let Some(kept) = self.kept().get(index) {
            return Ok(kept);
        }
        let mut bytes = vec![0; self.config.shape().iter().product()];
        image_file::read(&self.folder.join(&self.paths[index]), self.config, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.kept().insert(index, bytes.clone());
        Ok(bytes)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pictures that were used last.
#[derive(Default)]
struct Kept {
    /// How many they may be.
    room: usize,
    pictures: HashMap<usize, (Arc<[u8]>, u64)>,
    /// The picture that was used at each time.
    used: BTreeMap<u64, usize>,
    time: u64,
}

impl Kept {
    fn get(&mut self, index: usize) -> Option<Arc<[u8]>> {
        let (picture, used) = self.pictures.get_mut(&index)?;
        self.used.remove(used);
        self.time += 1;
        *used = self.time;
        self.used.insert(self.time, index);
        Some(picture.clone())
    }

    fn insert(&mut self, index: usize, picture: Arc<[u8]>) {
        if self.room == 0 || self.pictures.contains_key(&index) {
            return;
        }
        if self.pictures.len() >= self.room
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.pictures.remove(&oldest);
        }
        self.time += 1;
        self.used.insert(self.time, index);
        self.pictures.insert(index, (picture, self.time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut kept = Kept { room: 2, ..Kept::default() };
        for index in [1, 2] {
            kept.insert(index, Arc::from([index as u8]));
        }
        assert_eq!(kept.get(1).as_deref(), Some(&[1][..]));
        kept.insert(3, Arc::from([3]));
        kept.insert(3, Arc::from([9]));
        assert_eq!(
            [1, 2, 3].map(|index| kept.get(index).map(|picture| picture[0])),
            [Some(1), None, Some(3)]
        );
        assert_eq!((kept.pictures.len(), kept.used.len()), (2, 2));
        let mut none = Kept::default();
        none.insert(1, Arc::from([1]));
        assert_eq!((none.get(1), none.pictures.len()), (None, 0));
    }
}
