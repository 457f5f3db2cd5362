//! Is there a graphics driver, and if not, can it be installed?
//!
//! The answer is read from files (loaders, manifests, device nodes), since asking wgpu would mean building it first.
//! Tests run with an adapter required, so a driver that is there and finds no device still fails loudly, only later.

mod install;
mod machine;
mod search;

pub(crate) use install::install_by_apt;

use machine::Machine;
use search::{Found, Interface};

/// Ensures that there is a driver, by installing one if necessary. Returns a description of the driver.
///
/// # Errors
///
/// The missing parts and the command that installs them, if this program cannot install them.
pub(crate) fn ensure() -> Result<String, String> {
    if let Some(native) = native_interface() {
        return Ok(format!("{native} comes with this system"));
    }
    let machine = Machine::this();
    let interface = match Interface::wanted(machine.variable("WGPU_BACKEND")) {
        Ok(interface) => interface,
        Err(backends) => {
            return Ok(format!("left alone, since WGPU_BACKEND={backends} names no backend with a driver to install"));
        }
    };
    let missing = match search::find(interface, &machine) {
        Ok(found) => return Ok(describe(interface, &found)),
        Err(missing) => missing,
    };
    println!("==> driver: this machine has no {interface} driver ({missing})");
    install::install(interface, &machine)?;
    match search::find(interface, &machine) {
        Ok(found) => Ok(describe(interface, &found)),
        Err(missing) => Err(format!("the {interface} driver was installed and still there is none: {missing}")),
    }
}

fn describe(interface: Interface, found: &Found) -> String {
    format!("{interface} through {}", found.path.display())
}

/// The graphics interface that is part of the operating system, where there is one.
const fn native_interface() -> Option<&'static str> {
    if cfg!(target_vendor = "apple") {
        Some("Metal")
    } else if cfg!(windows) {
        Some("DX12")
    } else {
        None
    }
}
