//! What the disk cache must survive.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
};

use bytes::Bytes;
use mainstay_actors::cache::{
    control::{CacheControl, CachePolicy},
    entry::{Kept, Windows},
    key::Scope,
    marks::Purge,
};
use redb::{Database, StorageBackend, backends::FileBackend};

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const NOW_MS: UnixMs = NOW.as_millis() as UnixMs;
const MIB: u64 = 1 << 20;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("mainstay-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn open(&self) -> OpenedCache {
        RedbCache::open(&self.0, 64 * MIB, NOW).unwrap()
    }

    fn sized(&self, capacity: u64) -> RedbCache {
        RedbCache::open(&self.0, capacity, NOW).unwrap().cache
    }

    fn file(&self) -> PathBuf {
        self.0.join(LAYOUT.file)
    }

    /// A closed file with some entries and a mark, and its bytes.
    async fn filled(&self, count: u64) -> Vec<u8> {
        let cache = self.open().cache;
        cache.put((0..count).map(kept).collect()).await.unwrap();
        cache.exchange(vec![mark(7)]).await.unwrap();
        drop(cache);
        fs::read(self.file()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(n: u64) -> Key {
    Key(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

/// Noise, so that it takes as much room as it has: 100 to 10 000 bytes of it.
fn answer(n: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(n);
    let len = 100 + (n * 7919 % 9900) as usize;
    (0..len).map(|_| random.u8(..)).collect()
}

fn entry(n: u64) -> Entry {
    Entry {
        scope: Scope { tenant: "t".into(), namespace: format!("n{}", n % 2).into() },
        tags: vec!["v1".into()],
        begun: NOW_MS + n,
        windows: Windows::new(NOW_MS + n, &CachePolicy::default(), &CacheControl::default()),
        provider: "p".into(),
        model: "m".into(),
        upstream_request_id: None,
        usage: None,
        took_ms: n,
        answer: Kept::Whole(answer(n)),
    }
}

fn kept(n: u64) -> (Key, Arc<Entry>) {
    (key(n), Arc::new(entry(n)))
}

fn mark(at: UnixMs) -> Mark {
    (Purge::All, at)
}

/// Is it there? Anything but what was put is a failure.
async fn has(cache: &RedbCache, n: u64) -> bool {
    match cache.get(key(n)).await {
        Ok(Found::Entry(found)) => {
            assert_eq!(format!("{found:?}"), format!("{:?}", entry(n)), "{n}"); // CA1, CA10
            true
        }
        Ok(Found::Nothing | Found::Corrupt) | Err(_) => false,
    }
}

async fn count(cache: &RedbCache, all: u64) -> u64 {
    let mut count = 0;
    for n in 0..all {
        count += u64::from(has(cache, n).await);
    }
    count
}

#[tokio::test]
async fn entries_and_marks_outlive_the_process() {
    let dir = Dir::new("outlive");
    dir.filled(50).await;
    let OpenedCache { cache, set_aside } = dir.open();
    assert_eq!(set_aside, None);
    assert_eq!(count(&cache, 50).await, 50); // CA11
    assert_eq!(cache.exchange(vec![]).await.unwrap(), [mark(7)]);
    assert!(matches!(cache.get(key(50)).await, Ok(Found::Nothing)));
    assert_eq!(fs::metadata(dir.file()).unwrap().permissions().mode() & 0o777, 0o600); // SE8
}

#[tokio::test]
async fn what_was_put_is_written_soon_without_being_asked_for() {
    let dir = Dir::new("soon");
    let cache = dir.open().cache;
    cache.put(vec![kept(1)]).await.unwrap();
    for _ in 0..100 {
        if has(&cache, 1).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it was never written");
}

#[tokio::test]
async fn a_newer_entry_takes_the_place_of_the_older_one() {
    let dir = Dir::new("newer-entry");
    let cache = dir.open().cache;
    cache.put(vec![(key(1), Arc::new(entry(2))), kept(1)]).await.unwrap();
    cache.flush().await.unwrap();
    assert!(has(&cache, 1).await);
    assert_eq!(cache.fill().await.unwrap().entries, 1);
}

#[tokio::test]
async fn what_is_removed_is_gone_and_takes_no_room() {
    let dir = Dir::new("remove");
    let cache = dir.open().cache;
    cache.put((0..10).map(kept).collect()).await.unwrap();
    cache.take_out((0..10).map(|n| (key(n), None)).collect()).await.unwrap();
    assert_eq!(count(&cache, 10).await, 0);
    assert_eq!(cache.fill().await.unwrap(), Fill { entries: 0, bytes: 0, capacity: Some(64 * MIB) });
}

#[tokio::test]
async fn the_books_are_the_same_after_a_restart() {
    let dir = Dir::new("books");
    let cache = dir.open().cache;
    for round in 0..5 {
        cache.put((round * 20..round * 20 + 40).map(kept).collect()).await.unwrap();
        cache.take_out((round * 30..round * 30 + 5).map(|n| (key(n), None)).collect()).await.unwrap();
    }
    let before = cache.fill().await.unwrap();
    drop(cache);
    let after = dir.open().cache.fill().await.unwrap();
    assert_eq!(before, after);
    assert!(before.entries > 50, "{before:?}");
}

#[tokio::test]
async fn of_two_marks_the_later_one_stays() {
    let dir = Dir::new("marks");
    let cache = dir.open().cache;
    cache.exchange(vec![mark(9)]).await.unwrap();
    assert_eq!(cache.exchange(vec![mark(5), (Purge::Key(key(1)), 3)]).await.unwrap()[0], mark(9)); // CA3
    drop(cache);
    assert_eq!(dir.open().cache.exchange(vec![]).await.unwrap(), [mark(9), (Purge::Key(key(1)), 3)]);
}

#[tokio::test]
async fn a_process_killed_at_any_moment_leaves_a_file_that_can_be_read() {
    let (dir, copy) = (Dir::new("killed"), Dir::new("killed-copy"));
    let cache = dir.open().cache;
    cache.put((0..20).map(kept).collect()).await.unwrap();
    cache.exchange(vec![mark(7)]).await.unwrap();
    for round in 1..8 {
        cache.put((round * 20..round * 20 + 20).map(kept).collect()).await.unwrap();
        cache.flush().await.unwrap();
        // As a kill would leave it: nothing was closed.
        fs::create_dir_all(&copy.0).unwrap();
        fs::copy(dir.file(), copy.file()).unwrap();
        let OpenedCache { cache: survivor, set_aside } = copy.open();
        assert_eq!((count(&survivor, 500).await, set_aside), (round * 20 + 20, None)); // CA11
        assert_eq!(survivor.exchange(vec![]).await.unwrap(), [mark(7)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_never_an_answer() {
    let dir = Dir::new("flips");
    let good = dir.filled(24).await;
    let fast = Layout { open: |path| open_disk(path, false), ..LAYOUT };
    let mut random = fastrand::Rng::with_seed(10);
    let (mut missed, mut aside) = (0, 0);
    for _ in 0..200 {
        let mut bad = good.clone();
        bad[random.usize(..good.len())] ^= random.u8(1..);
        fs::write(dir.file(), &bad).unwrap();
        let opened = RedbCache::open_as(fast, &dir.0, 64 * MIB, NOW);
        let OpenedCache { cache, set_aside } = opened.unwrap_or_else(|error| panic!("{error}"));
        aside += u32::from(set_aside.is_some());
        missed += u32::from(count(&cache, 24).await < 24); // CA10: `has` tells wrong from missing
        let marks = cache.shared.marks.all();
        assert!(marks == [mark(7)] || cache.fill().await.unwrap().entries == 0, "{marks:?}");
        drop(cache);
        for old in fs::read_dir(&dir.0).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
    }
    assert!(missed > 20, "{missed} missed, {aside} set aside");
}

#[tokio::test]
async fn a_damaged_row_is_taken_out_and_its_key_can_be_used_again() {
    let dir = Dir::new("row");
    let mut bytes = dir.filled(1).await;
    let needle = &answer(0)[50..70];
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(dir.file(), &bytes).unwrap();
    let cache = dir.open().cache;
    assert!(matches!(cache.get(key(0)).await, Ok(Found::Corrupt))); // CA6, CA10
    cache.flush().await.unwrap();
    assert!(matches!(cache.get(key(0)).await, Ok(Found::Nothing)));
    cache.put(vec![kept(0)]).await.unwrap();
    cache.flush().await.unwrap();
    assert!(has(&cache, 0).await);
}

#[tokio::test]
async fn an_unreadable_file_is_set_aside_and_an_empty_one_begun() {
    let dir = Dir::new("unreadable");
    fs::create_dir_all(&dir.0).unwrap();
    fs::write(dir.file(), b"not a database, but a letter").unwrap();
    let OpenedCache { cache, set_aside } = dir.open();
    assert_eq!(fs::read(set_aside.unwrap()).unwrap(), b"not a database, but a letter");
    cache.put(vec![kept(1)]).await.unwrap();
    cache.flush().await.unwrap();
    assert!(has(&cache, 1).await);
}

#[tokio::test]
async fn a_file_that_lost_its_marks_is_not_believed() {
    let dir = Dir::new("lost-marks");
    dir.filled(3).await;
    {
        let database = Database::create(dir.file()).unwrap();
        let write = database.begin_write().unwrap();
        crate::storage::redb_file::write_fact(&write, "marks", b"").unwrap();
        write.commit().unwrap();
    }
    let OpenedCache { cache, set_aside } = dir.open();
    assert!(set_aside.is_some());
    assert_eq!(cache.fill().await.unwrap().entries, 0); // CA3: a purge is never undone
}

#[tokio::test]
async fn two_processes_cannot_have_it() {
    let dir = Dir::new("two");
    let _first = dir.open();
    let error = RedbCache::open(&dir.0, MIB, NOW).err().unwrap();
    assert!(error.in_use && error.to_string().contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn its_capacity_is_kept_to_and_what_was_used_stays() {
    let dir = Dir::new("capacity");
    let cache = dir.sized(MIB);
    cache.put((0..50).map(kept).collect()).await.unwrap();
    cache.flush().await.unwrap();
    let mut evicted = 0;
    for round in 1..40 {
        assert!(has(&cache, 0).await && has(&cache, 1).await, "{round}");
        cache.put((round * 50..round * 50 + 50).map(kept).collect()).await.unwrap();
        cache.flush().await.unwrap();
        let fill = cache.fill().await.unwrap();
        assert!(fill.bytes <= MIB, "{round} {fill:?}"); // CA7
        assert!(round < 6 || fill.bytes > MIB - 20_000, "{round} {fill:?}");
        evicted += cache.tidy(0, &Marks::default()).await.unwrap().evicted;
    }
    let left = cache.fill().await.unwrap().entries;
    assert_eq!(evicted, 40 * 50 - left);
    assert_eq!(count(&cache, 2000).await, left);
    assert!(!has(&cache, 2).await);
}

#[tokio::test]
async fn what_it_counts_is_about_what_the_rows_take_in_the_file() {
    let dir = Dir::new("slack");
    let cache = dir.open().cache;
    for round in 0..20 {
        cache.put((round * 100..round * 100 + 100).map(kept).collect()).await.unwrap();
    }
    cache.flush().await.unwrap();
    let counted = cache.fill().await.unwrap().bytes as f64;
    let used = cache.shared.file.read(|database| {
        let write = database.begin_write()?;
        Ok(write.stats()?.allocated_pages() * 4096)
    });
    let ratio = used.unwrap() as f64 / counted;
    assert!((0.95..1.15).contains(&ratio), "{ratio}"); // CA7, pages included
}

#[tokio::test]
async fn tidying_takes_out_what_is_over_or_purged_a_piece_at_a_time() {
    let dir = Dir::new("tidy");
    let cache = dir.open().cache;
    let mut short = entry(0);
    short.windows = Windows::new(NOW_MS - 100 * 3_600_000, &CachePolicy::default(), &CacheControl::default());
    let mut wordy = entry(1);
    wordy.tags = (0..100).map(|n| format!("a tag with a long name {n}").into()).collect();
    cache.put(vec![(key(0), Arc::new(short)), (key(1), Arc::new(wordy))]).await.unwrap();
    cache.put((2..10).map(kept).collect()).await.unwrap();
    cache.flush().await.unwrap();
    let marks = Marks::default();
    assert_eq!(cache.tidy(NOW_MS, &marks).await.unwrap(), Tidied { expired: 1, evicted: 0 });
    marks.purge(Purge::Tag { tenant: "t".into(), tag: "a tag with a long name 99".into() }, NOW_MS + 100);
    assert_eq!(cache.tidy(NOW_MS, &marks).await.unwrap().expired, 1);
    let odd = Scope { tenant: "t".into(), namespace: "n1".into() };
    marks.purge(Purge::Namespace(odd), NOW_MS + 100);
    assert_eq!(cache.tidy(NOW_MS, &marks).await.unwrap().expired, 4);
    assert_eq!((count(&cache, 10).await, cache.fill().await.unwrap().entries), (4, 4));
}

#[tokio::test]
async fn a_sweep_goes_on_where_the_last_one_ended() {
    let dir = Dir::new("sweep");
    let cache = dir.open().cache;
    let small = |n| {
        let entry = Entry { answer: Kept::Whole("x".into()), ..entry(n) };
        (key(n), Arc::new(entry))
    };
    cache.put((0..5000).map(small).collect()).await.unwrap();
    cache.flush().await.unwrap();
    let (mut expired, mut largest) = (0, 0);
    for _ in 0..2000 {
        let tidied = cache.tidy(UnixMs::MAX, &Marks::default()).await.unwrap().expired;
        (expired, largest) = (expired + tidied, largest.max(tidied));
        if expired >= 5000 {
            break;
        }
    }
    assert_eq!((expired, cache.fill().await.unwrap().entries), (5000, 0));
    assert!(largest <= 2000, "{largest}");
}

#[tokio::test]
async fn too_much_at_once_is_refused_and_nobody_waits() {
    let dir = Dir::new("full-desk");
    let cache = dir.open().cache;
    let large = Entry { answer: Kept::Whole(vec![0; 9 << 20].into()), ..entry(0) };
    let large = Arc::new(large);
    let put = || cache.put((0..3).map(|n| (key(n), large.clone())).collect());
    let began = std::time::Instant::now();
    let mut refused = None;
    for _ in 0..20 {
        refused = refused.or(put().await.err());
    }
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(refused.unwrap().to_string().contains("too much waits")); // CA6
    cache.flush().await.unwrap();
    put().await.unwrap();
}

/// Where the disk ends that can be full.
static END: AtomicU64 = AtomicU64::new(u64::MAX);

/// A disk without wait, since nobody pulls the plug. It can be full: what is on it can still be written over.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    has_end: bool,
}

impl Disk {
    fn room(&self, end: u64) -> io::Result<()> {
        if self.has_end && end > END.load(Ordering::SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room(offset + data.len() as u64)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn open_disk(path: &Path, has_end: bool) -> Result<Database, redb::DatabaseError> {
    let file = FileBackend::new(File::options().read(true).write(true).open(path)?)?;
    Database::builder().create_with_backend(Disk { file, has_end })
}

#[tokio::test]
async fn on_a_full_disk_writes_fail_and_say_so_while_reads_go_on() {
    let dir = Dir::new("full-disk");
    let finite = Layout { open: |path| open_disk(path, true), ..LAYOUT };
    let cache = RedbCache::open_as(finite, &dir.0, 64 * MIB, NOW).unwrap().cache;
    cache.put((0..20).map(kept).collect()).await.unwrap();
    cache.flush().await.unwrap();
    END.store(fs::metadata(dir.file()).unwrap().len(), Ordering::SeqCst);
    cache.put((20..400).map(kept).collect()).await.unwrap();
    let error = cache.flush().await.unwrap_err();
    assert!(error.to_string().contains("make room"), "{error}");
    assert!(cache.put(vec![kept(1)]).await.is_err(), "the next one is told too"); // CA6
    assert_eq!(count(&cache, 20).await, 20);
    END.store(u64::MAX, Ordering::SeqCst);
    cache.flush().await.unwrap();
    cache.put(vec![kept(400)]).await.unwrap();
    cache.flush().await.unwrap();
    assert!(has(&cache, 400).await && has(&cache, 0).await);
}
