//! Some of many files are open at a time: a process may open fewer than a data set has shards.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::error::{DataError, Problem};

/// The most files that are open: systems allow a process 256 to 1024 unless told otherwise, and others need some too.
const AT_MOST: usize = 192;

/// Open files by their numbers, of which those that were used last stay open.
pub(crate) struct OpenFiles<F> {
    inner: Mutex<Inner<F>>,
}

struct Inner<F> {
    /// The open files, and when each was used last.
    files: HashMap<usize, (Arc<F>, u64)>,
    now: u64,
    at_most: usize,
}

impl<F> OpenFiles<F> {
    /// None is open.
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { files: HashMap::new(), now: 0, at_most: AT_MOST }) }
    }

    /// The file with this number, opened by `open` if it is not open.
    ///
    /// If the system allows no more files, some are closed, and fewer are open from then on.
    pub(crate) fn get<T>(
        &self,
        number: usize,
        open: impl Fn() -> Result<(T, F), DataError>,
    ) -> Result<(Option<T>, Arc<F>), DataError> {
        // Nothing panics while the lock is held.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.now += 1;
        let now = inner.now;
        if let Some((file, used)) = inner.files.get_mut(&number) {
            *used = now;
            return Ok((None, file.clone()));
        }
        let (with, file) = loop {
            match open() {
                Err(error) if is_too_many(&error) && !inner.files.is_empty() => {
                    inner.at_most = (inner.files.len() / 2).max(1);
                    let keep = inner.files.len() / 2;
                    inner.close(keep);
                }
                other => break other?,
            }
        };
        let file = Arc::new(file);
        let keep = inner.at_most - 1;
        inner.close(keep);
        inner.files.insert(number, (file.clone(), now));
        Ok((Some(with), file))
    }
}

impl<F> Inner<F> {
    /// Closes those that were used longest ago, until `keep` are open.
    fn close(&mut self, keep: usize) {
        while self.files.len() > keep {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| used).map(|(&number, _)| number);
            oldest.map(|number| self.files.remove(&number));
        }
    }
}

/// Whether the system allows no more open files, to this process (EMFILE) or to all (ENFILE).
fn is_too_many(error: &DataError) -> bool {
    match &error.problem {
        Problem::Io(error) => cfg!(unix) && matches!(io::Error::raw_os_error(error), Some(23 | 24)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the files that are open.
    struct File<'a>(&'a AtomicUsize, usize);

    impl<'a> File<'a> {
        fn open(count: &'a AtomicUsize, limit: usize, number: usize) -> Result<((), Self), DataError> {
            if count.load(Ordering::Relaxed) >= limit {
                return Err(Problem::Io(io::Error::from_raw_os_error(24)).into());
            }
            count.fetch_add(1, Ordering::Relaxed);
            Ok(((), Self(count, number)))
        }
    }

    impl Drop for File<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn more_files_are_read_than_may_be_open() {
        for limit in [1, 2, 10, 100, 1000] {
            let count = AtomicUsize::new(0);
            let files = OpenFiles::new();
            for number in (0..1200).chain((0..1200).rev()) {
                let (_, file) = files.get(number, || File::open(&count, limit, number)).unwrap();
                assert_eq!(file.1, number);
                let open = count.load(Ordering::Relaxed);
                assert!(open <= limit.min(AT_MOST), "{open} files are open");
            }
        }
    }

    #[test]
    fn those_used_last_stay_open() {
        let (count, opened) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let files = OpenFiles::new();
        for number in 0..AT_MOST {
            for number in [0, number] {
                let open = || {
                    opened.fetch_add(1, Ordering::Relaxed);
                    File::open(&count, 1000, number)
                };
                files.get(number, open).unwrap();
            }
        }
        for number in AT_MOST..AT_MOST + 1000 {
            files.get(number, || File::open(&count, 1000, number)).unwrap();
            let (new, _) = files.get(0, || File::open(&count, 1000, 0)).unwrap();
            assert!(new.is_none(), "file 0 was closed");
        }
        assert_eq!(opened.into_inner(), AT_MOST);
    }

    #[test]
    fn another_error_is_told() {
        let files = OpenFiles::<()>::new();
        let missing = || Err::<((), ()), _>(Problem::Io(io::ErrorKind::NotFound.into()).into());
        assert!(files.get(0, missing).is_err());
        let none = || Err::<((), ()), _>(Problem::Io(io::Error::from_raw_os_error(24)).into());
        assert!(files.get(0, none).is_err(), "there is none to close");
    }
}
