//! Facts in a redb file of the data directory.
//!
//! Which facts there are is not known here, nor how the file is opened and set aside.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mainstay_actors::ports::{StateStore, StoreError};
use redb::{Database, WriteTransaction};

use super::redb_file::{Layout, RedbFile, read_fact, write_fact};

const LAYOUT: Layout =
    Layout { file: "state.redb", schema: 1, open: |path| Database::create(path), fill: nothing_more };

/// Facts that outlive the process.
pub struct RedbState(RedbFile);

/// A store that was opened.
pub struct Opened {
    /// The store.
    pub state: RedbState,
    /// Where the earlier file is now, if it could not be read.
    pub set_aside: Option<PathBuf>,
}

impl RedbState {
    /// Opens the store in `dir`, which is made if it is missing. `unix_time` names a file that is set aside.
    pub fn open(dir: &Path, unix_time: Duration) -> Result<Opened, StoreError> {
        let (file, set_aside) = RedbFile::open(dir, LAYOUT, unix_time)?;
        Ok(Opened { state: Self(file), set_aside })
    }
}

impl StateStore for RedbState {
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.write(|database| read_fact(database, key)).map_err(|trouble| self.0.failed(&trouble))
    }

    fn save(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.write(|database| save(database, key, value)).map_err(|trouble| self.0.failed(&trouble))
    }
}

fn nothing_more(_: &WriteTransaction) -> Result<(), redb::Error> {
    Ok(())
}

fn save(database: &Database, key: &str, value: &[u8]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write_fact(&write, key, value)?;
    Ok(write.commit()?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::storage::redb_file::SCHEMA_KEY;

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
            self.0.join(LAYOUT.file)
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
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir.0), mode(&dir.file())), (0o700, 0o600)); // SE8
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them() {
        let dir = Dir::new("wide");
        dir.open().unwrap();
        fs::set_permissions(dir.file(), fs::Permissions::from_mode(0o644)).unwrap();
        dir.open().unwrap();
        assert_eq!(fs::metadata(dir.file()).unwrap().permissions().mode() & 0o777, 0o600); // SE8
    }

    #[test]
    fn a_store_in_use_is_said_to_be() {
        let dir = Dir::new("in-use");
        let _first = dir.open().unwrap();
        let error = dir.open().err().unwrap().to_string();
        assert!(error.contains("in use by another process") && error.contains(LAYOUT.file), "{error}");
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
        dir.open().unwrap().state.save(SCHEMA_KEY, &(LAYOUT.schema + 1).to_be_bytes()).unwrap();
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
