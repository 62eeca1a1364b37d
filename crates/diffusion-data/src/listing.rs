//! Which images are in a folder, and of which class each is.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use diffusion_core::watch::Watch;

use crate::{
    error::{DataError, Problem, first_names},
    image_content::{Content, has_image_ending},
    image_file::{ending, format_of},
    left_out::{LeftOut, LeftOutKind},
    parallel::in_parallel,
    source::beginning,
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
    /// Whether a class holds folders of its own with files in them.
    pub(crate) is_nested: bool,
}

/// The files that cannot be read, of many that are tried on several threads.
#[derive(Default)]
pub(crate) struct Broken {
    /// The first of them, by their paths below the folder.
    first: Mutex<BTreeMap<PathBuf, DataError>>,
    count: AtomicU64,
}

/// How many broken files are named.
const NAMED: usize = 20;
/// How many files are done between two reports.
const REPORTED: u64 = 64;

impl Broken {
    fn add(&self, path: &Path, error: DataError) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.insert(path.to_owned(), error);
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

/// A folder whose images are a class, by its path below the folder of all.
#[derive(Default)]
struct Class {
    path: PathBuf,
    /// What is called an image or is one; it may be broken.
    first: Option<PathBuf>,
    left_out: LeftOut,
}

/// Finds out what is in a folder. Images that cannot be read are added to `broken` and are not among those that are found.
pub(crate) fn list(folder: &Path, broken: &Broken, watch: &Watch) -> Result<Listing, DataError> {
    let walk = Walk { folder, watch, broken };
    let mut itself = Class::default();
    let (files, mut subfolders) = walk.entries(Path::new(""), &mut itself.left_out)?;
    let files = in_order(files).into_iter().map(|file| (file, 0)).collect();
    let beside = walk.images_among(files, slice::from_mut(&mut itself))?;
    if let (Some(image), Some(subfolder)) = (&itself.first, subfolders.iter().min()) {
        let [image, subfolder] = [image, subfolder].map(|path| folder.join(path));
        let found = format!("holds the image {} beside the folder {}", image.display(), subfolder.display());
        return Err(Problem::format(found, "only images or only a folder for each class").at(folder));
    }
    if subfolders.is_empty() {
        if itself.first.is_none() {
            return Err(none(folder, &itself.left_out));
        }
        return Ok(Listing { images: beside, left_out: itself.left_out, ..Listing::default() });
    }

    subfolders.sort();
    let mut classes: Vec<Class> =
        subfolders.into_iter().map(|path| Class { path, ..Class::default() }).collect();
    let mut candidates = Vec::new();
    for (label, class) in (0..).zip(&mut classes) {
        let mut files = Vec::new();
        walk.files_below(&class.path, &mut vec![canonical(folder)?], &mut class.left_out, &mut files)?;
        candidates.extend(in_order(files).into_iter().map(|file| (file, label)));
    }
    let is_nested = candidates.iter().any(|(file, _)| file.components().count() > 2);
    let images = walk.images_among(candidates, &mut classes)?;
    check_not_empty(folder, &itself.left_out, &classes)?;
    let name = |class: &Class| class.path.to_string_lossy().into_owned();
    let names = classes.iter().map(name).collect();
    let mut left_out = itself.left_out;
    classes.into_iter().for_each(|class| left_out.add_all(class.left_out));
    Ok(Listing { classes: names, images, left_out, is_nested })
}

/// The files in the order of the bytes of their paths.
fn in_order(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.sort_by_cached_key(|path| path_bytes(path));
    files
}

/// Whether there are images in each of the classes.
fn check_not_empty(folder: &Path, beside: &LeftOut, classes: &[Class]) -> Result<(), DataError> {
    let empty: Vec<&Class> = classes.iter().filter(|class| class.first.is_none()).collect();
    match empty[..] {
        [] => Ok(()),
        // Then the classes are not what is wrong.
        _ if empty.len() == classes.len() => {
            let mut left_out = beside.clone();
            classes.iter().for_each(|class| left_out.add_all(class.left_out.clone()));
            Err(none(folder, &left_out))
        }
        [class] => Err(none(&folder.join(&class.path), &class.left_out).with_hint(EMPTY_CLASS)),
        _ => {
            let names = first_names(empty.iter().filter_map(|class| class.path.to_str()), NAMED).join(", ");
            let wanted = format!("image in {} class folders, [{names}],", empty.len());
            Err(Problem::missing(wanted).at(folder).with_hint(EMPTY_CLASS))
        }
    }
}

const EMPTY_CLASS: &str =
    "each folder is a class: put images into it, or take it away or begin its name with a dot";

/// There is no image in `folder`, in which this was left out.
fn none(folder: &Path, left_out: &LeftOut) -> DataError {
    let found = if left_out.is_empty() { Vec::new() } else { vec![left_out.to_string()] };
    let error = Problem::Missing { wanted: "image".to_owned(), found }.at(folder);
    match left_out.has_archive() {
        true => error.with_hint("unpack the archive, and give the folder that it is unpacked to"),
        false => error,
    }
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

/// Does `work` on each of the files, whose paths are those below the folder, on all processors; which cannot be read is
/// collected, and the rest is done.
pub(crate) fn on_all<'a, J: Send>(
    what: &str,
    jobs: impl ExactSizeIterator<Item = (&'a Path, J)> + Send,
    watch: &Watch,
    broken: &Broken,
    work: impl Fn(&Path, J) -> Result<(), DataError> + Sync,
) -> Result<(), DataError> {
    let (total, done) = (jobs.len() as u64, AtomicU64::new(0));
    let threads = threads().min(jobs.len());
    in_parallel(jobs, threads, |(path, job)| {
        if let Err(error) = work(path, job) {
            broken.add(path, error);
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
    broken: &'a Broken,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Image,
    Broken,
    Other,
}

impl Walk<'_> {
    /// The files and the subfolders of a folder that may be data, in no particular order; the rest is counted.
    fn entries(
        &self,
        below: &Path,
        left_out: &mut LeftOut,
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
        self.watch.check()?;
        let folder = self.folder.join(below);
        let failed = DataError::io(&folder);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if let Some(kind) = LeftOutKind::of_name(&entry.file_name()) {
                left_out.add(kind);
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
                Some(_) => left_out.add(LeftOutKind::Special),
            }
        }
        Ok((files, folders))
    }

    /// Adds the files in a folder and in all folders below it; `above` are the folders on the way there.
    fn files_below(
        &self,
        below: &Path,
        above: &mut Vec<PathBuf>,
        left_out: &mut LeftOut,
        files: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        let folder = self.folder.join(below);
        let here = canonical(&folder)?;
        if above.contains(&here) {
            let found = format!("leads back to {}", here.display());
            return Err(Problem::format(found, "no folder within itself").at(&folder));
        }
        above.push(here);
        let (in_folder, subfolders) = self.entries(below, left_out)?;
        files.extend(in_folder);
        for subfolder in subfolders {
            self.files_below(&subfolder, above, left_out, files)?;
        }
        above.pop();
        Ok(())
    }

    /// Looks into each of the files, which are those of `classes`; keeps the images, and counts the others but for the
    /// broken ones.
    fn images_among(
        &self,
        files: Vec<(PathBuf, u32)>,
        classes: &mut [Class],
    ) -> Result<Vec<(PathBuf, u32)>, DataError> {
        let mut found = vec![Found::Broken; files.len()];
        let jobs = files.iter().map(|(file, _)| file.as_path()).zip(found.iter_mut());
        on_all("looking at files", jobs, self.watch, self.broken, |file, found| {
            let is_image = look_at(&self.folder.join(file))?;
            *found = if is_image { Found::Image } else { Found::Other };
            Ok(())
        })?;
        let mut images = Vec::new();
        for ((file, label), found) in files.into_iter().zip(found) {
            let class = &mut classes[label as usize];
            match found {
                Found::Other => class.left_out.add(LeftOutKind::of_file(&file)),
                Found::Image | Found::Broken => {
                    class.first.get_or_insert_with(|| file.clone());
                    if found == Found::Image {
                        images.push((file, label));
                    }
                }
            }
        }
        Ok(images)
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
