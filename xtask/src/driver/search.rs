//! The search for a driver, over a machine's files.
//!
//! A Vulkan driver is a manifest (a JSON file that names a shared library) in one of the folders that the Vulkan loader
//! reads, as the loader's own documentation lists them (`LoaderDriverInterface.md` in KhronosGroup/Vulkan-Loader). A
//! manifest alone proves little: Mesa installs one for every vendor. So a hardware driver counts only where a device of
//! its kind is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::machine::Machine;

/// A graphics interface whose driver is not a part of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Vulkan,
    OpenGl,
}

impl Interface {
    /// The interface that wgpu will use, from the value of `WGPU_BACKEND`; Vulkan unless told otherwise.
    ///
    /// # Errors
    ///
    /// The value again, if it names neither Vulkan nor GL.
    pub(crate) fn wanted(backends: Option<&str>) -> Result<Self, &str> {
        let Some(backends) = backends else {
            return Ok(Self::Vulkan);
        };
        let names: Vec<String> = backends.split(',').map(|name| name.trim().to_lowercase()).collect();
        let any = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
        if any(&["vulkan", "vk"]) {
            Ok(Self::Vulkan)
        } else if any(&["gl", "gles", "opengl"]) {
            Ok(Self::OpenGl)
        } else {
            Err(backends)
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Vulkan => "Vulkan",
            Self::OpenGl => "OpenGL",
        })
    }
}

/// A driver that was found, by the file that shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
}

/// The missing parts of a driver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The library through which programs reach every driver.
    Loader(&'static str),
    /// Any driver's manifest.
    Manifest,
    /// For each manifest, the missing parts.
    Device(Vec<String>),
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader(library) => write!(out, "no {library}"),
            Self::Manifest => write!(out, "no driver manifest"),
            Self::Device(each) => write!(out, "{}", each.join("; ")),
        }
    }
}

/// Looks for a driver of an interface.
pub(crate) fn find(interface: Interface, machine: &Machine) -> Result<Found, Missing> {
    match interface {
        Interface::Vulkan => find_vulkan(machine),
        // Mesa's EGL library draws in software by itself.
        Interface::OpenGl => {
            machine.library("libEGL.so.1").map(|path| Found { path }).ok_or(Missing::Loader("libEGL.so.1"))
        }
    }
}

fn find_vulkan(machine: &Machine) -> Result<Found, Missing> {
    if machine.library("libvulkan.so.1").is_none() {
        return Err(Missing::Loader("libvulkan.so.1"));
    }
    let manifests = manifests(machine);
    if manifests.is_empty() {
        return Err(Missing::Manifest);
    }
    let mut lacks = Vec::new();
    for manifest in manifests {
        match lack_of(machine, &manifest) {
            None => return Ok(Found { path: manifest }),
            Some(lack) => lacks.push(format!("{} needs {lack}", file_name(&manifest))),
        }
    }
    Err(Missing::Device(lacks))
}

/// The driver manifests that the Vulkan loader would read.
fn manifests(machine: &Machine) -> Vec<PathBuf> {
    let named = |variable: &str| machine.folders(variable, "");
    let replacing = match named("VK_DRIVER_FILES") {
        files if files.is_empty() => named("VK_ICD_FILENAMES"),
        files => files,
    };
    let places = if replacing.is_empty() {
        let mut places = named("VK_ADD_DRIVER_FILES");
        places.extend(standard_folders(machine));
        places
    } else {
        replacing
    };
    places.into_iter().flat_map(|place| manifests_at(machine, place)).collect()
}

/// The manifests at a place: in it if it is a folder, itself if it is a file.
fn manifests_at(machine: &Machine, place: PathBuf) -> Vec<PathBuf> {
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    if is_json(&place) && machine.exists(&place) {
        return vec![place];
    }
    machine.list(&place).into_iter().filter(is_json).collect()
}

/// The folders that the loader reads when no variable names any, in its order.
fn standard_folders(machine: &Machine) -> Vec<PathBuf> {
    let home = |below: &str| machine.variable("HOME").map(|home| Path::new(home).join(below));
    let told = |variable: &str, below: &str| machine.variable(variable).map(PathBuf::from).or_else(|| home(below));

    let mut folders = Vec::new();
    folders.extend(told("XDG_CONFIG_HOME", ".config"));
    folders.extend(machine.folders("XDG_CONFIG_DIRS", "/etc/xdg"));
    folders.push(PathBuf::from("/etc"));
    folders.extend(told("XDG_DATA_HOME", ".local/share"));
    folders.extend(machine.folders("XDG_DATA_DIRS", "/usr/local/share:/usr/share"));
    // NixOS keeps the drivers of the running system here, and its loader reads it.
    folders.push(PathBuf::from("/run/opengl-driver/share"));
    folders.into_iter().map(|folder| folder.join("vulkan/icd.d")).collect()
}

/// Returns the missing parts of a manifest's driver on this machine; `None` if the driver can be used.
fn lack_of(machine: &Machine, manifest: &Path) -> Option<String> {
    let Some(library) = machine.read(manifest).and_then(|text| library_path(&text)) else {
        return Some("a library_path".to_string());
    };
    let there = if Path::new(&library).is_absolute() || library.starts_with('/') {
        machine.exists(Path::new(&library))
    } else if library.contains('/') {
        machine.exists(&manifest.parent().unwrap_or(Path::new("/")).join(&library))
    } else {
        machine.library(&library).is_some()
    };
    if !there {
        return Some(format!("the library {library}"));
    }
    let devices = devices_of(&file_name(manifest));
    let present = devices.is_empty() || devices.iter().any(|device| has_device(machine, device));
    (!present).then(|| format!("the device {}", devices.join(" or ")))
}

/// The device nodes of which a driver needs one, by its manifest's name. A name that is not known is given the benefit
/// of the doubt.
fn devices_of(manifest: &str) -> &'static [&'static str] {
    let mesa_hardware = [
        "intel",
        "radeon",
        "amd_icd",
        "amd_pro",
        "nouveau",
        "virtio",
        "gfxstream",
        "asahi",
        "panfrost",
        "freedreno",
        "broadcom",
        "powervr",
    ];
    if manifest.starts_with("nvidia") {
        &["/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg"]
    } else if manifest.starts_with("dzn") {
        &["/dev/dxg"]
    } else if mesa_hardware.iter().any(|name| manifest.starts_with(name)) {
        &["/dev/dri/renderD*"]
    } else {
        &[]
    }
}

fn has_device(machine: &Machine, device: &str) -> bool {
    match device.strip_suffix('*') {
        None => machine.exists(Path::new(device)),
        Some(start) => {
            let folder = Path::new(device).parent().unwrap_or(Path::new("/"));
            machine.list(folder).iter().any(|path| path.to_string_lossy().starts_with(start))
        }
    }
}

/// The value of `library_path` in a manifest. A manifest holds that one name once, so its text is searched and no JSON
/// is parsed.
fn library_path(manifest: &str) -> Option<String> {
    let (_, rest) = manifest.split_once("\"library_path\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (path, _) = rest.split_once('"')?;
    Some(path.to_string())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
