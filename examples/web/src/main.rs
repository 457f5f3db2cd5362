//! Serves the built page of the demonstration on this machine.

mod server;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from).ok_or("usage: serve FOLDER [PORT]")?;
    let port = arguments.next().map_or(Ok(8080), |port| port.parse()).map_err(|error| format!("the port: {error}"))?;
    println!("{}/", server::serve(folder, port).map_err(|error| format!("port {port}: {error}"))?);
    loop {
        std::thread::park();
    }
}
