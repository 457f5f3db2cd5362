//! Opening a device: the message that a program gets where there is none.
//!
//! The environment decides, so each case is a process of its own.

use crate::common::{Outcome, adapter};
use std::process::Command;
use wgpu_pool::{Pool, PoolOptions};

/// Makes the test a child process that opens a pool and prints the error.
const CHILD: &str = "WGPU_POOL_TEST_OPEN";
const NAME: &str = "open::what_is_missing_is_said_in_one_sentence";
const PREFIX: &str = "opened: ";

/// The line that a child prints with these variables set.
fn child(variables: &[(&str, &str)]) -> Result<String, Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").env_remove("WGPU_ADAPTER_NAME");
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.output()?;
    let told = String::from_utf8(output.stdout)?;
    let line = told.lines().find_map(|line| line.split_once(PREFIX)).ok_or("the child printed no line")?;
    Ok(line.1.to_string())
}

#[test]
fn what_is_missing_is_said_in_one_sentence() -> Outcome {
    if std::env::var_os(CHILD).is_some() {
        let opened = Pool::request_blocking(PoolOptions::default());
        println!("{PREFIX}{}", opened.map_or_else(|error| error.to_string(), |_| "a pool".to_string()));
        return Ok(());
    }
    let told = child(&[("WGPU_BACKEND", "no-such-backend")])?;
    assert!(
        told.starts_with("no backend is selected; set WGPU_BACKEND or `GpuOptions::backends` to one of "),
        "{told}"
    );
    if cfg!(target_os = "linux") {
        let told = child(&[("WGPU_BACKEND", "metal")])?;
        assert!(told.starts_with("Metal does not exist on this platform; set WGPU_BACKEND or "), "{told}");
        // No driver that the loader may use.
        let nowhere = "/no/such/driver.json";
        let variables = [("WGPU_BACKEND", "vulkan"), ("VK_DRIVER_FILES", nowhere), ("VK_ICD_FILENAMES", nowhere)];
        let told = child(&variables)?;
        let missing =
            ["Vulkan found no adapter; install ", "the system's libraries for Vulkan cannot be loaded; install "];
        assert!(missing.iter().any(|start| told.starts_with(start)), "{told}");
    }
    if adapter::gpu().is_some() {
        let told = child(&[("WGPU_ADAPTER_NAME", "no such adapter")])?;
        assert!(told.starts_with("no adapter has `no such adapter` in its name; set WGPU_ADAPTER_NAME or "), "{told}");
    }
    Ok(())
}
