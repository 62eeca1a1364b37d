//! Which images are in a folder, and of which class each is.

use std::{
    collections::BTreeMap,
    fs, iter,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use diffusion_core::watch::Watch;

use crate::{
    error::{DataError, Problem},
    image_content::{Content, has_image_ending},
    image_file::{beginning, ending, format_of},
    left_out::{LeftOut, LeftOutKind},
    parallel::in_parallel,
};

/// What is in a folder of images.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The names of the classes in the order of their labels; none where the images lie in the folder itself.
    pub(crate) classes: Vec<String>,
    /// The images' paths below the folder, and their labels; by label, and then by the bytes of the path.
    pub(crate) images: Vec<(PathBuf, u32)>,
    /// What is not an image.
    pub(crate) left_out: LeftOut,
}

/// The files that cannot be read, of many that are tried on several threads.
#[derive(Default)]
pub(crate) struct Broken {
    /// The first of them, by their places among all.
    first: Mutex<BTreeMap<usize, DataError>>,
    count: AtomicU64,
}

/// How many broken files are named.
const NAMED: usize = 20;
/// How many files are done between two reports.
const REPORTED: u64 = 64;

impl Broken {
    pub(crate) fn add(&self, place: usize, error: DataError) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.insert(place, error);
        if first.len() > NAMED {
            first.pop_last();
        }
    }

    /// An error with all of them, if there are some; one alone is the error.
    pub(crate) fn into_result(self, folder: &Path) -> Result<(), DataError> {
        let mut broken: Vec<DataError> =
            self.first.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
        match broken.len() {
            0 => Ok(()),
            1 => Err(broken.remove(0)),
            _ => Err(Problem::Files { broken, count: self.count.into_inner() }.at(folder)),
        }
    }
}

/// Finds out what is in a folder.
pub(crate) fn list(folder: &Path, watch: &Watch) -> Result<Listing, DataError> {
    let mut walk = Walk { folder, watch, left_out: LeftOut::default() };
    let (files, mut subfolders) = walk.entries(Path::new(""))?;
    let beside = walk.images_among(files)?;
    if let (Some(image), Some(subfolder)) = (beside.first(), subfolders.iter().min()) {
        let [image, subfolder] = [image, subfolder].map(|path| folder.join(path));
        let found = format!("holds the image {} beside the folder {}", image.display(), subfolder.display());
        return Err(Problem::format(found, "only images or only a folder for each class").at(folder));
    }
    if subfolders.is_empty() {
        if beside.is_empty() {
            return Err(walk.none(folder));
        }
        let images = beside.into_iter().zip(iter::repeat(0)).collect();
        return Ok(Listing { classes: Vec::new(), images, left_out: walk.left_out });
    }

    subfolders.sort();
    let (mut candidates, mut labels) = (Vec::new(), Vec::new());
    for (label, class) in (0..).zip(&subfolders) {
        let before = candidates.len();
        walk.files_below(class, &mut vec![canonical(folder)?], &mut candidates)?;
        candidates[before..].sort_by_cached_key(|path| path_bytes(path));
        labels.resize(candidates.len(), label);
    }
    let is_image = walk.are_images(&candidates)?;
    let images: Vec<(PathBuf, u32)> = candidates
        .into_iter()
        .zip(labels)
        .zip(is_image)
        .filter_map(|(image, is_image)| is_image.then_some(image))
        .collect();
    for (label, class) in (0..).zip(&subfolders) {
        if images.binary_search_by_key(&label, |image| image.1).is_err() {
            return Err(walk.none(&folder.join(class)));
        }
    }
    let name = |class: &PathBuf| class.to_string_lossy().into_owned();
    Ok(Listing { classes: subfolders.iter().map(name).collect(), images, left_out: walk.left_out })
}

/// A path below a folder as bytes, with `/` between its parts, whatever the system.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.iter().map(|part| part.as_encoded_bytes()).collect();
    parts.join(&b'/')
}

/// How many threads read files.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on each of the items on all processors; what cannot be read is collected, and the rest is done.
pub(crate) fn on_all<J: Send>(
    what: &str,
    jobs: impl ExactSizeIterator<Item = J> + Send,
    watch: &Watch,
    broken: &Broken,
    work: impl Fn(J) -> Result<(), DataError> + Sync,
) -> Result<(), DataError> {
    let (total, done) = (jobs.len() as u64, AtomicU64::new(0));
    let threads = threads().min(jobs.len());
    in_parallel(jobs.enumerate(), threads, |(place, job)| {
        if let Err(error) = work(job) {
            broken.add(place, error);
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        match done % REPORTED == 0 || done == total {
            true => Ok(watch.report(what, done, Some(total))?),
            false => Ok(watch.check()?),
        }
    })
}

/// A walk through a folder; paths are those below it.
struct Walk<'a> {
    folder: &'a Path,
    watch: &'a Watch,
    left_out: LeftOut,
}

impl Walk<'_> {
    /// The files and the subfolders of a folder that may be data, in no particular order.
    fn entries(&mut self, below: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
        self.watch.check()?;
        let folder = self.folder.join(below);
        let failed = DataError::io(&folder);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if let Some(kind) = LeftOutKind::of_name(&entry.file_name()) {
                self.left_out.add(kind);
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => Some(kind),
                _ => fs::metadata(entry.path()).ok().map(|metadata| metadata.file_type()),
            };
            let path = below.join(entry.file_name());
            match kind {
                Some(kind) if kind.is_dir() => folders.push(path),
                // Of a link that leads nowhere the name must tell; reading it will fail.
                None => files.push(path),
                Some(kind) if kind.is_file() => files.push(path),
                Some(_) => self.left_out.add(LeftOutKind::Special),
            }
        }
        Ok((files, folders))
    }

    /// Adds the files in a folder and in all folders below it; `above` are the folders on the way there.
    fn files_below(
        &mut self,
        below: &Path,
        above: &mut Vec<PathBuf>,
        files: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        let folder = self.folder.join(below);
        let here = canonical(&folder)?;
        if above.contains(&here) {
            let found = format!("leads back to {}", here.display());
            return Err(Problem::format(found, "no folder within itself").at(&folder));
        }
        above.push(here);
        let (in_folder, subfolders) = self.entries(below)?;
        files.extend(in_folder);
        for subfolder in subfolders {
            self.files_below(&subfolder, above, files)?;
        }
        above.pop();
        Ok(())
    }

    /// Those of the files that are images, in order.
    fn images_among(&mut self, mut files: Vec<PathBuf>) -> Result<Vec<PathBuf>, DataError> {
        files.sort_by_cached_key(|path| path_bytes(path));
        let is_image = self.are_images(&files)?;
        Ok(files.into_iter().zip(is_image).filter_map(|(file, is_image)| is_image.then_some(file)).collect())
    }

    /// Looks into each of the files; those that are no images are counted.
    fn are_images(&mut self, files: &[PathBuf]) -> Result<Vec<bool>, DataError> {
        let broken = Broken::default();
        let mut is_image = vec![false; files.len()];
        let jobs = files.iter().zip(is_image.iter_mut());
        on_all("looking at files", jobs, self.watch, &broken, |(file, is_image)| {
            *is_image = look_at(&self.folder.join(file))?;
            Ok(())
        })?;
        broken.into_result(self.folder)?;
        let others = files.iter().zip(&is_image).filter(|(_, is_image)| !**is_image);
        others.for_each(|(file, _)| self.left_out.add(LeftOutKind::of_file(file)));
        Ok(is_image)
    }

    /// There is no image in `folder`.
    fn none(&self, folder: &Path) -> DataError {
        let found = if self.left_out.is_empty() { Vec::new() } else { vec![self.left_out.to_string()] };
        Problem::Missing { wanted: "image".to_owned(), found }.at(folder)
    }
}

/// Whether a file is an image that may be read. What is called an image, or is one of another format, is an error.
fn look_at(path: &Path) -> Result<bool, DataError> {
    let is_called_image = || has_image_ending(ending(path));
    let start = match beginning(path) {
        Err(_) if !is_called_image() => return Ok(false),
        start => start?,
    };
    match Content::of(&start, ending(path)) {
        Content::Other if !is_called_image() => Ok(false),
        _ => format_of(&start, path).map(|_| true),
    }
}

fn canonical(folder: &Path) -> Result<PathBuf, DataError> {
    fs::canonicalize(folder).map_err(DataError::io(folder))
}
