//! The search, over made-up machines.

use super::*;
use crate::test_folder::TestFolder;

const ICD: &str = "/usr/share/vulkan/icd.d";

fn manifest(library: &str) -> String {
    format!(
        "{{\n    \"ICD\": {{\n        \"api_version\": \"1.3.230\",\n        \"library_path\" : \"{library}\"\n    }}\n}}\n"
    )
}

/// A machine with the Vulkan loader and no driver.
fn with_loader() -> TestFolder {
    let root = TestFolder::new("driver");
    root.write("/usr/lib/libvulkan.so.1", "");
    root
}

fn add_driver(root: &TestFolder, name: &str, library: &str) {
    root.write(&format!("{ICD}/{name}"), &manifest(library));
    root.write(library, "");
}

fn search(root: &TestFolder, variables: &[(&str, &str)]) -> Result<Found, Missing> {
    find(Interface::Vulkan, &Machine::made_up(root.path(), variables))
}

fn found(path: &str) -> Result<Found, Missing> {
    Ok(Found { path: PathBuf::from(path) })
}

#[test]
fn a_bare_machine_has_no_loader() {
    let root = TestFolder::new("driver");
    assert_eq!(search(&root, &[]), Err(Missing::Loader("libvulkan.so.1")));
}

#[test]
fn a_loader_alone_is_not_a_driver() {
    assert_eq!(search(&with_loader(), &[]), Err(Missing::Manifest));
}

#[test]
fn the_software_driver_is_enough() {
    let root = with_loader();
    add_driver(&root, "lvp_icd.x86_64.json", "/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"));
}

#[test]
fn a_manifest_with_a_missing_library_is_not_a_driver() {
    let root = with_loader();
    root.write(&format!("{ICD}/lvp_icd.x86_64.json"), &manifest("/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"));
    let missing = search(&root, &[]).expect_err("the library is not there");
    assert_eq!(missing.to_string(), "lvp_icd.x86_64.json needs the library /usr/lib/x86_64-linux-gnu/libvulkan_lvp.so");
}

#[test]
fn a_library_may_be_named_without_a_folder_or_from_the_manifests_own() {
    let root = with_loader();
    root.write(&format!("{ICD}/lvp_icd.json"), &manifest("libvulkan_lvp.so"));
    assert!(search(&root, &[]).is_err());
    root.write("/usr/lib/libvulkan_lvp.so", "");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/lvp_icd.json"));

    let root = with_loader();
    root.write(&format!("{ICD}/lvp_icd.json"), &manifest("./libvulkan_lvp.so"));
    assert!(search(&root, &[]).is_err());
    root.write(&format!("{ICD}/libvulkan_lvp.so"), "");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/lvp_icd.json"));
}

#[test]
fn a_vendors_driver_counts_only_with_a_device_of_that_vendor() {
    let root = with_loader();
    add_driver(&root, "radeon_icd.x86_64.json", "/usr/lib/libvulkan_radeon.so");
    add_driver(&root, "nvidia_icd.json", "/usr/lib/libGLX_nvidia.so.0");
    let missing = search(&root, &[]).expect_err("there is no device");
    assert_eq!(
        missing.to_string(),
        "nvidia_icd.json needs the device /dev/nvidiactl or /dev/nvhost-ctrl or /dev/dxg; \
         radeon_icd.x86_64.json needs the device /dev/dri/renderD*"
    );
    // A card without a render node draws a console and no more.
    root.write("/dev/dri/card0", "");
    assert!(search(&root, &[]).is_err());
    root.write("/dev/dri/renderD128", "");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/radeon_icd.x86_64.json"));
    root.write("/dev/nvidiactl", "");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/nvidia_icd.json"));
}

#[test]
fn an_unknown_driver_is_accepted() {
    let root = with_loader();
    add_driver(&root, "mali.json", "/usr/lib/libmali.so");
    assert_eq!(search(&root, &[]), found("/usr/share/vulkan/icd.d/mali.json"));
}

#[test]
fn variables_that_name_drivers_replace_the_standard_folders_or_add_to_them() {
    let root = with_loader();
    add_driver(&root, "lvp_icd.json", "/usr/lib/libvulkan_lvp.so");
    root.write("/opt/driver.json", &manifest("/usr/lib/libvulkan_lvp.so"));
    root.write("/opt/notes.txt", "");

    assert_eq!(search(&root, &[("VK_DRIVER_FILES", "/opt/driver.json")]), found("/opt/driver.json"));
    assert_eq!(search(&root, &[("VK_DRIVER_FILES", "/opt")]), found("/opt/driver.json"));
    assert_eq!(search(&root, &[("VK_ICD_FILENAMES", "/opt/driver.json")]), found("/opt/driver.json"));
    assert_eq!(search(&root, &[("VK_ADD_DRIVER_FILES", "/opt/driver.json")]), found("/opt/driver.json"));
    assert_eq!(search(&root, &[("VK_DRIVER_FILES", "/opt/gone.json")]), Err(Missing::Manifest));
    assert_eq!(
        search(&root, &[("VK_ADD_DRIVER_FILES", "/opt/gone.json")]),
        found("/usr/share/vulkan/icd.d/lvp_icd.json")
    );
}

#[test]
fn the_users_own_folder_is_searched() {
    let root = with_loader();
    root.write("/home/ada/.local/share/vulkan/icd.d/lvp.json", &manifest("/usr/lib/libvulkan_lvp.so"));
    root.write("/usr/lib/libvulkan_lvp.so", "");
    assert_eq!(search(&root, &[]), Err(Missing::Manifest));
    assert_eq!(search(&root, &[("HOME", "/home/ada")]), found("/home/ada/.local/share/vulkan/icd.d/lvp.json"));
}

#[test]
fn the_backend_variable_chooses_the_interface() {
    assert_eq!(Interface::wanted(None), Ok(Interface::Vulkan));
    for backends in ["vulkan", "VK", "gl, vulkan"] {
        assert_eq!(Interface::wanted(Some(backends)), Ok(Interface::Vulkan), "{backends}");
    }
    for backends in ["gl", "GLES", "metal,opengl"] {
        assert_eq!(Interface::wanted(Some(backends)), Ok(Interface::OpenGl), "{backends}");
    }
    assert_eq!(Interface::wanted(Some("noop")), Err("noop"));
}

#[test]
fn opengl_needs_only_its_loader() {
    let root = TestFolder::new("driver");
    let search = || find(Interface::OpenGl, &Machine::made_up(root.path(), &[]));
    assert_eq!(search(), Err(Missing::Loader("libEGL.so.1")));
    root.write("/usr/lib64/libEGL.so.1", "");
    assert_eq!(search(), found("/usr/lib64/libEGL.so.1"));
}
