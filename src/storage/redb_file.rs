//! One redb file of the data directory: opened, opened again, set aside.
//!
//! A file that cannot be read is set aside under a new name and reported, never deleted. redb panics over some damages,
//! which is contained here, and after an I/O error it refuses all further work until the file is opened again, which
//! is done here once for each piece of work. What is in the file is not known here, but for a small table of facts
//! with its form.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use mainstay_actors::ports::StoreError;
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

/// Small things with a name.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
/// The fact that tells the form of the file.
pub(super) const SCHEMA_KEY: &str = "schema";

/// What is particular to one file.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Its name.
    pub(super) file: &'static str,
    /// The form of what is kept; a newer one was written by a newer Mainstay.
    pub(super) schema: u64,
    /// Opens what is at a path, or makes it.
    pub(super) open: fn(&Path) -> Result<Database, DatabaseError>,
    /// Makes what must be in a new file, in the transaction that also tells its form.
    pub(super) fill: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

/// A file that is open, except after trouble.
pub(super) struct RedbFile {
    path: PathBuf,
    layout: Layout,
    /// Names what is set aside.
    unix_time: Duration,
    database: RwLock<Option<Database>>,
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// What is in the file is no database of ours.
    Unreadable(String),
    /// It belongs to another process.
    InUse,
    /// Anything else: the file is left alone.
    Other(String),
}

impl RedbFile {
    /// Opens it in `dir`, which is made if it is missing; also says where an unreadable file is now.
    pub(super) fn open(
        dir: &Path,
        layout: Layout,
        unix_time: Duration,
    ) -> Result<(Self, Option<PathBuf>), StoreError> {
        make_dir(dir).map_err(|error| failed(dir, &Trouble::Other(error.to_string())))?;
        let path = dir.join(layout.file);
        let file = Self { path, layout, unix_time, database: RwLock::new(None) };
        let opened = match file.reopen() {
            Err(Trouble::Unreadable(problem)) => file.start_anew(&problem).map(Some),
            opened => opened.map(|()| None),
        };
        let set_aside = opened.map_err(|trouble| file.failed(&trouble))?;
        Ok((file, set_aside))
    }

    /// Does `work`.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Trouble> {
        let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(database) => contain(|| Ok(work(database)?)),
            None => Err(Trouble::Other("was closed after an error; the next write opens it again".into())),
        }
    }

    /// Does `work`, if need be once more on a file opened anew. Whatever comes of it, the file can be read afterwards.
    pub(super) fn write<T>(
        &self,
        mut work: impl FnMut(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Trouble> {
        let first = self.read(&mut work);
        let second = first.or_else(|_| self.reopen().and_then(|()| self.read(&mut work)));
        second.inspect_err(|_| {
            // The error above says more than this one would.
            let _ = self.reopen();
        })
    }

    /// Sets the file aside and begins an empty one. Gives the name of the old one.
    pub(super) fn start_anew(&self, problem: &str) -> Result<PathBuf, Trouble> {
        tracing::error!(path = %self.path.display(), problem, "cannot be read");
        self.close();
        let other = |error: io::Error| Trouble::Other(error.to_string());
        let aside = set_aside(&self.path, self.unix_time).map_err(other)?;
        self.reopen()?;
        Ok(aside)
    }

    /// What a caller is told of this trouble.
    pub(super) fn failed(&self, trouble: &Trouble) -> StoreError {
        failed(&self.path, trouble)
    }

    fn reopen(&self) -> Result<(), Trouble> {
        // It must be closed first: the file is locked as long as it is open.
        self.close();
        let opened = contain(|| open(&self.path, &self.layout))?;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        Ok(())
    }

    fn close(&self) {
        let held = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let _ = contain(|| {
            drop(held);
            Ok(())
        });
    }
}

/// The fact of this name.
pub(super) fn read_fact(database: &Database, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let facts = database.begin_read()?.open_table(FACTS)?;
    Ok(facts.get(key)?.map(|value| value.value().to_vec()))
}

/// Keeps a fact, once the transaction is committed.
pub(super) fn write_fact(write: &WriteTransaction, key: &str, value: &[u8]) -> Result<(), redb::Error> {
    write.open_table(FACTS)?.insert(key, value)?;
    Ok(())
}

/// redb panics over some damages; what it stumbles over cannot be read.
fn contain<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Trouble::Unreadable("it is damaged: redb panicked over it".into())))
}

fn open(path: &Path, layout: &Layout) -> Result<Database, Trouble> {
    make_file(path).map_err(|error| Trouble::Other(error.to_string()))?;
    let database = (layout.open)(path).map_err(redb::Error::from)?;
    match schema(&database)? {
        None => fill(&database, layout)?,
        Some(found) => check_schema(found, layout.schema)?,
    }
    Ok(database)
}

/// Nothing is written to a file that is as it should be: the disk may be full.
fn schema(database: &Database) -> Result<Option<Vec<u8>>, redb::Error> {
    match database.begin_read()?.open_table(FACTS) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(facts) => Ok(facts.get(SCHEMA_KEY)?.map(|value| value.value().to_vec())),
    }
}

fn fill(database: &Database, layout: &Layout) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    (layout.fill)(&write)?;
    write_fact(&write, SCHEMA_KEY, &layout.schema.to_be_bytes())?;
    Ok(write.commit()?)
}

fn check_schema(found: Vec<u8>, known: u64) -> Result<(), Trouble> {
    match found.try_into().map(u64::from_be_bytes) {
        Ok(found) if found <= known => Ok(()),
        Ok(found) => Err(Trouble::Other(format!(
            "was written by a newer Mainstay (form {found}, this one knows {known}): use that one, or another data \
             directory"
        ))),
        Err(_) => Err(Trouble::Unreadable("its form is not a number".into())),
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        use redb::Error::*;
        match &error {
            DatabaseAlreadyOpen => Self::InUse,
            UpgradeRequired(_)
            | RepairAborted
            | Corrupted(_)
            | LockPoisoned(_)
            | TableTypeMismatch { .. }
            | TypeDefinitionChanged { .. }
            | TableDoesNotExist(_) => Self::Unreadable(error.to_string()),
            Io(io) if is_garbage(io) => Self::Unreadable(error.to_string()),
            Io(io) if is_full(io) => Self::Other(format!("no space is left: make room there ({io})")),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// redb reports a foreign or cut file as an I/O error of these kinds.
fn is_garbage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn set_aside(path: &Path, unix_time: Duration) -> io::Result<PathBuf> {
    let seconds = unix_time.as_secs();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (0..100).map(|n| path.with_file_name(format!("{name}.unreadable-{}", seconds + n)));
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

/// Makes it, or makes it ours alone (SE8).
fn make_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 { file.set_permissions(fs::Permissions::from_mode(0o600)) } else { Ok(()) }
}

fn failed(path: &Path, trouble: &Trouble) -> StoreError {
    let problem = match trouble {
        Trouble::Unreadable(problem) | Trouble::Other(problem) => problem.clone(),
        Trouble::InUse => "is in use by another process: stop that one, or choose another data directory \
                           (--data-dir)"
            .into(),
    };
    let place = format!("data directory, {}", path.display());
    StoreError { place, problem, in_use: matches!(trouble, Trouble::InUse) }
}
