//! Facts in a redb file of the data directory.
//!
//! A file that cannot be read is set aside under a new name and reported, never deleted. After an I/O error
//! redb refuses every further write until the file is opened again; that is done once here. Which facts there
//! are is not known here.

use std::{
    fs, io,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mainstay_actors::ports::{StateStore, StoreError};
use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};

const FILE: &str = "state.redb";
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
/// The form of what is kept; a newer one was written by a newer Mainstay.
const SCHEMA: u64 = 1;
const SCHEMA_KEY: &str = "schema";
const IN_USE: &str = "is in use by another process";

/// Facts that outlive the process.
pub struct RedbState {
    path: PathBuf,
    database: Mutex<Option<Database>>,
}

/// A store that was opened.
pub struct Opened {
    /// The store.
    pub state: RedbState,
    /// Where the earlier file is now, if it could not be read.
    pub set_aside: Option<PathBuf>,
}

/// Why a file was not opened.
enum Trouble {
    /// What is in it is no database of ours.
    Unreadable(String),
    /// Anything else: the file is left alone.
    Other(String),
}

impl RedbState {
    /// Opens the store in `dir`, which is made if it is missing. `unix_time` names a file that is set aside.
    pub fn open(dir: &Path, unix_time: Duration) -> Result<Opened, StoreError> {
        make_dir(dir).map_err(|error| failed(dir, error))?;
        let path = dir.join(FILE);
        let (database, set_aside) = match open(&path) {
            Ok(database) => (database, None),
            Err(Trouble::Other(problem)) => return Err(failed(&path, problem)),
            Err(Trouble::Unreadable(problem)) => {
                tracing::error!(path = %path.display(), problem, "cannot be read");
                let aside = set_aside(&path, unix_time).map_err(|error| failed(&path, error))?;
                (open(&path).map_err(|trouble| failed(&path, trouble.text()))?, Some(aside))
            }
        };
        Ok(Opened { state: Self { path, database: Mutex::new(Some(database)) }, set_aside })
    }

    /// Does `work`, if need be once more on a file opened anew.
    fn with<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let mut held = self.held();
        let first = match &*held {
            Some(database) => work(database),
            None => Err(redb::Error::PreviousIo),
        };
        first.or_else(|error| {
            let poisoned = matches!(error, redb::Error::PreviousIo | redb::Error::Io(_));
            if !poisoned {
                return Err(failed(&self.path, error));
            }
            // It must be closed first: the file is locked as long as it is open.
            drop(held.take());
            let opened = open(&self.path).map_err(|trouble| failed(&self.path, trouble.text()))?;
            work(held.insert(opened)).map_err(|error| failed(&self.path, error))
        })
    }

    fn held(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for RedbState {
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|database| read(database, key))
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.with(|database| write(database, key, value))
    }
}

fn read(database: &Database, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let facts = database.begin_read()?.open_table(FACTS)?;
    Ok(facts.get(key)?.map(|value| value.value().to_vec()))
}

fn write(database: &Database, key: &str, value: &[u8]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(FACTS)?.insert(key, value)?;
    write.commit()?;
    Ok(())
}

/// redb panics over some damages; what it stumbles over cannot be read.
fn open(path: &Path) -> Result<Database, Trouble> {
    let opened = catch_unwind(|| open_or_panic(path));
    opened.unwrap_or_else(|_| Err(Trouble::Unreadable("it is damaged: opening it panicked".into())))
}

fn open_or_panic(path: &Path) -> Result<Database, Trouble> {
    let database = Database::create(path).map_err(trouble)?;
    // Makes the table, so that reading never finds it missing.
    let write = database.begin_write().map_err(|error| Trouble::Other(error.to_string()))?;
    write.open_table(FACTS).map_err(|error| Trouble::Unreadable(error.to_string()))?;
    write.commit().map_err(|error| Trouble::Other(error.to_string()))?;
    check_schema(&database)?;
    Ok(database)
}

fn check_schema(database: &Database) -> Result<(), Trouble> {
    let found = read(database, SCHEMA_KEY).map_err(|error| Trouble::Unreadable(error.to_string()))?;
    let Some(found) = found else {
        let written = write(database, SCHEMA_KEY, &SCHEMA.to_be_bytes());
        return written.map_err(|error| Trouble::Other(error.to_string()));
    };
    match found.try_into().map(u64::from_be_bytes) {
        Ok(found) if found <= SCHEMA => Ok(()),
        Ok(found) => Err(Trouble::Other(format!(
            "was written by a newer Mainstay (form {found}, this one knows {SCHEMA}): use that one, or another \
             data directory"
        ))),
        Err(_) => Err(Trouble::Unreadable("its form is not a number".into())),
    }
}

fn trouble(error: DatabaseError) -> Trouble {
    match &error {
        DatabaseError::DatabaseAlreadyOpen => {
            Trouble::Other(format!("{IN_USE}: stop that one, or choose another data directory (--data-dir)"))
        }
        DatabaseError::UpgradeRequired(_)
        | DatabaseError::RepairAborted
        | DatabaseError::Storage(StorageError::Corrupted(_)) => Trouble::Unreadable(error.to_string()),
        DatabaseError::Storage(StorageError::Io(io)) if is_garbage(io) => {
            Trouble::Unreadable(error.to_string())
        }
        _ => Trouble::Other(error.to_string()),
    }
}

/// redb reports a foreign or cut file as an I/O error of these kinds.
fn is_garbage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn set_aside(path: &Path, unix_time: Duration) -> io::Result<PathBuf> {
    let seconds = unix_time.as_secs();
    let names = (0..100).map(|n| path.with_file_name(format!("{FILE}.unreadable-{}", seconds + n)));
    let free = names.into_iter().find(|name| !name.exists());
    let aside =
        free.ok_or_else(|| io::Error::other("too many files were set aside already: look at them"))?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn failed(path: &Path, problem: impl ToString) -> StoreError {
    let place = format!("data directory, {}", path.display());
    let problem = problem.to_string();
    StoreError { place, in_use: problem.starts_with(IN_USE), problem }
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Self::Unreadable(problem) | Self::Other(problem) => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("mainstay-state-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }

        fn open(&self) -> Result<Opened, StoreError> {
            RedbState::open(&self.0, NOW)
        }

        fn file(&self) -> PathBuf {
            self.0.join(FILE)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn facts_outlive_the_process_and_only_their_owner_may_read_them() {
        let dir = Dir::new("outlive");
        dir.open().unwrap().state.save("boot", b"7").unwrap();
        let opened = dir.open().unwrap();
        assert_eq!(opened.state.load("boot").unwrap().as_deref(), Some(&b"7"[..]));
        assert_eq!((opened.state.load("other").unwrap(), opened.set_aside), (None, None));
        assert_eq!(fs::metadata(&dir.0).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_store_in_use_is_said_to_be() {
        let dir = Dir::new("in-use");
        let _first = dir.open().unwrap();
        let error = dir.open().err().unwrap().to_string();
        assert!(error.contains("in use by another process") && error.contains(FILE), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_not_lost() {
        for (name, garbage) in [("text", b"not a database, but a letter".to_vec()), ("zeros", vec![0; 8192])]
        {
            let dir = Dir::new(name);
            fs::create_dir_all(&dir.0).unwrap();
            fs::write(dir.file(), &garbage).unwrap();
            let opened = dir.open().unwrap_or_else(|error| panic!("{name}: {error}"));
            let aside = opened.set_aside.unwrap();
            assert_eq!(fs::read(&aside).unwrap(), garbage, "{name}");
            opened.state.save("boot", b"1").unwrap();
        }
    }

    #[test]
    fn a_file_cut_short_is_set_aside_too() {
        let dir = Dir::new("cut");
        dir.open().unwrap().state.save("boot", b"7").unwrap();
        let bytes = fs::read(dir.file()).unwrap();
        fs::write(dir.file(), &bytes[..bytes.len() / 3]).unwrap();
        let opened = dir.open().unwrap_or_else(|error| panic!("{error}"));
        assert!(opened.set_aside.is_some());
    }

    #[test]
    fn a_file_whose_inside_is_gone_is_set_aside_too() {
        let dir = Dir::new("inside");
        dir.open().unwrap().state.save("boot", b"7").unwrap();
        let mut bytes = fs::read(dir.file()).unwrap();
        bytes[4096..].fill(0);
        fs::write(dir.file(), &bytes).unwrap();
        let opened = dir.open().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(fs::read(opened.set_aside.unwrap()).unwrap().len(), bytes.len());
        opened.state.save("boot", b"1").unwrap();
    }

    #[test]
    fn a_newer_form_is_refused_and_left_alone() {
        let dir = Dir::new("newer");
        dir.open().unwrap().state.save(SCHEMA_KEY, &(SCHEMA + 1).to_be_bytes()).unwrap();
        let error = dir.open().err().unwrap().to_string();
        assert!(error.contains("newer Mainstay"), "{error}");
        assert!(dir.file().exists());
    }

    #[test]
    fn a_place_where_no_directory_can_be_is_named() {
        let error = RedbState::open(Path::new("/dev/null/state"), NOW).err().unwrap();
        assert!(error.to_string().contains("/dev/null/state"), "{error}");
    }
}
