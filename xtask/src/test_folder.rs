//! A temporary folder for a test, deleted at the end of the test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(crate) struct TestFolder(PathBuf);

impl TestFolder {
    pub(crate) fn new(name: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("xtask-{name}-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and creates its parent folders. `path` is relative to this folder, even if it starts with a slash.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path.trim_start_matches('/'));
        let folder = path.parent().expect("a file has a folder");
        fs::create_dir_all(folder).expect("a folder inside the temporary folder can be made");
        fs::write(&path, text).expect("a file inside the temporary folder can be written");
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        // A folder that cannot be deleted does not affect other tests: each has its own name.
        let _ = fs::remove_dir_all(&self.0);
    }
}
