//! File systems of a test's own: an ext4 in an image, whose power can be cut, and a small one in memory that can be filled.
//!
//! Each is unmounted and removed with its value, also when a test fails. What a test left that was itself killed is removed
//! by the next one.

use crate::machine::{Need, try_run};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Length of an image; it is sparse.
const IMAGE_BYTES: u64 = 1 << 30;
/// Begin of the names of the directories that everything here lies in, followed by the id of the process.
const NAME: &str = "headwater-medium-";
/// How long a file system may stay busy with a process that was killed just now.
const IDLE_WITHIN: Duration = Duration::from_secs(10);

/// How the power goes, as `EXT4_IOC_SHUTDOWN` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Everything the system holds is written first.
    AfterAll = 0,
    /// The journal is written, file contents that were not synced are not.
    AfterJournal = 1,
    /// At once: what was not synced is gone.
    AtOnce = 2,
}

/// A mounted file system.
#[derive(Debug)]
pub struct Medium {
    /// The directory that holds all of it; removed at the end.
    directory: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Image(PathBuf),
    Memory { bytes: u64 },
}

impl Medium {
    /// An ext4 on a loop device.
    pub fn ext4() -> Self {
        let directory = new_directory();
        let image = directory.join("image");
        let file = fs::File::create(&image).expect("a new directory can be written");
        file.set_len(IMAGE_BYTES).expect("a sparse file needs no room");
        let medium = Self { directory, source: Source::Image(image.clone()) };
        Need::Mount.run("mkfs.ext4", [OsStr::new("-q"), OsStr::new("-F"), image.as_os_str()]);
        medium.mount();
        medium
    }

    /// One in memory, of this size.
    pub fn memory(bytes: u64) -> Self {
        let medium = Self { directory: new_directory(), source: Source::Memory { bytes } };
        medium.mount();
        medium
    }

    /// Where it is mounted: the place for a test's directories.
    pub fn path(&self) -> PathBuf {
        self.directory.join("mounted")
    }

    fn mount(&self) {
        let path = self.path();
        let (kind, options, source) = match &self.source {
            Source::Image(image) => ("ext4", "loop".to_owned(), image.as_os_str()),
            Source::Memory { bytes } => ("tmpfs", format!("size={bytes}"), OsStr::new("headwater-test")),
        };
        let options = ["-t", kind, "-o", &options].map(OsStr::new);
        Need::Mount.run("mount", options.into_iter().chain([source, path.as_os_str()]));
    }

    fn unmount(&self) -> Result<(), String> {
        let until = Instant::now() + IDLE_WITHIN;
        loop {
            match try_run("umount", [self.path()]) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                outcome => return outcome,
            }
        }
    }

    /// Cuts the power: from now on nothing reaches the medium, and nothing that is written succeeds.
    pub fn cut(&self, cut: Cut) {
        // The request takes a pointer, and there is no safe call for it in Rust.
        let script = "open(my $f, '<', $ARGV[0]) or die \"open: $!\"; my $how = pack('L', $ARGV[1]); \
                      defined(ioctl($f, 0x8004587d, $how)) or die \"shutdown: $!\"";
        let (path, cut) = (self.path(), (cut as u8).to_string());
        Need::Mount.run("perl", [OsStr::new("-e"), OsStr::new(script), path.as_os_str(), OsStr::new(&cut)]);
    }

    /// Gives the power back: what a machine finds after it has started again. Nobody may use it meanwhile.
    pub fn restart(&self) {
        self.unmount().expect("a file system that nobody uses can be unmounted");
        self.mount();
    }

    /// Takes up all room but `left` bytes, by a file that is removed with [`Medium::free`].
    pub fn fill(&self, left: u64) {
        let room = rustix::fs::statvfs(self.path()).expect("it is mounted");
        let bytes = (room.f_bavail * room.f_frsize).saturating_sub(left);
        let written = fs::write(self.filler(), vec![0; bytes as usize]);
        // A node that writes meanwhile may take the rest.
        let is_full = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        assert!(written.is_ok() || is_full, "{written:?}");
    }

    /// Removes what [`Medium::fill`] made.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Lets nothing that writes come to its end, as long as what is returned lives.
    pub fn freeze(&self) -> Frozen {
        Need::Mount.run("fsfreeze", [OsStr::new("-f"), self.path().as_os_str()]);
        Frozen(self.path())
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

/// See [`Medium::freeze`].
#[derive(Debug)]
pub struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        Need::Mount.run("fsfreeze", [OsStr::new("-u"), self.0.as_os_str()]);
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if is_mounted(&self.path()) && self.unmount().is_err() {
            // It goes when the last process that uses it does.
            try_run("umount", [OsStr::new("-l"), self.path().as_os_str()]).ok();
        }
        remove(&self.directory);
    }
}

fn new_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let parent = std::env::temp_dir();
    if NUMBER.load(Ordering::Relaxed) == 0 {
        remove_left_over(&parent);
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = parent.join(format!("{NAME}{}-{number}", std::process::id()));
    fs::create_dir_all(directory.join("mounted")).expect("the temporary directory can be written");
    directory
}

/// Removes what processes left that are no more.
fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).expect("the temporary directory can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((id, _)) = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-')) else { continue };
        if Path::new("/proc").join(id).exists() {
            continue;
        }
        let mounted = entry.path().join("mounted");
        if is_mounted(&mounted) {
            try_run("umount", [OsStr::new("-l"), mounted.as_os_str()]).ok();
        }
        remove(&entry.path());
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// Removes a directory of ours, never what is still mounted there.
fn remove(directory: &Path) {
    if !is_mounted(&directory.join("mounted")) {
        fs::remove_dir_all(directory).ok();
    }
}
