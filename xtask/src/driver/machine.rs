//! The input of the search for a driver: the files and the environment of a machine, which tests can simulate.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// The default folders of the dynamic linker, also on systems without `ld.so.conf`.
const LINKER_FOLDERS: [&str; 5] = ["/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64"];

/// The depth to which `ld.so.conf` files may include one another before it is taken for a circle.
const INCLUDE_DEPTH: u32 = 8;

/// A machine's files, under a root folder, and its environment variables.
#[derive(Debug)]
pub(crate) struct Machine {
    root: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Machine {
    /// The machine that this program runs on.
    pub(crate) fn this() -> Self {
        let variables =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { root: PathBuf::from("/"), variables: variables.collect() }
    }

    /// A made-up machine.
    #[cfg(test)]
    pub(crate) fn made_up(root: &Path, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { root: root.to_path_buf(), variables }
    }

    /// An environment variable, if it is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the folders of a colon-separated variable, or `otherwise` if it is not set.
    pub(crate) fn folders(&self, name: &str, otherwise: &str) -> Vec<PathBuf> {
        self.variable(name)
            .unwrap_or(otherwise)
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .collect()
    }

    /// Whether a file, folder or device of this path exists.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.real(path).exists()
    }

    /// A text file's contents, if it is there and text.
    pub(crate) fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(self.real(path)).ok()
    }

    /// Returns the sorted paths in a folder; empty if the folder does not exist.
    pub(crate) fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.real(folder)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| folder.join(entry.file_name())).collect();
        paths.sort();
        paths
    }

    /// Where the dynamic linker would find a shared library.
    pub(crate) fn library(&self, name: &str) -> Option<PathBuf> {
        let mut folders = self.folders("LD_LIBRARY_PATH", "");
        self.read_linker_configuration(Path::new("/etc/ld.so.conf"), INCLUDE_DEPTH, &mut folders);
        folders.extend(LINKER_FOLDERS.map(PathBuf::from));
        let mut seen = BTreeSet::new();
        folders
            .into_iter()
            .filter(|folder| seen.insert(folder.clone()))
            .map(|folder| folder.join(name))
            .find(|path| self.exists(path))
    }

    fn read_linker_configuration(&self, file: &Path, depth: u32, folders: &mut Vec<PathBuf>) {
        let Some(text) = self.read(file).filter(|_| depth > 0) else {
            return;
        };
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.split_once(char::is_whitespace) {
                Some(("include", pattern)) => {
                    let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern.trim());
                    for included in self.matching(&pattern) {
                        self.read_linker_configuration(&included, depth - 1, folders);
                    }
                }
                _ if !line.is_empty() => folders.push(PathBuf::from(line)),
                _ => {}
            }
        }
    }

    /// Returns the paths that match a pattern whose last part may contain one `*`.
    fn matching(&self, pattern: &Path) -> Vec<PathBuf> {
        let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
            return Vec::new();
        };
        let Some((start, end)) = name.split_once('*') else {
            return vec![pattern.to_path_buf()];
        };
        let matches = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        };
        self.list(folder).into_iter().filter(matches).collect()
    }

    /// The path on the machine that runs this program. A relative path is taken from the root.
    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    #[test]
    fn a_library_is_found_in_a_folder_that_an_included_file_names() {
        let root = TestFolder::new("linker");
        root.write("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
        root.write("/etc/ld.so.conf.d/multiarch.conf", "# Multiarch support\n/usr/lib/some-machine # its own\n");
        root.write("/etc/ld.so.conf.d/multiarch.conf.old", "/usr/lib/other-machine\n");
        root.write("/usr/lib/some-machine/libvulkan.so.1", "");
        root.write("/usr/lib/other-machine/libother.so", "");
        let machine = Machine::made_up(root.path(), &[]);
        assert_eq!(machine.library("libvulkan.so.1"), Some(PathBuf::from("/usr/lib/some-machine/libvulkan.so.1")));
        assert_eq!(machine.library("libother.so"), None);
    }

    #[test]
    fn the_linkers_variable_comes_first_and_its_standard_folders_last() {
        let root = TestFolder::new("linker");
        root.write("/usr/lib/libvulkan.so.1", "");
        let plain = Machine::made_up(root.path(), &[("LD_LIBRARY_PATH", "")]);
        assert_eq!(plain.library("libvulkan.so.1"), Some(PathBuf::from("/usr/lib/libvulkan.so.1")));
        root.write("/opt/vulkan/libvulkan.so.1", "");
        let told = Machine::made_up(root.path(), &[("LD_LIBRARY_PATH", "/nowhere:/opt/vulkan")]);
        assert_eq!(told.library("libvulkan.so.1"), Some(PathBuf::from("/opt/vulkan/libvulkan.so.1")));
    }

    #[test]
    fn files_that_include_each_other_end() {
        let root = TestFolder::new("linker");
        root.write("/etc/ld.so.conf", "include ld.so.conf\n/opt/lib\n");
        root.write("/opt/lib/libvulkan.so.1", "");
        let machine = Machine::made_up(root.path(), &[]);
        assert_eq!(machine.library("libvulkan.so.1"), Some(PathBuf::from("/opt/lib/libvulkan.so.1")));
    }
}
