//! The folder of a run: it says everything that there is to say of it.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::held::{Held, LOCK};
use crate::made::{is_made, is_partial, is_result_after, is_written_here};
use crate::picture_folder;
use diffusion::train::{Checkpoint, CheckpointError, Found, Weights, Which};
use diffusion::weights::{check_regular, write_atomically};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    kept: Vec<PathBuf>,
    /// By who writes into the folder.
    held: Option<Arc<Held>>,
}

impl RunFolder {
    /// Makes the folder, locks it and writes its config.toml. One that exists and is not empty is refused, unless
    /// `overwrite` says that the run in it may be replaced. Then only what that run wrote is removed; what stays is
    /// [`kept`](Self::kept).
    ///
    /// # Errors
    /// If it is refused, another process works in it, or the file system refuses.
    pub fn create(path: impl AsRef<Path>, config: &RunConfig, overwrite: bool) -> Result<Self, RecipeError> {
        let path = path.as_ref();
        let text = config.to_toml()?;
        Self::check(path, overwrite)?;
        let mut run = Self::at(path);
        fs::create_dir_all(path).map_err(RecipeError::io("create", path))?;
        run.held = Some(Arc::new(Held::new(path)?));
        // Again, for another process may have been quicker.
        if run.check_replaced(overwrite)? {
            run.kept = run.remove_made()?;
        }
        fs::create_dir_all(run.checkpoints()).map_err(RecipeError::io("create", path))?;
        write_text(&run.config(), &text)?;
        Ok(run)
    }

    /// Finds out whether [`create`](Self::create) can make the folder, before anything long is done for it. Nothing is
    /// changed.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn check(path: impl AsRef<Path>, overwrite: bool) -> Result<(), RecipeError> {
        let path = path.as_ref();
        let run = Self::at(path);
        let looked = run.check_replaced(overwrite);
        if matches!(looked, Err(RecipeError::RunExists(_))) && run.config().is_file() {
            // Of a run that is going on it should not be said that it may be replaced.
            Held::new(path)?;
        }
        looked?;
        // The nearest folder that is there must take another name.
        let above = path.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists());
        let inside = if path.is_dir() { Some(path) } else { above };
        let inside = inside.unwrap_or(Path::new(""));
        try_writing_in(inside).map_err(RecipeError::io("write into", path))
    }

    fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf(), kept: Vec::new(), held: None }
    }

    /// Whether there is a run that would be replaced.
    fn check_replaced(&self, overwrite: bool) -> Result<bool, RecipeError> {
        if self.path.symlink_metadata().is_ok() && !self.path.is_dir() {
            return Err(RecipeError::FileInPlace(self.path.clone()));
        }
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            entries => entries.map_err(RecipeError::io("read", &self.path))?,
        };
        let is_empty = entries.flatten().all(|entry| entry.path().ends_with(LOCK));
        match is_empty {
            true => Ok(false),
            _ if !self.config().is_file() || !self.checkpoints().is_dir() => {
                Err(RecipeError::NotARun(self.path.clone()))
            }
            _ if !overwrite => Err(RecipeError::RunExists(self.path.clone())),
            _ => Ok(true),
        }
    }

    /// Removes what a run wrote, and returns what is left.
    fn remove_made(&self) -> Result<Vec<PathBuf>, RecipeError> {
        let mut kept = Checkpoint::remove_all(self.checkpoints())?;
        let snapshots = self.snapshots();
        if snapshots.is_dir() {
            kept.extend(Checkpoint::remove_all(&snapshots)?);
            if !kept.iter().any(|path| path.starts_with(&snapshots)) {
                fs::remove_dir(&snapshots).map_err(RecipeError::io("remove", &snapshots))?;
            }
        }
        let pictures = self.pictures();
        kept.extend(picture_folder::remove_all(&pictures)?);
        let entries = fs::read_dir(&self.path).map_err(RecipeError::io("read", &self.path))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_looked_at = path == snapshots || path == pictures;
            if path.ends_with(LOCK) || path == self.checkpoints() || is_looked_at && path.is_dir() {
                continue;
            }
            if is_made(&path) {
                fs::remove_file(&path).map_err(RecipeError::io("remove", &path))?;
            } else {
                kept.push(path);
            }
        }
        kept.sort();
        Ok(kept)
    }

    /// What was in the folder before, is no run's, and stayed when the run in it was replaced.
    pub fn kept(&self) -> &[PathBuf] {
        &self.kept
    }

    /// Moves all that the run did after the step `step` aside, into the folder `abandoned-N` of the first free number N:
    /// its checkpoints, snapshots, averages, pictures and samples, and a copy of all metrics so far. Returns that folder; none if
    /// there was nothing after the step.
    ///
    /// A process that is killed meanwhile leaves a run that goes on from its newest checkpoint.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn abandon_after(&self, step: u64) -> Result<Option<PathBuf>, RecipeError> {
        let later = Checkpoint::after(self.checkpoints(), step)?;
        let snapshots = Checkpoint::after(self.snapshots(), step)?;
        let pictures = picture_folder::after(&self.pictures(), step);
        let metrics = self.file("metrics.jsonl");
        if later.is_empty() && snapshots.is_empty() && pictures.is_empty() && last_step(&metrics) <= step {
            return Ok(None);
        }
        let mut places = (1..).map(|n: u64| self.file(&format!("abandoned-{n}")));
        let aside = places.find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
        let checkpoints = aside.join("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(RecipeError::io("create", &checkpoints))?;
        let entries = fs::read_dir(&self.path).map_err(RecipeError::io("read", &self.path))?;
        let results = entries.flatten().map(|entry| entry.path()).filter(|path| is_result_after(path, step));
        let results: Vec<PathBuf> = results.collect();
        for (name, paths) in [("snapshots", snapshots), ("samples", pictures), ("", results)] {
            let aside = aside.join(name);
            if !paths.is_empty() {
                fs::create_dir_all(&aside).map_err(RecipeError::io("create", &aside))?;
            }
            for path in paths {
                let place = aside.join(path.file_name().unwrap_or_default());
                fs::rename(&path, place).map_err(RecipeError::io("move", &path))?;
            }
        }
        if metrics.is_file() {
            fs::copy(&metrics, aside.join("metrics.jsonl")).map_err(RecipeError::io("copy", &metrics))?;
        }
        // The newest first: at any moment the others are those of a run that was interrupted earlier.
        for path in later.iter().rev() {
            let name = path.file_name().unwrap_or_default();
            fs::rename(path, checkpoints.join(name)).map_err(RecipeError::io("move", path))?;
        }
        Ok(Some(aside))
    }

    /// Where to write the run's output `name` with the first of `endings`, e.g. its picture `samples.png`, and beside it
    /// with the others: where something lies there that no run wrote, `name-1` and so on.
    pub fn output(&self, name: &str, endings: &[&str]) -> PathBuf {
        let place = |stem: &str, ending: &&str| self.file(&format!("{stem}.{ending}"));
        let is_free = |path: &PathBuf| path.symlink_metadata().is_err() || is_written_here(path);
        let all_free =
            |stem: &String| endings.iter().map(|ending| place(stem, ending)).all(|path| is_free(&path));
        let mut stems = iter::once(name.to_string()).chain((1..).map(|n: u64| format!("{name}-{n}")));
        let stem = stems.find(all_free);
        place(&stem.unwrap_or_default(), &endings.first().copied().unwrap_or_default())
    }

    /// The folder of a run that was made before, and its configuration.
    ///
    /// # Errors
    /// If there is no run, or its configuration cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, RunConfig), RecipeError> {
        let path = path.as_ref();
        let run = Self::at(path);
        check_regular(run.config()).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => RecipeError::NoRun(path.to_path_buf()),
            _ => RecipeError::io("read", run.config())(error),
        })?;
        let config = RunConfig::read(run.config())?;
        Ok((run, config))
    }

    /// The folder of a run that was made before, to go on with it. What a killed process left half written is removed;
    /// the last result is the number of checkpoints among that.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if another process works in it.
    pub fn open_locked(path: impl AsRef<Path>) -> Result<(Self, RunConfig, usize), RecipeError> {
        let path = path.as_ref();
        let (mut run, _) = Self::open(path)?;
        run.held = Some(Arc::new(Held::new(path)?));
        // Again, for who held the lock may have changed it.
        let (_, config) = Self::open(path)?;
        run.tidy()?;
        let half_written = Checkpoint::tidy(run.checkpoints())?;
        // Those that were being written are written again.
        Checkpoint::tidy(run.snapshots())?;
        Ok((run, config, half_written))
    }

    /// Removes what a process left half written that was killed while it held the lock.
    fn tidy(&self) -> Result<(), RecipeError> {
        let entries = fs::read_dir(&self.path).map_err(RecipeError::io("read", &self.path))?;
        let drawn = fs::read_dir(self.pictures()).into_iter().flatten();
        for path in entries.chain(drawn).flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_partial(&name) && path.is_file() {
                fs::remove_file(&path).map_err(RecipeError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Whether the folder that [`create`](Self::create) or [`open_locked`](Self::open_locked) took is still at its
    /// [`path`](Self::path): neither removed, nor moved, nor replaced by another. What was not taken is.
    pub fn is_there(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_at(&self.path))
    }

    /// Makes the folder anew for a run whose own is no longer there: at the same path or, where something is there, at the
    /// first of `PATH-1`, `PATH-2` and so on that is free.
    pub(crate) fn again(&self, config: &RunConfig) -> Result<Self, RecipeError> {
        let numbered = |n: u64| {
            let mut name = self.path.file_name().unwrap_or("run".as_ref()).to_os_string();
            name.push(format!("-{n}"));
            self.path.with_file_name(name)
        };
        let mut places = iter::once(self.path.clone()).chain((1..).map(numbered));
        let place = places.find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
        Self::create(place, config, false)
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write_config(&self, config: &RunConfig) -> Result<(), RecipeError> {
        write_text(&self.config(), &config.to_toml()?)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.file("checkpoints")
    }

    /// The folder of its snapshots, from which other averages are made.
    pub fn snapshots(&self) -> PathBuf {
        self.file("snapshots")
    }

    /// The folder of the pictures that are drawn while it trains.
    pub fn pictures(&self) -> PathBuf {
        self.file(picture_folder::NAME)
    }

    /// Where to draw the picture of the step `step`; its folder is made if it is not there. What no run drew stays, as with
    /// [`output`](Self::output).
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn picture(&self, step: u64) -> Result<PathBuf, RecipeError> {
        let folder = self.pictures();
        if !folder.is_dir() {
            // A folder that is gone is not made anew.
            fs::create_dir(&folder).map_err(RecipeError::io("create", &folder))?;
        }
        Ok(self.output(&format!("{}/step-{step:08}", picture_folder::NAME), &["png"]))
    }

    /// The pictures that were drawn while it trained, with their steps, in their order.
    pub fn pictures_drawn(&self) -> Vec<(u64, PathBuf)> {
        picture_folder::drawn(&self.pictures())
    }

    /// The file of the average of this width that was made of its snapshots, after its last step or after `step`.
    pub fn average(&self, width: f64, step: Option<u64>) -> PathBuf {
        let step = step.map(|step| format!("-step-{step}")).unwrap_or_default();
        self.file(&format!("ema-{width}{step}.safetensors"))
    }

    /// The file or folder `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The checkpoint that is asked for, and why damaged ones that would have come before it were passed over.
    ///
    /// # Errors
    /// If there is none that is valid.
    pub fn checkpoint(&self, which: Which) -> Result<(Checkpoint, Vec<CheckpointError>), RecipeError> {
        Ok(Checkpoint::find(self.checkpoints(), which)?)
    }

    /// The checkpoint that is asked for, of which only these weights are needed; and what is damaged.
    ///
    /// # Errors
    /// If there is none whose weights are valid.
    pub fn weights(&self, which: Which, weights: Weights) -> Result<Found, RecipeError> {
        Ok(Checkpoint::find_weights(self.checkpoints(), which, weights)?)
    }
}

/// Writes a file beside its place, syncs it, and puts it there.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), RecipeError> {
    write_atomically(path, |file| file.write_all(text.as_bytes())).map_err(RecipeError::io("write", path))
}

/// Finds out whether the file `path` can be written, by a hidden file beside it that is removed again; before anything
/// long is computed for it.
///
/// # Errors
/// If the file system refuses.
pub fn check_writable(path: impl AsRef<Path>) -> Result<(), RecipeError> {
    let path = path.as_ref();
    let folder = path.parent().unwrap_or(Path::new(""));
    try_writing_in(folder).map_err(RecipeError::io("write", path))
}

/// The last step in a file of metrics, 0 where there is none.
fn last_step(metrics: &Path) -> u64 {
    let text =
        if metrics.is_file() { fs::read_to_string(metrics).unwrap_or_default() } else { String::new() };
    let step = |line| serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64();
    text.lines().filter_map(step).max().unwrap_or(0)
}

fn try_writing_in(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".try.{}-0.partial", process::id()));
    File::create_new(&path)?;
    fs::remove_file(&path)
}

/// Refuses a new run in the folder `out` where that would replace `origin`, which the run is made from.
///
/// # Errors
/// If it would.
pub fn check_replaces_not(origin: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<(), RecipeError> {
    let origin = origin.as_ref();
    let out = out.as_ref();
    match (fs::canonicalize(origin), fs::canonicalize(out)) {
        (Ok(file), Ok(folder)) if file.starts_with(&folder) => {
            Err(RecipeError::ReplacesSource { out: out.to_path_buf(), origin: origin.to_path_buf() })
        }
        _ => Ok(()),
    }
}
